"""From a sound to a JSON document. In: the bytes of a sound, settings. Out: the answer, as bytes of JSON.

A new route for sounds is one function from windows to a JSON object, such as `predict`, and its line in `ANSWERS`.
The routes of the page score here in threads (http.py), those of the service in processes of their own (worker.py).
"""

import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from speech_emotion.audio import SAMPLE_RATE, AudioStream, FloatArray, Limits, open_audio
from speech_emotion.classifier import Adapt, Classifier
from speech_emotion.errors import AudioTooShortError, ConfigError
from speech_emotion.model_info import MIN_NETWORK_HOP_SECONDS
from speech_emotion.prediction import Prediction, pool_channels
from speech_emotion.profile import SpeakerProfile
from speech_emotion.stream import EmotionStream
from speech_emotion.version import __version__

Answer = Callable[[Classifier, list[Prediction]], dict[str, Any]]
Segment = tuple[float, float]  # start and end in seconds

MAX_SEPARATE_CHANNELS: Final = 8  # a turn scores all of them
MAX_SEGMENTS: Final = 500


def predict(classifier: Classifier, windows: list[Prediction]) -> dict[str, Any]:
    """One answer for the whole sound, or for each of its separate channels."""
    answers = [answer.to_dict() for answer in pool_channels(windows, classifier.info.thresholds)]
    return {"channels": answers} if windows[0].channel else answers[0]


def timeline(_: Classifier, windows: list[Prediction]) -> dict[str, Any]:
    """One answer per window."""
    return {"windows": [window.to_dict() for window in windows]}


ANSWERS: Final[Mapping[str, Answer]] = {"/predict": predict, "/timeline": timeline}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a request asks for.

    Attributes:
        hop_seconds: The time between two windows; None for the model's own.
        track: Which audio track, from 1; None for the default track.
        channels: "separate" for answers per channel.
        segments: The stretches to answer on, in seconds; none for the whole sound.
        profile: The JSON document of a `SpeakerProfile`; None for any speaker.
        adapt: "recording" for answers relative to the voice heard so far.
    """

    hop_seconds: float | None = None
    track: int | None = None
    channels: Literal["mix", "separate"] = "mix"
    segments: tuple[Segment, ...] = ()
    profile: Mapping[str, Any] | None = None
    adapt: Adapt | None = None

    @classmethod
    def read(cls, query: Any) -> Self:
        """Read the query of an address.

        Raises:
            ConfigError: A setting is unknown or impossible.
        """
        known = ("hop_seconds", "track", "channels", "segments", "adapt")
        if unknown := sorted(query.keys() - set(known)):
            raise ConfigError(f"there is no setting {unknown[0][:40]!r}; known are {', '.join(known)}")
        channels = query.get("channels", "mix")
        if channels not in ("mix", "separate"):
            raise ConfigError(f"channels must be mix or separate, not {channels[:40]!r}")
        try:
            hop_seconds = float(query["hop_seconds"]) if "hop_seconds" in query else None
        except ValueError as error:
            raise ConfigError(
                f"hop_seconds must be a number, such as 0.5, not {query['hop_seconds'][:40]!r}"
            ) from error
        track = query.get("track", "")
        if "track" in query and not (track.isascii() and track.isdecimal() and 0 < int(track[:40]) < 100_000):
            raise ConfigError(f"track must be a whole number from 1 to 99999, not {track[:40]!r}")
        segments = _read_segments(query["segments"]) if "segments" in query else ()
        adapt = read_adapt(query.get("adapt"))
        if segments and adapt:
            raise ConfigError("adapt follows one voice through the whole sound; with segments, leave it out")
        return cls(hop_seconds, int(track) if track else None, channels, segments, adapt=adapt)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` wrote, after a passage through JSON."""
        segments = tuple((start, end) for start, end in document["segments"])
        return cls(**{**document, "segments": segments})

    def check(self, classifier: Classifier) -> None:
        """Refuse what this model cannot do.

        Raises:
            ConfigError: `hop_seconds` is out of range, or `adapt` comes with a profile.
            ModelError: `profile` is not one for this model, or it has none to adapt with.
        """
        self.stream(classifier)

    def stream(self, classifier: Classifier) -> EmotionStream:
        """What answers as these settings say. Raises as `check`."""
        classifier.info.with_hop(self.hop_seconds, minimum=MIN_NETWORK_HOP_SECONDS)
        return classifier.stream(
            sample_rate=SAMPLE_RATE,
            profile=None if self.profile is None else SpeakerProfile.from_dict(self.profile),
            adapt=self.adapt,
            hop_seconds=self.hop_seconds,
            channels=self.channels,
        )

    def n_hops(self, classifier: Classifier) -> float:
        """How many times the windows of the model's own hop are scored, by a smaller `hop_seconds`."""
        own = classifier.info.hop_seconds
        return max(1.0, own / (self.hop_seconds or own))


def read_adapt(given: Any) -> Adapt | None:
    """The setting `adapt`.

    Raises:
        ConfigError: It is neither left out nor "recording".
    """
    if given not in (None, "recording"):
        raise ConfigError(f"adapt must be recording, or left out, not {given!r:.40}")
    return "recording" if given else None


def _read_segments(text: str) -> tuple[Segment, ...]:
    """`0-2.5,4-6` → ((0, 2.5), (4, 6))."""
    try:
        pairs = [tuple(map(float, part.split("-"))) for part in text.split(",")]
        segments = tuple((start, end) for start, end in pairs if 0 <= start < end < math.inf)
    except ValueError:
        pairs, segments = [()], ()
    if len(segments) != len(pairs) or len(pairs) > MAX_SEGMENTS:
        raise ConfigError(
            f"segments must be up to {MAX_SEGMENTS} pairs of seconds such as 0-2.5,4-6, not {text[:40]!r}"
        )
    return segments


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be scored.

    Attributes:
        limits: The largest sound.
        max_turn_seconds: The most sound in one turn.
        max_work_seconds: The most seconds of sound, times channels and smaller hops.
        measured_work_seconds: How far to count where there are more.
    """

    limits: Limits
    max_turn_seconds: float = math.inf
    max_work_seconds: float = math.inf
    measured_work_seconds: float = 0.0


class LongSoundError(Exception):
    """The sound needs more work than was allowed. Nothing of it was scored.

    Attributes:
        work_seconds: How much more: all of it, or what was counted until `measured_work_seconds` were reached.
    """

    def __init__(self, work_seconds: float) -> None:
        super().__init__(f"{work_seconds:.1f} s of work")
        self.work_seconds = work_seconds


def turns(
    classifier: Classifier,
    answer: Answer,
    body: bytes,
    settings: Settings,
    bounds: Bounds,
) -> Generator[float | bytes, None, None]:
    """Score a sound turn by turn.

    Args:
        classifier: What answers.
        answer: From the windows to the document.
        body: The bytes of the sound.
        settings: What was asked for.
        bounds: How much may be scored.

    Yields:
        The seconds scored so far; at last the answer.

    Raises:
        LongSoundError: There is more work than `bounds` allow.
        SpeechEmotionError: The sound or a setting cannot be used.
    """
    limits = bounds.limits
    if settings.channels == "separate":
        limits = replace(limits, max_channels=min(limits.max_channels, MAX_SEPARATE_CHANNELS))
    step = round(min(bounds.max_turn_seconds, limits.max_seconds) * SAMPLE_RATE)
    parts = [_Part(classifier, settings, segment) for segment in settings.segments or [(0.0, math.inf)]]
    n_samples = 0
    with open_audio(body, limits=limits, track=settings.track, channels=settings.channels) as audio:
        n_scored = audio.n_channels if settings.channels == "separate" else 1
        for block in _held_back(audio, bounds, n_scored * settings.n_hops(classifier)):
            for start in range(0, len(block), step):
                turn = block[start : start + step]
                for part in parts:
                    part.push(turn, n_samples)
                n_samples += len(turn)
                yield n_samples / SAMPLE_RATE
        found = [part.finish(audio) for part in parts]
    answers = [answer(classifier, windows) for windows in found]
    document = {"segments": answers} if settings.segments else answers[0]
    yield json.dumps({**document, **answered_by(classifier)}, allow_nan=False, separators=(",", ":")).encode()


def answered_by(classifier: Classifier) -> dict[str, str]:
    """The program and the model that answer."""
    info = classifier.info
    return {"version": __version__, "model": info.name, "model_sha256": info.sha256}


def duration(body: bytes, settings: Settings, limits: Limits) -> float:
    """How many seconds of sound there are, by decoding all of it."""
    with open_audio(body, limits=limits, track=settings.track) as audio:
        return sum(len(block) for block in audio) / SAMPLE_RATE


def _held_back(audio: AudioStream, bounds: Bounds, work_per_second: float) -> Iterator[FloatArray]:
    """The blocks of `audio`, none of them before it is known that they are no more work than is allowed."""
    if bounds.max_work_seconds == math.inf:
        yield from audio
        return
    held: list[FloatArray] = []
    work_seconds = 0.0
    for block in audio:
        work_seconds += work_per_second * len(block) / SAMPLE_RATE
        if work_seconds <= bounds.max_work_seconds:
            held.append(block)
        elif work_seconds > bounds.measured_work_seconds:
            break
    if work_seconds > bounds.max_work_seconds:
        raise LongSoundError(work_seconds)
    yield from held


class _Part:
    """The answers on one stretch of a sound."""

    def __init__(self, classifier: Classifier, settings: Settings, segment: Segment) -> None:
        self._stream = settings.stream(classifier)
        self._segment = segment
        start, end = segment
        self._first = round(start * SAMPLE_RATE)
        self._end = math.inf if end == math.inf else round(end * SAMPLE_RATE)
        self._windows: list[Prediction] = []
        self._is_empty = True

    def push(self, samples: FloatArray, position: int) -> None:
        """Take what belongs to this stretch out of `samples`, which begin at the sample `position`."""
        first = max(0, self._first - position)
        last = min(len(samples), self._end - position)
        if first < last:
            self._is_empty = False
            self._windows += self._stream.push(samples[first : int(last)])

    def finish(self, audio: AudioStream) -> list[Prediction]:
        """The windows, in the time of the whole sound, with the warnings about it."""
        if self._is_empty:
            start, end = self._segment
            raise AudioTooShortError(f"the sound ends before the segment {start:g}-{end:g}; leave it out")
        offset = self._first / SAMPLE_RATE
        return [
            replace(
                window,
                start_seconds=offset + window.start_seconds,
                end_seconds=offset + window.end_seconds,
                warnings=audio.warnings_of[window.channel],
            )
            for window in self._windows + self._stream.finish()
        ]
