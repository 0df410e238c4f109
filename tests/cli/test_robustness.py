"""`speech-emotion robustness`: what it writes and prints."""

from pathlib import Path

import numpy as np
import pytest
from sounds import wav
from typer.testing import CliRunner, Result

from speech_emotion import cli
from speech_emotion.degrade import CONDITIONS
from speech_emotion.evaluation import robustness
from speech_emotion.evaluation.report.robustness import robustness_table
from speech_emotion.evaluation.robustness import read_robustness


def verb(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["robustness", *map(str, arguments)])


def test_it_writes_apart_and_prints_a_table(
    savee_run: Path, savee_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "CONDITIONS", CONDITIONS[:1])
    monkeypatch.setattr(robustness, "in_parallel", lambda function, tasks, workers: map(function, tasks))
    (tmp_path / "hum").mkdir()
    (tmp_path / "hum" / "hum.wav").write_bytes(wav(0.1 * np.sin(np.arange(32_000) / 50)))
    words = [savee_run, "--corpus", f"savee={savee_folder}", "--protocol", "savee4"]
    ended = verb(*words, "--noise", tmp_path / "hum", "--out", tmp_path / "results")
    assert ended.exit_code == 0, ended.output
    path = tmp_path / "results" / "robustness" / "savee-savee4-stand-in.json"
    found = read_robustness(path)
    assert list(found.conditions) == ["clean", "noise-20db", "noise-10db", "noise-0db"]
    assert found.noise == "hum"
    assert found.command == " ".join(
        map(str, ["speech-emotion", "robustness", *words, "--noise", tmp_path / "hum"])
    )
    assert ended.stdout.splitlines() == robustness_table(found)
    assert not list((tmp_path / "results").glob("*.json"))

    ended = verb(*words, "--out", tmp_path / "results")
    assert ended.exit_code == 0, ended.output
    assert read_robustness(path).noise is None
