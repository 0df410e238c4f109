"""Synthetic sounds for tests, at any rate: a voice-like hum in syllables, and how to write it as a file."""

import io

import numpy as np
import numpy.typing as npt
import soundfile

FloatArray = npt.NDArray[np.float32]


def voice(seconds: float, sample_rate: int = 16_000, *, f0: float = 140.0, peak: float = 0.4) -> FloatArray:
    """Harmonics of a gliding pitch under three formants that move, in four syllables a second."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = f0 * (1 + 0.12 * np.sin(2 * np.pi * 0.7 * t) + 0.02 * np.sin(2 * np.pi * 5.3 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    formants = [
        (550 + 250 * np.sin(2 * np.pi * 1.9 * t), 90),
        (1500 + 500 * np.sin(2 * np.pi * 1.3 * t), 130),
    ]
    formants += [(2600 + 0 * t, 200)]
    sound = np.zeros_like(t)
    for harmonic in range(1, 26):
        frequency = harmonic * pitch
        gain = sum(np.exp(-0.5 * ((frequency - centre) / width) ** 2) for centre, width in formants)
        sound += (0.02 + gain) * np.sin(harmonic * phase) / np.sqrt(harmonic)
    syllables = np.clip(np.sin(2 * np.pi * 2 * t) ** 2 * 1.6 - 0.3, 0, 1)
    breath = 0.003 * np.random.default_rng(5).standard_normal(len(t))
    sound = sound * syllables + breath
    return (sound * peak / np.abs(sound).max()).astype(np.float32)


def wav(samples: FloatArray, sample_rate: int = 16_000, *, subtype: str = "PCM_16") -> bytes:
    """The bytes of a WAV file of `samples`."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()
