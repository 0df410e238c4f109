"""p6: log-mel by kaldi-native-fbank, then our own network from log-mel on, in ONNX Runtime."""

from serve import Task, serve


def start(path_of_network: str) -> dict[str, Task]:
    """Open the network that starts at its log-mel."""
    import kaldi_native_fbank
    import numpy as np
    import onnxruntime
    import soundfile
    import soxr

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path_of_network, options, providers=["CPUExecutionProvider"])
    frames = kaldi_native_fbank.FbankOptions()
    frames.frame_opts.samp_freq, frames.frame_opts.dither = 16_000, 0
    frames.mel_opts.num_bins = 80

    def answer(path: str) -> int:
        samples, rate = soundfile.read(path, dtype="float32")
        samples = soxr.resample(samples, rate, 16_000)
        fbank = kaldi_native_fbank.OnlineFbank(frames)
        fbank.accept_waveform(16_000, samples)
        log_mel = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
        feeds = {"waveform": samples[None], "log_mel": np.ascontiguousarray(log_mel.T[None])}
        return int(session.run(None, feeds)[0].argmax())

    return {"answer": answer}


serve(start)
