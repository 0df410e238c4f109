"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599). In: validation logits. Out: one positive number.

What is calibrated is what a user gets: the mean of the windows' probabilities over a recording. Only the speech gate is
left out: it rejects less than one in a hundred windows of acted speech.
"""

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def softmax(logits: FloatArray) -> FloatArray:
    """(n, n_labels) → rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def pooled(logits: FloatArray, recording: npt.NDArray[np.int64], temperature: float) -> FloatArray:
    """Mean probabilities of each recording's windows: (n_windows, n_labels) → (n_recordings, n_labels)."""
    sums = np.zeros((int(recording.max()) + 1, logits.shape[1]))
    np.add.at(sums, recording, softmax(logits / temperature))
    return np.asarray(sums / sums.sum(axis=1, keepdims=True))


def fit_temperature(
    logits: FloatArray, recording: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]
) -> float:
    """The temperature in [0.05, 20] under which the labels of the recordings are most likely.

    logits (n_windows, n_labels), recording (n_windows,) index of its recording, labels (n_recordings,).
    Golden-section search over log temperature (Kiefer 1953); the loss has one minimum in practice.
    """

    def loss(log_temperature: float) -> float:
        chosen = pooled(logits, recording, math.exp(log_temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)
