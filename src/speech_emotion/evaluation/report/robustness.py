"""Scores in degraded sound. In: files of results/robustness. Out: the page robustness.md, a table for a terminal."""

from collections.abc import Sequence
from typing import Final

from speech_emotion.evaluation.report.tables import DOCS, figure, heading, points, source, table
from speech_emotion.evaluation.robustness import FOLDER, Outcome, Robustness

_HEADER: Final = ("condition", "UAR", "minus clean", "worse, better for", "no answer", "UAR where it answers")


def page(measured: Sequence[Robustness]) -> str:
    """One part per file."""
    lines = [
        "# Robustness",
        "",
        f"The method and what is not covered: [robustness]({DOCS}/robustness.md).",
        "",
    ]
    for found in measured:
        noise = f" Recorded noise: {found.noise}." if found.noise else ""
        all_numbers = f" [All numbers]({FOLDER}/{found.stem}.json)."
        lines += [f"## {heading(found)}", "", *robustness_table(found), ""]
        lines += [figure(found, "robustness", "UAR under each condition")]
        lines += source(found.support, found.commit, found.command, f"{noise}{all_numbers}")
    return "\n".join(lines)


def robustness_table(found: Robustness) -> list[str]:
    """Lines of Markdown: one row per condition, in percent and points."""
    return table(_HEADER, map(_row, found.conditions.values()))


def _row(outcome: Outcome) -> tuple[str, ...]:
    without = "–" if outcome.uar_answered is None else f"{outcome.uar_answered * 100:.1f}"
    change, counts = "–", "–"
    if found := outcome.difference:
        change = points(found)
        counts = f"{found.n_worse}, {found.n_better} of {found.n_speakers} speakers"
    return (outcome.title, str(outcome.uar), change, counts, f"{outcome.abstained * 100:.1f} %", without)
