"""The same in Python: rows, tables, and folders that keep them."""

import subprocess
import sys
from pathlib import Path

import pytest
import sounds
import standin

import speech_emotion
from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError, MissingExtraError, ModelError


def test_rows_and_tables(calls: Path, model_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    answers = speech_emotion.predict_many(
        [calls / "00.wav", "calls/text.wav"],
        model=model_path,
        workers=1,
        progress=lambda *done: seen.append(done),
    )
    assert len(answers) == 2
    assert [(row["path"], row["error"]) for row in answers] == [
        (str(calls / "00.wav"), None),
        ("calls/text.wav", "audio_decode"),
    ]
    assert next(iter(answers))["label"] == speech_emotion.load(model_path).predict(calls / "00.wav").label
    assert answers.to_arrow().to_pylist() == list(answers)
    assert answers.to_pandas()["path"].tolist() == [row["path"] for row in answers]
    assert answers.summary.errors == {"audio_decode": 1}
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_folder_keeps_the_rows(calls: Path, model_path: Path) -> None:
    first = speech_emotion.predict_many("calls/more", model=model_path, out="kept", workers=1)
    rows = list(first)
    for path in calls.glob("more/*"):
        path.unlink()
    again = speech_emotion.predict_many("calls/more", model=model_path, out=Path("kept"), workers=1)
    assert list(again) == rows
    assert [row["error"] for row in rows] == [None] * 8


def test_engines_that_do_not_fit_are_refused(calls: Path, model_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no engine 'spark'\. Choose one of: pool, ray"):
        speech_emotion.predict_many("calls", model=model_path, engine="spark")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the engine pool has no address"):
        speech_emotion.predict_many("calls", model=model_path, address="auto")
    with pytest.raises(ConfigError, match="a cluster has the workers it has"):
        speech_emotion.predict_many("calls", model=model_path, engine="ray", address="auto", workers=2)


def test_a_profile_counts_and_one_of_another_model_is_refused(
    calls: Path, model_path: Path, tuned: Classifier, tmp_path: Path
) -> None:
    tuned_path = tmp_path / "enrols.onnx"
    tuned_path.write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    me = tuned.enrol(sounds.voice(20), sample_rate=16_000)
    (row,) = speech_emotion.predict_many("calls/00.wav", model=tuned_path, profile=me, workers=1)
    assert row["confidence"] == tuned.predict("calls/00.wav", profile=me).confidence
    assert row["confidence"] != tuned.predict("calls/00.wav").confidence
    with pytest.raises(ModelError):
        speech_emotion.predict_many("calls/00.wav", model=model_path, profile=me)


def test_what_is_not_installed_is_named(
    calls: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"the engine ray needs ray, .*'.\[ray\]'"):
        speech_emotion.predict_many("calls/00.wav", model=model_path, engine="ray")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"predict_many needs pyarrow, .*'.\[batch\]'"):
        speech_emotion.predict_many("calls/00.wav", model=model_path)


def test_importing_it_needs_no_pyarrow() -> None:
    code = "import sys; from speech_emotion import predict_many; print('pyarrow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
