"""Training windows. In: a prepared dataset. Out: log-mel windows (batch, n_mels, n_frames) and label indices.

The front end has no weights, so the log-mel frames of each clip are computed once per speed and channel (as recorded,
telephone, room) and kept: RAVDESS takes 200 MB per channel. An epoch only cuts windows.
"""

import dataclasses
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.errors import CorpusError
from speech_emotion.training.config import TrainConfig, WindowConfig
from speech_emotion.training.data.mixture import Dataset
from speech_emotion.training.data.waveform_augment import at_speed, in_a_room, over_the_telephone
from speech_emotion.training.networks.frontend import LogMel
from speech_emotion.windows import Framer


class FrameCache:
    """Log-mel frames of every clip at every speed and over every channel of a recipe, and windows cut from them."""

    def __init__(self, config: TrainConfig, dataset: Dataset) -> None:
        self.labels = torch.from_numpy(np.array(dataset.labels, dtype=np.int64))
        self._dataset = dataset
        self._frontend = LogMel(**dataclasses.asdict(config.frontend))
        self._speeds = config.augment.speeds
        probabilities = {
            over_the_telephone: config.augment.telephone_probability,
            in_a_room: config.augment.room_probability,
        }
        self._channels = [channel for channel, probability in probabilities.items() if probability]
        # A draw below the n-th of these selects the n-th channel.
        self._cumulative = np.cumsum([probabilities[channel] for channel in self._channels]).tolist()
        with ThreadPoolExecutor(2) as pool:  # soxr and torch both release the interpreter lock
            # [clip][as recorded, channel, …][speed] → (n_frames, n_mels)
            self._clips = list(pool.map(self._frames, range(len(dataset.labels))))

    def _frames(self, clip: int) -> list[list[Tensor]]:
        waveform = self._dataset.waveform(clip)
        if len(waveform) < self._frontend.spectrum.n_fft * max(self._speeds):
            raise CorpusError(
                f"{self._dataset.clips[clip].path}: its {self._dataset.seconds(clip):.3f} s are shorter than one "
                "frame. Take it out of the corpus folder, or lower frontend.n_fft."
            )
        rng = np.random.default_rng(clip)
        sounds = [at_speed(waveform, speed) for speed in self._speeds]
        altered = [[channel(sound, rng) for sound in sounds] for channel in self._channels]
        return [[_log_mel(sound, self._frontend) for sound in some] for some in (sounds, *altered)]

    def windows(self, clips: Tensor, n_frames: int, generator: Generator) -> Tensor:
        """One window with a random channel, speed and start of each clip: (len(clips), n_mels, n_frames).

        A clip shorter than the window is repeated: no silence is added.
        """
        windows = [self._window(clip, n_frames, generator) for clip in clips.tolist()]
        return torch.stack(windows).transpose(1, 2)

    def _window(self, clip: int, n_frames: int, generator: Generator) -> Tensor:
        speeds = self._clips[clip][self._channel(generator)]
        frames = speeds[_integer(len(speeds), generator)]
        start = _integer(max(len(frames) - n_frames, 0) + 1, generator)
        if len(frames) >= n_frames:
            return frames[start : start + n_frames]
        return frames[torch.arange(n_frames) % len(frames)]

    def _channel(self, generator: Generator) -> int:
        if not self._cumulative:
            return 0
        draw = torch.rand((), generator=generator).item()
        return (bisect_right(self._cumulative, draw) + 1) % (len(self._cumulative) + 1)  # beyond: as recorded


def _integer(below: int, generator: Generator) -> int:
    return int(torch.randint(below, (1,), generator=generator))


@torch.inference_mode()
def _log_mel(waveform: FloatArray, frontend: LogMel) -> Tensor:
    log_mel: Tensor = frontend(torch.from_numpy(waveform).unsqueeze(0))
    return log_mel[0].T.contiguous()  # (n_frames, n_mels)


def batches(clips: Tensor, batch_size: int, generator: Generator) -> list[Tensor]:
    """Shuffled clip indices in equal batches; the remainder is left to the next epoch."""
    order = clips[torch.randperm(len(clips), generator=generator)]
    stops = range(0, len(order) + 1, batch_size)
    return [order[start:stop] for start, stop in pairwise(stops)] or [order]


def windows_of(waveform: FloatArray, window: WindowConfig) -> list[FloatArray]:
    """The windows (n_samples,) that the runtime cuts from a recording."""
    sizes = (window.seconds, window.hop_seconds, window.min_seconds)
    framer = Framer(*(round(seconds * SAMPLE_RATE) for seconds in sizes))
    return [window.samples for window in (*framer.push(waveform), *framer.finish())]
