"""The analysis of one sound. In: a Sound. Out: its Analysis, computed in slices so that the page can show progress.

An Analyser answers on the mix of all channels, on each channel, or on given segments. Memory does not grow with the
length of the sound: of its samples only an outline is kept.
"""

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import soundfile

from speech_emotion import Classifier, Prediction, SpeakerProfile, SpeechEmotionError, open_audio
from speech_emotion.audio import channel_names
from speech_emotion.segments import Segment

FloatArray = npt.NDArray[np.float32]

RATE: Final = 16_000
SLICE_SECONDS: Final = 0.25  # of computing
COLUMN_SAMPLES: Final = RATE // 100
MAX_COLUMNS: Final = 1200  # of a picture; beyond that, neighbours are merged


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
    """The result for one sound: an answer with its windows and outline, or an error instead.

    envelope (n, 2): minimum and maximum sample of each column of time; log_mel (n_mels, n): the model's input.
    lanes: instead of an answer, the analysis of each channel, named after it.
    segments: instead of windows, the given segments with their answers.
    """

    name: str
    sha256: str
    seconds: float = 0.0
    answer: Prediction | None = None
    windows: tuple[Prediction, ...] = ()
    envelope: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    log_mel: npt.NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))
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
            n_lanes = self._audio.n_channels if channels == "separate" else 1
            self._lanes = [_Lane(classifier, profile) for _ in range(n_lanes)]
        except SpeechEmotionError as error:
            self._fail(error)

    @property
    def share_done(self) -> float:
        """Share of the file that has been read, 0 to 1."""
        return 1.0 if self.result else _share_read(self._file, self.sound)

    @property
    def seconds_done(self) -> float:
        """Seconds of sound processed so far."""
        return self._lanes[0].outline.n_samples / RATE if self._lanes else 0.0

    def step(self) -> None:
        """Compute one slice. An error of the sound becomes the result."""
        if self.result:
            return
        until = time.monotonic() + SLICE_SECONDS
        try:
            for block in self._audio:
                for lane, samples in zip(self._lanes, block.reshape(len(block), -1).T, strict=True):
                    lane.push(samples)
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
        if self._channels == "mix":
            self.result = self._lanes[0].analysis(name, sha256, self._audio.warnings)
            return
        names = channel_names(len(self._lanes))
        warnings = self._audio.warnings_of
        lanes = (
            lane.analysis(channel, sha256, warnings[channel], channel)
            for channel, lane in zip(names, self._lanes, strict=True)
        )
        self.result = Analysis(name, sha256, self.seconds_done, lanes=tuple(lanes))

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
    """The windows and the outline of one channel, or of the mix."""

    def __init__(self, classifier: Classifier, profile: SpeakerProfile | None) -> None:
        self.outline = _Outline(classifier)
        self._classifier = classifier
        self._stream = classifier.stream(sample_rate=RATE, profile=profile)
        self._windows: list[Prediction] = []

    def push(self, samples: FloatArray) -> None:
        samples = np.ascontiguousarray(samples)
        self._windows += self._stream.push(samples)
        self.outline.push(samples)

    def finish(self) -> None:
        self._windows += self._stream.finish()
        self.outline.finish()

    def analysis(
        self, name: str, sha256: str, warnings: tuple[str, ...], channel: str | None = None
    ) -> Analysis:
        windows = tuple(replace(window, warnings=warnings, channel=channel) for window in self._windows)
        return Analysis(
            name,
            sha256,
            self.outline.n_samples / RATE,
            self._classifier.pool(windows),
            windows,
            self.outline.envelope,
            self.outline.log_mel.astype(np.float16),
        )


class _Outline:
    """Collects envelope and log-mel from passing samples, in at most MAX_COLUMNS columns of time."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._window = classifier.info.window_samples
        self._pending: list[FloatArray] = []
        self._previous = np.zeros(0, np.float32)  # the window processed last
        self._envelopes, self._log_mels = _Columns(), _Columns()
        self.n_samples = 0

    @property
    def envelope(self) -> FloatArray:
        """(n, 2)"""
        return self._envelopes.values * np.array([-1, 1], np.float32)

    @property
    def log_mel(self) -> FloatArray:
        """(n_mels, n)"""
        return self._log_mels.values.T

    def push(self, samples: FloatArray) -> None:
        self.n_samples += len(samples)
        self._pending.append(samples)
        if sum(map(len, self._pending)) >= self._window:
            held = np.concatenate(self._pending)
            n_whole = len(held) // self._window * self._window
            for start in range(0, n_whole, self._window):
                self._add(held[start : start + self._window])
            self._pending = [held[n_whole:]]

    def finish(self) -> None:
        held = np.concatenate([np.zeros(0, np.float32), *self._pending])
        if len(held):
            self._add(held)

    def _add(self, samples: FloatArray) -> None:
        """One column per 10 ms. A last piece too short for the model is preceded by samples that it follows."""
        minimum = self._classifier.info.min_samples
        seen = samples
        if len(seen) < minimum:
            seen = np.concatenate([self._previous, samples])[-self._window :]
        if len(seen) < minimum:
            return
        n_columns, n_new = (-(-len(part) // COLUMN_SAMPLES) for part in (seen, samples))
        log_mel = self._classifier.log_mel(seen, sample_rate=RATE)
        at = np.arange(n_columns) * log_mel.shape[1] // n_columns
        self._log_mels.push(log_mel.T[at][-n_new:])
        starts = np.arange(n_new) * COLUMN_SAMPLES
        extremes = [np.maximum.reduceat(side, starts) for side in (-samples, samples)]
        self._envelopes.push(np.stack(extremes, axis=1))
        self._previous = samples


class _Columns:
    """Rows (n, …), each the maximum of `_each` rows pushed; neighbours merge whenever there are too many."""

    def __init__(self) -> None:
        self._each = 1
        self._rows: list[FloatArray] = []
        self._rest: FloatArray | None = None  # maximum of the `_n_rest` rows that fill no column yet
        self._n_rest = 0

    @property
    def values(self) -> FloatArray:
        rows = self._rows if self._rest is None else [*self._rows, self._rest]
        return np.stack(rows) if rows else np.zeros((0, 2), np.float32)

    def push(self, rows: FloatArray) -> None:
        for row in rows:
            self._add(row, 1)
        while len(self._rows) > MAX_COLUMNS:
            n_even = len(self._rows) // 2 * 2
            pairs, odd = np.array(self._rows[:n_even]), self._rows[n_even:]
            self._rows = list(np.maximum(pairs[::2], pairs[1::2]))
            n_odd = self._each
            self._each *= 2
            for row in odd:
                self._add(row, n_odd)

    def _add(self, row: FloatArray, n_rows: int) -> None:
        self._rest = row if self._rest is None else np.maximum(self._rest, row)
        self._n_rest += n_rows
        if self._n_rest >= self._each:
            self._rows.append(self._rest)
            self._rest, self._n_rest = None, 0


def as_wav(data: bytes, start_seconds: float, seconds: float) -> bytes:
    """A stretch of the sound in `data` as the model reads it, mono at 16 kHz: a WAV that every browser plays.

    The page serves only files it has written itself: an uploaded file may be a web page in disguise.
    """
    start, end = round(start_seconds * RATE), round((start_seconds + seconds) * RATE)
    pieces, n_samples = [np.zeros(0, np.float32)], 0
    with open_audio(data) as audio:
        for block in audio:
            pieces.append(block[max(start - n_samples, 0) : max(end - n_samples, 0)])
            n_samples += len(block)
            if n_samples >= end:
                break
    out = io.BytesIO()
    soundfile.write(out, np.concatenate(pieces), RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()
