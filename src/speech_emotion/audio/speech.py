"""Is anybody speaking? In: (n_samples,) float32 at 16 kHz. Out: yes or no, so that silence is not called an emotion.

A model that judges speech itself is asked only about what `is_audible`; for any other, `has_speech` decides.

A voice varies in level, moves its spectrum as the mouth moves, has a pitch in its loud moments, and glides.
`describe` measures such things; each number compares the sound with itself, so gain changes nothing above
LEVEL_FLOOR_DB. A network of 16 hidden units weighs them. tools/train_speech_gate.py made its weights,
assets/speech_gate.json, which name their data; results/benchmarks/speech-gate.json says what they achieve.
"""

import functools
import json
from importlib.resources import files
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.errors import ModelFormatError

RATE: Final = SAMPLE_RATE // 2  # pitch and vowels lie below 4 kHz
FRAME: Final = 320  # 40 ms, three periods of the lowest voice
HOP: Final = 160  # 20 ms
MIN_FRAMES: Final = 8
N_FFT: Final = 512
# The bands begin at these bins of 15.6 Hz: 62 Hz to 3.1 kHz.
BAND_EDGES: Final = (4, 8, 12, 16, 20, 26, 32, 40, 50, 64, 80, 100, 128, 160, 200)
N_CEPSTRA: Final = 7
SHORTEST_LAG, LONGEST_LAG = 14, 110  # the periods of 571 and 73 Hz
OCTAVE_COST: Final = 0.05  # a period and two of them are equally periodic: take the shorter

LEVEL_FLOOR_DB: Final = -70.0  # RMS of the loud frames below full scale; the quietest 3 s of RAVDESS have -58
QUIETEST_DB: Final = -45.0  # below the loud frames; what is further below counts as this
HEARD_DB: Final = -25.0  # what is further below the loud frames is a pause
LOUD_DB: Final = -10.0
MIN_PERIODICITY: Final = 0.6
MAX_STEP_OCTAVES: Final = 0.12  # from frame to frame within one tone
MIN_GLIDE_OCTAVES, MAX_STILL_OCTAVES = 0.03, 0.01  # a third and an eighth of a semitone
MIN_SPANS: Final = 3  # fewer tell nothing about gliding
LIMIT: Final = 5.0  # standard deviations beyond which a statistic counts no further

Array = npt.NDArray[Any]

_WINDOW = np.hanning(FRAME + 2)[1:-1].astype(np.float32)
_WINDOW_CORRELATION = np.correlate(_WINDOW, _WINDOW, "full")[FRAME - 1 :][: LONGEST_LAG + 2]
_WINDOW_CORRELATION /= _WINDOW_CORRELATION[0]
_LAGS = np.arange(SHORTEST_LAG, LONGEST_LAG + 1, dtype=np.float32)
_FAVOUR = 1 - OCTAVE_COST * np.log2(_LAGS / SHORTEST_LAG)
_FULL_SCALE = N_FFT / 2 * np.square(_WINDOW).sum()  # power of a frame whose RMS is 1
_N_BANDS = len(BAND_EDGES)
_COSINES = np.cos(np.pi * np.outer(np.arange(_N_BANDS) + 0.5, np.arange(1, N_CEPSTRA + 1)) / _N_BANDS)
_COSINES = (_COSINES * np.sqrt(2 / _N_BANDS)).astype(np.float32)  # (band, cepstrum)


class Weights(NamedTuple):
    """A network with one hidden layer: `centre` and `scale` (n,), `hidden` (n, k), `bias` and `out` (k,)."""

    centre: Array
    scale: Array
    hidden: Array
    bias: Array
    out: Array
    threshold: float

    def score(self, statistics: Array) -> Array:
        """How much rather a voice than not, in logits: (…,) for statistics (…, n)."""
        standard = np.clip((statistics - self.centre) / self.scale, -LIMIT, LIMIT)
        score: Array = np.maximum(standard @ self.hidden + self.bias, 0) @ self.out - self.threshold
        return score


def has_speech(samples: FloatArray) -> bool:
    """Whether `samples`, (n_samples,) at 16 kHz, hold a voice; 3 s take about a millisecond."""
    statistics = describe(samples)
    return statistics is not None and bool(shipped_weights().score(statistics) > 0)


def is_audible(samples: FloatArray) -> bool:
    """Whether `samples`, (n_samples,) at 16 kHz, last 0.2 s and are not below LEVEL_FLOOR_DB throughout."""
    return _is_audible(_power_spectra(samples))


@functools.cache
def shipped_weights() -> Weights:
    """The weights of assets/speech_gate.json; refused with ModelFormatError unless whole."""
    return parse(files("speech_emotion").joinpath("assets", "speech_gate.json").read_bytes())


def parse(data: bytes) -> Weights:
    """The weights written in `data`, JSON with a key for each field of Weights."""
    try:
        found = json.loads(data)
        arrays = [np.array(found[name], np.float32) for name in Weights._fields[:-1]]
        centre, scale, hidden, bias, out = arrays
        n, k = hidden.shape
        is_whole = [array.shape for array in arrays] == [(n,), (n,), (n, k), (k,), (k,)]
        weights = Weights(centre, scale, hidden, bias, out, float(found["threshold"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(_damaged(repr(error))) from error
    if not is_whole or not all(np.isfinite(values).all() for values in weights):
        raise ModelFormatError(_damaged("shapes that do not fit, or values that are no numbers"))
    return weights


def _damaged(what: str) -> str:
    return f"the weights of the speech gate are damaged: {what}. Install speech-emotion again"


def describe(samples: FloatArray) -> Array | None:
    """The statistics (n,) by which a voice is told from other sounds; None below the floor or 0.2 s."""
    power = _power_spectra(samples)  # (frame, bin)
    if not _is_audible(power):
        return None
    level_db = _decibel(power.sum(axis=1))
    loud_db = _percentile(level_db, 95)
    level_db = np.maximum(level_db - loud_db, QUIETEST_DB)
    bands_db = np.maximum(_decibel(np.add.reduceat(power, BAND_EDGES, axis=1)) - loud_db, QUIETEST_DB - 15)
    is_heard = level_db > HEARD_DB
    periodicity, pitch = _pitch(power[is_heard])
    parts = [
        _of_level(level_db, is_heard),
        _of_bands(bands_db, is_heard),
        _of_periodicity(periodicity, level_db, is_heard),
        _of_pitch(_in_place(np.where(periodicity > MIN_PERIODICITY, pitch, np.nan), is_heard, np.nan)),
    ]
    return np.concatenate(parts).astype(np.float32)


def _is_audible(power: Array) -> bool:
    """Whether there are enough frames, and the loud ones above the floor; `power` is (frame, bin)."""
    if len(power) < MIN_FRAMES:
        return False
    return bool(_percentile(_decibel(power.sum(axis=1)), 95) >= LEVEL_FLOOR_DB)


def _power_spectra(samples: FloatArray) -> Array:
    """Power (frame, bin) at half the rate, full scale 1, without the rumble below 62 Hz."""
    n_halved = len(samples) // 2
    halved = (samples[0 : 2 * n_halved : 2] + samples[1 : 2 * n_halved : 2]) / 2
    if n_halved < FRAME:
        return np.zeros((0, N_FFT // 2 + 1))
    frames = np.lib.stride_tricks.sliding_window_view(halved, FRAME)[::HOP]  # (frame, sample)
    spectra = np.fft.rfft(frames * _WINDOW, N_FFT, axis=1)
    power: Array = (np.square(spectra.real) + np.square(spectra.imag)) / _FULL_SCALE
    power[:, : BAND_EDGES[0]] = 0
    return power


def _decibel(power: Array) -> Array:
    decibel: Array = 10 * np.log10(np.maximum(power, 1e-20))
    return decibel


def _percentile(values: Array, *percents: int) -> Array:
    """The nearest of the sorted `values` (n,); np.percentile takes ten times as long."""
    chosen: Array = np.sort(values)[[round(percent / 100 * (len(values) - 1)) for percent in percents]]
    return chosen if len(percents) > 1 else chosen[0]


def _movement(values: Array, *n_steps: int) -> Array:
    """Mean change of `values` (frame, …) over each number of frames; 0 over more than there are."""
    changes = [np.abs(values[n:] - values[:-n]) for n in n_steps]
    return np.ravel([change.sum(axis=0) / max(len(change), 1) for change in changes])


def _in_place(values: Array, is_there: Array, elsewhere: float) -> Array:
    """`values` of the frames that `is_there` marks, among all frames."""
    placed = np.full(len(is_there), elsewhere)
    placed[is_there] = values
    return placed


def _of_level(level_db: Array, is_heard: Array) -> Array:
    """How the level is spread and moves, and how long the sound is."""
    extent = [level_db.max(), is_heard.mean(), np.log2(len(level_db))]
    spread = _percentile(level_db, 5, 10, 25, 50, 75)
    return np.concatenate([spread, extent, _movement(level_db, 1, 2, 4, 8, 16)])


def _of_bands(bands_db: Array, is_heard: Array) -> Array:
    """Where the sound lies, how it moves there, and whether all bands move together, as under one volume knob."""
    heard_db, cepstra = bands_db[is_heard], bands_db @ _COSINES
    mean_db = heard_db.mean(axis=1)  # (frame,)
    shape_db = heard_db - mean_db[:, None]
    flatness_db = mean_db - _decibel((10 ** (heard_db / 10)).mean(axis=1))
    together = mean_db.var() / (heard_db.var(axis=0).mean() + 1)
    shape = [together, shape_db.std(axis=0).mean(), np.abs(shape_db).mean()]
    flatness = [flatness_db.mean(), flatness_db.std()]
    spread = [heard_db.mean(axis=0), heard_db.std(axis=0), cepstra[is_heard].std(axis=0)]
    return np.concatenate([*spread, shape, flatness, _movement(cepstra[:, :4], 1, 2, 4, 8, 16)])


def _pitch(power: Array) -> tuple[Array, Array]:
    """Periodicity, 0 to 1, and pitch in octaves of each frame of `power`: a peak of the autocorrelation."""
    correlation = np.fft.irfft(power, N_FFT, axis=1)[:, : LONGEST_LAG + 2]  # (frame, lag)
    correlation /= correlation[:, :1] * _WINDOW_CORRELATION
    lag = SHORTEST_LAG + (correlation[:, SHORTEST_LAG : LONGEST_LAG + 1] * _FAVOUR).argmax(axis=1)
    before, peak, after = (correlation[np.arange(len(lag)), lag + step] for step in (-1, 0, 1))
    is_peak = (peak > before) & (peak >= after)
    curvature = np.where(is_peak, before - 2 * peak + after, -1)
    offset = (before - after) / curvature / 2  # of the top of the parabola through the three
    return np.where(is_peak, np.clip(peak, 0, 1), 0), np.log2(RATE / (lag + np.clip(offset, -0.5, 0.5)))


def _of_periodicity(periodicity: Array, level_db: Array, is_heard: Array) -> Array:
    """How periodic the heard frames are, and most of all the loud ones."""
    has_pitch, is_loud = periodicity > MIN_PERIODICITY, level_db[is_heard] > LOUD_DB
    shares = [has_pitch.mean(), has_pitch[is_loud].mean(), periodicity[is_loud].mean()]
    shares.append(np.log2(1 + has_pitch.sum()))
    movement = _movement(_in_place(periodicity, is_heard, 0), 1, 4)
    return np.concatenate([_percentile(periodicity, 10, 25, 50, 75, 90), shares, movement])


def _of_pitch(pitch: Array) -> Array:
    """Where the pitch of all frames (octaves, NaN without) lies, and whether it glides or stands still."""
    found = pitch[np.isfinite(pitch)]
    low, middle, high = _percentile(found, 10, 50, 90) if len(found) else (8, 8, 8)
    step = np.abs(np.diff(pitch))
    is_smooth = step < MAX_STEP_OCTAVES  # false next to NaN
    place = [middle, high - low, is_smooth.mean(), step[is_smooth].sum() / max(is_smooth.sum(), 1)]
    return np.array([*place, *_glides(pitch, is_smooth, 4), *_glides(pitch, is_smooth, 8)])


def _glides(pitch: Array, is_smooth: Array, span: int) -> tuple[float, float, float, float]:
    """Of the stretches of `span` smooth steps: how many a frame, how far they glide, how many do, and do not."""
    if len(is_smooth) < span:
        return 0, 0.1, 0.5, 0.1
    is_span = np.lib.stride_tricks.sliding_window_view(is_smooth, span).all(axis=1)
    glides = np.abs(pitch[span:] - pitch[:-span])[is_span]
    share = len(glides) / len(pitch)
    if len(glides) < MIN_SPANS:
        return share, 0.1, 0.5, 0.1
    does, does_not = (glides > MIN_GLIDE_OCTAVES).mean(), (glides < MAX_STILL_OCTAVES).mean()
    return share, float(glides.mean()), float(does), float(does_not)
