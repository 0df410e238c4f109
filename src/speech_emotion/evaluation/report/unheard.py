"""Scores on corpora that a model learned nothing from. In: results, their tables of answers. Out: the page unheard.md.

These are the results under `loco`, `dev-far` and the protocols `<corpus>-unheard`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

from speech_emotion import corpora
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.answers import AnswerTable, Score
from speech_emotion.evaluation.report.tables import DOCS, link, table
from speech_emotion.evaluation.result import Result
from speech_emotion.evaluation.score import read_answers

FOUR: Final = ("neutral", "happy", "sad", "angry")


@dataclass(frozen=True)
class Tested:
    """A result, and its scores among fewer emotions."""

    result: Result
    n_four: int  # how many of FOUR the corpus has
    among_four: Score | None  # None without two of them
    among_own: Score

    @classmethod
    def of(cls, result: Result, folder: Path) -> "Tested":
        """From a result of `folder` and the table of answers beside it."""
        path = folder / f"{result.stem}.csv"
        try:
            answers = AnswerTable.of(read_answers(path), result.labels)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{path}: not a table of answers ({error}). Run: {result.command}") from error
        four = [label for label in FOUR if label in result.per_class]
        among_four = answers.uar_among(four) if len(four) > 1 else None
        return cls(result, len(four), among_four, answers.uar_among(result.per_class))


def page(results: Sequence[Result], folder: Path) -> str:
    """One table per kind of protocol and model; "" without such results."""
    tested: dict[str, dict[str, list[Tested]]] = {title: {} for title in _TITLES.values()}
    for result in sorted(results, key=lambda one: (one.model, one.corpus)):
        if title := _TITLES.get(result.protocol.removeprefix(f"{result.corpus}-")):
            tested[title].setdefault(result.model, []).append(Tested.of(result, folder))
    lines = []
    for title, models in tested.items():
        lines += [f"## {title}", ""] if models else []
        for model, rows in models.items():
            lines += [f"### {model}", "", *_table(rows), ""]
    return "\n".join(["# Unheard corpora", "", _EXPLANATION, "", *lines]) if lines else ""


_TITLES: Final = {
    "loco": "loco: each corpus left out in turn",
    "dev-far": "dev-far: corpora by which recipes are chosen",
    "unheard": "CORPUS-unheard: corpora that a model of others was tested on",
}
_EXPLANATION: Final = (
    "Percent. The model learned nothing from the corpus that it is tested on "
    f"([protocols]({DOCS}/training.md#protocols-which-speakers-are-tested)). Brackets are the 95 % interval of a "
    "bootstrap over speakers. **Among four**: UAR of the likeliest of neutral, happy, sad and angry, over the clips of "
    "those that the corpus has. **Among its own**: UAR of the likeliest of all emotions that the corpus has. Both ask "
    'for the likeliest where the answer was "not sure", too. **Among all** and the recall of neutral count the answer '
    "itself: an abstention and an emotion that the corpus lacks are errors. Chance is that of the column before it. A "
    "mean weighs every corpus equally: compare models by it only over the same corpora."
)
_COLUMNS: Final[dict[str, Callable[[Tested], Score | float | None]]] = {
    "among four": lambda one: one.among_four,
    "chance": lambda one: 1 / one.n_four if one.among_four else None,
    "among its own": lambda one: one.among_own,
    "chance ": lambda one: 1 / len(one.result.per_class),
    "among all": lambda one: one.result.uar,
    "recall of neutral": lambda one: one.result.per_class.get("neutral"),
    "ECE": lambda one: one.result.ece,
    "abstentions": lambda one: _abstained(one.result),
    "sets hold the emotion": lambda one: one.result.sets.coverage if one.result.sets else None,
}


def _table(rows: Sequence[Tested]) -> list[str]:
    header = ("corpus", *map(str.strip, _COLUMNS), "measured on")
    return table(header, [*map(_row, rows), *([_means(rows)] if len(rows) > 1 else [])])


def _row(one: Tested) -> tuple[str, ...]:
    name = link(one.result, corpora.title(one.result.corpus))
    return name, *(_cell(value_of(one)) for value_of in _COLUMNS.values()), one.result.support


def _cell(value: Score | float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.1f}" if isinstance(value, float) else str(value)


def _means(rows: Sequence[Tested]) -> tuple[str, ...]:
    """Of each column, over the corpora that have a value."""
    cells = []
    for value_of in _COLUMNS.values():
        found = [value for value in map(value_of, rows) if value is not None]
        values = [value if isinstance(value, float) else value.mean for value in found]
        cells.append(f"**{mean(values) * 100:.1f}**" if values else "–")
    return "**mean**", *cells, f"{len(rows)} corpora"


def _abstained(result: Result) -> float:
    return sum(result.abstained.values()) / (result.n_clips * len(result.seeds))
