"""What the pages about results are made of. In: cells, and results. Out: lines of Markdown."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from speech_emotion.evaluation.result import Result

FIGURES: Final = "figures"  # beside the page


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A line a row."""
    return [_line(header), _line(["---"] * len(header)), *map(_line, rows)]


def figure(result: Result, kind: str, alt: str) -> str:
    """The picture that `plots.draw` made of a result."""
    return f"![{alt}]({FIGURES}/{result.stem}-{kind}.png)\n"


def heading(result: Result) -> str:
    """What the part of a page about one result is called."""
    return f"{result.corpus}, {result.split}: {result.model}"


def link(result: Result) -> str:
    """The model's name, leading to its part of the page."""
    return f"[{result.model}](#{anchor(heading(result))})"


def anchor(heading: str) -> str:
    """The link target that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
