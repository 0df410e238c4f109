"""What tests of batches share: a folder of short sounds, some of them broken, and settings with the stand-in."""

from pathlib import Path

import numpy as np
import pytest
import sounds

from speech_emotion.batch.part import Settings
from speech_emotion.classifier import Classifier


@pytest.fixture(scope="session")
def clip() -> bytes:
    return sounds.wav(sounds.voice(0.8))


@pytest.fixture
def calls(tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """16 clips of different levels and two broken files, in the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "calls"
    (folder / "more").mkdir(parents=True)
    voice = sounds.voice(0.8)
    for n in range(16):
        level = np.float32(1 - n / 20)
        name = f"more/{n:02d}.wav" if n % 2 else f"{n:02d}.wav"
        (folder / name).write_bytes(sounds.wav(level * voice))
    (folder / "cut.wav").write_bytes(clip[:30])
    (folder / "text.wav").write_text("no sound")
    return folder


@pytest.fixture
def settings(classifier: Classifier) -> Settings:
    return Settings(classifier)
