"""Augmentation of waveforms. In and out: (n,) float32 at 16 kHz; randomness from a numpy generator.

Embeddings use all of it, frames only speed, telephone and room: the rest is computed on log-mel (augment.py).
"""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.training.config import AugmentConfig

N_KNOTS: Final = 5
LOWEST_HZ: Final = 50.0  # below it noise is flat
EDGE_HZ: Final = 100.0
MU: Final = 255.0
LOW_HZ, HIGH_HZ = (150.0, 450.0), (3_000.0, 4_200.0)  # of telephone bands
LOWPASS_HZ: Final = (3_000.0, 7_500.0)
CODECS: Final = (
    ("OGG", "OPUS", (0.7, 0.98)),
    ("MP3", "MPEG_LAYER_III", (0.3, 0.9)),
)  # libsndfile's compression level
RT60_SECONDS, DIRECT_DB = (0.15, 0.8), (-6.0, 6.0)  # of rooms; direct sound against reverberation

Rng = np.random.Generator
Response = npt.NDArray[np.float64]


def at_speed(samples: FloatArray, speed: float) -> FloatArray:
    """As if recorded at another rate: tempo and pitch move together (Ko et al. 2015)."""
    if speed == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ"))


def augmented(samples: FloatArray, config: AugmentConfig, rng: Rng) -> FloatArray:
    """Telephone or room, another microphone, noise, a narrower band and a codec: each with its probability."""
    draw = rng.random()
    if draw < config.telephone_probability:
        samples = over_the_telephone(samples, rng)
    elif draw < config.telephone_probability + config.room_probability:
        samples = in_a_room(samples, rng)
    samples = tilted(samples, config.tilt_db, rng)
    if rng.random() < config.noise_probability:
        samples = with_noise(samples, config.noise_snr_db, rng)
    if config.lowpass_probability and rng.random() < config.lowpass_probability:
        samples = lowpassed(samples, rng)
    if config.codec_probability and rng.random() < config.codec_probability:
        samples = coded(samples, rng)
    return samples


def over_the_telephone(samples: FloatArray, rng: Rng) -> FloatArray:
    """A narrow band, then 8-bit µ-law (ITU-T G.711) with the peak between a tenth of full scale and full scale."""
    low, high = rng.uniform(*LOW_HZ), rng.uniform(*HIGH_HZ)
    hz = _frequencies(len(samples))
    narrow = _filtered(samples, np.clip(np.minimum(hz - low, high - hz) / EDGE_HZ + 0.5, 0, 1))
    full = np.abs(narrow).max() * 10 ** rng.uniform(0, 1) + np.finfo(np.float32).tiny
    steps = np.round(128 * np.sign(narrow) * np.log1p(MU * np.abs(narrow) / full) / np.log1p(MU)) / 128
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU * full, np.float32)


def in_a_room(samples: FloatArray, rng: Rng) -> FloatArray:
    """The direct sound, then noise that decays by 60 dB in the reverberation time (Polack 1988)."""
    rt60 = rng.uniform(*RT60_SECONDS)
    seconds = np.arange(1, round(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / rt60)
    tail *= 10 ** (-rng.uniform(*DIRECT_DB) / 20) / np.sqrt(np.square(tail).sum())
    n = len(samples) + len(tail)
    spectrum = np.fft.rfft(samples, _size(n)) * np.fft.rfft(np.concatenate([[1.0], tail]), _size(n))
    return np.asarray(np.fft.irfft(spectrum, _size(n))[: len(samples)], np.float32)


def tilted(samples: FloatArray, max_db: float, rng: Rng) -> FloatArray:
    """Another microphone: a gain curve up to ± max_db at its five knots, which are evenly spaced in octaves."""
    knots = rng.uniform(-max_db, max_db, N_KNOTS)
    octave = np.log2(np.maximum(_frequencies(len(samples)), LOWEST_HZ))
    return _filtered(
        samples, 10 ** (np.interp(octave, np.linspace(octave[0], octave[-1], N_KNOTS), knots) / 20)
    )


def with_noise(samples: FloatArray, snr_db: Sequence[float], rng: Rng) -> FloatArray:
    """Steady noise, from brown to slightly blue, at a ratio to the mean power of the sound."""
    lowest, highest = snr_db
    power = np.square(samples, dtype=np.float64).mean() * 10 ** (-rng.uniform(lowest, highest) / 10)
    fall = rng.uniform(-2.5, 0.5)
    hz = np.maximum(_frequencies(len(samples)), LOWEST_HZ)
    noise = _filtered(rng.standard_normal(len(samples)), hz ** (fall / 2)).astype(np.float64)
    noise *= np.sqrt(power / np.square(noise).mean())
    return np.asarray(samples + noise, np.float32)


def lowpassed(samples: FloatArray, rng: Rng) -> FloatArray:
    """Without what is above a frequency between 3 and 7.5 kHz."""
    hz = _frequencies(len(samples))
    return _filtered(samples, np.clip((rng.uniform(*LOWPASS_HZ) - hz) / EDGE_HZ + 0.5, 0, 1))


def coded(samples: FloatArray, rng: Rng) -> FloatArray:
    """Encoded and decoded by Opus or MP3, from some 16 to 100 kbit/s."""
    container, codec, levels = CODECS[rng.integers(len(CODECS))]
    file = io.BytesIO()
    level = rng.uniform(*levels)
    soundfile.write(file, samples, SAMPLE_RATE, format=container, subtype=codec, compression_level=level)
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0][: len(samples)]
    return np.asarray(np.pad(decoded, (0, len(samples) - len(decoded))), np.float32)


def _filtered(samples: npt.NDArray[np.floating], gain: Response) -> FloatArray:
    n = _size(len(samples))
    return np.asarray(np.fft.irfft(np.fft.rfft(samples, n) * gain, n)[: len(samples)], np.float32)


def _frequencies(n_samples: int) -> Response:
    return np.asarray(np.fft.rfftfreq(_size(n_samples), 1 / SAMPLE_RATE), np.float64)


def _size(n_samples: int) -> int:
    """The next power of two, for a fast transform."""
    return 1 << (n_samples - 1).bit_length()
