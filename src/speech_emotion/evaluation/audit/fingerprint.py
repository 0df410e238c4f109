"""Is one recording a copy of another? In: samples at 16 kHz. Out: a print of each, and the pairs that agree.

A print holds the level of 60 semitones from 110 Hz upwards, every 16 ms, in the 8 s after the voice begins.
What is slow in it along time or pitch is taken away (`_contrast`), which leaves the ripple of pitch and syllables:
that survives another gain, codec, bandwidth or noise, and differs where the same person says the same again.

Two prints are compared at the best lag by their normalised correlation, 1 for equal sounds. A copy that was
played faster or slower is higher or lower as well, so it is undone along both axes. Comparing all pairs so
would take hours; a coarse vector of each print, its modulation spectrum, which no lag changes, names the few
candidates of each by matrix products in blocks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE

Progress = Callable[[int, int], None]
FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]
Print = npt.NDArray[np.uint8]
"""(n_frames, 60), 0 at 30 dB below the loudest value of the clip and 240 at the loudest."""

THRESHOLD: Final = 0.85
"""Correlation from which two recordings count as one: measured, see docs/auditing.md."""

N_CANDIDATES: Final = 5  # for each clip and rate
LIKENESS: Final = 0.93  # of coarse vectors; copies have 0.97 and more
RATES: Final = tuple(
    1 + 0.0125 * step for step in range(10)
)  # up to 11 % faster; slower is the other way round
COARSE: Final = {0: (0, 1), 3: (2, 3, 4), 6: (5, 6, 7), 9: (8, 9)}  # rates of the search → of the comparison

N_BANDS: Final = 60
LOWEST_HZ: Final = 110.0
WINDOW, HOP = 1024, 256
MAX_FRAMES: Final = 512
MIN_FRAMES: Final = 16  # a quarter of a second
FLOOR_DB: Final = 30.0
STEPS_PER_DB: Final = 8
BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class Copy:
    """Two recordings that agree: their positions, first < second, and their correlation."""

    first: int
    second: int
    correlation: float


def print_of(samples: FloatArray) -> Print | None:
    """The print of (n_samples,) at 16 kHz; None where it is silent or sounds for less than a quarter of a second."""
    padded = np.pad(samples, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.square(np.abs(np.fft.rfft(frames * _HANN, axis=1))).astype(np.float32) @ _BANK
    total = power.sum(axis=1)
    if not total.max() > 0:
        return None
    sounding = np.flatnonzero(total > total.max() * 10 ** (-FLOOR_DB / 10))
    power = power[sounding[0] : sounding[-1] + 1][:MAX_FRAMES]
    if len(power) < MIN_FRAMES:
        return None
    decibels = 10 * np.log10(power / power.max() + 1e-9) + FLOOR_DB
    print_: Print = np.rint(np.maximum(decibels, 0) * STEPS_PER_DB).astype(np.uint8)
    return print_


def _semitones() -> FloatArray:
    """Triangular filters a semitone apart, (n_bins, 60), at least as wide as a bin of the FFT."""
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[:, np.newaxis]
    centres = LOWEST_HZ * 2 ** (np.arange(N_BANDS) / 12)
    widths = np.maximum(centres * (2 ** (1 / 12) - 1), SAMPLE_RATE / WINDOW)
    return np.clip(1 - np.abs(bins - centres) / widths, 0, None).astype(np.float32)


_HANN: Final = np.hanning(WINDOW).astype(np.float32)
_BANK: Final = _semitones()


def correlation(first: Print, second: Print) -> float:
    """How far two prints agree at the best lag and the best of all rates, either way round: −1 to 1."""
    pairs = ((first, second), (second, first))
    return max(_agreement(_spectrum(a, rate), _spectrum(b)) for a, b in pairs for rate in RATES)


def find_copies(
    prints: Sequence[Print | None],
    groups: Sequence[str],
    *,
    threshold: float = THRESHOLD,
    progress: Progress | None = None,
) -> list[Copy]:
    """Pairs from two different groups that are copies, best first; of each clip's copies the nearest ones."""
    present = [index for index, print_ in enumerate(prints) if print_ is not None]
    shapes = [print_ for print_ in prints if print_ is not None]
    if not shapes:
        return []
    _, group_of = np.unique([groups[index] for index in present], return_inverse=True)
    index = np.stack([_coarse(_spectrum(shape)) for shape in shapes])
    found: dict[tuple[int, int], float] = defaultdict(float)
    for query, candidates in _candidates(shapes, index, group_of):
        for other, score in _compared(shapes, query, candidates):
            first, second = sorted((present[query], present[other]))
            found[first, second] = max(found[first, second], score)
        if progress:
            progress(query + 1, len(shapes))
    copies = [Copy(*pair, score) for pair, score in found.items() if score >= threshold]
    return sorted(copies, key=lambda copy: (-copy.correlation, copy.first, copy.second))


def _candidates(
    shapes: Sequence[Print], index: FloatArray, group_of: npt.NDArray[np.intp]
) -> Iterator[tuple[int, dict[int, list[int]]]]:
    """For each clip those that are like it among the nearest ones of other groups, under each coarse rate."""
    n_nearest = min(N_CANDIDATES, len(shapes))
    for start in range(0, len(shapes), BLOCK):
        queries = range(start, min(start + BLOCK, len(shapes)))
        same_group = group_of[queries, np.newaxis] == group_of
        nearest: dict[int, dict[int, list[int]]] = {query: {} for query in queries}
        for step in COARSE:
            rows = np.stack([_coarse(_spectrum(shapes[query], RATES[step])) for query in queries])
            likeness = np.where(same_group, -np.inf, rows @ index.T)
            best = np.argpartition(-likeness, n_nearest - 1, axis=1)[:, :n_nearest]
            for query, row, others in zip(queries, likeness, best, strict=True):
                nearest[query][step] = [int(other) for other in others if row[other] >= LIKENESS]
        yield from nearest.items()


def _compared(
    shapes: Sequence[Print], query: int, candidates: dict[int, list[int]]
) -> Iterator[tuple[int, float]]:
    spectra = {other: _spectrum(shapes[other]) for other in set().union(*candidates.values())}
    for step, others in candidates.items():
        played = [_spectrum(shapes[query], RATES[rate]) for rate in COARSE[step] if others]
        for other in others:
            yield other, max(_agreement(spectrum, spectra[other]) for spectrum in played)


def _agreement(first: ComplexArray, second: ComplexArray) -> float:
    """The highest normalised correlation over all lags, all bands moving together."""
    return float(np.fft.irfft((first * second.conj()).sum(axis=1), MAX_FRAMES).max())


def _spectrum(shape: Print, rate: float = 1.0) -> ComplexArray:
    """The spectrum along time of a print that is played `rate` times as fast, of norm 1: (257, 60)."""
    levels = shape.astype(np.float32)
    if rate != 1:
        positions = np.arange(0, len(levels) - 1, rate)
        levels = _between(levels, positions[positions < len(levels) - 1])  # arange may round up to its end
        bands = np.arange(N_BANDS) - 12 * np.log2(rate)
        levels = _between(levels.T, np.maximum(bands, 0)).T * (bands >= 0)
    levels = _contrast(levels)
    norm = np.linalg.norm(levels)
    return np.fft.rfft(levels / (norm or 1), MAX_FRAMES, axis=0).astype(np.complex64)


def _between(rows: FloatArray, positions: npt.NDArray[np.float64]) -> FloatArray:
    """Rows at fractional positions, each below the last row, by linear interpolation."""
    before = positions.astype(np.intp)
    share = (positions - before).astype(np.float32)[:, np.newaxis]
    mixed: FloatArray = rows[before] * (1 - share) + rows[before + 1] * share
    return mixed


def _contrast(levels: FloatArray) -> FloatArray:
    """What differs from the mean of ±4 semitones, then of ±8 frames, then of the whole band."""
    levels = levels - _local_mean(levels.T, 4).T
    levels = levels - _local_mean(levels, 8)
    contrast: FloatArray = levels - levels.mean(axis=0)
    return contrast


def _local_mean(rows: FloatArray, reach: int) -> FloatArray:
    """The mean of each row and of those up to `reach` away."""
    sums = np.concatenate([np.zeros_like(rows[:1]), np.cumsum(rows, axis=0)])
    positions = np.arange(len(rows))
    low, high = np.maximum(positions - reach, 0), np.minimum(positions + reach + 1, len(rows))
    mean: FloatArray = (sums[high] - sums[low]) / (high - low).astype(np.float32)[:, np.newaxis]
    return mean


def _coarse(spectrum: ComplexArray) -> FloatArray:
    """The modulation spectrum from 0.1 to 11.7 Hz, pooled by half a hertz and a whole tone, of norm 1: (720,)."""
    power = np.square(np.abs(spectrum[1:97])).reshape(24, 4, N_BANDS // 2, 2).sum(axis=(1, 3))
    vector = np.sqrt(power).ravel()
    return np.asarray(vector / (np.linalg.norm(vector) or 1), np.float32)
