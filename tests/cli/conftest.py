"""What tests of verbs share: a shell in a folder with a few sounds, and a tiny corpus with models for it."""

from pathlib import Path

import numpy as np
import pytest
import sounds
import standin
from shell import Shell

from speech_emotion.corpora.readers import savee
from speech_emotion.evaluation.splits import protocol


@pytest.fixture
def shell(
    tmp_path: Path, model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    Path("voice.wav").write_bytes(sounds.wav(sounds.voice(3.5, 48_000), 48_000))
    Path("silent.wav").write_bytes(sounds.wav(np.zeros(32_000, np.float32)))
    Path("text.wav").write_text("hello")
    return Shell(tmp_path, model_path, capsys, monkeypatch)


@pytest.fixture
def enrols(shell: Shell) -> Shell:
    """A model that takes profiles, and half a minute of a voice."""
    shell.model.with_name("enrols.onnx").write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    shell.model = shell.model.with_name("enrols.onnx")
    Path("me.wav").write_bytes(sounds.wav(sounds.voice(14)))
    Path("me2.wav").write_bytes(sounds.wav(sounds.voice(9)))
    return shell


@pytest.fixture(scope="session")
def savee_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four men of SAVEE with three emotions each."""
    folder = tmp_path_factory.mktemp("savee")
    for number, speaker in enumerate(savee.SPEAKERS):
        (folder / speaker).mkdir()
        for place, code in enumerate([*list(savee.EMOTIONS)[:2], "n"]):
            sound = sounds.voice(1.1, f0=100 + 20 * number + 5 * place)
            (folder / speaker / f"{code}01.wav").write_bytes(sounds.wav(sound))
    return folder


@pytest.fixture(scope="session")
def savee_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for one training under savee4; they take profiles."""
    folder = tmp_path_factory.mktemp("run")
    split = protocol("savee4")
    for fold in split.folds:
        model = folder / f"fold-{fold.index}" / "model.onnx"
        model.parent.mkdir()
        facts = {"corpora": ["savee"], "protocol": split.describe(fold), "split_hash": split.split_hash}
        facts |= {"recipe": {"name": "stand-in", "fit": {"seed": 0}}, "window_seconds": 1.0}
        facts |= {"enrolment": standin.ENROLMENT | {"min_seconds": 1.0}}
        model.write_bytes(standin.model_bytes(**facts))
    return folder
