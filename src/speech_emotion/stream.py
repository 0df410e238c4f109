"""Sound as it comes. In: chunks of any size and rate. Out: a Prediction a window, as soon as it is full.

`WindowScorer` frames samples, scores each window and refuses those without speech. `WindowPredictor` is the only
way from samples to predictions: files take it through `Classifier`, live sound through `EmotionStream`. It scores one
window at a time: on one thread a batch is no quicker, and so a stream gives the very numbers of its file, however both
were cut.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import FloatArray, Resampler
from speech_emotion.audio.speech import is_audible
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.model import SPEECH, EmotionModel, Scores
from speech_emotion.prediction import Prediction, decide
from speech_emotion.profile import SpeakerProfile
from speech_emotion.windows import Framer, Window

Heard = tuple[Window, Scores | None]  # a window, and what the model heard in it; None where nobody speaks


class WindowScorer:
    """Takes 16 kHz mono samples in pieces of any size, gives windows, and of each what the model hears in it.

    Silence is refused here; whether anything else is speech is for the model to say, if it has an output for it.
    """

    def __init__(
        self, model: EmotionModel, profile: SpeakerProfile | None = None, hop_seconds: float | None = None
    ) -> None:
        info = model.info.with_hop(hop_seconds)
        self._model = model
        self._profile = profile.for_model(info) if profile else None
        self._framer = Framer(info.window_samples, info.hop_samples, info.min_samples)
        self._threshold = info.thresholds.get(SPEECH, 0.0)

    @property
    def seconds(self) -> float:
        """How much was heard so far."""
        return self._framer.seconds

    def push(self, samples: FloatArray) -> Iterator[Heard]:
        """Take `samples` (n_samples,) and give the windows they complete."""
        return self._hear(self._framer.push(samples))

    def finish(self) -> Iterator[Heard]:
        """Give what is left."""
        return self._hear(self._framer.finish())

    def _hear(self, windows: Iterable[Window]) -> Iterator[Heard]:
        """One window at a time, as it is asked for."""
        return ((window, self._scores(window.samples)) for window in windows)

    def _scores(self, samples: FloatArray) -> Scores | None:
        if not is_audible(samples):
            return None
        scores = self._model.score(samples[None], self._profile)
        return scores if scores.speech[0] >= self._threshold else None


class WindowPredictor:
    """Takes 16 kHz mono samples in pieces of any size, answers window by window, for one voice or for any.

    A window starts every `hop_seconds`; None leaves that to the model.
    """

    def __init__(
        self, model: EmotionModel, profile: SpeakerProfile | None = None, hop_seconds: float | None = None
    ) -> None:
        self._info = model.info
        self._ear = WindowScorer(model, profile, hop_seconds)
        self._answered = False

    def push(self, samples: FloatArray) -> list[Prediction]:
        """Take `samples` (n_samples,), answer the windows they complete."""
        return self._answer(self._ear.push(samples))

    def finish(self) -> list[Prediction]:
        """Answer what is left; a recording too short for any window is one abstention."""
        predictions = self._answer(self._ear.finish())
        if self._answered:
            return predictions
        return [Prediction({}, 0.0, self._ear.seconds, abstained="too_short")]

    def _answer(self, windows: Iterable[Heard]) -> list[Prediction]:
        predictions = [self._predict(window, scores) for window, scores in windows]
        self._answered = self._answered or bool(predictions)
        return predictions

    def _predict(self, window: Window, scores: Scores | None) -> Prediction:
        if scores is None:
            return Prediction({}, window.start_seconds, window.end_seconds, abstained="no_speech")
        probabilities = scores.probabilities[0].tolist()  # (n_labels,)
        answer = dict(zip(self._info.labels, probabilities, strict=True))
        prediction = Prediction(answer, window.start_seconds, window.end_seconds)
        return decide(prediction, self._info.thresholds)


class EmotionStream:
    """Live sound in, predictions out: those of `Classifier.timeline` for the same samples and hop.

    `warnings` is what the gate noticed so far; a prediction given before the end cannot carry it.
    """

    def __init__(
        self,
        model: EmotionModel,
        sample_rate: int,
        profile: SpeakerProfile | None = None,
        hop_seconds: float | None = None,
    ) -> None:
        self._sample_rate = sample_rate
        self._resampler = Resampler(sample_rate)
        self._listener = WindowPredictor(model, profile, hop_seconds)
        self._state: Literal["new", "open", "finished"] = "new"

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._resampler.warnings

    def push(self, chunk: npt.ArrayLike) -> list[Prediction]:
        """Take `chunk`, (n_samples,) or (n_samples, n_channels), and answer the windows it completes."""
        samples = np.asarray(chunk)
        self._require_unfinished()
        n_channels = samples.shape[1] if samples.ndim == 2 else 1
        if self._state == "new" and n_channels != self._resampler.n_channels:
            self._resampler = Resampler(self._sample_rate, n_channels)
        block = self._resampler.push(samples)
        self._state = "open"  # a chunk that is refused settles nothing
        return self._listener.push(block)

    def finish(self) -> list[Prediction]:
        """Answer what is left; the stream is over."""
        self._require_unfinished()
        self._state = "finished"
        return self._listener.push(self._resampler.finish()) + self._listener.finish()

    def _require_unfinished(self) -> None:
        if self._state == "finished":
            raise SpeechEmotionError("this stream is finished; start another with classifier.stream()")
