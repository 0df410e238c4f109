"""Pictures of results. In: a Result or a Robustness. Out: matplotlib figures, and PNG files of them.

Blue and orange of Okabe & Ito 2008, which colour-blind people can tell apart, and a mark or a word beside every
colour. The tables of the report say the same in text.
"""

import io
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from speech_emotion.evaluation.metrics import IntArray
from speech_emotion.evaluation.report.published import SELECTIVE
from speech_emotion.evaluation.report.tables import heading
from speech_emotion.evaluation.result import Result
from speech_emotion.evaluation.robustness import Robustness
from speech_emotion.extras import require
from speech_emotion.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8A8F98", "#22262B"
SEX_STYLES: Final = {"female": (ORANGE, "o"), "male": (BLUE, "s"), "unknown": (GREY, "D")}
DOTS_PER_INCH: Final = 150
STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E3E6EA",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw(figures: Mapping[str, "Figure"], stem: str, folder: str | os.PathLike[str]) -> list[Path]:
    """Write each figure as `<stem>-<kind>.png` into `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, figure in figures.items():
        image = io.BytesIO()
        with _style():
            figure.savefig(image, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        paths.append(Path(folder) / f"{stem}-{kind}.png")
        write_atomically(paths[-1], image.getvalue())
    return paths


def result_figures(result: Result) -> dict[str, "Figure"]:
    """The pictures of the page of a result, by kind."""
    with _style():
        return {
            "confusion": confusion_figure(result),
            "reliability": reliability_figure(result),
            "selective": selective_figure(result),
            "actors": actors_figure(result),
        }


def robustness_figures(found: Robustness) -> dict[str, "Figure"]:
    """The picture of a part of the page about robustness, by kind."""
    with _style():
        return {"robustness": robustness_figure(found)}


def _style() -> AbstractContextManager[None]:
    matplotlib = require("matplotlib", extra="train", needed_for="Drawing results")
    context: AbstractContextManager[None] = matplotlib.rc_context(STYLE)
    return context


def confusion_figure(result: Result) -> "Figure":
    """Rows are what was spoken: each cell its share of the row in percent, and the count of answers."""
    counts, spoken, answered = _shown_cells(np.array(result.confusion), result.labels)
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure, (axes,) = _figure(8.6, 7.6)
    _headline(axes, result, "What was answered when an emotion was spoken")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else INK if count else GREY
        weight = "bold" if spoken[row] == answered[column] else "normal"
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour, "weight": weight}
        axes.text(column, row - 0.1, _percent(int(count), shares[row, column]), size=12, **style)
        axes.text(column, row + 0.26, str(count) if count else "", size=8, **style)
    axes.set_xticks(range(len(answered)), answered)
    axes.set_yticks(range(len(spoken)), spoken)
    axes.set_xticks(np.arange(1, len(answered)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(spoken)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("answered: % of the row, number of answers", labelpad=8)
    axes.set_ylabel("spoken", labelpad=8)
    return figure


def reliability_figure(result: Result) -> "Figure":
    """Accuracy over confidence in fifteen bins; on the dashed line the confidence is honest."""
    figure, (axes, below) = _figure(6.4, 6.8, height_ratios=(4, 1))
    _headline(axes, result, "Is it right as often as it is sure?")
    left, right, accuracy, confidence = (
        np.array([getattr(entry, name) for entry in result.reliability]) * 100
        for name in ("low", "high", "accuracy", "confidence")
    )
    width = (right - left) * 0.94
    axes.bar(left, accuracy, width, align="edge", color=BLUE, label="accuracy of the bin")
    axes.plot(confidence, confidence, "_", color=ORANGE, ms=13, mew=3, label="its mean confidence")
    axes.plot([0, 100], [0, 100], "--", color=GREY, linewidth=1, label="perfectly calibrated")
    axes.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy, %")
    axes.legend(loc="upper left", title=f"ECE {result.ece} %", alignment="left")
    axes.grid(axis="y")
    below.bar(left, [entry.count for entry in result.reliability], width, align="edge", color=GREY)
    below.set(xlabel="confidence, %", ylabel="answers")
    return figure


def selective_figure(result: Result) -> "Figure":
    """Accuracy of the surest clips over the share of clips that is kept; on the right all are."""
    figure, (axes,) = _figure(6.4, 5.2)
    _headline(axes, result, "How right is it when it is sure?")
    shares = [float(share) for share in result.accuracy_at_coverage]
    heights = [accuracy * 100 for accuracy in result.accuracy_at_coverage.values()]
    axes.plot(shares, heights, "o-", color=BLUE, ms=5, label=result.model)
    if result.corpus == "ravdess":
        other = {float(share): float(cell) for share, cell in SELECTIVE.accuracy_at_coverage.items()}
        label = f"{SELECTIVE.system}, {SELECTIVE.protocol}"
        axes.plot(list(other), list(other.values()), "s--", color=ORANGE, ms=5, label=label)
    axes.set(xlim=(0, 102), ylim=(0, 102), xlabel="share of clips that is kept, %", ylabel="accuracy, %")
    axes.legend(loc="lower left")
    axes.grid(axis="y")
    return figure


def actors_figure(result: Result) -> "Figure":
    """The UAR of each speaker in ascending order."""
    ordered = sorted(result.per_actor.items(), key=lambda item: item[1].mean)
    n_actors, chance = len(ordered), 100 / len(result.per_class)
    figure, (axes,) = _figure(max(6.4, 2.0 + 0.3 * n_actors), 5.2)
    _headline(axes, result, "How well is each speaker recognised?")
    for sex, (colour, marker) in SEX_STYLES.items():
        places = [place for place, (actor, _) in enumerate(ordered) if result.sexes[actor] == sex]
        heights = [ordered[place][1].mean * 100 for place in places]
        if places:
            axes.vlines(places, 0, heights, color=colour, linewidth=1.5, alpha=0.45)
            label = f"{sex} {result.per_sex.get(sex, '')}".strip()
            axes.plot(places, heights, marker, color=colour, ms=7, label=label)
    axes.axhline(result.uar.mean * 100, color=INK, lw=1, zorder=0.6, label=f"all {result.uar}")
    if result.uar.ci95:
        low, high = (bound * 100 for bound in result.uar.ci95)
        axes.axhspan(low, high, color=GREY, alpha=0.18, lw=0, zorder=0.5, label="its 95 % interval")
    axes.axhline(chance, color=INK, lw=1, ls=":", zorder=0.6, label=f"chance {chance:.1f}")
    axes.set_xticks(range(n_actors), [actor for actor, _ in ordered], rotation=90 if n_actors > 40 else 0)
    axes.set(ylim=(0, 100), xlim=(-0.7, n_actors - 0.3), xlabel="speaker", ylabel="UAR, %")
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
    figure.legend(loc="outside lower center", ncols=3, columnspacing=1.6, handletextpad=0.6)
    return figure


def robustness_figure(found: Robustness) -> "Figure":
    """One dot per condition: its UAR, averaged over seeds, with its interval; clean and chance as lines."""
    outcomes = list(found.conditions.values())
    places = np.arange(len(outcomes))
    means = np.array([outcome.uar.mean for outcome in outcomes]) * 100
    bounds = np.array([outcome.uar.ci95 for outcome in outcomes], dtype=np.float64).T * 100
    clean, chance = means[0], 100 / found.n_emotions
    figure, (axes,) = _figure(8.0, 1.8 + 0.32 * len(outcomes))
    axes.hlines(places, *bounds, color=BLUE, linewidth=2, alpha=0.45)
    axes.plot(means, places, "o", color=BLUE, ms=7, clip_on=False)  # a dot at 0 stays whole
    for mean, high, place in zip(means, bounds[1], places, strict=True):
        axes.annotate(f"{mean:.1f}", (high, place), (6, 0), textcoords="offset points", va="center", size=9)
    axes.axvline(clean, color=GREY, lw=1, ls="--", zorder=0.6, label=f"clean {clean:.1f}")
    axes.axvline(chance, color=INK, lw=1, ls=":", zorder=0.6, label=f"chance {chance:.1f}")
    axes.set_yticks(places, [outcome.title for outcome in outcomes])
    axes.set(xlim=(0, 100), ylim=(len(outcomes) - 0.4, -0.6), xlabel="UAR, % (lines: 95 % interval)")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{heading(found)}\n{found.support}", loc="left", size=9.5, color=GREY)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _figure(width: float, height: float, height_ratios: Sequence[int] = (1,)) -> "tuple[Figure, list[Axes]]":
    """A figure of this size in inches and its axes, from above."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
    axes = figure.subplots(len(height_ratios), sharex=True, height_ratios=height_ratios, squeeze=False)
    return figure, list(axes[:, 0])


def _headline(axes: "Axes", result: Result, title: str) -> None:
    """The title, and under it what was measured: no number without its support."""
    measured = f"{result.model}, {result.corpus}, {result.split}\nUAR {result.uar} %: {result.support}"
    axes.set_title(measured, loc="left", size=9.5, color=GREY, pad=10)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(title, (0, 1), (0, 40), **above, size=12, weight="bold")


def _percent(count: int, share: float) -> str:
    if count == 0:
        return "–"
    return f"{share * 100:.0f} %" if share >= 0.005 else "<1 %"


def _shown_cells(confusion: IntArray, labels: tuple[str, ...]) -> tuple[IntArray, list[str], list[str]]:
    """The rows that were spoken; the columns of those, of what else was answered, and of abstentions if any."""
    rows = np.flatnonzero(confusion.sum(axis=1))
    columns = np.flatnonzero(confusion.sum(axis=0) + np.append(confusion.sum(axis=1), 0))
    names = (*labels, "no answer")
    spoken, answered = ([names[index] for index in indices] for indices in (rows, columns))
    return confusion[np.ix_(rows, columns)], spoken, answered
