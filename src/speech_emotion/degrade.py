"""Degraded sound: noise, telephone, codecs, a room, levels. In and out: (n,) float32 at 16 kHz, full scale at 1.

A Condition degrades a waveform in one known way. Its randomness is derived from (condition, clip name) alone, so that a
clip is degraded alike in every run, for every model and in any order. Nothing is delayed, and all but the crop keep the
length; codecs encode and decode in memory, by libsndfile.
"""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from speech_emotion.audio import AUDIO_SUFFIXES, SAMPLE_RATE, FloatArray, load
from speech_emotion.errors import CorpusError

FRAME: Final = 400  # 25 ms
VOICE_RANGE_DB: Final = 30.0  # frames this far below the loudest one are pauses
LOWEST_NOISE_HZ: Final = 20.0  # below it noise is flat
SNRS_DB: Final = (20, 10, 0)
TELEPHONE_RATE: Final = 8_000
TELEPHONE_BAND_HZ: Final = (300.0, 3_400.0)
EDGE_HZ: Final = 100.0  # over which the band is faded in and out; half of the amplitude passes at its limits
RT60_SECONDS: Final = 0.5
OPUS_16_KBPS: Final = 0.96  # libsndfile: 256 kbit/s at 0, 6 kbit/s at 1
MP3_64_KBPS: Final = 0.6316  # libsndfile below 32 kHz: 160 kbit/s at 0, 8 kbit/s at 1

Samples = npt.NDArray[np.floating]
Degrade = Callable[[FloatArray, np.random.Generator], FloatArray]


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to degrade a sound: a name for files, a title for people, and the function."""

    name: str
    title: str
    degrade: Degrade

    def apply(self, samples: FloatArray, clip: str) -> FloatArray:
        """Degrade the `samples` of the clip of this name: a new array, shorter after a crop."""
        seed = hashlib.sha256(f"{self.name}\0{clip}".encode("utf-8", "surrogateescape")).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "big"))
        return np.asarray(self.degrade(samples, rng), np.float32)


def voice_power(samples: Samples) -> float:
    """Mean power of the voice, not its pauses: of the frames of 25 ms less than 30 dB below the loudest."""
    frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    return float(power[power >= power.max() * 10 ** (-VOICE_RANGE_DB / 10)].mean())


def coloured_noise(n_samples: int, rng: np.random.Generator, exponent: float) -> Samples:
    """(n_samples,) noise whose power falls with frequency to the `exponent`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), LOWEST_NOISE_HZ)
    return np.fft.irfft(spectrum / hz ** (exponent / 2), n_samples)


def add_noise(samples: FloatArray, noise: Samples, *, snr_db: float) -> FloatArray:
    """Add noise (n,) at its ratio to the voice: `voice_power` against the mean power of the noise."""
    noise_power = np.square(noise, dtype=np.float64).mean()
    gain = np.sqrt(voice_power(samples) / noise_power * 10 ** (-snr_db / 10))
    return np.asarray(samples + gain * noise, np.float32)


def add_pink_noise(samples: FloatArray, rng: np.random.Generator, *, snr_db: float) -> FloatArray:
    """Add noise whose power falls with frequency, 3 dB per octave."""
    return add_noise(samples, coloured_noise(len(samples), rng, 1.0), snr_db=snr_db)


def add_recorded_noise(
    samples: FloatArray, rng: np.random.Generator, *, snr_db: float, recordings: Sequence[Path]
) -> FloatArray:
    """Add a passage of one of the recordings, repeated if it is too short; silent passages are skipped."""
    for index in rng.permutation(len(recordings)):
        noise = load(recordings[index]).samples
        start = rng.integers(max(1, len(noise) - len(samples) + 1))
        passage = np.resize(noise[start:], len(samples))
        if passage.any():
            return add_noise(samples, passage, snr_db=snr_db)
    raise CorpusError("The noise recordings are silent. Give a folder of recordings with sound.")


def noise_conditions(folder: str | os.PathLike[str]) -> tuple[Condition, ...]:
    """The recordings below `folder` as noise, at 20, 10 and 0 dB. CorpusError if there are none."""
    recordings = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not recordings:
        raise CorpusError(f"{folder} holds no recording. Give a folder with noise in .wav, .flac, .ogg, …")
    return tuple(
        Condition(
            f"noise-{snr}db",
            f"recorded noise, SNR {snr} dB",
            partial(add_recorded_noise, snr_db=snr, recordings=recordings),
        )
        for snr in SNRS_DB
    )


def telephone(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """A landline: 300–3400 Hz at 8 kHz, in 8-bit µ-law (ITU-T G.711)."""
    narrow = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    frequency = np.fft.rfftfreq(len(narrow), 1 / TELEPHONE_RATE)
    low, high = TELEPHONE_BAND_HZ
    gain = np.clip(np.minimum(frequency - low, high - frequency) / EDGE_HZ + 0.5, 0, 1)
    filtered = np.fft.irfft(np.fft.rfft(narrow) * gain, len(narrow))
    coded = _coded(filtered.astype(np.float32), TELEPHONE_RATE, "WAV", "ULAW")
    return _of_length(soxr.resample(coded, TELEPHONE_RATE, SAMPLE_RATE), len(samples))


def opus(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """Opus at 16 kbit/s, as in calls over the internet."""
    decoded = _coded(samples, SAMPLE_RATE, "OGG", "OPUS", compression_level=OPUS_16_KBPS)
    return _of_length(decoded, len(samples))


def mp3(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """MP3 at a constant 64 kbit/s (at 16 kHz: MPEG-2 layer III)."""
    codec: dict[str, Any] = {"compression_level": MP3_64_KBPS, "bitrate_mode": "CONSTANT"}
    decoded = _coded(samples, SAMPLE_RATE, "MP3", "MPEG_LAYER_III", **codec)
    return _of_length(decoded, len(samples))


def _coded(samples: FloatArray, rate: int, container: str, codec: str, **settings: Any) -> FloatArray:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=codec, **settings)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return np.asarray(decoded)


def _of_length(samples: FloatArray, n_samples: int) -> FloatArray:
    """Cut what a coder added at the end, or pad what it lost there."""
    return np.pad(samples[:n_samples], (0, max(0, n_samples - len(samples))))


def room_response(rng: np.random.Generator, rt60: float = RT60_SECONDS, direct_db: float = 0.0) -> Samples:
    """The impulse response of a room: the direct sound, then white noise that decays by 60 dB in `rt60` seconds.

    `direct_db` is the energy of the direct sound against that of the noise (Polack 1988).
    """
    time = np.arange(1, round(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    return np.concatenate([[1.0], tail / np.sqrt(np.square(tail).sum()) * 10 ** (-direct_db / 20)])


def convolve(samples: Samples, response: Samples) -> Samples:
    """(n,): `samples` through an impulse response, cut to their length."""
    n_fft = 1 << (len(samples) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(samples, n_fft) * np.fft.rfft(response, n_fft)
    return np.fft.irfft(spectrum, n_fft)[: len(samples)]


def reverberate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The voice in a room, as loud as before."""
    reverberant = convolve(samples, room_response(rng))
    gain = np.sqrt(voice_power(samples) / max(voice_power(reverberant), 1e-30))
    return np.asarray(reverberant * gain, np.float32)


def amplify(samples: FloatArray, _: np.random.Generator, *, decibels: float) -> FloatArray:
    """Louder or quieter; what leaves full scale is clipped."""
    return np.asarray(np.clip(samples * 10 ** (decibels / 20), -1, 1), np.float32)


def loudest_second(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """The 16 000 samples in a row with the most energy; shorter sounds stay whole."""
    if len(samples) <= SAMPLE_RATE:
        return samples.copy()
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    start = int(np.argmax(energy[SAMPLE_RATE:] - energy[:-SAMPLE_RATE]))
    return samples[start : start + SAMPLE_RATE].copy()


def unchanged(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """As recorded."""
    return samples.copy()


CLEAN: Final = Condition("clean", "clean", unchanged)
CONDITIONS: Final[tuple[Condition, ...]] = (
    CLEAN,
    *(
        Condition(f"pink-{snr}db", f"pink noise, SNR {snr} dB", partial(add_pink_noise, snr_db=snr))
        for snr in SNRS_DB
    ),
    Condition("telephone", "telephone, 300–3400 Hz, µ-law", telephone),
    Condition("opus-16k", "Opus, 16 kbit/s", opus),
    Condition("mp3-64k", "MP3, 64 kbit/s", mp3),
    Condition("reverb", "room, RT60 0.5 s", reverberate),
    Condition("gain-up", "12 dB louder, clipped", partial(amplify, decibels=12.0)),
    Condition("gain-down", "12 dB quieter", partial(amplify, decibels=-12.0)),
    Condition("second", "the loudest second alone", loudest_second),
)
