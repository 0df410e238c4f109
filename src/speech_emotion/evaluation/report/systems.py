"""Our systems beside published ones. In: results. Out: the page systems.md, with one table per corpus.

Leaky protocols have a table of their own and say LEAKY.
"""

import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final

from speech_emotion import corpora
from speech_emotion.evaluation.metrics import paired_difference
from speech_emotion.evaluation.report.published import LEAKY_SYSTEMS, SPEAKER_NORMALISED, SYSTEMS, Published
from speech_emotion.evaluation.report.tables import DOCS, by_speaker, link, points, table
from speech_emotion.evaluation.result import Result

NUMBER: Final = re.compile(r"\d+(\.\d+)?")


def page(results: Sequence[Result]) -> str:
    """`results` in the order of `in_order`."""
    lines = ["# All systems", "", _EXPLANATION, ""]
    for name, group in groupby(results, lambda result: result.corpus):
        lines += _of_corpus(name, list(group))
    return "\n".join(lines)


def in_order(results: Sequence[Result]) -> list[Result]:
    """The RAVDESS first, of which the models learned; honest before leaky; the best first."""
    return sorted(results, key=lambda r: (r.corpus != "ravdess", r.corpus, r.leaky, -r.uar.mean))


def parameters(result: Result) -> str:
    """Number of parameters in millions."""
    return f"{result.parameters / 1e6:.3g} M"


def recipes(result: Result) -> str:
    """How many recipes were tried before this one was fixed."""
    return "not stated" if result.recipes_tried is None else str(result.recipes_tried)


_EXPLANATION: Final = (
    "Percent. UAR is the mean of the recalls of the emotions, over the held-out clips of all folds; ± is the standard "
    "deviation over seeds, brackets are the 95 % interval of a bootstrap over speakers. An abstention counts as an "
    "error. ECE has 15 equal-width bins. **Ours in bold**."
)
_NORMALISED: Final = (
    "With unlabelled audio of the test speaker (not comparable), UAR of the probes (same source) under loso24: "
    f"{SPEAKER_NORMALISED}. Ours: [profiles](profiles.md)."
)
_LEAKY: Final = (
    f"Only beside papers that work so ([how]({DOCS}/honesty.md)): it says nothing about a new voice."
)
_PAIRED: Final = (
    "Paired differences of the speakers' own UAR, in points. The systems may have learned from different speakers: a "
    "network learns from the train speakers of a fold and is calibrated on its validation speakers, the last fit of "
    "baseline-lr learns from both."
)
_HEADER: Final = (
    *("system", "parameters", "protocol", "UAR", "accuracy", "ECE"),
    *("measured on", "recipes tried", "chosen without test?"),
)


def _of_corpus(name: str, results: Sequence[Result]) -> list[str]:
    with_published = name == "ravdess"
    honest = [result for result in results if not result.leaky]
    leaky = [result for result in results if result.leaky]
    lines = [f"## {corpora.title(name)}", "", *_table(honest, SYSTEMS if with_published else ())]
    if with_published:
        lines += [*_sources(SYSTEMS), _NORMALISED, ""]
    lines += _paired(honest)
    if leaky or with_published:
        none = "" if leaky else " None of ours was run so."
        lines += ["### LEAKY: the test speakers helped", "", f"{_LEAKY}{none}", ""]
        lines += _table(leaky, LEAKY_SYSTEMS if with_published else ())
    return [*lines, *(_sources(LEAKY_SYSTEMS) if with_published else ())]


def _table(results: Sequence[Result], others: Sequence[Published]) -> list[str]:
    rows = [(result.uar.mean * 100, _our_row(result)) for result in results]
    rows += [(_height(other), _their_row(other)) for other in others]
    rows.sort(key=lambda row: -row[0])
    return [*table(_HEADER, [row for _, row in rows]), ""]


def _sources(others: Sequence[Published]) -> list[str]:
    """One line per publication, with the systems that it is about."""
    systems: dict[str, list[str]] = {}
    for other in others:
        systems.setdefault(other.source, []).append(other.system)
    return ["Sources:", "", *(f"- {'; '.join(names)}: {source}." for source, names in systems.items()), ""]


def _height(other: Published) -> float:
    """Where it stands in the table: its first number."""
    number = NUMBER.match(other.uar) or NUMBER.match(other.accuracy)
    return float(number[0]) if number else 0.0


def _our_row(result: Result) -> tuple[str, ...]:
    scores = (f"**{result.uar}**", str(result.accuracy), str(result.ece))
    blind = "no" if result.leaky or result.protocol == "dev-far" else "yes" if result.recipes_tried else "?"
    facts = (f"**{link(result)}**", parameters(result), str(result.split))
    return (*facts, *scores, result.support, recipes(result), blind)


def _their_row(other: Published) -> tuple[str, ...]:
    protocol = f"{other.protocol} (LEAKY)" if other in LEAKY_SYSTEMS else other.protocol
    facts = (other.system, other.parameters, protocol, other.uar, other.accuracy)
    return (*facts, "–", "–", "–", other.blind)


def _paired(results: Sequence[Result]) -> list[str]:
    """The systems of each protocol, each against the next best, speaker by speaker."""
    by_protocol: dict[str, list[Result]] = {}
    for result in results:
        by_protocol.setdefault(result.protocol, []).append(result)
    lines = [_paired_line(*pair) for ranked in by_protocol.values() for pair in pairwise(ranked)]
    return [_PAIRED, "", *lines, ""] if lines else []


def _paired_line(a: Result, b: Result) -> str:
    found = paired_difference(by_speaker(a), by_speaker(b))
    return (
        f"- {a.protocol}, {a.model} minus {b.model}: {points(found)}, better for {found.n_better} "
        f"and worse for {found.n_worse} of {found.n_speakers} speakers"
    )
