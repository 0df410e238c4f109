"""Calibration. In: logits of validation recordings. Out: a temperature, and thresholds for labels and sets.

The temperature (Guo et al. 2017, arXiv 1706.04599) divides the logits; docs/confidence.md explains the thresholds.
The probability of a recording is the mean over its windows, as users get it. The speech check is left out: it rejects
less than one in a hundred windows of acted speech.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from torch import Tensor

from speech_emotion.evaluation.metrics import SET_COVERAGE, FloatArray, IntArray

FALSE_ABSTENTIONS: Final = 0.02  # the share of good recordings that may get "not sure"
DECIMALS: Final = 6  # of the evidence that is kept


@dataclass(frozen=True)
class Calibration:
    """How a model turns logits into answers. `thresholds`: see `fit_thresholds`.

    `of_window`: embeddings (batch, n_embedding) → a temperature for each (batch, 1), in place of the one.
    """

    temperature: float
    thresholds: Mapping[str, float] = field(default_factory=dict)
    of_window: Callable[[Tensor], Tensor] | None = None


def softmax(logits: FloatArray) -> FloatArray:
    """(n, n_labels) → rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def pooled(logits: FloatArray, recording: IntArray, temperature: float) -> FloatArray:
    """Mean probabilities of each recording's windows: (n_windows, n_labels) → (n_recordings, n_labels)."""
    sums = np.zeros((int(recording.max()) + 1, logits.shape[1]))
    np.add.at(sums, recording, softmax(logits / temperature))
    return np.asarray(sums / sums.sum(axis=1, keepdims=True))


def fit_temperature(
    logits: FloatArray, recording: IntArray, labels: IntArray, *, n_speakers: float = math.inf
) -> float:
    """The temperature in [0.05, 20] under which the labels of the recordings are most likely.

    logits (n_windows, n_labels), recording (n_windows,) index of its recording, labels (n_recordings,).
    Recordings of one speaker err alike, so `n_speakers` weigh against a prior of one more speaker, whose labels are
    as the uncalibrated probabilities say: temperature 1 (a conjugate prior: Diaconis & Ylvisaker 1979). Golden-section
    search over log temperature (Kiefer 1953); the loss has one minimum in practice.
    """
    prior = 1 / (1 + n_speakers)
    targets = prior * pooled(logits, recording, 1.0)
    targets[np.arange(len(labels)), labels] += 1 - prior

    def loss(log_temperature: float) -> float:
        probabilities = pooled(logits, recording, math.exp(log_temperature))
        return float(-(targets * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean())

    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def evidence(probabilities: FloatArray, labels: IntArray) -> dict[str, list[float]]:
    """What the thresholds are fitted to: calibrated probabilities (n, n_labels), labels (n,) → JSON.

    "scores": 1 - the probability of what was spoken; "confidences": the largest probability. One of each per recording.
    """
    spoken = probabilities[np.arange(len(labels)), labels]
    return {
        "scores": (1 - spoken).round(DECIMALS).tolist(),
        "confidences": probabilities.max(axis=1).round(DECIMALS).tolist(),
    }


def fit_thresholds(evidences: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """The thresholds of a model, from the `evidence` of its fold, or of all folds if it learned from all speakers.

    "set": the set of an answer holds the emotions with p ≥ 1 - set, and the best. It is the split-conformal quantile
    of the scores, the ceil((n + 1) · 0.9)-th smallest (Sadinle et al. 2019, arXiv 1609.00451): the set of a new
    recording like the n holds what was spoken 9 times in 10. With fewer than 9 recordings it is 1: every emotion.

    "not_sure": an answer whose confidence is lower has no label. It is the floor((n + 1) · 0.02)-th smallest
    confidence: a new recording like the n falls below it at most 2 times in 100. With fewer than 49 it is 0: never.
    """
    scores, confidences = (
        sorted(value for some in evidences for value in some[name]) for name in ("scores", "confidences")
    )
    n = len(scores)
    if not n:
        return {}
    kept, lost = math.ceil((n + 1) * SET_COVERAGE - 1e-9), math.floor((n + 1) * FALSE_ABSTENTIONS + 1e-9)
    return {
        "not_sure": confidences[lost - 1] if lost else 0.0,
        "set": scores[kept - 1] if kept <= n else 1.0,
    }
