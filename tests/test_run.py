"""./run as a newcomer meets it, with a stand-in Python that notes what is asked of it and installs nothing.

The real installation is what ./test itself does, and what it does again with the wheel in a bare environment.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from speech_emotion import audio, load

ROOT = Path(__file__).resolve().parents[1]
PIECES = ("run", "test", "tools/environment.sh", "pyproject.toml", "requirements.txt", "constraints.txt")

# A Python as old and as whole as it is told to be. It makes a .venv of itself and "installs" a speech-emotion
# that prints its arguments. Everything asked of it goes to the file LOG.
STAND_IN = """#!/bin/sh
printf '%s\\n' "$*" >>"$LOG"
case "$*" in
    *'import speech_emotion') exit 0 ;;
    *sys.version_info*) exit "${OLD:-0}" ;;
    *ensurepip*) exit "${NO_ENSUREPIP:-0}" ;;
    --version) echo Python 3.11.0 ;;
    '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    '-m pip '*)
        [ -z "${KILLED-}" ] || kill -9 "$PPID" $$
        [ -z "${FAILS-}" ] || { echo 'no such version' >&2; exit 1; }
        printf '#!/bin/sh\\nprintf "<%%s>" "$@"\\n' >"$(dirname "$0")/speech-emotion"
        chmod +x "$(dirname "$0")/speech-emotion" ;;
esac
"""


class Clone:
    """A copy of ./run in a folder with a space in its name, and a PATH with one Python: the stand-in."""

    def __init__(self, folder: Path):
        self.root = folder / "a clone"
        for piece in PIECES:
            (self.root / piece).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / piece, self.root / piece)
        (self.root / "src").mkdir()
        self.log = folder / "log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in ("sh", "cat", "cksum", "dirname", "mkdir", "cp", "rm", "chmod"):
            (self.bin / tool).symlink_to(shutil.which(tool) or "")
        self.add_python("python3")

    def add_python(self, name: str) -> None:
        (self.bin / name).write_text(STAND_IN)
        (self.bin / name).chmod(0o755)

    def run(
        self, *arguments: str, cwd: Path | None = None, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "LOG": str(self.log), **settings}
        command = [str(self.root / "run"), *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)

    def asked(self, word: str) -> int:
        """How often the stand-in was asked for something with `word` in it."""
        return sum(word in line for line in self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_first_call_installs_with_the_pins_and_later_calls_do_not(clone: Clone) -> None:
    assert clone.run("a.wav").returncode == 0
    assert clone.run("a.wav").returncode == 0
    assert clone.asked("-m venv .venv") == 1
    assert clone.asked("-m pip install") == 1
    assert clone.asked("-c constraints.txt -e .") == 1
    assert clone.asked("-m compileall -qq -j 0 src .venv/lib") == 1


def test_arguments_arrive_as_given_and_stdout_holds_only_the_answer(clone: Clone) -> None:
    done = clone.run("my clip.wav", "--json", "two\nlines.wav", "$HOME*.wav")
    assert done.stdout == "<predict><my clip.wav><--json><two\nlines.wav><$HOME*.wav>"
    assert "Installing" in done.stderr


def test_relative_paths_are_the_callers(clone: Clone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert clone.run("clip.wav", cwd=elsewhere).stdout == "<predict><clip.wav>"
    assert not list(elsewhere.iterdir())


def test_alone_it_answers_on_the_demo_and_says_what_to_try_next(clone: Clone) -> None:
    done = clone.run()
    assert done.stdout == "<predict><--demo>"
    assert "./run clip.wav" in done.stderr


def test_the_service_has_its_packages_and_its_options(clone: Clone) -> None:
    clone.run("a.wav")
    for _ in range(2):
        assert clone.run("serve", "--port", "80").stdout == "<serve><--port><80>"
    assert clone.asked("-e .[serve,media]") == 1


def test_help_installs_nothing(clone: Clone) -> None:
    done = clone.run("--help")
    assert done.returncode == 0
    assert "./run FILE" in done.stdout
    assert not (clone.root / ".venv").exists()


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.txt", "constraints.txt"])
def test_changed_requirements_are_installed_into_the_same_environment(clone: Clone, changed: str) -> None:
    clone.run("a.wav")
    with (clone.root / changed).open("a") as file:
        file.write("# changed\n")
    assert clone.run("a.wav").returncode == 0
    assert clone.asked("-m venv .venv") == 1
    assert clone.asked("-m pip install") == 2


def test_a_moved_clone_is_installed_anew(clone: Clone, tmp_path: Path) -> None:
    clone.run("a.wav")
    clone.root = clone.root.rename(tmp_path / "moved")
    assert clone.run("a.wav").returncode == 0
    assert clone.asked("-m pip install") == 2


def test_an_installation_killed_half_way_is_noticed_and_redone_from_nothing(clone: Clone) -> None:
    assert clone.run("a.wav", KILLED="yes").returncode != 0
    half = clone.root / ".venv" / "half-installed"
    half.touch()
    done = clone.run("a.wav")
    assert done.stdout == "<predict><a.wav>"
    assert "interrupted" in done.stderr
    assert not half.exists()


def test_a_failed_installation_says_so_and_is_not_taken_for_a_good_one(clone: Clone) -> None:
    failed = clone.run("a.wav", FAILS="yes")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "no such version\nThe installation failed" in failed.stderr
    assert clone.run("a.wav").stdout == "<predict><a.wav>"


def test_a_broken_environment_is_made_anew(clone: Clone) -> None:
    clone.run("a.wav")
    (clone.root / ".venv/bin/python").unlink()
    assert clone.run("a.wav").stdout == "<predict><a.wav>"
    assert clone.asked("-m venv .venv") == 2


def test_a_second_installer_leaves_the_first_alone(clone: Clone) -> None:
    (clone.root / ".venv").mkdir()
    (clone.root / ".venv/installing").write_text(str(os.getpid()))
    done = clone.run("a.wav")
    assert done.returncode == 1
    assert f"Process {os.getpid()} is installing" in done.stderr
    assert clone.asked("-m pip install") == 0


def test_an_old_python_is_passed_over_with_a_clear_message(clone: Clone) -> None:
    done = clone.run("a.wav", OLD="1")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (clone.root / ".venv").exists()


def test_no_python_at_all(clone: Clone) -> None:
    (clone.bin / "python3").unlink()
    done = clone.run("a.wav")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


def test_a_python_without_ensurepip_gets_the_name_of_the_package_to_install(clone: Clone) -> None:
    done = clone.run("a.wav", NO_ENSUREPIP="1")
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_python_can_be_chosen(clone: Clone) -> None:
    (clone.bin / "python3").rename(clone.bin / "mine")
    assert clone.run("a.wav").returncode == 1
    assert clone.run("a.wav", PYTHON=str(clone.bin / "mine")).returncode == 0


def test_the_second_call_costs_less_than_two_seconds(clone: Clone) -> None:
    """In time of the processor, which other programs do not take away."""
    clone.run("a.wav")
    before = os.times()
    clone.run("a.wav")
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 2.0


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_the_requirements_are_exact_agree_with_the_constraints_and_bring_no_torch() -> None:
    requirements, constraints = pins("requirements.txt"), pins("constraints.txt")
    assert {"numpy", "onnxruntime", "soundfile", "soxr", "typer", "streamlit"} <= requirements.keys()
    assert requirements.items() <= constraints.items()
    assert "torch" not in requirements
    assert constraints["torch"] == "2.13.0"


def test_every_dependency_of_the_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in wanted} - {project["name"]}
    assert names <= pins("constraints.txt").keys()


def test_nothing_names_an_index_or_a_machine() -> None:
    for file in (
        "run",
        "test",
        ".ci/run",
        "tools/environment.sh",
        "requirements.txt",
        "constraints.txt",
        "README.md",
    ):
        text = (ROOT / file).read_text()
        assert "index-url" not in text, file
        assert "find-links" not in text, file


def coverage_gate(folder: Path, files: dict[str, object]) -> subprocess.CompletedProcess[str]:
    (folder / "coverage.json").write_text(json.dumps({"files": files}))
    command = [sys.executable, str(ROOT / "tools/coverage_gate.py"), str(folder / "coverage.json")]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("n_taken", "code"), [(100, 0), (95, 0), (94, 1)])
def test_the_coverage_gate_counts_branches(tmp_path: Path, n_taken: int, code: int) -> None:
    summary = {"num_branches": 100, "covered_branches": n_taken}
    files = (ROOT / "src").rglob("*.py")
    done = coverage_gate(
        tmp_path, {path.relative_to(ROOT).as_posix(): {"summary": summary} for path in files}
    )
    assert done.returncode == code
    assert f"{n_taken:.1f} %  src/speech_emotion/audio/reader.py" in done.stdout


def test_a_guard_that_was_never_imported_counts_as_uncovered(tmp_path: Path) -> None:
    done = coverage_gate(tmp_path, {})
    assert done.returncode == 1
    assert "0.0 %" in done.stdout


DEMO_VOICES = sorted((ROOT / "src/speech_emotion/assets").glob("demo-*.flac"))


def test_there_are_a_few_demo_voices() -> None:
    assert 2 <= len(DEMO_VOICES) <= 4


@pytest.mark.parametrize("voice", DEMO_VOICES, ids=lambda path: path.stem)
def test_a_demo_voice_is_small_and_is_taken_for_speech(voice: Path) -> None:
    sound = audio.load(voice)
    assert voice.stat().st_size <= 60_000
    assert 2.0 <= sound.seconds <= 4.0
    assert sound.warnings == ()
    assert load().predict(sound.samples, sample_rate=audio.SAMPLE_RATE).abstained != "no_speech"


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs espeak-ng: apt-get install espeak-ng")
def test_the_demo_voices_can_be_made_again(tmp_path: Path) -> None:
    version = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True).stdout
    if "1.51" not in version:
        pytest.skip("the bundled voices are espeak-ng 1.51's")
    subprocess.run([sys.executable, str(ROOT / "tools/make_demo_voices.py"), str(tmp_path)], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [voice.name for voice in DEMO_VOICES]
    for voice in DEMO_VOICES:
        again, bundled = audio.load(tmp_path / voice.name), audio.load(voice)
        np.testing.assert_allclose(again.samples, bundled.samples, atol=2 / 32768)
