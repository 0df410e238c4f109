"""Shipping: a finished run becomes a model file with checksum and card; only an honest score goes into it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import recipe

from speech_emotion import corpora
from speech_emotion.errors import ConfigError, ModelFormatError, ModelNotFoundError
from speech_emotion.evaluation.result import Result, summarise
from speech_emotion.evaluation.score import Answer, Evaluation
from speech_emotion.evaluation.splits import protocol
from speech_emotion.files import write_sealed_json
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import EmotionModel
from speech_emotion.training.export.ship import (
    export_run,
    finished_runs,
    honest_score,
    joint_calibration,
    ship,
)
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import Calibration
from speech_emotion.training.fit.cross_fit import TemperatureHead
from speech_emotion.training.networks.build import build

Exported = list[Any]


def test_an_unfinished_run_is_not_exported(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ModelNotFoundError, match="holds no checkpoint"):
        export_run(tmp_path, tmp_path / "model.onnx")
    checkpoint.save(tmp_path, average(), {"recipe": recipe().to_dict(), "labels": list(EMOTIONS)})
    for content in (None, "[]", "{}", "{", '{"temperature": 1}'):
        if content is not None:
            (tmp_path / "run.json").write_text(content)
        with pytest.raises(ModelFormatError, match=r"not a finished run .* Train it to its end first"):
            export_run(tmp_path, tmp_path / "model.onnx")
    assert not exported


RUN: dict[str, Any] = {
    "corpora": ["ravdess"],
    "licence": corpora.get("ravdess").licence,
    "citation": corpora.get("ravdess").citation,
    "protocol": None,
    "split_hash": None,
    "temperature": 1.0,
    "validation": {"scores": [], "confidences": [], "likeliest_temperature": 1.0},
    "initial_weights": [],
    "commit": None,
}


def average() -> dict[str, Any]:
    return {f"average.{name}": tensor for name, tensor in build(recipe()).state_dict().items()}


def a_run(folder: Path, temperature: float, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder, average(), {"recipe": recipe().to_dict(), "labels": list(EMOTIONS)})
    validation = {**RUN["validation"], "likeliest_temperature": temperature}
    write_sealed_json(
        folder / "run.json", {**RUN, "temperature": temperature, "validation": validation, **changes}
    )
    return folder


def a_mixture(folder: Path) -> Path:
    """A run of two corpora, without its temperature head."""
    changes: dict[str, Any] = {
        "augment": {"warp_frequency": 0.0, "n_masks": 0},
        "fit": {"label_smoothing": 0.0},
    }
    config = recipe(mixture={"nemo": 1.0}, probe={"copies": 1, "crop_seconds": 0.6}, **changes)
    a_run(folder, 1.5)
    checkpoint.save(folder, average(), {"recipe": config.to_dict(), "labels": list(EMOTIONS)})
    return folder


def test_a_mixture_is_not_exported_without_its_temperature_head(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ModelFormatError, match=r"holds no temperature.safetensors. Delete the run folder"):
        export_run(a_mixture(tmp_path), tmp_path / "model.onnx")
    assert not exported


def test_a_mixture_keeps_its_temperature_head_whatever_it_is_calibrated_with(
    tmp_path: Path, exported: Exported
) -> None:
    TemperatureHead(torch.tensor([0.5, 0.25]), 0.125).write(a_mixture(tmp_path))
    for given in (None, Calibration(2.5, {"set": 0.5})):
        export_run(tmp_path, tmp_path / "model.onnx", calibration=given)
    own, other = (asked.calibration for asked in exported)
    assert (own.temperature, own.thresholds) == (1.5, {})
    assert (other.temperature, other.thresholds) == (2.5, {"set": 0.5})
    for calibration in (own, other):
        assert (calibration.of_window.weight.tolist(), calibration.of_window.bias) == ([0.5, 0.25], 0.125)


def test_temperatures_are_averaged_as_ratios(tmp_path: Path) -> None:
    for fold, temperature in enumerate((0.5, 1.0, 4.0)):
        a_run(tmp_path / "luna5" / f"fold-{fold}", temperature)
    judged = finished_runs(tmp_path / "luna5")
    assert [run["temperature"] for run in judged] == [0.5, 1.0, 4.0]
    assert joint_calibration(judged).temperature == pytest.approx(2 ** (1 / 3))
    with pytest.raises(ConfigError, match="holds no finished training"):
        finished_runs(tmp_path / "nothing")
    (tmp_path / "luna5" / "fold-1" / "run.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="fold-1: not a finished run"):
        finished_runs(tmp_path / "luna5")


def test_a_model_of_all_speakers_takes_the_likeliest_temperatures() -> None:
    """Each of its folds had a prior for its few speakers; all of them together need none."""
    judged = [
        {"temperature": 1.2, "validation": {**RUN["validation"], "likeliest_temperature": 2.0}},
        {"temperature": 1.1, "validation": {**RUN["validation"], "likeliest_temperature": 0.5}},
    ]
    assert joint_calibration(judged).temperature == pytest.approx(1.0)


def a_result(*, model: str = "tiny", split: str = "luna5") -> Result:
    """One clip per emotion and actor, answered right for men and wrong for women."""
    divided = protocol(split)
    answers = [
        an_answer(member, fold.index, k) for fold in divided.folds for member in fold.test for k in range(8)
    ]
    evaluation = Evaluation(
        divided, corpora.get("ravdess"), EMOTIONS, model, 14_000, 130_000, "abc", 6, tuple(answers)
    )
    return summarise(evaluation, command="speech-emotion evaluate run")


def an_answer(member: str, fold: int, emotion: int) -> Answer:
    speaker = member.split("-")[-1]
    is_man = int(speaker) % 2 == 1
    label, answer = EMOTIONS[emotion], EMOTIONS[emotion if is_man else (emotion + 1) % 8]
    return Answer(
        file=f"{member}-{emotion}.wav",
        speaker=speaker,
        sex="male" if is_man else "female",
        intensity="normal",
        label=label,
        fold=fold,
        seed=0,
        answer=answer,
        abstained="",
        probabilities=tuple(0.93 if name == answer else 0.01 for name in EMOTIONS),
    )


def test_shipping_writes_model_checksum_and_card(tmp_path: Path, exported: Exported) -> None:
    run = a_run(tmp_path / "all-speakers", 1.0)
    for fold, temperature in enumerate((1.0, 4.0)):
        a_run(tmp_path / "luna5" / f"fold-{fold}", temperature)
    result = a_result().write(tmp_path)
    info = ship(run, tmp_path / "out" / "tiny.onnx", calibration=tmp_path / "luna5", result=result)
    model = EmotionModel.load(tmp_path / "out" / "tiny.onnx")
    assert model.info == info
    assert info.temperature == pytest.approx(2.0)
    assert (tmp_path / "out" / "tiny.sha256").read_text() == f"{info.sha256}  tiny.onnx\n"
    card = (tmp_path / "out" / "tiny.md").read_text()
    assert info.sha256 in card
    assert info.metrics["uar"]["mean"] == pytest.approx(0.5)
    assert info.metrics["per_class"] == dict.fromkeys(EMOTIONS, 0.5)
    assert info.metrics["n_speakers"] == 24
    assert "UAR **50.0 [" in card
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tiny.onnx", "tiny.sha256", "tiny.md"}


@pytest.mark.parametrize("name", ["m.md", "m.sha256", "emo.v1"])
def test_a_model_file_is_called_so(tmp_path: Path, exported: Exported, name: str) -> None:
    with pytest.raises(ConfigError, match=r"a model file must end in \.onnx"):
        ship(a_run(tmp_path / "run", 1.7), tmp_path / name, calibration=None, result=None)
    assert not (tmp_path / name).exists()


def test_without_result_and_calibration_it_ships_as_it_is(tmp_path: Path, exported: Exported) -> None:
    info = ship(a_run(tmp_path / "run", 1.7), tmp_path / "m.onnx", calibration=None, result=None)
    assert (info.temperature, info.metrics) == (1.7, {})
    assert "Not measured" in (tmp_path / "m.md").read_text()


def test_only_its_own_honest_score_goes_into_a_model(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ConfigError, match="the score of other, not of tiny"):
        honest_score(a_result(model="other"), "tiny")
    with pytest.raises(ConfigError, match="measured on speakers in the training data"):
        honest_score(a_result(split="random10"), "tiny")
    with pytest.raises(ConfigError, match="the score of other"):
        export_run(a_run(tmp_path / "run", 1.0), tmp_path / "m.onnx", result=a_result(model="other"))
    assert not exported


def test_a_model_that_cannot_be_written_is_our_error(tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        ship(a_run(tmp_path / "run", 1.0), tmp_path / "file" / "m.onnx", calibration=None, result=None)


def test_the_encoder_is_cited_whole_and_each_licence_once(tmp_path: Path, exported: Exported) -> None:
    weights = {
        "licence": "MIT; CC BY-NC-SA 4.0",
        "citation": "Radford et al. (2022). Robust speech recognition.",
    }
    facts = {"initial_weights": [weights, weights], "licence": "CC BY-NC-SA 4.0"}
    info = export_run(a_run(tmp_path, 1.0, **facts), tmp_path / "model.onnx").info
    assert info.licence == "CC BY-NC-SA 4.0; MIT"
    assert info.citation == f"{RUN['citation']} {weights['citation']}"
