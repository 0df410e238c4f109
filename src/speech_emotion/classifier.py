"""The object people hold. In: any sound. Out: one Prediction, a timeline or a stream of them, or a voice's profile.

>>> classifier = load()
>>> classifier.predict("hello.wav")
Prediction(happy 0.82, 0.00–3.42 s)
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np

from speech_emotion.audio import AudioStream, FloatArray, Source, open_audio
from speech_emotion.audio import load as load_audio
from speech_emotion.errors import AudioTooShortError, SpeechEmotionError
from speech_emotion.model import EmotionModel, ModelInfo, Scores
from speech_emotion.prediction import Prediction, pool
from speech_emotion.profile import SpeakerProfile, require_enrolment, summarise
from speech_emotion.stream import EmotionStream, WindowPredictor, WindowScorer
from speech_emotion.windows import Window


class Classifier:
    """A model with the road to it. Threads may share one.

    `source` is a path, the bytes of a file, an open binary file, or an array (n_samples,) or
    (n_samples, n_channels), which brings its `sample_rate`. `profile`, made by `enrol`, tunes the answer to one
    voice. `hop_seconds` is how often an answer is given, 0.05 s to the model's window; None is the model's own pace.
    """

    def __init__(self, model: EmotionModel) -> None:
        self._model = model

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    def predict(
        self, source: Source, *, sample_rate: int | None = None, profile: SpeakerProfile | None = None
    ) -> Prediction:
        """One answer for the whole of `source`: the pooled timeline. Memory stays flat over ten hours."""
        with open_audio(source, sample_rate=sample_rate) as audio:
            prediction = self.pool(self._listen(audio, profile))
            return replace(prediction, warnings=audio.warnings)

    def timeline(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        profile: SpeakerProfile | None = None,
        hop_seconds: float | None = None,
    ) -> list[Prediction]:
        """One answer a window, in order; each carries the warnings of the whole recording."""
        with open_audio(source, sample_rate=sample_rate) as audio:
            predictions = list(self._listen(audio, profile, hop_seconds))
            return [replace(prediction, warnings=audio.warnings) for prediction in predictions]

    def pool(self, windows: Iterable[Prediction]) -> Prediction:
        """One answer for the `windows` of a recording, from a timeline or a stream: what `predict` gives for it."""
        return pool(windows, self.info.thresholds)

    def stream(
        self, *, sample_rate: int, profile: SpeakerProfile | None = None, hop_seconds: float | None = None
    ) -> EmotionStream:
        """A stream to push live sound into."""
        return EmotionStream(self._model, sample_rate, profile, hop_seconds)

    def enrol(self, *sources: Source, sample_rate: int | None = None) -> SpeakerProfile:
        """How one person speaks, from 30 to 60 s of any speech of theirs; no emotion has to be named or acted.

        Record it with the microphone and the room that will be used. ModelError where the model cannot enrol;
        AudioTooShortError below `info.enrolment.min_seconds` of speech.
        """
        require_enrolment(self.info)
        voices: list[FloatArray] = []
        warnings: list[str] = []
        seconds = 0.0
        for source in sources:
            with _named(source), open_audio(source, sample_rate=sample_rate) as audio:
                heard_until = 0.0
                for window, scores in self._spoken(audio):
                    voices.append(scores.voice[0])
                    seconds += window.end_seconds - max(window.start_seconds, heard_until)
                    heard_until = window.end_seconds
                warnings += audio.warnings
        return summarise(self.info, voices, seconds, warnings)

    def log_mel(self, source: Source, *, sample_rate: int | None = None) -> FloatArray:
        """What the model is shown of `source`: natural log of mel power (n_mels, n_frames), window beside window.

        For pictures: the windows do not overlap here, and an end shorter than `info.min_seconds` is left out.
        AudioTooShortError where nothing else is there. Holds all of `source` in memory.
        """
        samples = load_audio(source, sample_rate=sample_rate).samples
        step, least = self.info.window_samples, self.info.min_samples
        windows = [samples[start : start + step] for start in range(0, len(samples), step)]
        frames = [self._model.score(window[None]).log_mel[0] for window in windows if len(window) >= least]
        if not frames:
            raise AudioTooShortError(
                f"this has {len(samples) / self.info.sample_rate:.2f} s of sound; the model {self.info.name} needs "
                f"{self.info.min_seconds:g} s. Pass a longer recording"
            )
        return np.concatenate(frames, axis=1)

    def _spoken(self, audio: AudioStream) -> Iterator[tuple[Window, Scores]]:
        """The windows of `audio` in which somebody speaks, and what the model hears in them."""
        ear = WindowScorer(self._model)
        for block in audio:
            yield from ((window, scores) for window, scores in ear.push(block) if scores)
        yield from ((window, scores) for window, scores in ear.finish() if scores)

    def _listen(
        self, audio: AudioStream, profile: SpeakerProfile | None, hop_seconds: float | None = None
    ) -> Iterator[Prediction]:
        listener = WindowPredictor(self._model, profile, hop_seconds)
        for block in audio:
            yield from listener.push(block)
        yield from listener.finish()


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Say which of several files it is that cannot be heard."""
    try:
        yield
    except SpeechEmotionError as error:
        if isinstance(source, str | os.PathLike) and (name := os.fsdecode(source)) not in str(error):
            raise type(error)(f"{name}: {error}") from error
        raise


def load(model: str | os.PathLike[str] | None = None) -> Classifier:
    """A classifier with the shipped model, or with the exported .onnx at `model`."""
    return Classifier(EmotionModel.load(model))


def predict(
    source: Source, *, sample_rate: int | None = None, profile: SpeakerProfile | None = None
) -> Prediction:
    """The emotion of `source`, from the shipped model, which is loaded on the first call and kept."""
    return _shipped().predict(source, sample_rate=sample_rate, profile=profile)


@cache
def _shipped() -> Classifier:
    return load()
