"""A result of a fake model: every number computed by hand. See fakes.FakeClassifier for what it gets wrong.

24 actors, one clip an emotion: 192 clips. The twelve women's sad is taken for neutral, with confidence 0.9; actor 01's
calm is an abstention; the other 179 answers are right, with confidence 0.9.
"""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import numpy as np
import pytest

from speech_emotion import corpora
from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation.answers import Group, Score
from speech_emotion.evaluation.metrics import Bin
from speech_emotion.evaluation.result import Result, read_result, read_results, summarise
from speech_emotion.evaluation.score import Answer, Evaluation, read_answers, score_protocol
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS

RESULTS = Path(__file__).resolve().parents[2] / "results"
CALM, SAD = 23 / 24, 12 / 24  # recalls; the other six are 1


def close(value: float) -> Any:
    return pytest.approx(value, abs=6e-5)  # four decimals


def test_headline(result: Result) -> None:
    assert (result.n_clips, result.n_speakers, result.n_clips_published) == (192, 24, 1440)
    assert (result.protocol, result.leaky, result.seeds) == ("luna5", False, (0,))
    assert (result.model, result.parameters, result.size_bytes) == ("fake-cnn", 640_000, 2_600_000)
    assert (result.recipes_tried, result.commit) == (7, "abc1234")
    assert result.command == "speech-emotion evaluate run"
    assert result.split_hash == protocol("luna5").split_hash
    assert result.uar.mean == close((6 + CALM + SAD) / 8)
    assert result.accuracy.mean == close(179 / 192)
    assert result.macro_f1.mean == close(
        (5 + 2 * 24 / (24 + 36) + 2 * 23 / (24 + 23) + 2 * 12 / (24 + 12)) / 8
    )
    assert result.uar.sd is None


def test_abstentions_are_errors_and_are_counted(result: Result) -> None:
    assert result.abstained == {"no_speech": 1}
    assert result.uar_answered.mean == close((7 + SAD) / 8)


def test_the_mean_of_folds(result: Result) -> None:
    """Women a fold: 3, 2, 3, 2, 2 … of 5, 5, 5, 5, 4; the abstention is in the last."""
    women = [{2, 14, 16}, {6, 18}, {10, 12, 20}, {8, 24}, {4, 22}]
    sad = [1 - len(some) / n for some, n in zip(women, [5, 5, 5, 5, 4], strict=True)]
    folds = [(7 + recall) / 8 for recall in sad]
    folds[4] -= 0.25 / 8
    assert [group.mean for group in result.per_fold.values()] == [close(fold) for fold in folds]
    assert [group.n_clips for group in result.per_fold.values()] == [40, 40, 40, 40, 32]
    assert result.uar_fold_mean == Score(close(np.mean(folds)), None, None)


def test_groups(result: Result) -> None:
    assert {name: group.mean for name, group in result.per_class.items()} == {
        **dict.fromkeys(["neutral", "happy", "angry", "fearful", "disgust", "surprised"], 1.0),
        "calm": close(CALM),
        "sad": close(SAD),
    }
    assert list(result.per_class)[:3] == ["neutral", "calm", "happy"]
    assert result.per_class["happy"] == Group(1.0, None, (1.0, 1.0), n_clips=24, n_speakers=24)
    assert result.per_sex["female"] == Group(7 / 8, None, (7 / 8, 7 / 8), n_clips=96, n_speakers=12)
    assert result.per_sex["male"].mean == close((7 + 11 / 12) / 8)
    assert result.per_actor["01"] == Group(7 / 8, None, None, n_clips=8, n_speakers=1)
    assert result.per_actor["03"] == Group(1.0, None, None, n_clips=8, n_speakers=1)
    assert list(result.per_actor) == fakes.ACTORS
    assert list(result.per_intensity) == ["normal"]
    assert (result.sexes["01"], result.sexes["02"]) == ("male", "female")


def test_the_confusion_matrix(result: Result) -> None:
    expected = np.eye(8, 9, dtype=int) * 24
    expected[1] = [0, 23, 0, 0, 0, 0, 0, 0, 1]
    expected[3] = [12, 0, 0, 12, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(result.confusion, expected)


def test_calibration(result: Result) -> None:
    accuracy = 179 / 191  # of the clips with probabilities
    assert result.reliability == (Bin(close(13 / 15), close(14 / 15), 191, 0.9, close(accuracy)),)
    assert result.ece.mean == close(accuracy - 0.9)
    assert result.nll.mean == close(-(179 * math.log(0.9) + 12 * math.log(0.0143)) / 191)
    right, wrong = 0.1**2 + 7 * 0.0143**2, 0.9**2 + (1 - 0.0143) ** 2 + 6 * 0.0143**2
    assert result.brier.mean == close((179 * right + 12 * wrong) / 191)
    assert list(result.accuracy_at_coverage)[:3] == ["100", "95", "90"]
    assert result.accuracy_at_coverage == {
        str(percent): close(accuracy) for percent in range(5, 101, 5)
    }  # all are equally sure
    assert result.aurc == Score(close(1 - accuracy), None, None)


def test_emotion_sets(result_with_sets: Result) -> None:
    """191 sets: of the twelve women's sad eleven hold neutral and sad, actor 02's neutral alone."""
    sets = result_with_sets.sets
    assert sets is not None
    assert sets.coverage.mean == close(190 / 191)
    assert sets.coverage.ci95 is not None
    assert sets.coverage.ci95[0] < 190 / 191 < sets.coverage.ci95[1] == 1
    assert sets.size.mean == close((191 + 11) / 191)
    assert sets.per_class["sad"].mean == close(23 / 24)
    assert sets.size_per_class == dict.fromkeys(EMOTIONS, 1.0) | {"sad": close(35 / 24)}
    assert {emotion: group.mean for emotion, group in sets.per_class.items() if emotion != "sad"} == {
        emotion: 1.0 for emotion in EMOTIONS if emotion != "sad"
    }  # calm too: what has no probabilities has no set
    assert {actor for actor, group in sets.per_actor.items() if group.mean < 1} == {"02"}
    assert sets.per_actor["02"] == Group(7 / 8, None, None, n_clips=8, n_speakers=1)
    assert list(sets.per_actor) == fakes.ACTORS


def test_the_sets_of_several_seeds_are_averaged(evaluation: Evaluation) -> None:
    first, second = (
        fakes.with_sets(evaluation, rule).answers for rule in (None, lambda answer: (answer.label, "calm"))
    )
    both = (*first, *(dataclasses.replace(answer, seed=1) for answer in second))
    sets = summarise(dataclasses.replace(evaluation, answers=both), command="x").sets
    assert sets is not None
    assert sets.coverage.mean == close((190 / 191 + 1) / 2)
    assert sets.coverage.sd == close((1 / 191) / math.sqrt(2))
    assert sets.size_per_class["happy"] == close((1 + 2) / 2)


def test_a_speaker_without_any_set_has_no_coverage(evaluation: Evaluation) -> None:
    def silenced(answer: Answer) -> Answer:
        nothing: dict[str, Any] = {"answer": "", "abstained": "no_speech", "probabilities": ()}
        return dataclasses.replace(answer, **nothing) if answer.speaker == "07" else answer

    answers = tuple(map(silenced, evaluation.answers))
    silent = fakes.with_sets(dataclasses.replace(evaluation, answers=answers))
    sets = summarise(silent, command="x").sets
    assert sets is not None
    assert list(sets.per_actor) == [actor for actor in fakes.ACTORS if actor != "07"]


def test_a_model_without_thresholds_has_no_sets(evaluation: Evaluation, result: Result) -> None:
    alone = fakes.with_sets(evaluation, lambda answer: (answer.answer,))  # as such a model answers
    assert summarise(alone, command="x").sets is None
    assert result.sets is None


def test_not_sure_is_a_wrong_answer_that_keeps_its_probabilities(
    evaluation: Evaluation, result: Result
) -> None:
    """All 24 fearful clips: no recall; everything about probabilities stays as it was."""
    answers = tuple(
        dataclasses.replace(answer, answer="", abstained="not_sure") if answer.label == "fearful" else answer
        for answer in evaluation.answers
    )
    unsure = summarise(dataclasses.replace(evaluation, answers=answers), command="x")
    assert unsure.uar.mean == close((5 + CALM + SAD) / 8)
    assert unsure.per_class["fearful"].mean == 0
    assert unsure.abstained == {"no_speech": 1, "not_sure": 24}
    assert unsure.not_sure == close(24 / 192)
    assert result.not_sure == 0
    for name in ("ece", "nll", "brier", "aurc", "accuracy_at_coverage", "reliability"):
        assert getattr(unsure, name) == getattr(result, name)


def test_a_corpus_without_some_emotions(evaluation: Evaluation, tmp_path: Path) -> None:
    """Without neutral clips, "neutral" is wrong: the likeliest of the seven others is right where it is sad."""
    probabilities = tuple({"neutral": 0.5, "sad": 0.3}.get(emotion, 0.2 / 6) for emotion in EMOTIONS)
    answers = tuple(
        dataclasses.replace(row, probabilities=probabilities)
        if row.answer == "neutral"
        else dataclasses.replace(row, answer="", abstained="not_sure", emotions=())
        if row.speaker == "02"
        else row
        for row in evaluation.answers
        if row.label != "neutral"
    )
    result = summarise(dataclasses.replace(evaluation, answers=answers), command="x")
    assert result.uar.mean == close((5 * 23 / 24 + 22 / 24 + 12 / 24) / 7)
    assert result.uar_among_spoken is not None
    assert result.uar_among_spoken.mean == close((6 + CALM) / 7)  # who was not sure has its likeliest, too
    path = result.write(tmp_path)
    assert read_result(path) == result
    assert summarise(evaluation, command="x").uar_among_spoken is None


def test_intervals_draw_speakers(result: Result) -> None:
    """A resample with w women and the abstaining man drawn c times has UAR (8 - w/24 - c/24) / 8."""
    draws = np.random.default_rng(1).multinomial(24, np.full(24, 1 / 24), 10_000)
    uar = (8 - draws[:, 1::2].sum(axis=1) / 24 - draws[:, 0] / 24) / 8
    assert result.uar.ci95 == pytest.approx(np.percentile(uar, [2.5, 97.5]), abs=2e-3)


def test_several_seeds_give_mean_and_standard_deviation(scored_paths: list[Path], tmp_path: Path) -> None:
    corpus, luna5 = fakes.make_corpus(tmp_path / "corpus"), protocol("luna5")
    fakes.make_run(tmp_path / "run" / "seed-0", luna5, seed=0)
    fakes.make_run(tmp_path / "run" / "seed-1", luna5, seed=1, perfect=True)
    result = summarise(
        score_protocol([tmp_path / "run"], corpora.get("ravdess"), corpus, "luna5"), command="x"
    )
    alone = (6 + CALM + SAD) / 8
    assert result.seeds == (0, 1)
    assert result.n_clips == 192
    assert result.uar.mean == close((alone + 1) / 2)
    assert result.uar.sd == close((1 - alone) / math.sqrt(2))
    assert result.ece.mean == close((179 / 191 - 0.9 + 0) / 2)
    assert result.per_class["sad"].mean == close(0.75)
    assert np.sum(result.confusion) == 2 * 192
    assert sum(entry.count for entry in result.reliability) == 191 + 192


def test_seeds_that_answered_different_clips_are_refused(evaluation: Evaluation) -> None:
    other = [dataclasses.replace(answer, seed=1) for answer in evaluation.answers]
    other[0] = dataclasses.replace(other[0], file="other.wav")
    with pytest.raises(CorpusError, match="same clips"):
        summarise(dataclasses.replace(evaluation, answers=(*evaluation.answers, *other)), command="x")
    with pytest.raises(CorpusError, match="same clips"):
        summarise(dataclasses.replace(evaluation, answers=()), command="x")


def test_a_model_that_never_answers_has_no_result(evaluation: Evaluation) -> None:
    silent = [dataclasses.replace(a, answer="", abstained="x", probabilities=()) for a in evaluation.answers]
    with pytest.raises(CorpusError, match="abstained from every clip"):
        summarise(dataclasses.replace(evaluation, answers=tuple(silent)), command="x")


def test_a_result_comes_back_from_its_file(result: Result, tmp_path: Path) -> None:
    path = result.write(tmp_path / "results")
    assert path.name == "ravdess-luna5-fake-cnn.json"
    assert read_result(path) == result
    assert read_results(tmp_path / "results") == [result]


def test_sets_come_back_from_their_file(result_with_sets: Result, tmp_path: Path) -> None:
    assert read_result(result_with_sets.write(tmp_path)) == result_with_sets


def corpus_of(written: Result) -> Any:
    """The published corpus of a result; of a table, what the file says of it."""
    if written.corpus in corpora.names():
        return corpora.get(written.corpus)
    return SimpleNamespace(name=written.corpus, n_clips=written.n_clips_published)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_committed_numbers_are_those_of_the_committed_answers(path: Path) -> None:
    written = read_result(path)
    evaluation = Evaluation(
        protocol=written.split,
        corpus=corpus_of(written),
        labels=written.labels,
        model=written.model,
        parameters=written.parameters,
        size_bytes=written.size_bytes,
        commit=written.commit,
        recipes_tried=written.recipes_tried,
        answers=read_answers(path.with_suffix(".csv")),
        scored=written.scored,
    )
    assert summarise(evaluation, command=written.command) == written


def test_the_file_holds_the_fields_that_the_project_promises(result: Result, tmp_path: Path) -> None:
    data = json.loads(result.write(tmp_path).read_text())
    promised = (
        "protocol model parameters size_bytes seeds n_clips n_speakers uar accuracy ece per_class per_actor"
    )
    assert set(promised.split()) | {"recipes_tried", "command", "commit"} <= set(data)
    assert set(data["uar"]) == {"mean", "sd", "ci95"}
    assert data["uar"]["mean"] == 0.9323


def test_one_line_a_member_so_that_differences_can_be_read(result: Result, tmp_path: Path) -> None:
    lines = result.write(tmp_path).read_text().splitlines()
    assert ' "uar": {"mean": 0.9323, "sd": null, "ci95": [0.9219, 0.9453]},' in lines or any(
        line.startswith(' "uar": {"mean": 0.9323, "sd": null, "ci95": [') for line in lines
    )
    assert '  "03": {"mean": 1.0, "sd": null, "ci95": null, "n_clips": 8, "n_speakers": 1},' in lines
    assert "  [0, 23, 0, 0, 0, 0, 0, 0, 1]," in lines


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"surprise": 1}, "fields differ in surprise"),
        ({"uar": {"mean": 0.99, "sd": None, "ci95": None}}, "uar must be that of the confusion matrix"),
        ({"uar": {"mean": 0.9323, "sd": None, "ci95": [0.9, 0.8]}}, "intervals must be ordered"),
        ({"uar": {"mean": 0.9323, "best": 0.99, "ci95": None}}, "best"),
        ({"uar": 0.9323}, "not a result file of this version"),
        ({"split_hash": "0" * 64}, "its split must be today's"),
        ({"protocol": "luna6"}, "no protocol 'luna6'"),
        ({"leaky": True}, "leaky must be the protocol's"),
        ({"n_clips": 191}, "must hold n_clips a seed"),
        ({"n_speakers": 23}, "as many actors as n_speakers"),
        ({"seeds": [0, 0]}, "seeds must be different"),
        ({"sets": {"coverage": 0.9}}, "not a result file of this version"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    change: dict[str, Any], complaint: str, result: Result, tmp_path: Path
) -> None:
    path = result.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=complaint):
        read_result(path)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"uar": '])
def test_what_is_no_result_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="not a result file of this version"):
        read_result(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_result(tmp_path / "nowhere.json")


def test_a_score_is_printed_with_its_support() -> None:
    assert str(Score(0.6234, None, None)) == "62.3"
    assert str(Score(0.6234, 0.008, (0.5812, 0.664))) == "62.3 ± 0.8 [58.1, 66.4]"
