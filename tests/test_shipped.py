"""The models in the package: what their names mean, and what the table says of each."""

from pathlib import Path

import pytest
import standin

import speech_emotion as ser
from speech_emotion.errors import ModelNotFoundError
from speech_emotion.shipped import MODELS, ShippedModel, find


def test_the_first_model_is_the_default(two_models: list[ShippedModel]) -> None:
    first, second = two_models
    assert find(None) == find("first") == first
    assert find("second") == second
    assert (first.is_default, second.is_default) == (True, False)
    assert [ser.load(name).info.name for name in (None, "first", "second")] == ["first", "first", "second"]


@pytest.mark.parametrize(
    "model",
    [
        "second.onnx",
        "./second",
        "folder/second",
        "/second",
        "folder/../second.onnx",
        Path("second"),
        Path("a.onnx"),
    ],
)
def test_what_is_not_a_name_is_a_file(two_models: list[ShippedModel], model: str | Path) -> None:
    assert find(model) == Path(model)


def test_a_file_in_the_working_directory_does_not_take_the_place_of_a_name(
    two_models: list[ShippedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("second", "third"):
        Path(name).write_bytes(standin.model_bytes(name="mine"))
    assert ser.load("second").info.name == "second"
    assert ser.load("./second").info.name == ser.load(Path("second")).info.name == "mine"
    with pytest.raises(ModelNotFoundError, match=r"^no shipped model is called 'third'"):
        ser.load("third")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("secnd", "Did you mean 'second'?"),
        ("zz", "Choose one of: first, second."),
        ("", "Choose one of: first, second."),
        ("First", "Did you mean 'first'?"),
    ],
)
def test_a_name_that_no_model_has(two_models: list[ShippedModel], name: str, advice: str) -> None:
    with pytest.raises(ModelNotFoundError) as refused:
        ser.load(name)
    assert str(refused.value) == (
        f"no shipped model is called {name!r}. {advice} Text with a folder, as ./mine, or .onnx is a file"
    )


def test_names_are_never_taken_for_files() -> None:
    assert len({model.name for model in MODELS}) == len(MODELS)
    assert [find(model.name) for model in MODELS] == list(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
def test_a_model_of_the_package_is_complete(model: ShippedModel) -> None:
    info = ser.load(model.name).info
    assert info.name == model.path.stem == model.name
    assert info.sha256 in model.path.with_suffix(".md").read_text(encoding="utf-8")
    assert info.metrics["leaky"] is False
    assert 0.125 < info.metrics["uar"]["mean"] < 1
    assert len(model.purpose) < 60
