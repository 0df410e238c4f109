"""`speech-emotion enrolment`: what it writes and prints."""

import json
from pathlib import Path

from typer.testing import CliRunner

from speech_emotion import cli


def test_it_writes_apart_and_prints_every_way(savee_run: Path, savee_folder: Path, tmp_path: Path) -> None:
    words = ["enrolment", str(savee_run), "--corpus", f"savee={savee_folder}", "--protocol", "savee4"]
    ended = CliRunner().invoke(cli.app, [*words, "--out", str(tmp_path)])
    assert ended.exit_code == 0, ended.output
    document = json.loads((tmp_path / "enrolled" / "savee-savee4-stand-in.json").read_text())
    assert document["command"] == " ".join(["speech-emotion", *words])
    assert "neutral and calm speech: UAR" in ended.output
    assert "Written: " in ended.output
