"""A stand-in for the exporter, which takes seconds for each model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import standin

from speech_emotion.model import EmotionModel
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.fit.calibration import Calibration

Export = Callable[..., EmotionModel]


def stand_in(asked: list[Any]) -> Export:
    """Writes a stand-in with the metadata of the model, and keeps in `asked` what it was given."""

    def export(
        network: Any,
        config: TrainConfig,
        calibration: Calibration,
        provenance: Any,
        path: Path,
        *,
        head: Any = None,
    ) -> EmotionModel:
        asked.append(SimpleNamespace(**locals()))
        window = config.window
        metadata = dataclasses.asdict(provenance) | {
            "name": config.name,
            "labels": list(network.labels),
            "recipe": config.to_dict(),
            "window_seconds": window.seconds,
            "hop_seconds": window.hop_seconds,
            "min_seconds": window.min_seconds,
            "temperature": calibration.temperature,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(standin.model_bytes(**metadata))
        return EmotionModel.load(path)

    return export
