"""An answer, and how answers combine. In: probabilities and times. Out: an immutable Prediction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

NO_THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """One calibrated distribution over emotions for one stretch of sound, or an abstention with its reason.

    Examples:
        >>> prediction = predict("hello.wav")
        >>> prediction.label, round(prediction.confidence, 2), prediction.runner_up
        ('happy', 0.82, 'surprised')
        >>> print(prediction)
        happy 0.82, 0.00–3.42 s

    Attributes:
        probabilities: Label → probability, in the model's order, summing to 1. Empty if nothing was scored.
        start_seconds: Where the stretch starts, in seconds from the beginning of the recording.
        end_seconds: Where it ends, in the same.
        abstained: None, or why there is no label: "not_sure", "too_short" or "no_speech". Only with "not_sure" there
            are probabilities.
        warnings: What is wrong with the recording: "clipped", "quiet", "noisy", "phase_cancelled", "truncated",
            "channels_differ", "unfinished", "other_tracks". Of given segments also "beyond_end": the recording ends
            before the segment does; with a profile per speaker "no_profile": this speaker has none, and
            "short_enrolment".
        emotions: The emotion set: what it may be, the most probable first. Empty if nothing was scored.
        channel: None for the mix of all channels; of separate ones "left" or "right", or "1", "2", "3" ….
    """

    probabilities: Mapping[str, float] = field(hash=False)
    start_seconds: float
    end_seconds: float
    abstained: str | None = None
    warnings: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    channel: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", MappingProxyType(dict(self.probabilities)))
        object.__setattr__(self, "emotions", self.emotions or tuple(self._ranked[:1]))

    @property
    def label(self) -> str | None:
        """The most probable emotion; None when abstained."""
        return None if self.abstained else self._ranked[0]

    @property
    def confidence(self) -> float | None:
        """The probability of the label; None when abstained."""
        return None if self.abstained else self.probabilities[self._ranked[0]]

    @property
    def runner_up(self) -> str | None:
        """The second most probable emotion; None when abstained."""
        return None if self.abstained else self._ranked[1]

    @property
    def seconds(self) -> float:
        """The duration of the stretch in seconds."""
        return self.end_seconds - self.start_seconds

    @property
    def _ranked(self) -> list[str]:
        return sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)

    @property
    def in_words(self) -> str:
        """The answer without its times: `happy 0.82`, `not sure (maybe happy 0.31)`, `no answer (no speech)`."""
        if not self.probabilities:
            return f"no answer ({(self.abstained or '').replace('_', ' ')})"
        best = f"{self.emotions[0]} {self.probabilities[self.emotions[0]]:.2f}"
        return f"{self.abstained.replace('_', ' ')} (maybe {best})" if self.abstained else best

    def __str__(self) -> str:
        """One line to read: `happy 0.82, 0.00–3.42 s`."""
        warnings = f", {', '.join(self.warnings).replace('_', ' ')}" if self.warnings else ""
        channel = f"{self.channel}: " if self.channel else ""
        return f"{channel}{self.in_words}, {self.start_seconds:.2f}–{self.end_seconds:.2f} s{warnings}"

    def __repr__(self) -> str:
        return f"Prediction({self})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Plain values, so that an answer travels between processes (a mapping proxy cannot)."""
        times = (self.start_seconds, self.end_seconds)
        rest = (self.abstained, self.warnings, self.emotions, self.channel)
        return Prediction, (dict(self.probabilities), *times, *rest)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, in types that JSON knows.

        Returns:
            label, confidence, runner_up, emotions, abstained, start_seconds, end_seconds, warnings and probabilities;
            `channel` only if there is one.
        """
        return ({"channel": self.channel} if self.channel else {}) | {
            "label": self.label,
            "confidence": self.confidence,
            "runner_up": self.runner_up,
            "emotions": list(self.emotions),
            "abstained": self.abstained,
            "start_seconds": self.start_seconds,
            "end_seconds": self.end_seconds,
            "warnings": list(self.warnings),
            "probabilities": dict(self.probabilities),
        }

    def to_row(self) -> dict[str, str | float | None]:
        """Return the same as one table row: a cell per value, the probabilities last, each under its label.

        Returns:
            The keys of `to_dict`, but one per emotion instead of "probabilities"; sets and warnings are text, separated
            by spaces. An answer without probabilities has no cells for them: pandas fills in NaN.

        Examples:
            >>> pandas.DataFrame([prediction.to_row() for prediction in classifier.timeline("hello.wav")])
        """
        cells = self.to_dict() | {"emotions": " ".join(self.emotions), "warnings": " ".join(self.warnings)}
        del cells["probabilities"]
        return {**cells, **self.probabilities}


def decide(prediction: Prediction, thresholds: Mapping[str, float]) -> Prediction:
    """Return `prediction` with its emotion set, abstaining if it is not sure.

    Args:
        prediction: An answer; one without probabilities is returned as it is.
        thresholds: Both are optional. "not_sure": if the best probability is below it, there is no label. "set": the
            emotion set holds the best emotion and every other one with a probability of at least 1 - set (split
            conformal prediction, Sadinle et al. 2019, arXiv 1609.00451).
    """
    if not prediction.probabilities:
        return prediction
    first, *others = sorted(prediction.probabilities.items(), key=lambda item: item[1], reverse=True)
    minimum = 1 - thresholds.get("set", 0.0)
    emotions = (first[0], *(label for label, probability in others if probability >= minimum))
    abstained = "not_sure" if first[1] < thresholds.get("not_sure", 0.0) else None
    return replace(prediction, emotions=emotions, abstained=abstained)


def pool(predictions: Iterable[Prediction], thresholds: Mapping[str, float] = NO_THRESHOLDS) -> Prediction:
    """Return the answer for a whole recording: the mean over the windows with probabilities, see `decide`.

    If no window has any, the result abstains with the reason of the first one. The windows are read one by one and
    not kept, so that ten hours need no more memory than ten seconds.
    """
    total = RunningPool()
    for prediction in predictions:
        total.add(prediction)
    return total.answer(thresholds)


def pool_channels(
    predictions: Iterable[Prediction], thresholds: Mapping[str, float] = NO_THRESHOLDS
) -> tuple[Prediction, ...]:
    """Return what `pool` gives for the windows of each channel, in the order in which the channels come."""
    totals: dict[str | None, RunningPool] = {}
    for prediction in predictions:
        totals.setdefault(prediction.channel, RunningPool()).add(prediction)
    return tuple(total.answer(thresholds) for total in totals.values())


class RunningPool:
    """What `pool` knows of the predictions so far. Its memory does not grow."""

    def __init__(self) -> None:
        self._start_seconds = self._end_seconds = 0.0
        self._sums: dict[str, float] = {}
        self._n_answers = 0
        self._reason: str | None = None
        self._warnings: dict[str, None] = {}  # a set that keeps its order
        self._channels: set[str | None] = set()

    def add(self, prediction: Prediction) -> None:
        """Count one more prediction."""
        start = prediction.start_seconds
        self._start_seconds = min(self._start_seconds, start) if self._channels else start
        self._end_seconds = max(self._end_seconds, prediction.end_seconds)
        self._warnings |= dict.fromkeys(prediction.warnings)
        self._channels.add(prediction.channel)
        if not prediction.probabilities:
            self._reason = self._reason or prediction.abstained
            return
        self._n_answers += 1
        for label, probability in prediction.probabilities.items():
            self._sums[label] = self._sums.get(label, 0.0) + probability

    def join(self, other: "RunningPool") -> None:
        """Count all predictions that `other` has counted, as later ones."""
        if not other._channels:
            return
        self._start_seconds = (
            min(self._start_seconds, other._start_seconds) if self._channels else other._start_seconds
        )
        self._end_seconds = max(self._end_seconds, other._end_seconds)
        self._warnings |= other._warnings
        self._channels |= other._channels
        self._reason = self._reason or other._reason
        self._n_answers += other._n_answers
        for label, total in other._sums.items():
            self._sums[label] = self._sums.get(label, 0.0) + total

    def answer(self, thresholds: Mapping[str, float] = NO_THRESHOLDS) -> Prediction:
        """Return what `pool` gives for the predictions so far."""
        means = {label: total / self._n_answers for label, total in self._sums.items()}
        abstained = None if means else self._reason or "too_short"
        channel = next(iter(self._channels)) if len(self._channels) == 1 else None
        times = self._start_seconds, self._end_seconds
        prediction = Prediction(means, *times, abstained, tuple(self._warnings), channel=channel)
        return decide(prediction, thresholds)
