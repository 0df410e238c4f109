"""Is anybody speaking, as the encoder in the package hears it? In: its embedding. Out: a probability a window.

A linear head on the trunk that stays as it is, so it fits every model with that trunk, whatever its emotion head.
tools/train_speech_head.py made its weights, assets/speech_head.json, which name their data.
"""

import json
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from speech_emotion.training.config import TrainConfig

SHIPPED: Final = Path(__file__).parent.parent / "assets" / "speech_head.json"


class SpeechHead(NamedTuple):
    """P(speech) = sigmoid(embedding · weight + bias), weight (n,); from `threshold` on somebody speaks."""

    weight: npt.NDArray[np.float32]
    bias: float
    threshold: float

    def score(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits above the threshold (…,) of embeddings (…, n)."""
        margin: npt.NDArray[np.float32] = (
            embeddings @ self.weight + self.bias - np.log(self.threshold / (1 - self.threshold))
        )
        return margin


def speech_head(config: TrainConfig) -> SpeechHead | None:
    """The head in the package, where `config` keeps the encoder in the package as it is; else None."""
    of_package = {"transformer": config.init == "pretrained", "duo": config.init != "fresh"}
    if not (config.probe.copies and of_package.get(config.network.architecture)):
        return None
    found = json.loads(SHIPPED.read_bytes())
    return SpeechHead(np.array(found["weight"], np.float32), found["bias"], found["threshold"])
