"""An answer, and how answers combine. In: probabilities and times. Out: a frozen Prediction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """One calibrated distribution over emotions for one stretch of sound, or an abstention with its reason.

    probabilities: label → probability in the model's order, summing to 1; empty when nothing was scored.
    abstained: None, "no_speech" or "too_short".
    warnings: what the audio gate noticed, such as "clipped" or "truncated".
    """

    probabilities: Mapping[str, float] = field(hash=False)
    start_seconds: float
    end_seconds: float
    abstained: str | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "probabilities", MappingProxyType(dict(self.probabilities)))

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
        return self.end_seconds - self.start_seconds

    @property
    def _ranked(self) -> list[str]:
        return sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)

    def __str__(self) -> str:
        """The line a person reads: `happy 0.82, 0.00–3.42 s`."""
        answer = f"no answer ({self.abstained.replace('_', ' ')})" if self.abstained else self._best
        warnings = f", {', '.join(self.warnings).replace('_', ' ')}" if self.warnings else ""
        return f"{answer}, {self.start_seconds:.2f}–{self.end_seconds:.2f} s{warnings}"

    @property
    def _best(self) -> str:
        return f"{self.label} {self.confidence:.2f}"

    def __repr__(self) -> str:
        return f"Prediction({self})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Plain values, so that an answer travels between processes (a mapping proxy cannot)."""
        times = (self.start_seconds, self.end_seconds)
        return Prediction, (dict(self.probabilities), *times, self.abstained, self.warnings)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "runner_up": self.runner_up,
            "abstained": self.abstained,
            "start_seconds": self.start_seconds,
            "end_seconds": self.end_seconds,
            "warnings": list(self.warnings),
            "probabilities": dict(self.probabilities),
        }

    def to_row(self) -> dict[str, str | float | None]:
        """The same, flat: one cell a value, the probabilities last, each under its label."""
        cells = self.to_dict() | {"warnings": " ".join(self.warnings)}
        del cells["probabilities"]
        return {**cells, **self.probabilities}


def pool(predictions: Iterable[Prediction]) -> Prediction:
    """The answer for a whole recording: the mean over the windows that gave one.

    Windows that abstained take no part; when all did, so does the result, with the first one's reason.
    Takes the windows one by one and keeps none, so that ten hours need no more memory than ten seconds.
    """
    start_seconds, end_seconds = 0.0, 0.0
    sums: dict[str, float] = {}
    n_answers = 0
    reason: str | None = None
    warnings: dict[str, None] = {}  # a set that keeps its order
    for index, prediction in enumerate(predictions):
        start_seconds = min(start_seconds, prediction.start_seconds) if index else prediction.start_seconds
        end_seconds = max(end_seconds, prediction.end_seconds)
        warnings |= dict.fromkeys(prediction.warnings)
        if prediction.abstained:
            reason = reason or prediction.abstained
            continue
        n_answers += 1
        for label, probability in prediction.probabilities.items():
            sums[label] = sums.get(label, 0.0) + probability
    means = {label: total / n_answers for label, total in sums.items()}
    abstained = None if means else reason or "too_short"
    return Prediction(means, start_seconds, end_seconds, abstained, tuple(warnings))
