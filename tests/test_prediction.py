"""The value that everything ends in: its words, its forms, and how many of it become one."""

import copy
import dataclasses
import json
import pickle

import pandas as pd
import pytest

from speech_emotion.prediction import Prediction, decide, pool

HAPPY = Prediction({"sad": 0.125, "happy": 0.75, "angry": 0.125}, 0.0, 3.419875)
SAD = Prediction({"sad": 0.5, "happy": 0.25, "angry": 0.25}, 1.0, 4.0)
SILENT = Prediction({}, 2.0, 5.0, abstained="no_speech")


def test_what_it_says() -> None:
    assert (HAPPY.label, HAPPY.confidence, HAPPY.runner_up) == ("happy", 0.75, "sad")
    assert HAPPY.seconds == 3.419875
    assert (SILENT.label, SILENT.confidence, SILENT.runner_up) == (None, None, None)


def test_the_line_a_person_reads() -> None:
    assert str(HAPPY) == "happy 0.75, 0.00–3.42 s"
    assert repr(HAPPY) == "Prediction(happy 0.75, 0.00–3.42 s)"
    assert str(SILENT) == "no answer (no speech), 2.00–5.00 s"
    warned = dataclasses.replace(HAPPY, warnings=("clipped", "phase_cancelled"))
    assert str(warned) == "happy 0.75, 0.00–3.42 s, clipped, phase cancelled"


def test_as_dict_and_row() -> None:
    warned = dataclasses.replace(HAPPY, warnings=("clipped", "quiet"))
    assert json.loads(json.dumps(warned.to_dict(), allow_nan=False)) == {
        "label": "happy",
        "confidence": 0.75,
        "runner_up": "sad",
        "emotions": ["happy"],
        "abstained": None,
        "start_seconds": 0.0,
        "end_seconds": 3.419875,
        "warnings": ["clipped", "quiet"],
        "probabilities": {"sad": 0.125, "happy": 0.75, "angry": 0.125},
    }
    assert warned.to_row() == {
        "label": "happy",
        "confidence": 0.75,
        "runner_up": "sad",
        "emotions": "happy",
        "abstained": None,
        "start_seconds": 0.0,
        "end_seconds": 3.419875,
        "warnings": "clipped quiet",
        "sad": 0.125,
        "happy": 0.75,
        "angry": 0.125,
    }
    assert list(SILENT.to_row()) == list(warned.to_row())[:8]


def test_it_is_frozen_through_and_through() -> None:
    mine = {"happy": 0.6, "sad": 0.4}
    prediction = Prediction(mine, 0.0, 1.0)
    mine["happy"] = 0.0
    assert prediction.confidence == 0.6
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.start_seconds = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        prediction.probabilities["happy"] = 1.0  # type: ignore[index]


def test_it_travels_between_processes() -> None:
    unsure = decide(SAD, {"not_sure": 0.6, "set": 0.8})
    for original in (HAPPY, SILENT, unsure, dataclasses.replace(SAD, warnings=("truncated",))):
        assert pickle.loads(pickle.dumps(original)) == original  # noqa: S301
        assert copy.deepcopy(original) == original
    assert hash(HAPPY) == hash(copy.copy(HAPPY))


def test_not_sure_keeps_its_probabilities_and_gives_no_label() -> None:
    unsure = decide(SAD, {"not_sure": 0.51})
    assert (unsure.abstained, unsure.label, unsure.confidence, unsure.runner_up) == (
        "not_sure",
        None,
        None,
        None,
    )
    assert unsure.probabilities == SAD.probabilities
    assert unsure.emotions == ("sad",)
    assert str(unsure) == "not sure (maybe sad 0.50), 1.00–4.00 s"
    assert (unsure.to_dict()["label"], unsure.to_dict()["emotions"]) == (None, ["sad"])
    assert decide(SAD, {"not_sure": 0.5}) == SAD


def test_the_emotion_set_is_ordered_and_never_empty() -> None:
    three = Prediction({"sad": 0.25, "happy": 0.4375, "angry": 0.3125}, 0.0, 1.0)
    assert three.emotions == decide(three, {}).emotions == ("happy",)
    assert decide(three, {"set": 0.5}).emotions == ("happy",)  # nothing reaches a half
    assert decide(three, {"set": 0.7}).emotions == ("happy", "angry")
    assert decide(three, {"set": 0.75}).emotions == ("happy", "angry", "sad")  # a quarter is enough
    assert decide(three, {"set": 0.7}).label == "happy"
    assert decide(three, {"set": 0.7, "not_sure": 0.5}).emotions == ("happy", "angry")
    assert SILENT.emotions == decide(SILENT, {"set": 1.0, "not_sure": 1.0}).emotions == ()
    assert decide(SILENT, {"not_sure": 1.0}) == SILENT


def test_windows_that_are_not_sure_take_part_in_the_mean() -> None:
    unsure = decide(SAD, {"not_sure": 0.6})
    assert pool([HAPPY, unsure, SILENT]).probabilities == pool([HAPPY, SAD]).probabilities
    assert pool([HAPPY, unsure], {"not_sure": 0.5}).label == "happy"
    assert pool([HAPPY, unsure], {"not_sure": 0.51, "set": 0.7}) == Prediction(
        {"sad": 0.3125, "happy": 0.5, "angry": 0.1875}, 0.0, 4.0, "not_sure", (), ("happy", "sad")
    )


def test_pool_is_the_mean_of_those_that_answered() -> None:
    pooled = pool([HAPPY, SAD, SILENT])
    assert pooled == Prediction({"sad": 0.3125, "happy": 0.5, "angry": 0.1875}, 0.0, 5.0)
    assert list(pooled.probabilities) == ["sad", "happy", "angry"]


def test_pool_of_one_is_that_one() -> None:
    for prediction in (HAPPY, SAD, SILENT):
        assert pool([prediction]) == prediction


def test_pool_abstains_when_all_did() -> None:
    assert pool([SILENT, SILENT]) == SILENT
    assert pool([Prediction({}, 0.0, 0.1, abstained="too_short")]).abstained == "too_short"
    assert pool([]) == Prediction({}, 0.0, 0.0, abstained="too_short")


def test_pool_gathers_warnings_once_each() -> None:
    first = dataclasses.replace(HAPPY, warnings=("clipped",))
    second = dataclasses.replace(SAD, warnings=("truncated", "clipped"))
    assert pool([first, second]).warnings == ("clipped", "truncated")


def test_pool_takes_windows_as_they_come() -> None:
    assert pool(prediction for prediction in (HAPPY, SAD)) == pool([HAPPY, SAD])


def test_rows_are_a_table_of_pandas() -> None:
    table = pd.DataFrame([prediction.to_row() for prediction in (HAPPY, SILENT, SAD)])
    assert list(table.columns[-3:]) == ["sad", "happy", "angry"]
    assert table["happy"].dtype == float
    assert table["happy"].isna().tolist() == [False, True, False]
    assert table["label"].tolist()[0::2] == ["happy", "sad"]
