"""p4: a network of the shape of wav2vec2, with random weights, in eager torch or in ONNX Runtime.

python wav2vec2.py export SIZE FILE writes the ONNX file. SIZE is base or large; WAY is torch or the path of a file.
"""

import sys
from typing import Any

from serve import Task, serve

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


def network(size: str) -> Any:
    """The network, for 8 labels, ready to score."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    config = Wav2Vec2Config(num_labels=8, **(LARGE if size == "large" else {}))
    return Wav2Vec2ForSequenceClassification(config).eval()


def export(size: str, path: str) -> None:
    """Write the network as ONNX, for one clip of any length."""
    import torch

    with torch.inference_mode():
        torch.onnx.export(
            network(size),
            (torch.zeros(1, 56_000),),
            path,
            dynamo=False,
            input_names=["waveform"],
            output_names=["logits"],
            dynamic_axes={"waveform": {1: "n_samples"}},
        )


def read(path: str) -> Any:
    """Decode, resample and standardise, as its feature extractor does: (1, n_samples)."""
    import librosa

    samples, _ = librosa.load(path, sr=16_000)
    return ((samples - samples.mean()) / (samples.var() + 1e-7) ** 0.5)[None]


def start(size: str, way: str) -> dict[str, Task]:
    """Load the network."""
    if way == "torch":
        import torch

        torch.set_num_threads(1)
        model = network(size)

        @torch.inference_mode()
        def answer(path: str) -> int:
            return int(model(torch.from_numpy(read(path))).logits.argmax())
    else:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(way, options, providers=["CPUExecutionProvider"])

        def answer(path: str) -> int:
            return int(session.run(None, {"waveform": read(path)})[0].argmax())

    return {"answer": answer}


if sys.argv[1] == "export":
    export(*sys.argv[2:])
else:
    serve(start)
