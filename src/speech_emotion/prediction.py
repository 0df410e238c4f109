"""An answer, and how answers combine. In: probabilities and times. Out: a frozen Prediction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

NO_THRESHOLDS: Final[Mapping[str, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """One calibrated distribution over emotions for one stretch of sound, or an abstention with its reason.

    probabilities: label → probability in the model's order, summing to 1; empty when nothing was scored.
    abstained: None, or why there is no label: "not_sure" (the only one with probabilities), "too_short",
        "no_speech".
    warnings: what the audio gate noticed, such as "clipped" or "truncated".
    emotions: the emotions that it may be, the most probable first; empty when nothing was scored.
    """

    probabilities: Mapping[str, float] = field(hash=False)
    start_seconds: float
    end_seconds: float
    abstained: str | None = None
    warnings: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()

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
        return self.end_seconds - self.start_seconds

    @property
    def _ranked(self) -> list[str]:
        return sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)

    def __str__(self) -> str:
        """The line a person reads: `happy 0.82, 0.00–3.42 s`."""
        answer = (
            self._best if self.probabilities else f"no answer ({(self.abstained or '').replace('_', ' ')})"
        )
        warnings = f", {', '.join(self.warnings).replace('_', ' ')}" if self.warnings else ""
        return f"{answer}, {self.start_seconds:.2f}–{self.end_seconds:.2f} s{warnings}"

    @property
    def _best(self) -> str:
        best = f"{self.emotions[0]} {self.probabilities[self.emotions[0]]:.2f}"
        return f"{self.abstained.replace('_', ' ')} (maybe {best})" if self.abstained else best

    def __repr__(self) -> str:
        return f"Prediction({self})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Plain values, so that an answer travels between processes (a mapping proxy cannot)."""
        times = (self.start_seconds, self.end_seconds)
        return Prediction, (dict(self.probabilities), *times, self.abstained, self.warnings, self.emotions)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON knows."""
        return {
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
        """The same, flat: one cell a value, the probabilities last, each under its label."""
        cells = self.to_dict() | {"emotions": " ".join(self.emotions), "warnings": " ".join(self.warnings)}
        del cells["probabilities"]
        return {**cells, **self.probabilities}


def decide(prediction: Prediction, thresholds: Mapping[str, float]) -> Prediction:
    """`prediction` with the emotions it may be, and abstaining where it is not sure.

    thresholds, both optional: "not_sure", below which the best probability gives no label; "set", the emotion set
    holds every emotion with a probability of at least 1 - set, and the best one (split conformal prediction, Sadinle
    et al. 2019, arXiv 1609.00451).
    """
    if not prediction.probabilities:
        return prediction
    first, *others = sorted(prediction.probabilities.items(), key=lambda item: item[1], reverse=True)
    least = 1 - thresholds.get("set", 0.0)
    emotions = (first[0], *(label for label, probability in others if probability >= least))
    abstained = "not_sure" if first[1] < thresholds.get("not_sure", 0.0) else None
    return replace(prediction, emotions=emotions, abstained=abstained)


def pool(predictions: Iterable[Prediction], thresholds: Mapping[str, float] = NO_THRESHOLDS) -> Prediction:
    """The answer for a whole recording: the mean over the windows with probabilities, decided by `thresholds`.

    When no window has any, the result abstains with the first one's reason.
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
        if not prediction.probabilities:
            reason = reason or prediction.abstained
            continue
        n_answers += 1
        for label, probability in prediction.probabilities.items():
            sums[label] = sums.get(label, 0.0) + probability
    means = {label: total / n_answers for label, total in sums.items()}
    abstained = None if means else reason or "too_short"
    return decide(Prediction(means, start_seconds, end_seconds, abstained, tuple(warnings)), thresholds)
