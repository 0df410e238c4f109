"""A closer look at a part of a sound. In: a PlayableSound and a range of time. Out: bytes that the player draws.

The cost depends on the number of columns alone: of a long range, each column shows a few frames of the many in it.
"""

from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from player import acoustics
from player.sound import RATE, PlayableSound, in_heights

MAX_COLUMNS: Final = 3000
FINEST_SECONDS: Final = 0.005  # between two frames
FRAMES_PER_COLUMN: Final = 2
RANGE_NEPERS: Final = 60 * np.log(10) / 10  # of power, from dark to bright: 60 dB
VOICED_DB: Final = 40.0  # below the loudest frame a pitch is that of noise or of another room
GOLDEN: Final = 0.618034  # multiples of it spread evenly over an interval, and never repeat
N_SURVEYED: Final = 2000  # frames that say how loud a sound becomes

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """What to look at.

    start_seconds, end_seconds: Where.
    columns: In how many columns at most.
    channel: Of which channel pitch, loudness and spectrogram are; None for the mean of all.
    """

    start_seconds: float
    end_seconds: float
    columns: int
    channel: int | None = None

    def within(self, sound: PlayableSound) -> "Range":
        """The same within the limits of `sound` and of this module."""
        start = min(max(self.start_seconds, 0.0), max(sound.seconds - FINEST_SECONDS, 0.0))
        end = min(max(self.end_seconds, start + FINEST_SECONDS), max(sound.seconds, FINEST_SECONDS))
        channel = None if self.channel is None else min(max(self.channel, 0), len(sound.names) - 1)
        return Range(start, end, min(max(self.columns, 1), MAX_COLUMNS), channel)


@dataclass(frozen=True, eq=False)
class Closeup:
    """What a Range shows.

    spectrogram: (N_MELS, n_columns) uint8, the highest band first; 255 is the loudest cell of the whole sound.
    pitch: (n_columns,) hertz; NaN where there is no voice.
    loudness: (n_columns,) decibels below full scale.
    peaks: (n_channels, n_peaks, 2) int8 on the scale of the sound's peaks; n_peaks is 0 if those are fine enough.
    """

    spectrogram: npt.NDArray[np.uint8]
    pitch: FloatArray
    loudness: FloatArray
    peaks: npt.NDArray[np.int8]

    def to_bytes(self) -> bytes:
        """Little-endian: n_columns, N_MELS, n_peaks as int32; pitch, loudness; peaks; spectrogram."""
        sizes = np.array([len(self.pitch), len(self.spectrogram), self.peaks.shape[1]], "<i4")
        parts = [sizes, self.pitch.astype("<f4"), self.loudness.astype("<f4"), self.peaks, self.spectrogram]
        return b"".join(part.tobytes() for part in parts)


def closeup(sound: PlayableSound, wanted: Range) -> Closeup:
    """Look at a part of `sound`."""
    wanted = wanted.within(sound)
    seconds = wanted.end_seconds - wanted.start_seconds
    n_columns = min(wanted.columns, max(int(seconds / FINEST_SECONDS), 1))
    n_each = int(np.clip(np.ceil(seconds / n_columns / 0.02), 1, FRAMES_PER_COLUMN))
    centres = _centres(wanted.start_seconds * RATE, seconds * RATE, n_columns * n_each)
    level = _level(sound, wanted.channel)
    power = acoustics.mel_power(_frames(sound, centres, acoustics.MEL_FRAME, wanted.channel))
    mel = np.log(np.maximum(power.reshape(n_columns, n_each, -1).mean(axis=1), acoustics.POWER_FLOOR))
    shade = np.clip((mel - level.mel) / RANGE_NEPERS + 1, 0, 1)
    frames = _frames(sound, centres, acoustics.PITCH_FRAME, wanted.channel)
    loud = acoustics.loudness(frames)
    pitch = np.full(len(frames), np.nan, np.float32)
    is_loud = loud > level.decibels - VOICED_DB
    pitch[is_loud] = acoustics.pitch(frames[is_loud])
    return Closeup(
        np.ascontiguousarray((255 * shade.T[::-1]).astype(np.uint8)),
        _middle(pitch.reshape(n_columns, n_each)),
        loud.reshape(n_columns, n_each).max(axis=1),
        _peaks(sound, wanted),
    )


@dataclass(frozen=True)
class _Level:
    """The loudest mel cell, natural logarithm of power, and the loudest frame in decibels."""

    mel: float
    decibels: float


_levels: WeakKeyDictionary[PlayableSound, dict[int | None, _Level]] = WeakKeyDictionary()


def _level(sound: PlayableSound, channel: int | None) -> _Level:
    """How loud a sound becomes: one scale for every part of it, so that its brightness does not jump."""
    known = _levels.setdefault(sound, {})
    if channel not in known:
        n_frames = min(N_SURVEYED, max(len(sound.samples) // 256, 1))
        centres = _centres(0, len(sound.samples), n_frames)
        frames = _frames(sound, centres, acoustics.MEL_FRAME, channel)
        known[channel] = _Level(
            max(float(acoustics.log_mel(frames).max()), -9.0),
            max(float(acoustics.loudness(frames).max()), -50.0),
        )
    return known[channel]


def _centres(start: float, n_samples: float, n_frames: int) -> npt.NDArray[np.int64]:
    """The middles of frames over a range. Far apart, they are uneven, so that they do not beat with syllables."""
    step = n_samples / n_frames
    index = np.arange(n_frames)
    within = (index * GOLDEN) % 1 if step > acoustics.PITCH_FRAME else 0.5
    return (start + (index + within) * step).astype(np.int64)


def _frames(
    sound: PlayableSound, centres: npt.NDArray[np.int64], size: int, channel: int | None
) -> FloatArray:
    if channel is not None:
        return acoustics.frames_at(sound.samples[:, channel], centres, size)
    each = [acoustics.frames_at(one, centres, size) for one in sound.samples.T]
    return np.asarray(np.mean(each, axis=0), np.float32)


def _middle(values: FloatArray) -> FloatArray:
    """The median of what is a number in each row; NaN if less than half is."""
    n_voiced = np.isfinite(values).sum(axis=1)
    ordered = np.sort(values, axis=1)  # NaN last
    middle = ordered[np.arange(len(values)), np.maximum(n_voiced - 1, 0) // 2]
    return np.asarray(np.where(2 * n_voiced >= values.shape[1], middle, np.nan), np.float32)


def _peaks(sound: PlayableSound, wanted: Range) -> npt.NDArray[Any]:
    """Minimum and maximum of every column, where those that the browser has are coarser."""
    seconds = wanted.end_seconds - wanted.start_seconds
    if seconds / wanted.columns >= sound.peak_seconds:
        return np.zeros((len(sound.names), 0, 2), np.int8)
    start, end = (int(second * RATE) for second in (wanted.start_seconds, wanted.end_seconds))
    part = sound.samples[start : max(end, start + 1)].astype(np.float32)
    borders = np.arange(min(wanted.columns, len(part))) * len(part) // min(wanted.columns, len(part))
    found = np.stack([np.minimum.reduceat(part, borders), np.maximum.reduceat(part, borders)], axis=2)
    return in_heights(found.transpose(1, 0, 2), sound.heights)
