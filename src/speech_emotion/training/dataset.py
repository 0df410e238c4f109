"""Training windows. In: a prepared dataset. Out: log-mel windows (batch, n_mels, n_frames) and label indices.

The front end has no weights, so its log-mel frames are computed once per clip and speed and then kept: an epoch
only cuts windows. At 64 mel bands and three speeds RAVDESS takes 200 MB.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import CorpusError
from speech_emotion.training.frontend import LogMel
from speech_emotion.training.vary import at_speed


class FrameBank:
    """Log-mel frames of every clip at every speed, and windows cut from them."""

    def __init__(self, dataset: PreparedDataset, frontend: LogMel, speeds: tuple[float, ...]) -> None:
        self.labels = torch.from_numpy(np.array(dataset.labels, dtype=np.int64))
        self._altered = [place for place, speed in enumerate(speeds) if speed != 1.0]
        self._clips: list[list[Tensor]] = []  # [clip][speed] → (n_frames, n_mels)

        def frames(clip: int) -> list[Tensor]:
            waveform = dataset.waveform(clip)
            if len(waveform) < frontend.spectrum.n_fft * max(speeds):
                raise CorpusError(
                    f"{dataset.clips[clip].path} is {dataset.seconds(clip):.3f} s short: too little for one frame "
                    "of sound. Take it out of the corpus folder, or lower frontend.n_fft."
                )
            return [_log_mel(waveform, frontend, speed) for speed in speeds]

        with ThreadPoolExecutor(2) as pool:  # soxr and torch both let go of the interpreter lock
            self._clips.extend(pool.map(frames, range(len(dataset.labels))))

    def windows(
        self, clips: Tensor, n_frames: int, generator: Generator, altered: Tensor | None = None
    ) -> Tensor:
        """One window at a random speed and place of each clip: (len(clips), n_mels, n_frames).

        A clip shorter than the window starts again at its beginning: no silence is invented. `altered`
        (len(clips),) says of which clips only other speeds than 1.0 are drawn.
        """
        marks = [False] * len(clips) if altered is None else altered.tolist()
        windows = [
            self._window(clip, n_frames, generator, altered=mark)
            for clip, mark in zip(clips.tolist(), marks, strict=True)
        ]
        return torch.stack(windows).transpose(1, 2)

    def _window(self, clip: int, n_frames: int, generator: Generator, *, altered: bool) -> Tensor:
        speeds = self._clips[clip]
        if altered:
            speeds = [speeds[place] for place in self._altered]
        frames = speeds[_integer(len(speeds), generator)]
        start = _integer(max(len(frames) - n_frames, 0) + 1, generator)
        if len(frames) >= n_frames:
            return frames[start : start + n_frames]
        return frames[torch.arange(n_frames) % len(frames)]


def _integer(below: int, generator: Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


@torch.inference_mode()
def _log_mel(waveform: npt.NDArray[np.float32], frontend: LogMel, speed: float) -> Tensor:
    log_mel: Tensor = frontend(torch.from_numpy(at_speed(waveform, speed)).unsqueeze(0))
    return log_mel[0].T.contiguous()  # (n_frames, n_mels)


def batches(clips: Tensor, batch_size: int, generator: Generator) -> list[Tensor]:
    """Shuffled clip indices in equal batches; what is left over waits for the next epoch."""
    order = clips[torch.randperm(len(clips), generator=generator)]
    stops = range(0, len(order) + 1, batch_size)
    return [order[start:stop] for start, stop in pairwise(stops)] or [order]
