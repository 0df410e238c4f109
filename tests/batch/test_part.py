"""The one function that answers: its rows are what the classifier says, and a sound that fails is a row."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sounds

from speech_emotion.batch.manifest import list_inputs
from speech_emotion.batch.part import Settings, error_part, process_part, row_schema
from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError, WorkerDiedError


def test_the_columns_of_a_row(classifier: Classifier) -> None:
    assert row_schema(classifier.info).names == [
        *("path", "channel", "segment", "start_seconds", "end_seconds", "duration_seconds"),
        *("label", "confidence", "runner_up", "emotions", "abstained", "warnings"),
        *("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
        *("model", "model_sha256", "error", "message"),
    ]


def test_rows_are_the_answers_of_the_classifier(calls: Path, settings: Settings) -> None:
    inputs = list_inputs([str(calls)], settings.classifier.info)
    part = process_part(inputs, settings)
    rows = part.rows.to_pylist()
    assert [row["path"] for row in rows] == inputs["path"].to_pylist()
    assert part.n_rows == [1] * len(inputs)
    for row in rows:
        if row["error"]:
            continue
        answer = settings.classifier.predict(row["path"])
        expected = {"channel": None, "segment": 0, "duration_seconds": answer.end_seconds, **answer.to_row()}
        assert {name: row[name] for name in expected} == expected
        assert row["model_sha256"] == settings.classifier.info.sha256
    failed = {Path(row["path"]).name: row for row in rows if row["error"]}
    assert {name: row["error"] for name, row in failed.items()} == {
        "cut.wav": "audio_decode",
        "text.wav": "audio_decode",
    }
    assert "it looks like text that begins 'no sound'" in failed["text.wav"]["message"]
    assert all(row["label"] is None and row["angry"] is None for row in failed.values())


def test_windows_and_channels_have_rows_of_their_own(tmp_path: Path, classifier: Classifier) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(sounds.wav(np.stack([sounds.voice(5), 0 * sounds.voice(5)], axis=1)))
    inputs = list_inputs([str(path)], classifier.info)
    part = process_part(inputs, Settings(classifier, timeline=True, channels="separate"))
    rows = part.rows.to_pylist()
    assert [(row["channel"], row["segment"], row["start_seconds"]) for row in rows] == [
        *(("left", 0, 0.0), ("right", 0, 0.0), ("left", 1, 1.0), ("right", 1, 1.0)),
        *(("left", 2, 2.0), ("right", 2, 2.0)),
    ]
    assert {row["abstained"] for row in rows if row["channel"] == "right"} == {"no_speech"}
    assert {row["duration_seconds"] for row in rows} == {5.0}
    assert part.n_rows == [6]
    whole = process_part(inputs, Settings(classifier, channels="separate")).rows.to_pylist()
    assert [row["channel"] for row in whole] == ["left", "right"]


def test_windows_may_be_further_apart(tmp_path: Path, classifier: Classifier) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(sounds.wav(sounds.voice(9)))
    inputs = list_inputs([str(path)], classifier.info)
    apart = Settings(classifier, timeline=True, hop_seconds=classifier.info.window_seconds)
    rows = process_part(inputs, apart).rows.to_pylist()
    starts = [answer.start_seconds for answer in classifier.timeline(path, hop_seconds=apart.hop_seconds)]
    assert [row["start_seconds"] for row in rows] == starts
    assert len(starts) < len(classifier.timeline(path))
    assert apart.to_dict() != Settings(classifier, timeline=True).to_dict()
    with pytest.raises(ConfigError, match="Ask for a timeline"):
        Settings(classifier, hop_seconds=1.0)
    with pytest.raises(ConfigError, match=r"must be 0\.05 to"):
        Settings(classifier, timeline=True, hop_seconds=1000.0)


def test_columns_of_the_inputs_are_copied_to_every_row(tmp_path: Path, classifier: Classifier) -> None:
    (tmp_path / "a.wav").write_bytes(sounds.wav(sounds.voice(4)))
    (tmp_path / "t.csv").write_text("path,id\nnone.wav,007\na.wav,008\n")
    inputs = list_inputs([str(tmp_path / "t.csv")], classifier.info)
    rows = process_part(inputs, Settings(classifier, timeline=True)).rows.to_pylist()
    assert [(row["path"], row["id"], row["error"]) for row in rows] == [
        ("none.wav", "007", "audio_not_found"),
        ("a.wav", "008", None),
        ("a.wav", "008", None),
    ]


def test_odd_files_are_rows_with_their_reasons(tmp_path: Path, settings: Settings, clip: bytes) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "fifo.wav")
    (folder / "loop").symlink_to("..", target_is_directory=True)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.wav")).write_bytes(clip)
    (folder / "=1+1\n.wav").write_bytes(clip)
    rows = process_part(list_inputs([str(folder)], settings.classifier.info), settings).rows.to_pylist()
    assert [(row["path"].removeprefix(f"{folder}/"), row["error"]) for row in rows] == [
        ("=1+1\n.wav", None),
        ("fifo.wav", "audio_not_found"),
        ("\\udcff.wav", None),
    ]


def test_an_error_that_nobody_expects_is_a_row(
    calls: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Classifier, "predict", fail)
    inputs = list_inputs([str(calls / "00.wav")], settings.classifier.info)
    (row,) = process_part(inputs, settings).rows.to_pylist()
    assert row["error"] == "unexpected"
    assert row["message"] == "ZeroDivisionError: division by zero. Please report it with this file"


def test_inputs_whose_process_died_are_rows_as_well(tmp_path: Path, settings: Settings) -> None:
    inputs = pa.Table.from_pylist([{"path": "a", "location": b"/a", "error": None, "message": None, "id": 3}])
    part = error_part(inputs, settings, WorkerDiedError("it died"))
    (row,) = part.rows.to_pylist()
    assert (row["path"], row["error"], row["message"], row["id"]) == ("a", "worker_died", "it died", 3)
