"""What the player draws of a sound. In: frames of 16 kHz samples. Out: log-mel power, pitch and loudness.

Plain numpy, frame by frame, so that a picture of any stretch costs the same however long the recording is. The log-mel
is that of `speech_emotion.training.networks.frontend.LogMel`, which the tests compare it with.
"""

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16_000
N_MELS: Final = 64
MEL_FRAME: Final = 512  # samples
LOW_HZ: Final = 50.0
PITCH_FRAME: Final = 1024  # samples: almost four periods of the lowest voice
PITCH_HZ: Final = (60.0, 500.0)
UNVOICED: Final = 0.3  # of the normalised difference; of speech 0.2 finds less of it, 0.4 wrong octaves
POWER_FLOOR: Final = 1e-10
SILENCE_DB: Final = -90.0

FloatArray = npt.NDArray[np.float32]
Samples = npt.NDArray[np.floating[Any]]


def frames_at(samples: npt.NDArray[np.int16], centres: npt.NDArray[np.int64], size: int) -> FloatArray:
    """Cut frames out of a recording. At its ends they move inwards; a shorter recording is padded with zeros.

    Args:
        samples: (n_samples,) 16-bit samples.
        centres: (n_frames,) the sample in the middle of each frame.
        size: The length of a frame in samples.

    Returns:
        (n_frames, size), full scale is 1.
    """
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    starts = np.clip(centres - size // 2, 0, len(samples) - size)
    return np.asarray(samples[starts[:, None] + np.arange(size)] / np.float32(32768), np.float32)


def mel_power(frames: FloatArray) -> FloatArray:
    """(n_frames, MEL_FRAME) → power in each mel band, (n_frames, N_MELS)."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(MEL_FRAME) / MEL_FRAME)
    spectrum = np.fft.rfft(frames * window.astype(np.float32), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return (power @ _filters().T).astype(np.float32)


def log_mel(frames: FloatArray) -> FloatArray:
    """(n_frames, MEL_FRAME) → natural logarithm of mel power, floored at 1e-10, (n_frames, N_MELS)."""
    return np.log(np.maximum(mel_power(frames), POWER_FLOOR))


def mel_of(hz: Samples) -> npt.NDArray[np.float64]:
    """Hertz on Slaney's mel scale: linear to 1 kHz, logarithmic above."""
    hz = np.asarray(hz, np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1) / 1000) * 27 / np.log(6.4))


def hz_of(mel: Samples) -> npt.NDArray[np.float64]:
    """The inverse of `mel_of`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def pitch(frames: FloatArray) -> FloatArray:
    """The fundamental frequency of each frame by YIN (de Cheveigné & Kawahara 2002, doi 10.1121/1.1458024).

    Args:
        frames: (n_frames, PITCH_FRAME).

    Returns:
        (n_frames,) hertz within PITCH_HZ; NaN where no frequency repeats well enough.
    """
    shortest, longest = int(RATE / PITCH_HZ[1]), int(np.ceil(RATE / PITCH_HZ[0]))
    difference = _difference(frames, longest + 1)
    running = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, longest + 2)
    # A voice under a constant offset has none of its dips below the threshold; silence has no sum to divide by.
    normal = np.ones_like(difference)
    np.divide(difference[:, 1:], running, out=normal[:, 1:], where=running > 1e-9)
    inner = normal[:, shortest : longest + 1]
    is_dip = (inner <= normal[:, shortest - 1 : longest]) & (inner < normal[:, shortest + 1 : longest + 2])
    found = is_dip & (inner < UNVOICED)
    lag = shortest + found.argmax(axis=1)
    rows = np.arange(len(frames))
    before, at, after = (normal[rows, lag + step] for step in (-1, 0, 1))
    curve = before - 2 * at + after
    shift = np.divide(before - after, 2 * curve, out=np.zeros_like(at), where=curve > 0)
    hz = RATE / (lag + np.clip(shift, -1, 1))
    return np.asarray(np.where(found.any(axis=1), hz, np.nan), np.float32)


def loudness(frames: FloatArray) -> FloatArray:
    """(n_frames, n) → the level of each frame in decibels below full scale, (n_frames,); at least SILENCE_DB."""
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    return np.asarray(np.maximum(10 * np.log10(np.maximum(power, 1e-12)), SILENCE_DB), np.float32)


def _difference(frames: FloatArray, n_lags: int) -> FloatArray:
    """The squared difference of the first part of each frame and the same part a lag later, (n_frames, n_lags + 1)."""
    frames = frames - frames.mean(axis=1, keepdims=True)
    size = frames.shape[1]
    width = size - n_lags  # of the part that is compared: the same for every lag
    n_fft = 1 << (size + width - 1).bit_length()
    head = np.fft.rfft(frames[:, :width], n_fft, axis=1)
    product = np.fft.irfft(np.fft.rfft(frames, n_fft, axis=1) * head.conj(), n_fft, axis=1)[:, : n_lags + 1]
    energy = np.concatenate([np.zeros((len(frames), 1), np.float32), np.cumsum(frames**2, axis=1)], axis=1)
    lags = np.arange(n_lags + 1)
    moved = energy[:, lags + width] - energy[:, lags]
    return np.asarray(np.maximum(moved[:, :1] + moved - 2 * product, 0), np.float32)


@cache
def _filters() -> npt.NDArray[np.float32]:
    """Triangles of unit area, (N_MELS, 1 + MEL_FRAME // 2)."""
    low, high = mel_of(np.array([LOW_HZ, RATE / 2]))
    edges = hz_of(np.linspace(low, high, N_MELS + 2))
    bins = np.arange(1 + MEL_FRAME // 2) * RATE / MEL_FRAME
    widths, ramps = np.diff(edges), edges[:, None] - bins
    triangles = np.minimum(-ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None])
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(triangles, 0) * area[:, None]).astype(np.float32)
