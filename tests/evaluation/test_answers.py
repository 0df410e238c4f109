"""The table of answers: what does not depend on the order, and files that are no measurement."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.answers import AnswerTable, difference, read_measurement, support
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.result import Result
from speech_emotion.evaluation.score import Evaluation
from speech_emotion.labels import EMOTIONS


def test_the_order_of_the_answers_does_not_matter(evaluation: Evaluation) -> None:
    table, backwards = AnswerTable.of(evaluation.answers), AnswerTable.of(evaluation.answers[::-1])
    assert table.clips == backwards.clips
    np.testing.assert_array_equal(table.y_pred, backwards.y_pred)
    np.testing.assert_array_equal(table.probabilities, backwards.probabilities)
    assert table.uar == backwards.uar


def test_the_uar_of_a_speaker_is_the_mean_over_seeds(evaluation: Evaluation) -> None:
    """Actor 01 has 7 of 8 right; with the second seed all."""
    right = (replace(one, seed=1, answer=one.label, abstained="") for one in evaluation.answers)
    table = AnswerTable.of([*evaluation.answers, *right])
    assert table.seeds == (0, 1)
    assert table.uar_by_speaker["01"] == (7 / 8 + 1) / 2
    assert table.uar_by_speaker["03"] == 1


def test_the_likeliest_among_some_emotions_is_asked_for_over_their_clips(evaluation: Evaluation) -> None:
    """Women's sad is taken for neutral, and actor 01's calm has no probabilities."""
    table = AnswerTable.of(evaluation.answers)
    assert table.uar_among(("sad", "angry")).mean == 1.0
    assert table.uar_among(("sad", "angry", "neutral")).mean == round(2.5 / 3, 4)
    assert table.uar_among(("calm", "angry")).mean == round((1 + 23 / 24) / 2, 4)
    assert table.uar_among(EMOTIONS) == table.uar


def test_no_difference_to_itself(evaluation: Evaluation) -> None:
    table = AnswerTable.of(evaluation.answers)
    assert difference(table, table) == PairedDifference(0.0, (0.0, 0.0), 24, 0, 0)


def test_support() -> None:
    assert support(192, 24, 1, 1440) == "192 of 1440 clips, 24 speakers, 1 seed"
    assert support(1440, 24, 3, 1440) == support(1440, 24, 3) == "1440 clips, 24 speakers, 3 seeds"


@pytest.mark.parametrize("missing", ["model", "ci95"])
def test_a_file_must_have_every_field(missing: str, result: Result, tmp_path: Path) -> None:
    path = result.write(tmp_path)
    data = json.loads(path.read_text())
    del (data["uar"] if missing == "ci95" else data)[missing]
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=f"its fields differ in {missing}"):
        read_measurement(Result, path, lambda _: None)
