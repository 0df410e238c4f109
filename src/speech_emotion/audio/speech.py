"""Is there anything to score? In: (n_samples,) float32 at 16 kHz. Out: yes or no.

Silence never reaches a model. Whether an audible sound is speech is for the model to say (its output `speech`).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import FloatArray

FRAME: Final = 320  # 40 ms at half the rate
HOP: Final = 160  # 20 ms
MIN_FRAMES: Final = 8
N_FFT: Final = 512
LOWEST_BIN: Final = 4  # 62 Hz: what is below is rumble
LOUD_PERCENTILE: Final = 95
LEVEL_FLOOR_DB: Final = -70.0  # RMS of the loud frames below full scale; the quietest 3 s of RAVDESS have -58

_WINDOW = np.hanning(FRAME + 2)[1:-1].astype(np.float32)
_FULL_SCALE = N_FFT / 2 * np.square(_WINDOW).sum()  # power of a frame whose RMS is 1


def is_audible(samples: FloatArray) -> bool:
    """Whether a sound is long and loud enough to be scored.

    Args:
        samples: (n_samples,) at 16 kHz.

    Returns:
        False if `samples` are shorter than 0.2 s, or if even their loud frames are below LEVEL_FLOOR_DB.
    """
    level_db = _levels(samples)
    if len(level_db) < MIN_FRAMES:
        return False
    loud = round(LOUD_PERCENTILE / 100 * (len(level_db) - 1))  # np.percentile takes ten times as long
    return bool(np.sort(level_db)[loud] >= LEVEL_FLOOR_DB)


def _levels(samples: FloatArray) -> npt.NDArray[Any]:
    """Level of each frame (n_frames,) in dB below full scale, without the rumble below 62 Hz, at half the rate."""
    n_halved = len(samples) // 2
    halved = (samples[0 : 2 * n_halved : 2] + samples[1 : 2 * n_halved : 2]) / 2
    if n_halved < FRAME:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(halved, FRAME)[::HOP]  # (frame, sample)
    spectra = np.fft.rfft(frames * _WINDOW, N_FFT, axis=1)[:, LOWEST_BIN:]
    power = (np.square(spectra.real) + np.square(spectra.imag)).sum(axis=1) / _FULL_SCALE
    return np.asarray(10 * np.log10(np.maximum(power, 1e-20)))
