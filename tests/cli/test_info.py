"""`speech-emotion info`: what a model is, for people and for programs."""

import json
import re
from pathlib import Path

import pytest
import standin
from shell import Shell

from speech_emotion.classifier import Classifier
from speech_emotion.labels import EMOTIONS
from speech_emotion.shipped import MODELS, ShippedModel


def test_info_for_people(shell: Shell, classifier: Classifier) -> None:
    code, out, _ = shell("info", str(shell.model))
    assert code == 0
    assert out.startswith(
        "stand-in\n  emotions    neutral, calm, happy, sad, angry, fearful, disgust, surprised\n"
    )
    for fact in (
        classifier.info.sha256,
        "windows of 3 s",
        "128 parameters",
        "CC0-1.0",
        "AI Act",
        "synthetic",
    ):
        assert fact in out


def test_info_shows_the_honest_score(shell: Shell, tmp_path: Path) -> None:
    metrics = {
        "corpus": "ravdess",
        "protocol": "luna5",
        "leaky": False,
        "n_clips": 1440,
        "n_speakers": 24,
        "uar": {"mean": 0.62314, "sd": 0.012, "ci95": [0.5804, 0.665]},
        "ece": {"mean": 0.0312, "sd": None, "ci95": None},
    }
    path = tmp_path / "scored.onnx"
    path.write_bytes(standin.model_bytes(metrics=metrics))
    _, out, _ = shell("info", str(path))
    score = "UAR 62.3 % [58.0, 66.5], ECE 3.1 % (ravdess luna5, 1440 clips, 24 speakers)"
    assert f"  score       {score}\n" in out
    path.write_bytes(standin.model_bytes(metrics=metrics | {"leaky": True}))
    assert "luna5, LEAKY, 1440" in shell("info", str(path))[1]


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_info_of_a_shipped_model_leaves_nothing_blank(shell: Shell, name: str) -> None:
    code, out, _ = shell("info", name)
    assert (code, out.splitlines()[0]) == (0, name)
    assert "None" not in out


def test_info_without_a_model_lists_those_in_the_package(
    shell: Shell, two_models: list[ShippedModel]
) -> None:
    shell.patch.setenv("COLUMNS", "80")
    code, out, err = shell("info")
    assert (code, err) == (0, "")
    lines = [re.split(r" {2,}", line.strip()) for line in out.splitlines() if line.strip()]
    kilobytes = f"{two_models[0].path.stat().st_size / 1e6:.1f} MB"
    assert lines[3:7] == [
        ["first", kilobytes, "62.3 % [58.0, 66.5]", "long talks", "CC0-1.0"],
        ["(default)", "(0.0 M)", "(ravdess luna5, LEAKY)"],
        ["second", kilobytes, "not measured", "short talks", "CC0-1.0"],
        ["(0.0 M)"],
    ]


def test_the_list_for_programs_says_what_each_model_says(
    shell: Shell, two_models: list[ShippedModel]
) -> None:
    listed = json.loads(shell("info", "--json")[1], parse_constant=pytest.fail)
    assert [(one["name"], one["purpose"], one["default"]) for one in listed] == [
        ("first", "long talks", True),
        ("second", "short talks", False),
    ]
    for one in listed:
        alone = json.loads(shell("info", "--json", one["name"])[1])
        assert {key: one[key] for key in alone} == alone


def test_info_leaves_out_what_is_not_known(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "scored.onnx"
    uar = {"mean": 0.5, "ci95": None}
    for known, score in {
        (): "UAR 50.0 %",
        (("protocol", "luna5"),): "UAR 50.0 % (luna5)",
        (("n_clips", 1440), ("leaky", True)): "UAR 50.0 % (LEAKY, 1440 clips)",
    }.items():
        path.write_bytes(standin.model_bytes(metrics={"uar": uar, **dict(known)}))
        assert f"  score       {score}\n" in shell("info", str(path))[1]


def test_info_names_thresholds_and_enrolment_where_there_are_any(shell: Shell, tmp_path: Path) -> None:
    assert not {"thresholds", "enrolment"} & set(shell("info", str(shell.model))[1].split())
    path = tmp_path / "more.onnx"
    thresholds = {"not_sure": 0.3456, "set": 0.9}
    path.write_bytes(standin.model_bytes(thresholds=thresholds, enrolment=standin.ENROLMENT))
    _, out, _ = shell("info", str(path))
    assert "  thresholds  not sure below 0.35; emotion sets: the best, and all from 0.10 on\n" in out
    assert "  enrolment   yes, from 10 s of speech; UAR +5.0 points on validation speakers\n" in out
    document = json.loads(shell("info", "--json", str(path))[1], parse_constant=pytest.fail)
    assert (document["thresholds"], document["enrolment"]) == (thresholds, standin.ENROLMENT)


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"not_sure": 0.2}, "not sure below 0.20"),
        ({"set": 0.8}, "emotion sets: the best, and all from 0.20 on"),
    ],
)
def test_info_names_a_threshold_alone(
    shell: Shell, tmp_path: Path, thresholds: dict[str, float], said: str
) -> None:
    path = tmp_path / "one.onnx"
    enrolment = standin.ENROLMENT | {"gain": None}
    path.write_bytes(standin.model_bytes(thresholds=thresholds, enrolment=enrolment))
    _, out, _ = shell("info", str(path))
    assert f"  thresholds  {said}\n" in out
    assert "from 10 s of speech; gain not measured\n" in out


def test_info_says_how_speech_is_told_from_other_sounds(shell: Shell, tmp_path: Path) -> None:
    assert "  speech      detection: none (only silence is refused)\n" in shell("info", str(shell.model))[1]
    assert json.loads(shell("info", "--json", str(shell.model))[1])["speech_detection"] == "none"
    path = tmp_path / "judging.onnx"
    path.write_bytes(standin.model_bytes(thresholds={"speech": 0.456}))
    said = "  speech      detection: by the model (no speech below 0.46)\n"
    assert said in shell("info", str(path))[1]
    assert json.loads(shell("info", "--json", str(path))[1])["speech_detection"] == "model"


def test_info_for_programs(shell: Shell, classifier: Classifier) -> None:
    _, out, _ = shell("info", "--json", str(shell.model))
    document = json.loads(out, parse_constant=pytest.fail)
    assert document["sha256"] == classifier.info.sha256
    assert document["labels"] == list(EMOTIONS)
    assert document["window_seconds"] == 3.0
    assert "not what a person feels" in document["limits"]
