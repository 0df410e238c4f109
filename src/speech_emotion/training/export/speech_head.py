"""Is anybody speaking, as the encoder in the package hears it? In: its levels. Out: a probability a window.

A linear head on the trunk that stays as it is, so it fits every model with that trunk, whatever its emotion head.
tools/train_speech_head.py made its weights, assets/speech_head.json, which name their data.
"""

import json
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from speech_emotion.errors import ModelFormatError
from speech_emotion.training.config import TrainConfig

SHIPPED: Final = Path(__file__).parents[2] / "assets" / "speech_head.json"


class SpeechHead(NamedTuple):
    """P(speech) = sigmoid(levels · weight + bias), from `threshold` on somebody speaks.

    The levels are the first n values of an embedding: mean and deviation of every layer. weight: (n,).
    """

    weight: npt.NDArray[np.float32]
    bias: float
    threshold: float

    def score(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits above the threshold (…,) of embeddings (…, n or more)."""
        levels = embeddings[..., : len(self.weight)]
        margin: npt.NDArray[np.float32] = (
            levels @ self.weight + self.bias - np.log(self.threshold / (1 - self.threshold))
        )
        return margin


def speech_head(config: TrainConfig) -> SpeechHead | None:
    """The head in the package, where `config` keeps the encoder in the package as it is; else None.

    ModelFormatError where its file is damaged.
    """
    is_of_package = config.network.architecture == "transformer" and config.init == "pretrained"
    if not (is_of_package and config.probe.copies):
        return None
    try:
        found = json.loads(SHIPPED.read_bytes())
        return SpeechHead(np.array(found["weight"], np.float32), found["bias"], found["threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"the weights of the speech head are damaged: {error!r}. Install speech-emotion again"
        ) from error
