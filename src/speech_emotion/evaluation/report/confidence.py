"""How far a confidence can be trusted. In: results. Out: the page confidence.md.

Leaky protocols say nothing about a new voice and are left out.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import Final

from speech_emotion import corpora
from speech_emotion.evaluation.answers import EmotionSets, Group
from speech_emotion.evaluation.metrics import SET_COVERAGE
from speech_emotion.evaluation.report.published import SELECTIVE
from speech_emotion.evaluation.report.tables import DOCS, link, table
from speech_emotion.evaluation.result import Result

SHOWN: Final = ("100", "90", "80", "70", "50")  # percent, as published


def page(results: Sequence[Result]) -> str:
    """`results` in the order of `systems.in_order`."""
    lines = ["# Confidence", "", _EXPLANATION, ""]
    honest = [result for result in results if not result.leaky]
    for name, group in groupby(honest, lambda result: result.corpus):
        lines += [f"## {corpora.title(name)}", "", *_of_corpus(list(group))]
    return "\n".join(lines)


_EXPLANATION: Final = (
    f"Percent, as in [all systems](systems.md); [what it means and where it ends]({DOCS}/confidence.md). AURC is the "
    "error rate among the surest clips, averaged over all shares of clips that can be kept: lower is better. All "
    'numbers are over the clips with probabilities, those answered with "not sure" among them.'
)
_SETS_EXPLANATION: Final = (
    f"The emotion set of an answer aims to hold the spoken emotion in {SET_COVERAGE * 100:.0f} % of the clips; which "
    "emotions are in it is up to the model of the fold, by a threshold from its validation speakers."
)
_SETS_HEADER: Final = (
    *("system", "protocol", "holds the spoken emotion", "emotions in a set"),
    *("least covered emotion", "least covered speaker", "median speaker", 'answered "not sure"'),
)


def _of_corpus(results: Sequence[Result]) -> list[str]:
    header = ("system", "protocol", "ECE", "AURC", *(f"surest {percent} %" for percent in SHOWN))
    rows = [_selective_row(result) for result in results]
    source = []
    if results[0].corpus == "ravdess":
        accuracies = _cells(SELECTIVE.accuracy_at_coverage)
        rows.append((SELECTIVE.system, SELECTIVE.protocol, SELECTIVE.ece, "–", *accuracies))
        source = [f"{SELECTIVE.system}: {SELECTIVE.source}.", ""]
    lines = [*table(header, rows), "", *source]
    if rows := [_sets_row(result, result.sets) for result in results if result.sets]:
        lines += [_SETS_EXPLANATION, "", *table(_SETS_HEADER, rows), ""]
    return lines


def _selective_row(result: Result) -> tuple[str, ...]:
    aurc = str(result.aurc) if result.aurc else "–"
    accuracies = {percent: f"{value * 100:.1f}" for percent, value in result.accuracy_at_coverage.items()}
    return (f"**{link(result)}**", result.protocol, str(result.ece), aurc, *_cells(accuracies))


def _cells(accuracies: Mapping[str, str]) -> list[str]:
    return [accuracies.get(percent, "–") for percent in SHOWN]


def _sets_row(result: Result, sets: EmotionSets) -> tuple[str, ...]:
    median_speaker = median(group.mean for group in sets.per_actor.values())
    facts = (f"**{link(result)}**", result.protocol, f"**{sets.coverage}**", f"{sets.size.mean:.2f}")
    minimum = (_lowest(sets.per_class), _lowest(sets.per_actor))
    return (*facts, *minimum, f"{median_speaker * 100:.1f}", f"{result.not_sure * 100:.1f}")


def _lowest(groups: Mapping[str, Group]) -> str:
    name = min(groups, key=lambda name: groups[name].mean)
    return f"{name}: {groups[name]}"
