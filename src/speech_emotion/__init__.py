"""Which emotion a voice expresses: sound in, one calibrated distribution over eight emotions out.

>>> import speech_emotion as ser
>>> ser.predict("hello.wav")
Prediction(happy 0.82, 0.00–3.42 s)

Importing it is silent and light: what needs NumPy or ONNX Runtime is imported on first use.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from speech_emotion import errors
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.labels import EMOTIONS
from speech_emotion.version import __version__

# Official builds of ONNX Runtime send what they are used for to Microsoft, unless this is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from speech_emotion.audio import open_audio
    from speech_emotion.batch import Answers, predict_many
    from speech_emotion.classifier import Classifier, load, predict
    from speech_emotion.prediction import Prediction
    from speech_emotion.profile import SpeakerProfile
    from speech_emotion.segments import Segment
    from speech_emotion.segments.reader import read_segments
    from speech_emotion.stream import EmotionStream

__all__ = [
    "EMOTIONS",
    "Answers",
    "Classifier",
    "EmotionStream",
    "Prediction",
    "Segment",
    "SpeakerProfile",
    "SpeechEmotionError",
    "__version__",
    "errors",
    "load",
    "open_audio",
    "predict",
    "predict_many",
    "read_segments",
]

_HOMES = {
    "Answers": "batch",
    "Classifier": "classifier",
    "EmotionStream": "stream",
    "Prediction": "prediction",
    "Segment": "segments",
    "SpeakerProfile": "profile",
    "load": "classifier",
    "open_audio": "audio",
    "predict": "classifier",
    "predict_many": "batch",
    "read_segments": "segments.reader",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
