"""The analysis of one sound. In: a Sound. Out: its Analysis, computed in slices so that the page can show progress.

An Analyser answers on the mix of all channels, on each channel, or on given segments. Of each second, memory keeps some
2 KiB of answers and peaks and none of the samples: those of a large sound go to the file that the player reads.
"""

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from player import PlayableSound, SoundWriter

from speech_emotion import Classifier, Prediction, SpeakerProfile, SpeechEmotionError, open_audio
from speech_emotion.audio import channel_names
from speech_emotion.segments import Segment

FloatArray = npt.NDArray[np.float32]

RATE: Final = 16_000
SLICE_SECONDS: Final = 0.25  # of computing
LARGE_BYTES: Final = (
    4 << 20
)  # of a sound that is written for the player as it passes; others are decoded again


@dataclass(frozen=True, eq=False)
class Sound:
    """An uploaded, recorded or sample sound, as encoded bytes.

    id: unique per upload or recording; sha256: of the content.
    """

    id: str
    name: str
    data: bytes
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes, sound_id: str) -> Self:
        """A Sound whose sha256 is computed from `data`."""
        return cls(sound_id, name, data, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result for one sound: an answer with its windows, or an error instead.

    playable: the sound for the player, if it is large.
    lanes: instead of an answer, the analysis of each channel, named after it.
    segments: instead of windows, the given segments with their answers.
    """

    name: str
    sha256: str
    seconds: float = 0.0
    answer: Prediction | None = None
    windows: tuple[Prediction, ...] = ()
    playable: PlayableSound | None = None
    error: SpeechEmotionError | None = None
    lanes: tuple["Analysis", ...] = ()
    segments: tuple[tuple[Segment, Prediction], ...] = ()

    def named(self, name: str) -> "Analysis":
        """The same analysis for a sound with the same content and another name."""
        return replace(self, name=name)


class Job(Protocol):
    """Something that computes one Analysis: call `step` until `result` is set."""

    result: Analysis | None

    @property
    def share_done(self) -> float:
        """Share of the file that has been read, 0 to 1."""

    @property
    def seconds_done(self) -> float:
        """Seconds of sound processed so far."""

    def step(self) -> None:
        """Compute one slice. An error of the sound becomes the result."""


class Analyser:
    """Answers on a whole sound, window by window: on the mix of its channels, or on each of them."""

    def __init__(
        self,
        classifier: Classifier,
        sound: Sound,
        profile: SpeakerProfile | None,
        channels: Literal["mix", "separate"] = "mix",
    ) -> None:
        self.sound = sound
        self.result: Analysis | None = None
        self._channels = channels
        self._lanes: list[_Lane] = []
        self._resources = ExitStack()
        self._file = io.BytesIO(sound.data)
        try:
            self._audio = self._resources.enter_context(open_audio(self._file, channels=channels))
            names = channel_names(self._audio.n_channels) if channels == "separate" else ("",)
            self._lanes = [_Lane(classifier, profile, name) for name in names]
            self._writer = SoundWriter(names) if len(sound.data) > LARGE_BYTES else None
        except SpeechEmotionError as error:
            self._fail(error)

    @property
    def share_done(self) -> float:
        """Share of the file that has been read, 0 to 1."""
        return 1.0 if self.result else _share_read(self._file, self.sound)

    @property
    def seconds_done(self) -> float:
        """Seconds of sound processed so far."""
        return self._lanes[0].n_samples / RATE if self._lanes else 0.0

    def step(self) -> None:
        """Compute one slice. An error of the sound becomes the result."""
        if self.result:
            return
        until = time.monotonic() + SLICE_SECONDS
        try:
            for block in self._audio:
                for lane, samples in zip(self._lanes, block.reshape(len(block), -1).T, strict=True):
                    lane.push(samples)
                if self._writer:
                    self._writer.push(block)
                if time.monotonic() > until:
                    return
            for lane in self._lanes:
                lane.finish()
        except SpeechEmotionError as error:
            self._fail(error)
        else:
            self._end()

    def _end(self) -> None:
        self._resources.close()
        name, sha256 = self.sound.name, self.sound.sha256
        playable = self._writer.finish() if self._writer and self.seconds_done else None
        if self._channels == "mix":
            whole = self._lanes[0].analysis(name, sha256, self._audio.warnings)
            self.result = replace(whole, playable=playable)
            return
        warnings = self._audio.warnings_of
        lanes = tuple(lane.analysis(lane.name, sha256, warnings[lane.name]) for lane in self._lanes)
        self.result = Analysis(name, sha256, self.seconds_done, playable=playable, lanes=lanes)

    def _fail(self, error: SpeechEmotionError) -> None:
        self._resources.close()
        self.result = Analysis(self.sound.name, self.sound.sha256, error=error)


class SegmentAnalyser:
    """Answers on given segments of a sound."""

    def __init__(
        self,
        classifier: Classifier,
        sound: Sound,
        profile: SpeakerProfile | None,
        segments: Sequence[Segment],
    ) -> None:
        self.sound = sound
        self.result: Analysis | None = None
        self._n_segments = len(segments)
        self._file = io.BytesIO(sound.data)
        self._found: list[tuple[Segment, Prediction]] = []
        self._answers: Iterator[tuple[Segment, Prediction]] = classifier.segments(
            self._file, segments, profile=profile
        )

    @property
    def share_done(self) -> float:
        """Share of the file that has been read, 0 to 1."""
        return 1.0 if self.result else _share_read(self._file, self.sound)

    @property
    def seconds_done(self) -> float:
        """Where the last answered segment ends, in seconds."""
        return self._found[-1][0].end_seconds if self._found else 0.0

    def step(self) -> None:
        """Compute one slice. An error of the sound becomes the result."""
        if self.result:
            return
        until = time.monotonic() + SLICE_SECONDS
        name, sha256 = self.sound.name, self.sound.sha256
        try:
            for found in self._answers:
                self._found.append(found)
                if time.monotonic() > until:
                    return
        except SpeechEmotionError as error:
            self.result = Analysis(name, sha256, error=error)
        else:
            self.result = Analysis(name, sha256, self.seconds_done, segments=tuple(self._found))


def _share_read(file: io.BytesIO, sound: Sound) -> float:
    return min(file.tell() / max(len(sound.data), 1), 1.0)


class _Lane:
    """The windows of one channel, or of the mix, whose name is ""."""

    def __init__(self, classifier: Classifier, profile: SpeakerProfile | None, name: str) -> None:
        self.name = name
        self.n_samples = 0
        self._classifier = classifier
        self._stream = classifier.stream(sample_rate=RATE, profile=profile)
        self._windows: list[Prediction] = []

    def push(self, samples: FloatArray) -> None:
        self.n_samples += len(samples)
        self._windows += self._stream.push(np.ascontiguousarray(samples))

    def finish(self) -> None:
        self._windows += self._stream.finish()

    def analysis(self, name: str, sha256: str, warnings: tuple[str, ...]) -> Analysis:
        channel = self.name or None
        windows = tuple(replace(window, warnings=warnings, channel=channel) for window in self._windows)
        return Analysis(name, sha256, self.n_samples / RATE, self._classifier.pool(windows), windows)
