"""The report. In: the folder of results. Out: its pages and figures beside the result files; a table for a terminal.

    README.md                       the index
    <corpus>-<protocol>-<model>.md  one page per result
    systems.md unheard.md confidence.md robustness.md profiles.md honesty-ladder.md    pages that span results
    figures/                        their pictures

Every page is generated as a whole: what is written into one by hand is lost.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table

from speech_emotion.evaluation import enrolment, robustness
from speech_emotion.evaluation.answers import Group
from speech_emotion.evaluation.enrolment import read_enrolled
from speech_emotion.evaluation.report import confidence, honesty_ladder, profiles, systems, unheard
from speech_emotion.evaluation.report import robustness as robustness_page
from speech_emotion.evaluation.report.published import HUMAN_RECALL
from speech_emotion.evaluation.report.systems import parameters, recipes
from speech_emotion.evaluation.report.tables import FIGURES, details, figure, heading, link, source, table
from speech_emotion.evaluation.result import Result, read_results
from speech_emotion.evaluation.robustness import read_robustness
from speech_emotion.files import write_atomically

MOST_SPEAKERS: Final = 30  # in a table
_TITLES: Final = {
    "systems": "All systems beside published ones",
    "unheard": "Unheard corpora: nothing was learned from them",
    "confidence": "Confidence: calibration, abstention, emotion sets",
    "robustness": "Robustness: noise, telephone, codecs, a room",
    "profiles": "Speaker profiles",
    "honesty-ladder": "Honesty ladder: what dishonest habits add",
}
_ALTERNATIVES: Final = {
    "confusion": "Confusion matrix; its diagonal is the table of recalls",
    "reliability": "Reliability diagram, confidence against accuracy",
    "selective": "Accuracy of the surest clips, over their share",
    "actors": "UAR of each speaker",
}


def write_report(results: str | os.PathLike[str]) -> list[Path]:
    """Write every page and figure of the report into the folder of results; returns the pages."""
    from speech_emotion.evaluation.report import plots

    folder = Path(results)
    for result in read_results(folder):
        plots.draw(plots.result_figures(result), result.stem, folder / FIGURES)
    for path in sorted((folder / robustness.FOLDER).glob("*.json")):
        found = read_robustness(path)
        plots.draw(plots.robustness_figures(found), found.stem, folder / FIGURES)
    written = []
    for name, text in pages(folder).items():
        written.append(folder / name)
        write_atomically(written[-1], text.encode())
    return written


def pages(folder: Path) -> dict[str, str]:
    """File name → Markdown of every page of the report."""
    results = systems.in_order(read_results(folder))
    degraded = [read_robustness(path) for path in sorted((folder / robustness.FOLDER).glob("*.json"))]
    enrolled = [read_enrolled(path) for path in sorted((folder / enrolment.FOLDER).glob("*.json"))]
    spanning = {
        "systems": systems.page(results) if results else "",
        "unheard": unheard.page(results, folder),
        "confidence": confidence.page(results) if results else "",
        "robustness": robustness_page.page(degraded) if degraded else "",
        "profiles": profiles.page(enrolled) if enrolled else "",
        "honesty-ladder": honesty_ladder.page(results),
    }
    named = {f"{name}.md": text for name, text in spanning.items() if text}
    single = {f"{result.stem}.md": _result_page(result) for result in results}
    return {"README.md": _index(results, named, folder)} | named | single


def _index(results: Sequence[Result], spanning: dict[str, str], folder: Path) -> str:
    lines = [
        "# Results",
        "",
        "Generated from the result files of this folder by `speech-emotion report`. Every page gives the command and",
        "the commit of its numbers as they were recorded. Of older commands, `evaluate … --conditions` is `robustness`",
        "today, `evaluate … --enrolled` is `enrolment`, and `benchmarks/honesty_ladder.py` makes luna5-peeked and",
        "random10-copies.",
        "",
    ]
    lines += [f"- [{_TITLES[name.removesuffix('.md')]}]({name})" for name in spanning]
    lines += ["", "## One page per result", ""]
    lines += [f"- {link(one, heading(one))}: UAR **{one.uar}**, {one.support}" for one in results]
    if others := sorted(folder.glob("benchmarks/*.json")):
        lines += ["", "## Benchmarks", "", *(f"- [{path.stem}](benchmarks/{path.name})" for path in others)]
    return "\n".join([*lines, ""])


def _result_page(result: Result) -> str:
    uar = f"UAR **{result.uar}**, mean of folds {result.uar_fold_mean}"
    others = f"accuracy {result.accuracy}; macro-F1 {result.macro_f1}; ECE {result.ece}"
    losses = f"NLL {result.nll.mean:.2f}; Brier {result.brier.mean:.2f}"
    files = f" [All numbers]({result.stem}.json), [every answer]({result.stem}.csv)."
    files += f" {parameters(result)} parameters, {result.size_bytes:,} bytes. Scored: {result.scored}."
    files += f" Recipes tried: {recipes(result)}."
    lines = [
        f"# {heading(result)}",
        "",
        f"{uar}; {others}; {losses}. {_abstentions(result)}{_among_spoken(result)}",
        "",
        *_emotions(result),
        "",
        *table(("some of the clips", "UAR", "clips", "speakers"), map(_group_row, _named_groups(result))),
        "",
        *_speakers(result),
        *(figure(result, kind, alternative) for kind, alternative in _ALTERNATIVES.items()),
        *source(result.support, result.commit, result.command, files),
    ]
    return "\n".join(lines)


def _among_spoken(result: Result) -> str:
    """The score that is published of corpora with fewer emotions."""
    if result.uar_among_spoken is None:
        return ""
    n = len(result.per_class)
    return (
        f" This corpus has {n} of the {len(result.labels)} emotions, and the others are wrong answers here; the "
        f"likeliest of its own {n}, sure or not, gives UAR **{result.uar_among_spoken}** (chance {100 / n:.1f})."
    )


def _emotions(result: Result) -> list[str]:
    human = HUMAN_RECALL if result.corpus == "ravdess" else {}
    header = ["emotion", "recall", "clips", *(["human listeners"] if human else [])]
    header += ["its sets hold it", "emotions in a set"] if result.sets else []
    rows = []
    for emotion, group in result.per_class.items():
        row = [emotion, str(group), str(group.n_clips), *([human[emotion]] if human else [])]
        if sets := result.sets:
            size = sets.size_per_class.get(emotion)
            row += [str(sets.per_class.get(emotion, "–")), "–" if size is None else f"{size:.2f}"]
        rows.append(row)
    return table(header, rows)


def _speakers(result: Result) -> list[str]:
    """A folded table; of many speakers, some with few clips, a sentence."""
    scores = [group.mean * 100 for group in result.per_actor.values()]
    if len(scores) > MOST_SPEAKERS:
        low, middle, high = np.percentile(scores, [10, 50, 90])
        sizes = [group.n_clips for group in result.per_actor.values()]
        spread = f"a tenth has less than {low:.1f}, half less than {middle:.1f}, a tenth more than {high:.1f}"
        return [f"The speakers' own UAR, from {min(sizes)} to {max(sizes)} clips each: {spread}.", ""]
    covered = result.sets.per_actor if result.sets else {}
    header = ("speaker", "sex", "UAR", "clips", *(["their sets hold the spoken emotion"] if covered else []))
    rows = [
        (name, result.sexes[name], str(group), str(group.n_clips))
        + ((str(covered.get(name, "–")),) if covered else ())
        for name, group in result.per_actor.items()
    ]
    return details("UAR of each speaker", table(header, rows))


def _named_groups(result: Result) -> list[tuple[str, Group]]:
    by_sex = [(f"{sex} speakers", group) for sex, group in result.per_sex.items()]
    by_intensity = [(f"{intensity} intensity", group) for intensity, group in result.per_intensity.items()]
    return by_sex + by_intensity


def _group_row(named: tuple[str, Group]) -> tuple[str, ...]:
    name, group = named
    return name, str(group), str(group.n_clips), str(group.n_speakers)


def _abstentions(result: Result) -> str:
    n_answers = result.n_clips * len(result.seeds)
    if not result.abstained:
        return f"No abstention in {n_answers} answers."
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.abstained.items())
    return f"Abstentions in {n_answers} answers: {reasons}; UAR without them {result.uar_answered}."


def terminal_table(result: Result) -> Table:
    """The result as `speech-emotion evaluate` prints it."""
    title = f"{result.model} on {result.corpus}\n{result.split}\n{result.support}"
    caption = "± sd over seeds, [95 % interval over speakers]"
    shown = Table("", "%", "clips", "speakers", title=title, title_justify="left", caption=caption)
    shown.add_row("UAR", str(result.uar), str(result.n_clips), str(result.n_speakers), style="bold")
    shown.add_row("UAR, mean of folds", str(result.uar_fold_mean), "", "")
    shown.add_row("accuracy", str(result.accuracy), "", "")
    shown.add_row("macro-F1", str(result.macro_f1), "", "")
    shown.add_row("ECE", str(result.ece), "", "", end_section=True)
    for name, group in [*result.per_class.items(), *_named_groups(result)]:
        shown.add_row(*_group_row((name, group)))
    return shown
