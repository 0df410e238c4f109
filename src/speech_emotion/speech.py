"""Is anybody speaking? In: (n_samples,) float32 at 16 kHz. Out: yes or no, so that silence is not called an emotion.

A voice varies in level, moves its spectrum as the mouth moves, has a pitch in its loud moments, and glides. Each
test compares the sound with itself, so gain changes nothing above LEVEL_FLOOR_DB. The thresholds were chosen on
half of the recordings that benchmarks/speech_gate.py measures; results/benchmarks/speech-gate.json says what they
achieve on all of them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE, FloatArray

RATE = SAMPLE_RATE // 2  # pitch and vowels lie below 4 kHz
FRAME = 320  # 40 ms, three periods of the lowest voice
HOP = 160  # 20 ms
FRAMES_IN_3_S = 149
N_FFT = 512
BAND_EDGES = (4, 16, 32, 64, 96, 128, 192)  # bins: 62, 250, 500, 1000, 1500, 2000 and 3000 Hz
SHORTEST_LAG, LONGEST_LAG = 17, 110  # the periods of 470 and 73 Hz
OCTAVE_COST = 0.05  # a period and two of them are equally periodic: take the shorter
SPAN = 4  # steps of 20 ms over which a pitch glides or stands still

LEVEL_FLOOR_DB = -70.0  # RMS of the loud frames below full scale; the quietest 3 s of RAVDESS have -58
HEARD_DB = 25.0  # what is further below the loud frames is a pause
LOUD_DB = 10.0
# Each threshold stands between two kinds of sound, of which the 1st and 50th percentiles are given; "in noise"
# is speech 10 dB above it.
MIN_DYNAMICS_DB = 12.0  # in 3 s, in proportion in less: speech 19-28, in noise 15-18, music 5-11
MIN_ARTICULATION_DB = 3.5  # speech 8-10, in noise 4-5, rain 2-3
MIN_PERIODICITY = 0.6
MIN_VOICED_FRAMES = 7  # 0.14 s: 99 % of single spoken words have as much
MIN_VOICED_SHARE = 0.3  # of the loud frames: speech 0.5-0.9
MIN_LOW_TO_HIGH_DB = -4.0  # below against above 1 kHz, vowels against hiss: speech -2 to 8
MAX_STEP_OCTAVES = 0.12  # within one tone
MIN_SPANS = 8  # fewer tell nothing about gliding
MIN_GLIDE_OCTAVES = 0.03  # a third of a semitone
MIN_GLIDING_SHARE = 0.3  # of the spans: speech 0.3-0.8, music 0-0.2

Array = npt.NDArray[Any]

_WINDOW = np.hanning(FRAME + 2)[1:-1].astype(np.float32)
_WINDOW_CORRELATION = np.correlate(_WINDOW, _WINDOW, "full")[FRAME - 1 :][: LONGEST_LAG + 2]
_WINDOW_CORRELATION /= _WINDOW_CORRELATION[0]
_FAVOUR = 1 - OCTAVE_COST * np.log2(np.arange(SHORTEST_LAG, LONGEST_LAG + 1) / SHORTEST_LAG)
_FULL_SCALE = N_FFT / 2 * np.square(_WINDOW).sum()  # power of a frame whose RMS is 1


def has_speech(samples: FloatArray) -> bool:
    """Whether `samples`, (n_samples,) at 16 kHz, hold a voice; 3 s take about a millisecond."""
    power = _power_spectra(samples)  # (frame, bin)
    if len(power) < MIN_VOICED_FRAMES:
        return False
    level_db = _decibel(power.sum(axis=1))
    loud_db = np.percentile(level_db, 95)
    is_heard = level_db > loud_db - HEARD_DB
    return bool(
        loud_db >= LEVEL_FLOOR_DB
        and loud_db - np.percentile(level_db, 10) >= MIN_DYNAMICS_DB * min(1, len(power) / FRAMES_IN_3_S)
        and _articulates(power[is_heard])
        and _is_voiced(_pitch(power, is_heard), is_loud=level_db > loud_db - LOUD_DB)
    )


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


def _articulates(power: Array) -> bool:
    """Whether the bands of `power` (frame, bin) rise and fall, and vowels outweigh hiss."""
    bands = np.add.reduceat(power, BAND_EDGES, axis=1)  # (frame, band)
    low, high = bands[:, :3].sum(), bands[:, 3:].sum()
    movement_db = _decibel(bands).std(axis=0).mean()
    return bool(movement_db >= MIN_ARTICULATION_DB and _decibel(low) - _decibel(high) >= MIN_LOW_TO_HIGH_DB)


def _pitch(power: Array, is_heard: Array) -> Array:
    """Pitch of each frame in octaves, NaN without one: a peak of the autocorrelation."""
    correlation = np.fft.irfft(power[is_heard], N_FFT, axis=1)[:, : LONGEST_LAG + 2]  # (frame, lag)
    correlation /= correlation[:, :1] * _WINDOW_CORRELATION
    lag = SHORTEST_LAG + (correlation[:, SHORTEST_LAG : LONGEST_LAG + 1] * _FAVOUR).argmax(axis=1)
    before, peak, after = (correlation[np.arange(len(lag)), lag + step] for step in (-1, 0, 1))
    is_peak = (peak > MIN_PERIODICITY) & (peak > before) & (peak >= after)
    curvature = np.where(is_peak, before - 2 * peak + after, -1)
    offset = (before - after) / curvature / 2  # of the top of the parabola through the three
    pitch = np.full(len(power), np.nan)
    pitch[is_heard] = np.where(is_peak, np.log2(RATE / (lag + np.clip(offset, -0.5, 0.5))), np.nan)
    return pitch


def _is_voiced(pitch: Array, *, is_loud: Array) -> bool:
    """Whether there is enough pitch, most of all where it is loud, and it does not stand still as in music."""
    has_pitch = np.isfinite(pitch)
    if has_pitch.sum() < MIN_VOICED_FRAMES or has_pitch[is_loud].mean() < MIN_VOICED_SHARE:
        return False
    is_smooth = np.abs(np.diff(pitch)) < MAX_STEP_OCTAVES  # false next to NaN
    is_span = np.lib.stride_tricks.sliding_window_view(is_smooth, SPAN).all(axis=1)
    glides = np.abs(pitch[SPAN:] - pitch[:-SPAN])[is_span]
    return len(glides) < MIN_SPANS or bool((glides > MIN_GLIDE_OCTAVES).mean() >= MIN_GLIDING_SHARE)
