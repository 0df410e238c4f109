"""`speech-emotion audit`: what it prints and writes, and how it ends."""

import json
from pathlib import Path

import numpy as np
import pytest
import sounds
from typer.testing import CliRunner, Result

from speech_emotion import cli

CLEAN = ["a.wav,happy,ann,0", "b.wav,happy,bob,1"]


def audit(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, ["audit", *map(str, arguments)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["path,label,speaker,fold", *CLEAN, ""]))
    return path


def test_a_clean_table_ends_with_0(table: Path, tmp_path: Path) -> None:
    for name, f0 in {"a": 110.0, "b": 220.0}.items():
        voice = np.concatenate([sounds.voice(0.5, f0=f0), sounds.voice(0.8, f0=1.3 * f0)])
        (tmp_path / f"{name}.wav").write_bytes(sounds.wav(voice))
    out = tmp_path / "certificate.json"
    ended = audit(table, "--audio-root", tmp_path, "--out", out)
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.startswith("speaker-independent: no leak found\n")
    assert json.loads(out.read_text())["kind"] == "certificate"
    assert f"Written: {out}" in ended.stderr


def test_a_leak_ends_with_1_and_no_name_steers_the_terminal(table: Path) -> None:
    with table.open("a") as file:
        file.write("c.wav,sad,\x1b[2Jeve,0\nd.wav,sad,\x1b[2Jeve,1\n")
    ended = audit(table)
    assert ended.exit_code == 1
    assert ended.stdout.startswith("LEAKS: 1 × speaker in more than one fold\n")
    assert r"\x1b[2Jeve: 1 in 0, 1 in 1" in ended.stdout


def test_wrong_usage_ends_with_2(table: Path, tmp_path: Path) -> None:
    for arguments, complaint in [
        ([tmp_path / "absent.csv"], "cannot be read"),
        ([table, "--out", tmp_path / "absent" / "x.json"], "cannot be written"),
        ([], "Missing argument 'TABLE'"),
    ]:
        ended = audit(*arguments)
        assert ended.exit_code == 2, ended.output
        assert complaint in ended.stderr
