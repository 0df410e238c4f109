"""A classifier whose process dies of some sounds: what a crash in a decoder or a lack of memory looks like."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from speech_emotion.classifier import Classifier
from speech_emotion.model import EmotionModel


class Mortal(Classifier):
    """Dies of `poison.wav`; of `once.wav` too, but only the first time that anybody reads it.

    The first reader of `orphan-….wav` kills what started it, a worker of Ray, and ends with that.
    """

    def predict(self, source: Any, **settings: Any) -> Any:
        name = Path(source).name
        mark = Path(source).with_suffix(".read")
        if name == "poison.wav" or (name == "once.wav" and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("orphan-") and not mark.exists():
            mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return super().predict(source, **settings)


def load(path: Path) -> Mortal:
    return Mortal(EmotionModel.load(path))
