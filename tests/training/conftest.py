"""What tests of run folders and of export share: a stand-in for the exporter, which takes seconds."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import standin

from speech_emotion.model import EmotionModel
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export import ship
from speech_emotion.training.fit.calibration import Calibration


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked of `export`, in place of seconds of exporting; a stand-in with its metadata is written."""
    asked: list[Any] = []

    def remember(
        network: Any, config: TrainConfig, calibration: Calibration, provenance: Any, path: Path, *, head: Any
    ) -> EmotionModel:
        asked.append(SimpleNamespace(**locals()))
        metadata = dataclasses.asdict(provenance) | {"name": config.name}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(standin.model_bytes(**metadata, temperature=calibration.temperature))
        return EmotionModel.load(path)

    monkeypatch.setattr(ship, "export", remember)
    return asked
