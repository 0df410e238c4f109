"""Parts of the report. In: cells, results and their parts. Out: lines of Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from speech_emotion.evaluation.answers import Measurement
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.result import Result

FIGURES: Final = "figures"  # folder beside the pages
DOCS: Final = "../docs"  # from results/ of a checkout


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """One line per row."""
    return [_line(header), _line(["---"] * len(header)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def details(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines that are folded until they are asked for."""
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>", ""]


def figure(found: Measurement, kind: str, alternative: str) -> str:
    """The picture that plots.py made of a result."""
    return f"![{alternative}]({FIGURES}/{found.stem}-{kind}.png)\n"


def heading(found: Measurement) -> str:
    """The title of a page, or of a part of one, about one measurement."""
    return f"{found.corpus}, {found.split}: {found.model}"


def link(result: Result, text: str = "") -> str:
    """The model's name or `text`, leading to the page of the result."""
    return f"[{text or result.model}]({result.stem}.md)"


def points(difference: PairedDifference) -> str:
    """A difference of two fractions and its interval in points: `+1.5 [+0.6, +2.5]`."""
    mean, low, high = (f"{100 * value:+.1f}" for value in (difference.mean, *difference.interval))
    return f"{mean} [{low}, {high}]"


def source(support: str, commit: str | None, command: str, note: str = "") -> list[str]:
    """What numbers were measured on, and the command that makes them."""
    first = f"Measured on {support}.{note} Commit {commit or 'unknown'}."
    return [first, "", "```sh", command, "```", ""]


def by_speaker(result: Result) -> Mapping[str, float]:
    """Speaker → UAR."""
    return {speaker: group.mean for speaker, group in result.per_actor.items()}
