"""How far a confidence can be trusted. In: a folder of result files. Out: the section "Confidence" of their page.

Protocols that leak say nothing about a new voice and are left out.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Final

from speech_emotion import corpora
from speech_emotion.evaluation.metrics import SET_COVERAGE
from speech_emotion.evaluation.report import published
from speech_emotion.evaluation.report.tables import figure, link, table
from speech_emotion.evaluation.result import EmotionSets, Group, Result, read_results

SHOWN: Final = ("100", "90", "80", "70", "50")  # percent, as the anchor gives them


def section(folder: Path) -> str:
    """Markdown, or nothing where there is no result."""
    honest = [result for result in read_results(folder) if not result.leaky]
    ordered = sorted(honest, key=lambda result: (result.corpus, result.protocol, -result.uar.mean))
    if not ordered:
        return ""
    lines = ["## Confidence", "", _EXPLANATION, ""]
    for name, results in groupby(ordered, lambda result: result.corpus):
        lines += [f"### {corpora.get(name).title}: confidence", "", *_of_corpus(list(results))]
    return "\n".join(lines)


_EXPLANATION: Final = (
    "Percent, in the notation of the tables above; [what it means and where it ends](confidence.md). AURC is the "
    "error rate among the surest clips, averaged over all shares of clips that can be kept: lower is better. All "
    'numbers are over the clips with probabilities, those answered with "not sure" among them.'
)


def _of_corpus(results: Sequence[Result]) -> list[str]:
    lines = [*_selective_table(results), ""]
    if results[0].corpus == "ravdess":
        lines += [f"{published.SELECTIVE.system}: {published.SELECTIVE.source}.", ""]
    if rows := [_sets_row(result, result.sets) for result in results if result.sets]:
        lines += [_SETS_EXPLANATION, "", *table(_SETS_HEADER, rows), ""]
    for result in results:
        lines += _details(result)
    return lines


def _selective_table(results: Sequence[Result]) -> list[str]:
    """How right the surest answers are, of ours and of the anchor."""
    header = ("system", "protocol", "ECE", "AURC", *(f"surest {percent} %" for percent in SHOWN))
    rows = [_selective_row(result) for result in results]
    if results[0].corpus == "ravdess":
        other = published.SELECTIVE
        rows.append((other.system, other.protocol, other.ece, "–", *_cells(other.accuracy_at_coverage)))
    return table(header, rows)


def _selective_row(result: Result) -> tuple[str, ...]:
    aurc = str(result.aurc) if result.aurc else "–"
    accuracies = {percent: f"{value * 100:.1f}" for percent, value in result.accuracy_at_coverage.items()}
    return (f"**{link(result)}**", result.protocol, str(result.ece), aurc, *_cells(accuracies))


def _cells(accuracies: Mapping[str, str]) -> list[str]:
    return [accuracies.get(percent, "–") for percent in SHOWN]


_SETS_EXPLANATION: Final = (
    f"The emotion set of an answer aims to hold what was spoken in {SET_COVERAGE * 100:.0f} % of the clips; which "
    "emotions are in it is up to the model of the fold, by a threshold from its validation speakers."
)
_SETS_HEADER: Final = (
    "system",
    "protocol",
    "holds what was spoken",
    "emotions in a set",
    "least covered emotion",
    "least covered speaker",
    "median speaker",
    'answered "not sure"',
)


def _sets_row(result: Result, sets: EmotionSets) -> tuple[str, ...]:
    median_speaker = median(group.mean for group in sets.per_actor.values())
    return (
        f"**{link(result)}**",
        result.protocol,
        f"**{sets.coverage}**",
        f"{sets.size.mean:.2f}",
        _lowest(sets.per_class),
        _lowest(sets.per_actor),
        f"{median_speaker * 100:.1f}",
        f"{result.not_sure * 100:.1f}",
    )


def _lowest(groups: Mapping[str, Group]) -> str:
    name = min(groups, key=lambda name: groups[name].mean)
    return f"{name}: {groups[name]}"


def _details(result: Result) -> list[str]:
    """The pictures of a result, and its sets for each emotion."""
    lines = [f"{link(result)}, {result.protocol}, {result.company}:", ""]
    lines += [figure(result, "selective", "Accuracy of the surest clips, over their share")]
    if result.sets:
        rows = [
            (emotion, str(group), f"{result.sets.size_per_class[emotion]:.2f}")
            for emotion, group in result.sets.per_class.items()
        ]
        header = ("emotion", "its sets hold it", "emotions in a set")
        lines += [*table(header, rows), "", figure(result, "sets", _SETS_ALT)]
    return lines


_SETS_ALT: Final = "How often the emotion sets hold what was spoken, speaker by speaker"
