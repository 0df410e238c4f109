"""Training windows. In: a prepared dataset. Out: log-mel windows (batch, n_mels, n_frames) and label indices.

The front end has no weights, so its log-mel frames are computed once per clip, speed and line (as recorded, over the
telephone, in a room) and then kept: an epoch only cuts windows. At 64 mel bands and three speeds RAVDESS takes 200 MB a
line.
"""

from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import CorpusError
from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.data.waveform_augment import at_speed, in_a_room, over_the_telephone
from speech_emotion.training.networks.frontend import LogMel


class FrameCache:
    """Log-mel frames of every clip at every speed, over every line that `augment` names, and windows cut from them."""

    def __init__(self, dataset: PreparedDataset, frontend: LogMel, augment: AugmentConfig) -> None:
        self.labels = torch.from_numpy(np.array(dataset.labels, dtype=np.int64))
        speeds = augment.speeds
        worse = {
            over_the_telephone: augment.telephone_probability,
            in_a_room: augment.room_probability,
        }
        lines = [line for line, probability in worse.items() if probability]
        # Below the n-th number a draw means the n-th line.
        self._up_to = np.cumsum([worse[line] for line in lines]).tolist()
        self._clips: list[list[list[Tensor]]] = []  # [clip][as recorded, line, …][speed] → (n_frames, n_mels)

        def frames(clip: int) -> list[list[Tensor]]:
            waveform = dataset.waveform(clip)
            if len(waveform) < frontend.spectrum.n_fft * max(speeds):
                raise CorpusError(
                    f"{dataset.clips[clip].path} is {dataset.seconds(clip):.3f} s short: too little for one frame "
                    "of sound. Take it out of the corpus folder, or lower frontend.n_fft."
                )
            sounds = [at_speed(waveform, speed) for speed in speeds]
            chance = np.random.default_rng(clip)
            spoiled = [[line(sound, chance) for sound in sounds] for line in lines]
            return [[_log_mel(sound, frontend) for sound in some] for some in (sounds, *spoiled)]

        with ThreadPoolExecutor(2) as pool:  # soxr and torch both let go of the interpreter lock
            self._clips.extend(pool.map(frames, range(len(dataset.labels))))

    def windows(self, clips: Tensor, n_frames: int, generator: Generator) -> Tensor:
        """One window at a random line, speed and place of each clip: (len(clips), n_mels, n_frames).

        A clip shorter than the window starts again at its beginning: no silence is invented.
        """
        windows = [self._window(clip, n_frames, generator) for clip in clips.tolist()]
        return torch.stack(windows).transpose(1, 2)

    def _window(self, clip: int, n_frames: int, generator: Generator) -> Tensor:
        speeds = self._clips[clip][self._line(generator)]
        frames = speeds[_integer(len(speeds), generator)]
        start = _integer(max(len(frames) - n_frames, 0) + 1, generator)
        if len(frames) >= n_frames:
            return frames[start : start + n_frames]
        return frames[torch.arange(n_frames) % len(frames)]

    def _line(self, generator: Generator) -> int:
        if not self._up_to:
            return 0
        draw = torch.rand((), generator=generator).item()
        return (bisect_right(self._up_to, draw) + 1) % (len(self._up_to) + 1)  # beyond the last: as recorded


def _integer(below: int, generator: Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


@torch.inference_mode()
def _log_mel(waveform: npt.NDArray[np.float32], frontend: LogMel) -> Tensor:
    log_mel: Tensor = frontend(torch.from_numpy(waveform).unsqueeze(0))
    return log_mel[0].T.contiguous()  # (n_frames, n_mels)


def batches(clips: Tensor, batch_size: int, generator: Generator) -> list[Tensor]:
    """Shuffled clip indices in equal batches; what is left over waits for the next epoch."""
    order = clips[torch.randperm(len(clips), generator=generator)]
    stops = range(0, len(order) + 1, batch_size)
    return [order[start:stop] for start, stop in pairwise(stops)] or [order]
