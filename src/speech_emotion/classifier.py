"""The object people hold. In: any sound. Out: one Prediction, a timeline of them, or a stream of them.

>>> classifier = load()
>>> classifier.predict("hello.wav")
Prediction(happy 0.82, 0.00–3.42 s)
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from speech_emotion.audio import AudioStream, Source, open_audio
from speech_emotion.model import EmotionModel, ModelInfo
from speech_emotion.prediction import Prediction, pool
from speech_emotion.stream import EmotionStream, Listener


class Classifier:
    """A model with the road to it. Threads may share one.

    `source` is a path, the bytes of a file, an open binary file, or an array (n_samples,) or
    (n_samples, n_channels), which brings its `sample_rate`.
    """

    def __init__(self, model: EmotionModel) -> None:
        self._model = model

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    def predict(self, source: Source, *, sample_rate: int | None = None) -> Prediction:
        """One answer for the whole of `source`: the pooled timeline. Memory stays flat over ten hours."""
        with open_audio(source, sample_rate=sample_rate) as audio:
            prediction = pool(self._listen(audio))
            return replace(prediction, warnings=audio.warnings)

    def timeline(self, source: Source, *, sample_rate: int | None = None) -> list[Prediction]:
        """One answer a window, in order; each carries the warnings of the whole recording."""
        with open_audio(source, sample_rate=sample_rate) as audio:
            predictions = list(self._listen(audio))
            return [replace(prediction, warnings=audio.warnings) for prediction in predictions]

    def stream(self, *, sample_rate: int) -> EmotionStream:
        """A stream to push live sound into."""
        return EmotionStream(self._model, sample_rate)

    def _listen(self, audio: AudioStream) -> Iterator[Prediction]:
        listener = Listener(self._model)
        for block in audio:
            yield from listener.push(block)
        yield from listener.finish()


def load(model: str | os.PathLike[str] | None = None) -> Classifier:
    """A classifier with the shipped model, or with the exported .onnx at `model`."""
    return Classifier(EmotionModel.load(model))


def predict(source: Source, *, sample_rate: int | None = None) -> Prediction:
    """The emotion of `source`, from the shipped model, which is loaded on the first call and kept."""
    return _shipped().predict(source, sample_rate=sample_rate)


@cache
def _shipped() -> Classifier:
    return load()
