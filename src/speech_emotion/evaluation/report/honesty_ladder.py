"""What each dishonest habit of the field adds. In: results. Out: the page honesty-ladder.md.

One model's score under luna5, then under protocols that do one thing wrong each (splits.py), beside what others
published that way. docs/honesty.md says how the habits come about, benchmarks/honesty_ladder.py trains them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from speech_emotion.evaluation.metrics import paired_difference
from speech_emotion.evaluation.report.published import LEAKY_SYSTEMS, SYSTEMS, Published
from speech_emotion.evaluation.report.tables import DOCS, by_speaker, link, points, table
from speech_emotion.evaluation.result import Result

HONEST: Final = "luna5"  # what the others are compared with


@dataclass(frozen=True)
class Rung:
    """A protocol, what is wrong with it, and systems that were published so."""

    protocol: str
    wrong: str
    published: Sequence[Published] = ()


RUNGS: Final = (
    Rung(HONEST, "nothing"),
    Rung("loso24", "nothing"),
    Rung(
        "luna5-peeked",
        "the epoch that did best on the test speakers was kept, and the temperature was fitted to them",
        [other for other in SYSTEMS if (other.protocol, other.blind) == (HONEST, "no")],
    ),
    Rung("random10", "the tested actors were learned from, in other clips", LEAKY_SYSTEMS),
    Rung(
        "random10-copies",
        "the same, and from speed-changed copies of the test clips: augmented first, divided afterwards",
    ),
)


def page(results: Sequence[Result]) -> str:
    """ "" unless a model has both the honest result and a leaky one."""
    models: dict[str, dict[str, Result]] = {}
    for result in results:
        models.setdefault(result.model, {})[result.protocol] = result
    lines = [line for model in sorted(models) for line in _ladder(model, models[model])]
    return "\n".join(["# Honesty ladder", "", _EXPLANATION, "", *lines]) if lines else ""


_EXPLANATION: Final = (
    "One recipe, scored honestly, and then with habits that are common in papers but say nothing about a new voice "
    f"([how they come about, and how to find them]({DOCS}/honesty.md)). UAR in percent. The difference is that of the "
    "speakers' own UAR in points, with its 95 % interval of a bootstrap over the speakers that both rows test. Beside "
    f"random10's 1152 clips {HONEST} learns from 1020 or 1080, loso24 from 1260: what more clips give without a leak."
)
_HEADER: Final = ("protocol", "what was done wrong", "UAR", f"minus {HONEST}", "measured on", "published so")


def _ladder(model: str, results: Mapping[str, Result]) -> list[str]:
    if HONEST not in results or not any(result.leaky for result in results.values()):
        return []
    rows = [_row(rung, results[rung.protocol], results[HONEST]) for rung in RUNGS if rung.protocol in results]
    return [f"## {model}", "", *table(_HEADER, rows), ""]


def _row(rung: Rung, result: Result, honest: Result) -> tuple[str, ...]:
    name = link(result, rung.protocol)
    return (
        f"{name}, LEAKY" if result.leaky else f"**{name}**",
        rung.wrong,
        str(result.uar) if result.leaky else f"**{result.uar}**",
        "–" if result is honest else _difference(result, honest),
        f"{result.support}{_folds(result)}",
        ("; ".join(map(_published, rung.published)) or "–") if result.leaky else "[all systems](systems.md)",
    )


def _difference(result: Result, honest: Result) -> str:
    """Over the speakers that both test: of a leaky protocol some folds may be missing."""
    both = result.per_actor.keys() & honest.per_actor.keys()
    scores = ({speaker: by_speaker(one)[speaker] for speaker in both} for one in (result, honest))
    return points(paired_difference(*scores))


def _folds(result: Result) -> str:
    """Which of the protocol's folds were scored, if not all."""
    n_folds = len(result.split.folds)
    return "" if len(result.per_fold) == n_folds else f", folds {', '.join(result.per_fold)} of {n_folds}"


def _published(other: Published) -> str:
    score = f"accuracy {other.accuracy}" if other.uar == "–" else other.uar
    return f"{other.system}: {score}"
