"""Temperature: the one that was put in is found again, on pooled windows as on single ones."""

import numpy as np
import pytest

from speech_emotion.training.calibrate import fit_temperature, pooled, softmax


def drawn(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.7])
def test_a_known_temperature_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2 * temperature, (20_000, 8))
    labels = drawn(softmax(logits / temperature), rng)
    assert fit_temperature(logits, np.arange(20_000), labels) == pytest.approx(temperature, rel=0.03)


def test_what_is_calibrated_is_the_mean_over_the_windows_of_a_recording() -> None:
    rng = np.random.default_rng(2)
    recording = np.repeat(np.arange(6_000), 3)
    logits = (rng.normal(0, 4, (6_000, 8))[:, None] + rng.normal(0, 3, (6_000, 3, 8))).reshape(-1, 8)
    labels = drawn(pooled(logits, recording, 2.0), rng)
    assert fit_temperature(logits, recording, labels) == pytest.approx(2.0, rel=0.05)
    assert fit_temperature(logits[::3], np.arange(6_000), labels) > 2.2  # one window alone knows less


def test_the_order_of_windows_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    logits, recording = rng.normal(0, 2, (30, 4)), rng.permutation(np.repeat(np.arange(10), 3))
    order = rng.permutation(30)
    np.testing.assert_allclose(pooled(logits[order], recording[order], 1.5), pooled(logits, recording, 1.5))


def test_pooled_is_the_mean_of_probabilities() -> None:
    logits = np.log([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]])
    np.testing.assert_allclose(pooled(logits, np.array([0, 0, 1]), 1.0), [[0.6, 0.4], [0.1, 0.9]])


def test_softmax_of_huge_logits_is_finite() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0, -1e4], [2.0, 2.0, 2.0]])), [[1, 0, 0], [1 / 3] * 3])


def test_the_answer_stays_in_its_range() -> None:
    certain = np.array([[9.0, 0.0], [0.0, 9.0]])
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert 0.05 <= fit_temperature(certain, np.arange(2), right) < 0.3
    assert fit_temperature(certain, np.arange(2), wrong) == pytest.approx(20, rel=1e-3)
