"""Stretches of one emotion. In: the windows of a timeline, one by one. Out: a Prediction per stretch, speech only.

The rule, channel by channel. A window stands for the time around its middle, half-way to the windows beside it. What
holds no speech ends a stretch. A stretch keeps its emotion until another one leads by SWITCH_MARGIN, and the other one
takes over only once it has lasted for SHORTEST_SECONDS; until then its windows belong to the stretch around them. The
answer of a stretch is the mean over its windows, as `pool` gives it; neighbours with the same answer are one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from speech_emotion.prediction import NO_THRESHOLDS, Prediction, RunningPool

# Two neighbouring windows share three quarters of their sound. The calibration error of the model standard on corpora
# that it never heard is 9 points: a lead of less says nothing.
SWITCH_MARGIN: Final = 0.1
# Half of a window of 4 s: what lasts less is never most of any window. With one second alone far fewer emotions are
# found (docs/robustness.md).
SHORTEST_SECONDS: Final = 2.0


def merge(
    windows: Iterable[Prediction], thresholds: Mapping[str, float] = NO_THRESHOLDS
) -> Iterator[Prediction]:
    """Yield the stretches of one emotion in a timeline, each as soon as it is over. Memory does not grow.

    Args:
        windows: The answers of a timeline, in order; those of separate channels may alternate.
        thresholds: The model's, for `decide`.

    Returns:
        By their ends, of each channel without overlap. A channel without any speech is one abstention.
    """
    channels: dict[str | None, _Merger] = {}
    for window in windows:
        yield from channels.setdefault(window.channel, _Merger(thresholds)).push(window)
    for merger in channels.values():
        yield from merger.finish()


class _Stretch:
    """Windows that follow each other, and what they would answer together."""

    def __init__(self, label: str | None, start_seconds: float, thresholds: Mapping[str, float]) -> None:
        self.label, self._thresholds = label, thresholds
        self.start_seconds = self.end_seconds = start_seconds
        self._pool = RunningPool()

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds

    @property
    def answer(self) -> Prediction:
        return replace(
            self._pool.answer(self._thresholds),
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
        )

    def add(self, window: Prediction, end_seconds: float) -> None:
        self._pool.add(window)
        self.end_seconds = end_seconds

    def join(self, following: "_Stretch") -> None:
        """Take in the stretch that follows."""
        self._pool.join(following._pool)
        self.end_seconds = following.end_seconds


class _Merger:
    """The rule for one channel."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self._thresholds = thresholds
        self._held: Prediction | None = None  # its end depends on the next window
        self._held_from = 0.0
        self._current: _Stretch | None = None
        self._rival: _Stretch | None = None  # has not lasted long enough to take over
        self._ready: _Stretch | None = None  # over, but what follows may have the same answer
        self._silence = RunningPool()
        self._has_answered = False

    def push(self, window: Prediction) -> Iterator[Prediction]:
        if self._held is None:
            self._held, self._held_from = window, window.start_seconds
            return
        border = (_middle(self._held) + _middle(window)) / 2
        yield from self._add(self._held, self._held_from, border)
        self._held, self._held_from = window, border

    def finish(self) -> Iterator[Prediction]:
        if self._held is not None:
            yield from self._add(self._held, self._held_from, self._held.end_seconds)
        yield from self._end_speech()
        if not self._has_answered:
            yield self._silence.answer(self._thresholds)

    def _add(self, window: Prediction, start: float, end: float) -> Iterator[Prediction]:
        if not window.probabilities:
            self._silence.add(window)
            yield from self._end_speech()
            return
        self._has_answered = True
        current = self._current
        label = self._label(window)
        if current is None:
            self._current = _Stretch(label, start, self._thresholds)
            self._current.add(window, end)
        elif label == current.label:
            self._give_up_rival()
            current.add(window, end)
        else:
            if self._rival is None or self._rival.label != label:
                self._give_up_rival()
                self._rival = _Stretch(label, start, self._thresholds)
            self._rival.add(window, end)
            if self._rival.seconds >= SHORTEST_SECONDS:
                yield from self._take_over(current, self._rival)

    def _label(self, window: Prediction) -> str | None:
        """The emotion of the current stretch, unless another one leads; None for not sure."""
        held = self._current.label if self._current else None
        if held and window.probabilities[held] >= max(window.probabilities.values()) - SWITCH_MARGIN:
            return held
        return window.label

    def _give_up_rival(self) -> None:
        if self._current and self._rival:
            self._current.join(self._rival)
        self._rival = None

    def _take_over(self, current: _Stretch, rival: _Stretch) -> Iterator[Prediction]:
        """A stretch at the beginning of speech that was itself too short belongs to the one that takes over."""
        if current.seconds < SHORTEST_SECONDS:
            current.join(rival)
            current.label = rival.label
        else:
            yield from self._end(current)
            self._current = rival
        self._rival = None

    def _end_speech(self) -> Iterator[Prediction]:
        self._give_up_rival()
        if self._current:
            yield from self._end(self._current)
        if self._ready:
            yield self._ready.answer
        self._current = self._ready = None

    def _end(self, stretch: _Stretch) -> Iterator[Prediction]:
        if self._ready and self._ready.answer.label == stretch.answer.label:
            self._ready.join(stretch)
            return
        if self._ready:
            yield self._ready.answer
        self._ready = stretch


def _middle(window: Prediction) -> float:
    return (window.start_seconds + window.end_seconds) / 2
