"""Scores against hand-computed values, against scikit-learn, and the bootstrap against its definition."""

import time

import numpy as np
import pytest
from sklearn import metrics as oracle

from speech_emotion.errors import CorpusError
from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import ABSTAINED, Bin, FloatArray, IntArray

N_CLASSES = 8


def summed(terms: FloatArray) -> FloatArray:
    return np.asarray(terms.sum(axis=0))


def accuracy(y_true: IntArray, y_pred: IntArray) -> float:
    return float(metrics.accuracy_of(summed(metrics.answer_terms(y_true, y_pred, N_CLASSES))))


def macro_f1(y_true: IntArray, y_pred: IntArray) -> float:
    return float(metrics.macro_f1_of(summed(metrics.answer_terms(y_true, y_pred, N_CLASSES))))


def nll(y_true: IntArray, probabilities: FloatArray) -> float:
    return float(metrics.mean_of(summed(metrics.nll_terms(y_true, probabilities))))


def brier(y_true: IntArray, probabilities: FloatArray) -> float:
    return float(metrics.mean_of(summed(metrics.brier_terms(y_true, probabilities))))


@pytest.fixture
def random_answers() -> tuple[IntArray, IntArray, FloatArray]:
    random = np.random.default_rng(7)
    y_true = random.integers(0, N_CLASSES, 500)
    probabilities = random.dirichlet(np.full(N_CLASSES, 0.5), 500)
    probabilities[np.arange(500), y_true] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return y_true, probabilities.argmax(axis=1), probabilities


def test_scores_by_hand() -> None:
    y_true = np.array([0, 0, 0, 0, 1, 1])
    y_pred = np.array([0, 0, 0, 1, 1, 0])
    assert metrics.uar(y_true, y_pred) == 0.625
    assert accuracy(y_true, y_pred) == pytest.approx(4 / 6)
    assert macro_f1(y_true, y_pred) == pytest.approx((2 * 3 / 8 + 2 * 1 / 4) / 2)
    np.testing.assert_array_equal(metrics.confusion(y_true, y_pred, 2), [[3, 1, 0], [1, 1, 0]])


def test_an_abstention_is_an_error_and_answers_for_no_class() -> None:
    y_true = np.array([0, 0, 1, 1])
    y_pred = np.array([0, ABSTAINED, 1, 1])
    assert metrics.uar(y_true, y_pred) == 0.75
    assert accuracy(y_true, y_pred) == 0.75
    assert macro_f1(y_true, y_pred) == pytest.approx((2 / 3 + 1) / 2)
    np.testing.assert_array_equal(metrics.confusion(y_true, y_pred, 2), [[1, 0, 1], [0, 2, 0]])
    assert metrics.uar(y_true, np.full(4, ABSTAINED)) == 0


def test_a_class_without_clips_has_no_recall() -> None:
    y_true = np.array([0, 0, 2, 2])
    y_pred = np.array([0, 5, 2, 2])  # 5 was answered, never spoken: a miss of class 0, nothing else
    assert metrics.uar(y_true, y_pred) == 0.75
    assert macro_f1(y_true, y_pred) == pytest.approx((2 / 3 + 1) / 2)


def test_scores_equal_scikit_learn(random_answers: tuple[IntArray, IntArray, FloatArray]) -> None:
    y_true, y_pred, probabilities = random_answers
    assert metrics.uar(y_true, y_pred) == pytest.approx(oracle.balanced_accuracy_score(y_true, y_pred))
    assert accuracy(y_true, y_pred) == pytest.approx(oracle.accuracy_score(y_true, y_pred))
    assert macro_f1(y_true, y_pred) == pytest.approx(oracle.f1_score(y_true, y_pred, average="macro"))
    assert nll(y_true, probabilities) == pytest.approx(oracle.log_loss(y_true, probabilities))
    np.testing.assert_array_equal(
        metrics.confusion(y_true, y_pred, N_CLASSES)[:, :N_CLASSES], oracle.confusion_matrix(y_true, y_pred)
    )
    one_hot = [oracle.brier_score_loss(y_true == k, probabilities[:, k]) for k in range(N_CLASSES)]
    assert brier(y_true, probabilities) == pytest.approx(sum(one_hot))


def test_macro_f1_with_an_unspoken_class_equals_scikit_learn_on_the_spoken_ones() -> None:
    y_true, y_pred = np.array([0, 0, 2, 2, 2, 1]), np.array([0, 3, 2, 0, 2, 1])
    expected = oracle.f1_score(y_true, y_pred, average="macro", labels=[0, 1, 2])
    assert macro_f1(y_true, y_pred) == pytest.approx(expected)


def test_calibration_by_hand() -> None:
    # Confidences 0.9, 0.9 (one right), 0.6 (right), 0.5 (wrong).
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    y_true = np.array([0, 1, 1, 1])
    bins = metrics.reliability(y_true, probabilities, n_bins=10)
    assert bins == [
        Bin(0.4, 0.5, 1, 0.5, 0.0),
        Bin(0.5, 0.6, 1, 0.6, 1.0),
        Bin(0.8, 0.9, 2, 0.9, 0.5),
    ]
    assert metrics.ece(y_true, probabilities, n_bins=10) == pytest.approx((0.5 + 0.4 + 2 * 0.4) / 4)
    assert brier(y_true, probabilities) == pytest.approx((0.02 + 1.62 + 0.32 + 0.5) / 4)
    expected_nll = -(np.log(0.9) + np.log(0.1) + np.log(0.6) + np.log(0.5)) / 4
    assert nll(y_true, probabilities) == pytest.approx(expected_nll)


def test_ece_is_the_weighted_gap_of_fifteen_bins(
    random_answers: tuple[IntArray, IntArray, FloatArray],
) -> None:
    y_true, _, probabilities = random_answers
    bins = metrics.reliability(y_true, probabilities)
    assert sum(b.count for b in bins) == 500
    assert all(b.low < b.confidence <= b.high and b.high - b.low == pytest.approx(1 / 15) for b in bins)
    gap = sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / 500
    assert metrics.ece(y_true, probabilities) == pytest.approx(gap)


def test_certain_answers_fall_into_the_last_bin_and_stay_finite() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.ece(np.array([0, 0]), sure) == 0
    assert metrics.ece(np.array([1, 1]), sure) == 1
    assert nll(np.array([1, 1]), sure) == pytest.approx(-np.log(1e-12))
    assert brier(np.array([1, 1]), sure) == 2


def test_risk_coverage_keeps_equally_sure_clips_together() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])
    y_true = np.array([1, 0, 0, 1])  # right: no, yes, yes, no
    coverage, risk = metrics.risk_coverage(y_true, probabilities)
    np.testing.assert_allclose(coverage, [0.25, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0.0, 1 / 3, 0.5])
    assert metrics.accuracy_at_coverage(y_true, probabilities, 1.0) == 0.5
    assert metrics.accuracy_at_coverage(y_true, probabilities, 0.75) == pytest.approx(2 / 3)
    assert metrics.accuracy_at_coverage(y_true, probabilities, 0.5) == pytest.approx(2 / 3)
    assert metrics.accuracy_at_coverage(y_true, probabilities, 0.2) == 1.0


def test_aurc_is_the_mean_risk_over_all_coverages() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    y_true = np.array([1, 0, 0, 1])  # from the surest on: right, right, wrong, wrong
    assert metrics.aurc(y_true, probabilities) == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    equally_sure = np.tile([0.8, 0.2], (4, 1))
    assert metrics.aurc(y_true, equally_sure) == pytest.approx(0.5)  # the error rate, in any order
    backwards = np.array([1, 0, 0, 1])[::-1]
    assert metrics.aurc(backwards, equally_sure) == pytest.approx(0.5)


def test_sets_are_covered_and_have_a_size() -> None:
    sets = np.array([[True, True, False], [False, True, False], [True, True, True], [False, False, False]])
    y_true = np.array([1, 0, 2, 0])
    np.testing.assert_array_equal(metrics.set_coverage_terms(y_true, sets)[:, 0], [1, 0, 1, 0])
    np.testing.assert_array_equal(metrics.set_size_terms(y_true, sets)[:, 0], [2, 1, 3, 0])
    assert metrics.mean_of(metrics.set_coverage_terms(y_true, sets).sum(axis=0)) == 0.5
    assert metrics.mean_of(metrics.set_size_terms(y_true, sets).sum(axis=0)) == 1.5


def test_no_clips_are_an_error_and_not_a_number() -> None:
    nothing = np.array([], dtype=np.int64)
    with pytest.raises(CorpusError, match="no clips to score"):
        metrics.uar(nothing, nothing)
    with pytest.raises(CorpusError, match="no clips to score"):
        metrics.ece(nothing, np.zeros((0, 8)))
    with pytest.raises(CorpusError, match="2 true labels and 1 answers"):
        metrics.uar(np.array([0, 1]), np.array([0]))


def speakers(n_speakers: int, n_clips_each: int) -> np.ndarray:
    return np.repeat([f"{speaker:02d}" for speaker in range(n_speakers)], n_clips_each)


def test_bootstrap_draws_speakers_not_clips() -> None:
    """Two speakers, one always right and one always wrong: the four draws are 0, ½, ½ and 1."""
    y_true = np.zeros(200, dtype=np.int64)
    y_pred = np.repeat([0, 1], 100)
    terms = metrics.answer_terms(y_true, y_pred, 2)
    assert metrics.bootstrap_over_speakers(terms, speakers(2, 100), metrics.uar_of) == (0.0, 1.0)


def test_bootstrap_equals_the_slow_definition(random_answers: tuple[IntArray, IntArray, FloatArray]) -> None:
    y_true, y_pred, probabilities = random_answers
    who = speakers(10, 50)
    names = np.unique(who)
    draws = np.random.default_rng(3).multinomial(10, np.full(10, 0.1), 200)
    resamples = [
        np.concatenate([np.flatnonzero(who == name) for name in np.repeat(names, draw)]) for draw in draws
    ]
    answer_terms = metrics.answer_terms(y_true, y_pred, N_CLASSES)
    for score, answers, terms, value_of in [
        (metrics.uar, y_pred, answer_terms, metrics.uar_of),
        (accuracy, y_pred, answer_terms, metrics.accuracy_of),
        (macro_f1, y_pred, answer_terms, metrics.macro_f1_of),
        (metrics.ece, probabilities, metrics.ece_terms(y_true, probabilities), metrics.ece_of),
        (nll, probabilities, metrics.nll_terms(y_true, probabilities), metrics.mean_of),
        (brier, probabilities, metrics.brier_terms(y_true, probabilities), metrics.mean_of),
    ]:
        slow = np.percentile([score(y_true[rows], answers[rows]) for rows in resamples], [2.5, 97.5])
        fast = metrics.bootstrap_over_speakers(terms, who, value_of, seed=3, n_resamples=200)
        np.testing.assert_allclose(fast, slow)


def test_bootstrap_of_several_trainings_is_that_of_their_mean(
    random_answers: tuple[IntArray, IntArray, FloatArray],
) -> None:
    y_true, y_pred, _ = random_answers
    good, bad = (metrics.answer_terms(y_true, answers, N_CLASSES) for answers in (y_true, y_pred))
    both = metrics.bootstrap_over_speakers(np.stack([good, bad], axis=1), speakers(10, 50), metrics.uar_of)
    alone = metrics.bootstrap_over_speakers(bad, speakers(10, 50), metrics.uar_of)
    np.testing.assert_allclose(both, (np.array(alone) + 1) / 2)


def test_bootstrap_is_seeded_and_quick(random_answers: tuple[IntArray, IntArray, FloatArray]) -> None:
    y_true, y_pred, _ = random_answers
    terms, who = metrics.answer_terms(y_true, y_pred, N_CLASSES), speakers(10, 50)
    started = time.process_time()
    first = metrics.bootstrap_over_speakers(terms, who, metrics.uar_of)
    assert time.process_time() - started < 2.0  # 10 000 resamples: 0.02 s of one core
    assert first == metrics.bootstrap_over_speakers(terms, who, metrics.uar_of)
    assert first != metrics.bootstrap_over_speakers(terms, who, metrics.uar_of, seed=1)
    assert first[0] < metrics.uar(y_true, y_pred) < first[1]


def test_one_speaker_has_no_interval() -> None:
    with pytest.raises(CorpusError, match="at least two speakers"):
        metrics.bootstrap_over_speakers(np.ones((4, 2)), np.array(["01"] * 4), metrics.mean_of)


def test_paired_difference_is_sharper_than_two_intervals() -> None:
    a = {"01": 0.50, "02": 0.70, "03": 0.90, "04": 0.30}
    b = {"01": 0.40, "02": 0.60, "03": 0.80, "04": 0.30}
    difference = metrics.paired_difference(a, b)
    assert difference.mean == pytest.approx(0.075)
    assert (difference.n_speakers, difference.n_better, difference.n_worse) == (4, 3, 0)
    low, high = difference.interval
    assert 0.02 < low < 0.075 < high <= 0.1 + 1e-9


def test_paired_difference_needs_the_same_speakers() -> None:
    with pytest.raises(CorpusError, match="same speakers"):
        metrics.paired_difference({"01": 0.5}, {"02": 0.5})
