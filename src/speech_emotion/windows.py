"""Frame a recording. In: 16 kHz samples, in pieces of any size. Out: equal windows with their place in time.

This is the only framing code. A window starts every hop. The last one moves back to end where the recording ends:
so every sample is in a window and nothing is padded, because zeros beside a sound would change its answer.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE, FloatArray

MANY_PIECES: Final = 256  # joined when there are so many; a window of single samples would take 7 MB


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A stretch of a recording.

    Attributes:
        samples: (n_samples,) float32 at 16 kHz, read-only.
        start_seconds: Where it starts in the recording.
        end_seconds: Where it ends.
    """

    samples: FloatArray
    start_seconds: float
    end_seconds: float


class Framer:
    """Cuts a recording that arrives in pieces into windows. How it was cut into pieces changes nothing.

    A recording shorter than a window is one shorter window; shorter than `min_samples` it is none.

    Args:
        window_samples: The length of a window.
        hop_samples: The distance between the starts of two windows.
        min_samples: The length of the shortest recording that is a window.
    """

    def __init__(self, window_samples: int, hop_samples: int, min_samples: int) -> None:
        self._window_samples = window_samples
        self._hop_samples = hop_samples
        self._min_samples = min_samples
        self._held = np.zeros(0, np.float32)  # from the start of the last window on
        self._held_from = 0
        self._pending: list[FloatArray] = []  # not yet joined to what is held
        self._next_start = 0
        self._n_samples = 0

    @property
    def seconds(self) -> float:
        """The duration of what was pushed so far."""
        return self._n_samples / SAMPLE_RATE

    def push(self, samples: npt.ArrayLike) -> list[Window]:
        """Take `samples`, (n_samples,) at 16 kHz, and return the windows they complete."""
        piece = np.array(samples, np.float32)  # a copy: callers reuse their buffers
        self._pending.append(piece)
        self._n_samples += len(piece)
        if len(self._pending) >= MANY_PIECES:
            self._join()
        if self._n_samples < self._next_start + self._window_samples:
            return []
        self._join()
        windows = []
        while self._next_start + self._window_samples <= self._n_samples:
            windows.append(self._cut(self._next_start, self._next_start + self._window_samples))
            self._next_start += self._hop_samples
        self._forget_before(self._next_start - self._hop_samples)
        return windows

    def finish(self) -> list[Window]:
        """Return the last window if samples are left that are in no window yet."""
        self._join()
        if self._next_start == 0:
            return [self._cut(0, self._n_samples)] if self._n_samples >= self._min_samples else []
        last_end = self._next_start - self._hop_samples + self._window_samples
        if self._n_samples == last_end:
            return []
        return [self._cut(self._n_samples - self._window_samples, self._n_samples)]

    def _join(self) -> None:
        self._held = np.concatenate([self._held, *self._pending])
        self._held.flags.writeable = False
        self._pending = []

    def _cut(self, start: int, end: int) -> Window:
        samples = self._held[start - self._held_from : end - self._held_from]
        return Window(samples, start / SAMPLE_RATE, end / SAMPLE_RATE)

    def _forget_before(self, start: int) -> None:
        self._held = self._held[start - self._held_from :]
        self._held_from = start
