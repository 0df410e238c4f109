"""What tests of run folders and of export share: a stand-in for the exporter, which takes seconds."""

from typing import Any

import exporting
import pytest

from speech_emotion.training.export import ship


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of `export`, in place of seconds of exporting; a stand-in with its metadata is written."""
    asked: list[Any] = []
    monkeypatch.setattr(ship, "export", exporting.stand_in(asked))
    return asked
