"""The command around its verbs: errors, streams, terminals, help."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from shell import Shell

from speech_emotion import __version__, cli
from speech_emotion.errors import CorpusError

VERBS = ["predict", "batch", "enrol", "info", "serve"]
VERBS += ["corpora", "train", "evaluate", "robustness", "enrolment", "report", "audit", "export"]
COMMAND = [sys.executable, "-m", "speech_emotion"]


def test_our_errors_from_any_verb_are_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise CorpusError("no\nsuch corpus; try: speech-emotion corpora list")

    monkeypatch.setattr(cli, "app", fail)
    assert shell("info") == (1, "", "no\\nsuch corpus; try: speech-emotion corpora list (corpus)\n")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, check=False, **options)


def test_a_reader_that_leaves_early_sees_no_traceback(shell: Shell) -> None:
    command = f"{' '.join(COMMAND)} predict --model {shell.model} {'voice.wav ' * 30}| head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "| true"])
def test_closed_streams_make_no_traceback(shell: Shell, redirection: str) -> None:
    command = f"{' '.join(COMMAND)} info {shell.model} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", ["info {0}", "predict --csv --model {0} voice.wav", "--help"])
def test_a_full_disk_makes_no_traceback(shell: Shell, arguments: str) -> None:
    command = f"{' '.join(COMMAND)} {arguments.format(shell.model)} > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "the output: No space left on device\n")


def test_a_narrow_encoding_is_no_obstacle(shell: Shell) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run("predict", "--model", str(shell.model), "voice.wav", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"voice.wav" in done.stdout


def test_interrupt_is_quiet(shell: Shell) -> None:
    Path("long.wav").write_bytes(sounds.wav(np.tile(sounds.voice(2), 3_000)))
    arguments = [*COMMAND, "predict", "--model", str(shell.model), "voice.wav", *["long.wav"] * 50]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"voice.wav" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def on_a_terminal(*arguments: str, columns: int = 80) -> str:
    """What a person sees of a verb, without colours and the moves of the cursor."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # Linux ends it with EIO
            while part := terminal.read(65_536):
                seen += part
        assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())


@pytest.mark.parametrize("columns", [80, 40])
def test_a_line_is_whole_on_a_narrow_terminal(shell: Shell, columns: int) -> None:
    folder = Path("a folder with a very long name " * 4)
    folder.mkdir()
    names = [str(folder / name) for name in ("first [bold] one.wav", "second.wav")]
    for name in names:
        Path(name).write_bytes(Path("voice.wav").read_bytes())
    seen = on_a_terminal("predict", "--model", str(shell.model), *names, columns=columns)
    lines = seen.replace("\r\n", "\n").split("\n")
    assert [name for name in names for line in lines if line.endswith(f"  {name}")] == names
    assert seen.index("0.0/") < seen.index("first [bold]")
    assert "0/?" not in seen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_and_leaves_the_output_clean(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    rows = shell.rows("voice.wav", "silent.wav")
    assert [row["source"] for row in rows] == ["voice.wav", "silent.wav"]
    assert "predicting" in sys.stderr.getvalue()
    assert "400.1/400.1 kB" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    shell.rows("voice.wav")
    assert sys.stderr.getvalue() == ""  # one answer needs no progress
    shell.rows("voice.wav", "--timeline")
    assert "336.0/336.0 kB" in sys.stderr.getvalue()


def test_the_version_is_shown() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"speech-emotion {__version__}\n"


def test_help_is_quick_and_names_the_verbs() -> None:
    seconds = []
    for _ in range(3):
        before = os.times()
        done = run("--help")
        after = os.times()
        seconds.append(after.children_user - before.children_user)
        verbs = [line.split()[0] for line in done.stdout.decode().splitlines() if line.startswith("  ")]
        assert verbs[verbs.index("predict") :] == VERBS
    assert min(seconds) < 1.0  # of the processor; benchmarks/speed.py measures it


def test_a_verb_that_does_not_exist_is_corrected() -> None:
    done = run("robustnes")
    assert (done.returncode, b"Did you mean 'robustness'?" in done.stderr) == (2, True)


def test_help_names_arguments_without_their_types() -> None:
    assert b"<" not in run("corpora", "prepare", "--help").stdout
