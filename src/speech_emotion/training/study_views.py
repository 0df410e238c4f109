"""A study for people. In: its trials. Out: study.csv, study.md and study.png beside study.json; a recipe as TOML."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from speech_emotion.evaluation.report import tables
from speech_emotion.evaluation.report.plots import BLUE, GREY, INK, ORANGE, STYLE
from speech_emotion.extras import require
from speech_emotion.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from speech_emotion.training.study import Study, Trial

MARKS: Final = {"complete": (BLUE, "o"), "pruned": (ORANGE, "v"), "running": (GREY, ".")}


def write(study: "Study", trials: Sequence["Trial"], best: "Trial", out: Path) -> None:
    """The table, the page and the picture of a study that has a complete trial."""
    write_atomically(out / "study.csv", _csv(study, trials).encode())
    write_atomically(out / "study.md", page(study, trials, best).encode())
    write_atomically(out / "study.png", _picture(study, trials))


def means(trial: "Trial") -> dict[str, float | None]:
    """Over the folds that were trained; None without one."""
    if not trial.folds:
        return {"validation_uar": None, "validation_loss": None, "seconds": 0.0}
    return {
        "validation_uar": round(trial.uar, 3),
        "validation_loss": round(trial.loss, 5),
        "seconds": round(trial.seconds, 1),
    }


def shown(value: Any) -> str:
    """A setting in a table."""
    return json.dumps(value, ensure_ascii=False)


def toml(recipe: Mapping[str, Any], heading: str) -> str:
    """A recipe as the TOML that `train` reads, under a comment. The JSON of numbers, strings and lists is TOML."""
    return "\n".join([f"# {heading}", *_settings(recipe, "")]) + "\n"


def _settings(section: Mapping[str, Any], name: str) -> list[str]:
    """The lines of a section, those of its own sections last. What is None is left out: TOML has no word for it."""
    held = {key: value for key, value in section.items() if isinstance(value, dict)}
    lines = [
        f"{key} = {shown(value)}" for key, value in section.items() if key not in held and value is not None
    ]
    for key, settings in held.items():
        lines += ["", f"[{name}{key}]", *_settings(settings, f"{name}{key}.")]
    return lines


def page(study: "Study", trials: Sequence["Trial"], best: "Trial") -> str:
    """Every trial, best first, and what each setting gave."""
    states = [trial.state for trial in trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    lines = [
        f"{len(trials)} recipes tried ({counts}). The base recipe, trial 0: {trials[0].uar:.1f} %; "
        f"the best, trial {best.number}: {best.uar:.1f} % ({best.uar - trials[0].uar:+.1f} points).",
        "",
        "UAR on validation speakers after the last epoch, in percent, and its mean over folds. A pruned trial has "
        "the mean of the folds that it was given; it is not compared with the others.",
        "",
        *_trials_table(study, trials),
        "",
        "What each setting gave: the mean validation UAR of the complete trials that had it. Where many were pruned, "
        "the rest looks better than the value is.",
        "",
        *_settings_table(study, trials),
        "",
    ]
    return "\n".join(lines)


def by_setting(study: "Study", trials: Sequence["Trial"], name: str) -> dict[str, list["Trial"]]:
    """The complete and the pruned trials by what they held for one setting, from low to high or as chosen."""
    varied = study.space[name]
    groups: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: varied.place(t.settings[name])):
        if trial.state in ("complete", "pruned"):
            groups.setdefault(varied.group(trial.settings[name]), []).append(trial)
    return groups


def _trials_table(study: "Study", trials: Sequence["Trial"]) -> list[str]:
    header = ["trial", *(f"`{name}`" for name in study.space), "by fold", "UAR", "loss", "state"]
    return tables.table(header, [_trial_row(study, trial) for trial in sorted(trials, key=_rank)])


def _trial_row(study: "Study", trial: "Trial") -> list[str]:
    settings = [shown(trial.settings[name]) for name in study.space]
    by_fold = " ".join(f"{fold.uar:.1f}" for fold in trial.folds)
    score = [f"{trial.uar:.1f}", f"{trial.loss:.3f}"] if trial.folds else ["–", "–"]
    number = f"{trial.number} (base)" if trial.number == 0 else str(trial.number)
    return [number, *settings, by_fold, *score, trial.state]


def _rank(trial: "Trial") -> tuple[bool, int, float, int]:
    """Complete trials by their score, then the others by how far they came."""
    return trial.state != "complete", -len(trial.folds), -trial.uar if trial.folds else 0.0, trial.number


def _settings_table(study: "Study", trials: Sequence["Trial"]) -> list[str]:
    rows = []
    for name in study.space:
        for group, of_group in by_setting(study, trials, name).items():
            scores = [trial.uar for trial in of_group if trial.state == "complete"]
            score = f"{sum(scores) / len(scores):.1f}" if scores else "–"
            rows.append([f"`{name}`", group, str(len(scores)), str(len(of_group) - len(scores)), score])
    return tables.table(["setting", "value", "complete", "pruned", "UAR"], rows)


def _csv(study: "Study", trials: Sequence["Trial"]) -> str:
    """A row a trial; settings as JSON, folds that were not trained empty."""
    folds = [fold.fold for fold in max((trial.folds for trial in trials), key=len)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    scores = [f"fold {fold}" for fold in folds]
    table.writerow(["trial", "state", *study.space, *scores, *means(trials[0]), "error"])
    for trial in trials:
        settings = [shown(trial.settings[name]) for name in study.space]
        uars = [fold.uar for fold in trial.folds]
        padded = [*uars, *[""] * (len(folds) - len(uars))]
        table.writerow([trial.number, trial.state, *settings, *padded, *means(trial).values(), trial.error])
    return text.getvalue()


def _picture(study: "Study", trials: Sequence["Trial"]) -> bytes:
    """Left the score of every trial, then one panel a setting: score over value."""
    matplotlib = require("matplotlib", extra="train", needed_for="Drawing a study")
    from matplotlib.figure import Figure

    names = list(study.space)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5 + 2.6 * len(names), 3.8), layout="constrained")
        panels = figure.subplots(1, 1 + len(names), sharey=True, width_ratios=[2, *[1] * len(names)])
        scored = [trial for trial in trials if trial.folds]
        _draw(panels[0], [(trial.number, trial) for trial in scored])
        panels[0].axhline(trials[0].uar, color=INK, linestyle=":", label="base recipe")
        panels[0].set(
            xlabel="trial", ylabel="UAR on validation speakers, %", title="Every recipe that was tried"
        )
        panels[0].legend(loc="best")
        for panel, name in zip(panels[1:], names, strict=True):
            _draw_setting(panel, study, name, scored)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()


def _draw(panel: "Axes", points: Sequence[tuple[float, "Trial"]]) -> None:
    for state, (colour, mark) in MARKS.items():
        these = [(x, trial.uar) for x, trial in points if trial.state == state]
        if these:
            panel.scatter(*zip(*these, strict=True), color=colour, marker=mark, label=state, alpha=0.8)
    panel.grid(axis="y")


def _draw_setting(panel: "Axes", study: "Study", name: str, scored: Sequence["Trial"]) -> None:
    varied = study.space[name]
    _draw(panel, [(varied.place(trial.settings[name]), trial) for trial in scored])
    panel.set(xlabel=name, **varied.axis())
    panel.minorticks_off()
