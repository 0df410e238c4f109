"""Temperature: the one that was put in is found again, on pooled windows as on single ones. Thresholds: what they
promise of a new recording is so."""

import numpy as np
import pytest

from speech_emotion.evaluation.metrics import ece
from speech_emotion.training.fit.calibration import evidence, fit_temperature, fit_thresholds, pooled, softmax


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


def test_the_prior_weighs_like_one_more_speaker_whose_temperature_is_1() -> None:
    rng = np.random.default_rng(4)
    logits, recording = rng.normal(0, 3, (4_000, 8)), np.arange(4_000)
    labels = drawn(softmax(logits / 2.0), rng)
    found = [fit_temperature(logits, recording, labels, n_speakers=n) for n in (0, 1, 8, float("inf"))]
    assert found == sorted(found)
    assert found[0] == pytest.approx(1.0, abs=1e-3)  # no speaker: the prior alone
    assert found[-1] == pytest.approx(2.0, rel=0.05)
    extra = drawn(softmax(logits), rng)  # that speaker, in person
    twice = np.concatenate([logits, logits])
    in_person = fit_temperature(twice, np.arange(8_000), np.concatenate([labels, extra]))
    assert found[1] == pytest.approx(in_person, rel=0.03)


def test_all_right_is_no_proof_of_certainty() -> None:
    certain = np.array([[9.0, 0.0], [0.0, 9.0]])
    right = np.array([0, 1])
    assert fit_temperature(certain, np.arange(2), right) < 0.3
    assert fit_temperature(certain, np.arange(2), right, n_speakers=2) == pytest.approx(1.0, abs=0.2)


def test_with_two_speakers_who_differ_the_prior_lowers_the_calibration_error() -> None:
    """Speakers whose own best temperatures spread by 40 % around 0.85; 60 recordings each, as in the RAVDESS."""
    rng = np.random.default_rng(5)

    def speech(n_speakers: int) -> tuple[np.ndarray, np.ndarray]:
        logits = rng.normal(0, 2, (n_speakers, 60, 8))
        labels = drawn(softmax(logits.reshape(-1, 8)), rng)
        own = np.exp(rng.normal(np.log(0.85), 0.4, (n_speakers, 1, 1)))
        return (logits * own).reshape(-1, 8), labels

    errors = []
    for _ in range(60):
        (seen, labels), (new, new_labels) = speech(2), speech(20)
        found = [fit_temperature(seen, np.arange(120), labels, n_speakers=n) for n in (float("inf"), 2)]
        errors.append([ece(new_labels, softmax(new / temperature)) for temperature in found])
    gains = -np.diff(errors)
    assert gains.mean() > 0.005
    assert gains.mean() > 3 * gains.std(ddof=1) / np.sqrt(len(gains))


def test_evidence_is_one_score_and_one_confidence_a_recording() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    assert evidence(probabilities, np.array([0, 1])) == {"scores": [0.3, 0.7], "confidences": [0.7, 0.4]}
    nothing = evidence(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert nothing == {"scores": [], "confidences": []}
    assert fit_thresholds([nothing]) == {}


def test_thresholds_are_order_statistics() -> None:
    """Of 99 recordings: the 90th smallest score, and the 2nd smallest confidence."""
    some = {"scores": [i / 100 for i in range(1, 100)], "confidences": [i / 100 for i in range(99, 0, -1)]}
    assert fit_thresholds([some]) == {"set": 0.9, "not_sure": 0.02}


def test_the_thresholds_of_folds_are_those_of_all_their_recordings() -> None:
    rng = np.random.default_rng(6)
    values = rng.random((2, 300)).round(6).tolist()
    whole = {"scores": values[0], "confidences": values[1]}
    parts = [{name: some[start::5] for name, some in whole.items()} for start in range(5)]
    assert fit_thresholds(parts) == fit_thresholds([whole])
    assert fit_thresholds(parts) != fit_thresholds(parts[:1])


@pytest.mark.parametrize(
    ("n", "set_", "not_sure"), [(8, 1.0, 0.0), (9, 0.5, 0.0), (48, 0.5, 0.0), (49, 0.5, 0.6)]
)
def test_too_few_recordings_decide_nothing(n: int, set_: float, not_sure: float) -> None:
    some = {"scores": [0.5] * n, "confidences": [0.6] * n}
    assert fit_thresholds([some]) == {"set": set_, "not_sure": not_sure}


def test_new_recordings_like_the_validation_are_covered_and_answered_as_promised() -> None:
    """Over 300 draws of 120 recordings, with a model that is far too sure of itself: the promise holds anyway."""
    rng = np.random.default_rng(7)
    covered, unsure = [], []
    for _ in range(300):
        logits = rng.normal(0, 2, (240, 8))
        labels = drawn(softmax(logits), rng)
        probabilities = softmax(3 * logits)
        found = fit_thresholds([evidence(probabilities[:120], labels[:120])])
        new, spoken = probabilities[120:], labels[120:]
        covered.append(np.mean(new[np.arange(120), spoken] >= 1 - found["set"]))
        unsure.append(np.mean(new.max(axis=1) < found["not_sure"]))
    assert np.mean(covered) == pytest.approx(109 / 121, abs=0.01)  # ceil(121 · 0.9) of 121
    assert np.mean(unsure) == pytest.approx(2 / 121, abs=0.005)
