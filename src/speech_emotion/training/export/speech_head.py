"""Speech detection with an encoder in the package. In: an embedding's levels. Out: the probability of speech.

A linear head on the frozen encoder, so it fits every model with that encoder, whatever its emotion head.
tools/train_speech_head.py makes its weights, a file in assets, which names its data.
"""

import json
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from speech_emotion.errors import ModelFormatError
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.weights import ASSETS

HEADS: Final = {  # an `init` → the head on that encoder
    "pretrained": ASSETS / "speech_head.json",
    "whisper-base": ASSETS / "whisper-base-speech.json",
}


class SpeechHead(NamedTuple):
    """P(speech) = sigmoid(levels · weight + bias); a window is speech from `threshold` on.

    The levels are the first n values of an embedding: mean and deviation of every layer. weight: (n,).
    """

    weight: npt.NDArray[np.float32]
    bias: float
    threshold: float

    def score(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits above the threshold (…,) of embeddings (…, n or more)."""
        levels = embeddings[..., : len(self.weight)]
        logit = np.log(self.threshold / (1 - self.threshold))
        return np.asarray(levels @ self.weight + self.bias - logit)


def speech_head(config: TrainConfig) -> SpeechHead | None:
    """The head in the package, if the recipe freezes an encoder in the package."""
    path = HEADS.get(config.init)
    if not (path and config.network.architecture == "transformer" and config.probe.copies):
        return None
    try:
        found = json.loads(path.read_bytes())
        return SpeechHead(np.array(found["weight"], np.float32), found["bias"], found["threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"The speech head is damaged: {error!r}. Install speech-emotion again."
        ) from error
