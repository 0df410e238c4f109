"""What each dishonest habit of the field adds. In: a folder of result files. Out: the section "Honesty ladder".

One model's score under luna5, then under protocols that do one thing wrong each (splits.py), beside what others
published that way. docs/honesty.md says how the habits come about, benchmarks/honesty_ladder.py trains them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from speech_emotion import corpora
from speech_emotion.evaluation.metrics import paired_difference
from speech_emotion.evaluation.report.published import LEAKY, PLAIN, Anchor
from speech_emotion.evaluation.report.tables import anchor, heading, table
from speech_emotion.evaluation.result import Result, read_results

HONEST: Final = "luna5"  # what the others are compared with


@dataclass(frozen=True)
class Rung:
    """A protocol, what is wrong with it, and who works so."""

    protocol: str
    wrong: str
    published: Sequence[Anchor] = ()


RUNGS: Final = (
    Rung(HONEST, "nothing"),
    Rung("loso24", "nothing"),
    Rung(
        "luna5-peeked",
        "the epoch that did best on the test speakers was kept, and the temperature was fitted to them",
        [other for other in PLAIN if (other.protocol, other.blind) == (HONEST, "no")],
    ),
    Rung("random10", "the actors who are tested were learned from, in other clips", LEAKY),
    Rung(
        "random10-copies",
        "the same, and from speed-changed copies of the test clips: augmented first, divided afterwards",
    ),
)


def section(folder: Path) -> str:
    """Markdown; nothing where no model has both the honest result and a leaky one."""
    models: dict[str, dict[str, Result]] = {}
    for result in read_results(folder):
        models.setdefault(result.model, {})[result.protocol] = result
    lines = [line for model in sorted(models) for line in _ladder(model, models[model])]
    return "\n".join(["## Honesty ladder", "", _EXPLANATION, "", *lines]) if lines else ""


_EXPLANATION: Final = (
    "One recipe, scored honestly, and then with habits that are common in papers and that say nothing about a new "
    "voice. [How they come about, and how to find them](honesty.md). UAR in percent; the difference is that of the "
    "speakers' own UAR in points, in brackets its 95 % interval of a bootstrap over speakers, and over those whom "
    f"both rows test. Beside random10's 1152 clips {HONEST} learns from 1020 or 1080, and loso24 from 1260: what more "
    "clips give, without a leak."
)
_HEADER: Final = (
    "protocol",
    "what was done wrong",
    "UAR",
    f"minus {HONEST}",
    "measured on",
    "published, obtained so",
)


def _ladder(model: str, results: Mapping[str, Result]) -> list[str]:
    if HONEST not in results or not any(result.leaky for result in results.values()):
        return []
    rows = [_row(rung, results[rung.protocol], results[HONEST]) for rung in RUNGS if rung.protocol in results]
    return [f"### The ladder of {model}", "", *table(_HEADER, rows), ""]


def _row(rung: Rung, result: Result, honest: Result) -> tuple[str, ...]:
    name = f"[{rung.protocol}](#{anchor(heading(result))})"
    return (
        f"{name}, LEAKY" if result.leaky else f"**{name}**",
        rung.wrong,
        str(result.uar) if result.leaky else f"**{result.uar}**",
        "–" if result is honest else _difference(result, honest),
        f"{result.company}{_folds(result)}",
        ("; ".join(map(_published, rung.published)) or "–") if result.leaky else _ABOVE,
    )


_ABOVE: Final = f"[the tables above](#{anchor(corpora.get('ravdess').title)})"


def _difference(result: Result, honest: Result) -> str:
    """Speaker by speaker, as a protocol of which some folds were trained tests some of the speakers."""
    both = result.per_actor.keys() & honest.per_actor.keys()
    scores, honest_scores = (
        {speaker: one.per_actor[speaker].mean for speaker in both} for one in (result, honest)
    )
    found = paired_difference(scores, honest_scores)
    mean, low, high = (f"{value * 100:+.1f}" for value in (found.mean, *found.interval))
    return f"{mean} [{low}, {high}]"


def _folds(result: Result) -> str:
    """Which of the protocol's folds were scored, where some were not."""
    n_folds = len(result.split.folds)
    return "" if len(result.per_fold) == n_folds else f", folds {', '.join(result.per_fold)} of {n_folds}"


def _published(other: Anchor) -> str:
    score = f"accuracy {other.accuracy}" if other.uar == "–" else other.uar
    return f"{other.system}: {score}"
