"""The verb `batch`: what a user types, reads and gets."""

import csv
import io
from pathlib import Path

import pytest
from pyarrow import parquet
from shell import Shell


@pytest.fixture
def calls(shell: Shell) -> Path:
    """A folder of one voice, silence and a text."""
    folder = Path("calls")
    folder.mkdir()
    for name in ("voice.wav", "silent.wav", "text.wav"):
        (folder / name).write_bytes(Path(name).read_bytes())
    return folder


def batch(shell: Shell, *arguments: str) -> tuple[int, str, str]:
    return shell("batch", *arguments, "--workers", "1")


def test_a_folder_becomes_a_table_and_a_report(shell: Shell, calls: Path) -> None:
    code, out, err = batch(shell, "calls", "--out", "out", "--html", "report.html")
    assert code == 1
    assert out.startswith("2 of 3 answered, 0.00 h of sound, 3 rows\n")
    assert "no speech" in out
    assert "❌ 1 × audio_decode, as calls/text.wav: this is not a sound" in out
    assert err == "Written: out\nWritten: report.html\n"
    rows = parquet.read_table("out").to_pylist()
    assert [(row["path"], row["abstained"], row["error"]) for row in rows] == [
        ("calls/silent.wav", "no_speech", None),
        ("calls/text.wav", None, "audio_decode"),
        ("calls/voice.wav", None, None),
    ]
    assert "Emotions of 3 recordings" in Path("report.html").read_text()
    code, again, err = batch(shell, "calls", "--out", "out")
    assert (code, again) == (1, out)
    assert err == "3 of 3 inputs were answered before\nWritten: out\n"


def test_all_answered_is_exit_code_0(shell: Shell, calls: Path) -> None:
    Path("list.csv").write_text("path,agent\ncalls/voice.wav,=ann\n")
    code, _, _ = batch(shell, "list.csv", "--out", "out", "--format", "csv", "--channels", "separate")
    assert code == 0
    (row,) = csv.DictReader(io.StringIO(Path("out/part-00000.csv").read_text()))
    assert (row["path"], row["channel"], row["agent"], row["error"]) == (
        "calls/voice.wav",
        "mono",
        "'=ann",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "xml"], "--format must be one of parquet, csv, jsonl"),
        (["--engine", "spark"], "there is no engine 'spark'"),
        (["--address", "auto"], "the engine pool has no address"),
        (["--hop", "2"], "--hop is the time between the answers of --timeline; add --timeline"),
    ],
)
def test_wrong_usage(shell: Shell, calls: Path, arguments: list[str], message: str) -> None:
    code, _, err = batch(shell, "calls", "--out", "out", *arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert not Path("out").exists()


def test_other_options_are_refused_in_one_line(shell: Shell, calls: Path) -> None:
    batch(shell, "calls", "--out", "out")
    code, out, err = batch(shell, "calls", "--out", "out", "--timeline")
    assert (code, out) == (1, "")
    assert err == (
        "out holds a batch with timeline false, not true. Give the same inputs and options to go on with it, "
        "or choose a new folder (config)\n"
    )
