"""One sound of the page. In: a Sound. Out: its Hearing, worked out in slices, so that a page can show how far it is.

A slice is a moment of work: between two of them the page draws its progress, and whoever presses Cancel
is heard. Memory stays flat however long the sound is: of the samples only an outline is kept.

The page runs in threads: a new run starts while the one before it still works at its slice. So a sound is bytes, which
everybody reads with a place of his own, and a slice is worked at by one thread only.
"""

import hashlib
import io
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import soundfile

from speech_emotion import Classifier, Prediction, SpeakerProfile, SpeechEmotionError, open_audio

FloatArray = npt.NDArray[np.float32]

RATE: Final = 16_000
SLICE_SECONDS: Final = 0.25  # of work
COLUMN_SAMPLES: Final = RATE // 100
MOST_COLUMNS: Final = 1200  # of a picture; where there are more, neighbours are merged


@dataclass(frozen=True, eq=False)
class Sound:
    """What somebody gave, as it came. `id`: of this gift; `sha256`: of its content."""

    id: str
    name: str
    data: bytes
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes, sound_id: str) -> Self:
        return cls(sound_id, name, data, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, eq=False)
class Hearing:
    """What came of one sound: an answer with its windows and its outline, or the error in their place.

    envelope (n, 2): least and greatest sample of each moment; log_mel (n_mels, n): what the model saw.
    """

    name: str
    sha256: str
    seconds: float = 0.0
    answer: Prediction | None = None
    windows: tuple[Prediction, ...] = ()
    envelope: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    log_mel: npt.NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    error: SpeechEmotionError | None = None

    def named(self, name: str) -> "Hearing":
        """The same, of a sound with the same content and another name."""
        return replace(self, name=name)


class Analysis:
    """A hearing under way: call `step` until `hearing` is there."""

    def __init__(self, classifier: Classifier, sound: Sound, profile: SpeakerProfile | None) -> None:
        self.sound = sound
        self.hearing: Hearing | None = None
        self._classifier = classifier
        self._stream = classifier.stream(sample_rate=RATE, profile=profile)
        self._outline = _Outline(classifier)
        self._windows: list[Prediction] = []
        self._resources = ExitStack()
        self._working = threading.Lock()
        self._file = io.BytesIO(sound.data)
        try:
            self._audio = self._resources.enter_context(open_audio(self._file))
        except SpeechEmotionError as error:
            self._fail(error)

    @property
    def share_done(self) -> float:
        """How far the file has been read, 0 to 1."""
        return 1.0 if self.hearing else min(self._file.tell() / max(len(self.sound.data), 1), 1.0)

    @property
    def seconds_done(self) -> float:
        return self._outline.n_samples / RATE

    def step(self) -> None:
        """One slice, after the one that another thread works at. Errors of the sound become its hearing."""
        with self._working:
            if self.hearing is None:
                self._work(until=time.monotonic() + SLICE_SECONDS)

    def _work(self, until: float) -> None:
        try:
            for block in self._audio:
                self._windows += self._stream.push(block)
                self._outline.push(block)
                if time.monotonic() > until:
                    return
            self._windows += self._stream.finish()
        except SpeechEmotionError as error:
            self._fail(error)
        else:
            self._end()

    def _end(self) -> None:
        warnings = self._audio.warnings
        self._resources.close()
        self._outline.finish()
        windows = tuple(replace(window, warnings=warnings) for window in self._windows)
        self.hearing = Hearing(
            self.sound.name,
            self.sound.sha256,
            self.seconds_done,
            self._classifier.pool(windows),
            windows,
            self._outline.envelope,
            self._outline.log_mel.astype(np.float16),
        )

    def _fail(self, error: SpeechEmotionError) -> None:
        self._resources.close()
        self.hearing = Hearing(self.sound.name, self.sound.sha256, error=error)


class _Outline:
    """What a picture needs of samples that pass by: envelope and log-mel, in at most MOST_COLUMNS columns of time."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._window = classifier.info.window_samples
        self._pending: list[FloatArray] = []
        self._before = np.zeros(0, np.float32)  # the last window that was looked at
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
                self._look(held[start : start + self._window])
            self._pending = [held[n_whole:]]

    def finish(self) -> None:
        held = np.concatenate([np.zeros(0, np.float32), *self._pending])
        if len(held):
            self._look(held)

    def _look(self, samples: FloatArray) -> None:
        """A column a hundredth of a second. An end that is too short for the model is seen with what came before it."""
        least = self._classifier.info.min_samples
        seen = samples if len(samples) >= least else np.concatenate([self._before, samples])[-self._window :]
        if len(seen) < least:
            return
        n_columns, n_new = (-(-len(part) // COLUMN_SAMPLES) for part in (seen, samples))
        log_mel = self._classifier.log_mel(seen, sample_rate=RATE)
        at = np.arange(n_columns) * log_mel.shape[1] // n_columns
        self._log_mels.push(log_mel.T[at][-n_new:])
        starts = np.arange(n_new) * COLUMN_SAMPLES
        extremes = [np.maximum.reduceat(side, starts) for side in (-samples, samples)]
        self._envelopes.push(np.stack(extremes, axis=1))
        self._before = samples


class _Columns:
    """Rows (n, …), the greatest of each `_each` that passed; merged two by two whenever they would be too many."""

    def __init__(self) -> None:
        self._each = 1
        self._rows: list[FloatArray] = []
        self._rest: FloatArray | None = None  # of the `_n_rest` rows that fill no column yet
        self._n_rest = 0

    @property
    def values(self) -> FloatArray:
        rows = self._rows if self._rest is None else [*self._rows, self._rest]
        return np.stack(rows) if rows else np.zeros((0, 2), np.float32)

    def push(self, rows: FloatArray) -> None:
        for row in rows:
            self._add(row, 1)
        while len(self._rows) > MOST_COLUMNS:
            pairs, odd = (
                np.array(self._rows[: len(self._rows) // 2 * 2]),
                self._rows[len(self._rows) // 2 * 2 :],
            )
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
    """What the model hears of a stretch of the sound in `data`, mono at 16 kHz: a WAV that every browser plays.

    Only what we wrote ourselves is given to a browser: what somebody uploaded may be a page in disguise.
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
