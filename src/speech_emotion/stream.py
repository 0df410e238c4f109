"""Live sound. In: chunks of any size and rate. Out: a Prediction per window, as soon as the window is full.

`WindowScorer` cuts samples into windows and scores each one that is loud enough. `WindowPredictor` turns scores into
predictions, and is the only way to them: files take it through `Classifier`, live sound through `EmotionStream`, and
separate channels have one each. It scores one window at a time, because on one thread a batch is no faster. So a stream
gives exactly the numbers of the same sound in a file, whatever the chunks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import (
    Channels,
    FloatArray,
    Source,
    channel_names,
    decode_pcm,
    resampler_for,
    resolve,
)
from speech_emotion.audio.speech import is_audible
from speech_emotion.errors import InvalidWaveformError, SpeechEmotionError
from speech_emotion.model import SPEECH, EmotionModel, Scores
from speech_emotion.prediction import Prediction, decide
from speech_emotion.profile import RunningProfile, SpeakerProfile
from speech_emotion.windows import Framer, Window

ScoredWindow = tuple[Window, Scores | None]  # None: no speech in it
Reference = SpeakerProfile | Literal["recording"] | None  # what answers are relative to


class WindowScorer:
    """Cuts 16 kHz samples into windows and scores each one.

    A window that is not audible is not scored. Whether an audible one is speech is for the model to say, if it has
    an output for that.

    Args:
        model: What scores the windows.
        profile: The speaker's profile; "recording" for that of the windows before, the first being scored without
            one; None for any speaker.
        hop_seconds: The time between two windows; None for the model's own.

    Raises:
        ModelError: `profile` belongs to another model, or this one takes none.
        ConfigError: `hop_seconds` is out of range.
    """

    def __init__(
        self, model: EmotionModel, profile: Reference = None, hop_seconds: float | None = None
    ) -> None:
        info = model.info.with_hop(hop_seconds)
        self._model = model
        self._running = RunningProfile(info) if profile == "recording" else None
        self._profile = profile.for_model(info) if isinstance(profile, SpeakerProfile) else None
        self._share_of_window = (
            info.hop_samples / model.info.hop_samples
        )  # profiles are of the model's own hop
        self._framer = Framer(info.window_samples, info.hop_samples, info.min_samples)
        self._threshold = info.thresholds.get(SPEECH, 0.0)

    @property
    def seconds(self) -> float:
        """The duration of what was pushed so far."""
        return self._framer.seconds

    def push(self, samples: FloatArray) -> Iterator[ScoredWindow]:
        """Take `samples` (n_samples,) and yield the windows they complete. Each is scored when it is asked for."""
        return self._score_all(self._framer.push(samples))

    def finish(self) -> Iterator[ScoredWindow]:
        """Yield the last window, if samples are left."""
        return self._score_all(self._framer.finish())

    def _score_all(self, windows: Iterable[Window]) -> Iterator[ScoredWindow]:
        return ((window, self._score(window.samples)) for window in windows)

    def _score(self, samples: FloatArray) -> Scores | None:
        if not is_audible(samples):
            return None
        profile = self._running.current() if self._running else self._profile
        scores = self._model.score(samples[None], profile)
        if scores.speech[0] < self._threshold:
            return None
        if self._running:
            self._running.add(scores.voice[0], self._share_of_window)
        return scores


class WindowPredictor:
    """Turns 16 kHz samples into one prediction per window. The arguments are those of `WindowScorer`."""

    def __init__(
        self, model: EmotionModel, profile: Reference = None, hop_seconds: float | None = None
    ) -> None:
        self._info = model.info
        self._scorer = WindowScorer(model, profile, hop_seconds)
        self._answered = False

    def push(self, samples: FloatArray) -> list[Prediction]:
        """Take `samples` (n_samples,) and return a prediction for each window they complete."""
        return self._predict_all(self._scorer.push(samples))

    def finish(self) -> list[Prediction]:
        """Return the prediction for what is left. A recording too short for any window is one abstention."""
        predictions = self._predict_all(self._scorer.finish())
        if self._answered:
            return predictions
        return [Prediction({}, 0.0, self._scorer.seconds, abstained="too_short")]

    def _predict_all(self, windows: Iterable[ScoredWindow]) -> list[Prediction]:
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


class ChannelPredictor:
    """A `WindowPredictor` for the mix (`n_channels` None), or for each channel: then predictions say which it is."""

    def __init__(
        self,
        model: EmotionModel,
        n_channels: int | None,
        profile: Reference = None,
        hop_seconds: float | None = None,
    ) -> None:
        names = channel_names(n_channels) if n_channels else (None,)
        self._predictors = {name: WindowPredictor(model, profile, hop_seconds) for name in names}

    def push(self, samples: FloatArray) -> list[Prediction]:
        """Take `samples`, (n_samples,) or (n_samples, n_channels), and return what they complete, in order of time."""
        columns = samples.reshape(len(samples), len(self._predictors)).T
        return self._in_order([p.push(c) for p, c in zip(self._predictors.values(), columns, strict=True)])

    def finish(self) -> list[Prediction]:
        """Return the predictions for what is left."""
        return self._in_order([predictor.finish() for predictor in self._predictors.values()])

    def _in_order(self, answers: list[list[Prediction]]) -> list[Prediction]:
        """By time, then channel: all channels have the same windows."""
        return [
            replace(prediction, channel=name) if name else prediction
            for row in zip(*answers, strict=True)
            for name, prediction in zip(self._predictors, row, strict=True)
        ]


class EmotionStream:
    """Live sound in, predictions out. Made by `Classifier.stream`.

    The predictions are those of `Classifier.timeline` for the same samples and the same hop, whatever the chunks.

    Examples:
        >>> stream = classifier.stream(sample_rate=48_000)
        >>> for chunk in microphone:
        ...     for prediction in stream.push(chunk):
        ...         print(prediction)
        >>> stream.finish()
        [Prediction(calm 0.58, 5.00–8.00 s)]
    """

    def __init__(
        self,
        model: EmotionModel,
        sample_rate: int,
        sample_format: str | None = None,
        profile: Reference = None,
        hop_seconds: float | None = None,
        channels: Channels = "mix",
    ) -> None:
        self._sample_rate, self._sample_format, self._channels = sample_rate, sample_format, channels
        if sample_format is not None:
            decode_pcm(b"", sample_format)  # refuses an unknown one now
        self._new_predictor = partial(ChannelPredictor, model, profile=profile, hop_seconds=hop_seconds)
        self._open(n_channels=1)
        self._state: Literal["new", "open", "finished"] = "new"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the sound so far, such as "clipped". The predictions of a stream do not carry it."""
        return self._resampler.warnings

    def push(self, chunk: npt.ArrayLike | Source) -> list[Prediction]:
        """Take a chunk and return a prediction for each window it completes; often none.

        Args:
            chunk: (n_samples,) or (n_samples, n_channels) of int16, int32 or float with full scale at 1, or a tensor
                or a pair, as `Classifier` says. All chunks of a stream have the same number of channels. With a
                `sample_format`, the bytes of whole samples of one channel.

        Returns:
            The predictions, in order; their times count from the first sample of the stream.

        Raises:
            InvalidWaveformError: The chunk is not as above. It is skipped, and the stream goes on.
            SpeechEmotionError: The stream is finished.
        """
        plain, rate = resolve(chunk, None, self._sample_format)
        if rate not in (None, self._sample_rate):
            raise InvalidWaveformError(
                f"this stream has {self._sample_rate} Hz, not {rate}; open another one"
            )
        samples = np.asarray(plain)
        self._require_unfinished()
        n_channels = samples.shape[1] if samples.ndim == 2 else 1
        if self._state == "new" and n_channels != self._resampler.n_channels:
            self._open(n_channels)
        block = self._resampler.push(samples)
        self._state = "open"  # a chunk that is refused settles nothing
        return self._predictor.push(block)

    def finish(self) -> list[Prediction]:
        """End the stream and return the prediction for what is left.

        Returns:
            The remaining predictions, often one. If the whole stream was too short for a window, the only prediction
            abstains with "too_short".

        Raises:
            SpeechEmotionError: The stream is finished already.
        """
        self._require_unfinished()
        self._state = "finished"
        return self._predictor.push(self._resampler.finish()) + self._predictor.finish()

    def _open(self, n_channels: int) -> None:
        self._resampler = resampler_for(self._sample_rate, n_channels, self._channels)
        self._predictor = self._new_predictor(n_channels if self._channels == "separate" else None)

    def _require_unfinished(self) -> None:
        if self._state == "finished":
            raise SpeechEmotionError("this stream is finished; start another with classifier.stream()")
