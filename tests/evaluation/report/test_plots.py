"""Pictures: what stands in them is what the result says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from speech_emotion.errors import MissingExtraError
from speech_emotion.evaluation.answers import Score
from speech_emotion.evaluation.report import plots
from speech_emotion.evaluation.result import Result


def texts(figure: Figure, axis: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[axis].texts]


def labels(figure: Figure, which: str) -> list[str]:
    return [text.get_text() for text in getattr(figure.axes[0], f"get_{which}ticklabels")()]


def test_pictures_are_drawn_the_same_every_time(result: Result, tmp_path: Path) -> None:
    def draw() -> list[Path]:
        return plots.draw(plots.result_figures(result), result.stem, tmp_path / "figures")

    paths = draw()
    kinds = ["confusion", "reliability", "selective", "actors"]
    assert [path.name for path in paths] == [f"ravdess-luna5-fake-cnn-{kind}.png" for kind in kinds]
    for path in paths:
        image = imread(path)
        assert min(image.shape[:2]) > 700
        assert image[..., :3].std() > 0.05  # something is drawn
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw()] == first


def test_the_confusion_matrix_shows_percent_and_counts(result: Result) -> None:
    figure = plots.confusion_figure(result)
    assert labels(figure, "y")[3] == "sad"
    assert labels(figure, "x")[-1] == "no answer"
    cells = np.array(texts(figure)[1:]).reshape(8, 9, 2)  # the first text is the title
    assert cells[3, 0].tolist() == cells[3, 3].tolist() == ["50 %", "12"]
    assert cells[1, 8].tolist() == ["4 %", "1"]
    assert cells[0, 0].tolist() == ["100 %", "24"]
    assert cells[0, 1].tolist() == ["–", ""]


def test_emotions_without_a_clip_have_no_row(result: Result) -> None:
    confusion = np.array(result.confusion)
    confusion[1] = 0  # no calm in this corpus, and no abstention left
    confusion[:, 8] = 0
    figure = plots.confusion_figure(replace(result, confusion=tuple(map(tuple, confusion.tolist()))))
    assert "calm" not in labels(figure, "y")
    assert labels(figure, "x") == ["neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"]


def test_small_shares_are_not_rounded_away() -> None:
    assert plots._percent(1, 0.002) == "<1 %"
    assert plots._percent(0, 0.0) == "–"
    assert plots._percent(5, 0.05) == "5 %"


def test_the_reliability_diagram_shows_the_bins(result: Result) -> None:
    figure = plots.reliability_figure(result)
    (bar,) = figure.axes[0].patches
    assert bar.get_height() == pytest.approx(100 * 179 / 191, abs=0.01)
    assert bar.get_x() == pytest.approx(100 * 13 / 15, abs=0.01)
    (count,) = figure.axes[1].patches
    assert count.get_height() == 191
    assert figure.axes[0].get_legend().get_title().get_text() == f"ECE {result.ece} %"


def test_every_actor_has_a_mark_of_their_sex(result: Result) -> None:
    axes = plots.actors_figure(result).axes[0]
    marks = {line.get_label().split()[0]: line for line in axes.lines}
    assert marks["female"].get_ydata() == pytest.approx([87.5] * 12)
    assert marks["male"].get_ydata() == pytest.approx([87.5, *[100.0] * 11])  # 01 abstained once
    assert marks["female"].get_marker() != marks["male"].get_marker()
    assert marks["chance"].get_ydata()[0] == 12.5


def test_the_surest_clips_beside_a_published_system(result: Result) -> None:
    rising = {"100": 0.6, "90": 0.65, "50": 0.8}
    axes = plots.selective_figure(replace(result, accuracy_at_coverage=rising)).axes[0]
    ours, other = axes.lines
    np.testing.assert_allclose(ours.get_xydata(), [[100, 60], [90, 65], [50, 80]])
    np.testing.assert_allclose(
        other.get_xydata(), [[100, 81.8], [90, 84.5], [80, 87.2], [70, 89.5], [50, 91.3]]
    )
    elsewhere = plots.selective_figure(replace(result, corpus="savee", protocol="savee4"))
    assert len(elsewhere.axes[0].lines) == 1  # no one system to compare with


def test_one_speaker_has_no_interval_to_shade(result: Result) -> None:
    alone = replace(result, uar=Score(0.9, None, None))
    assert len(plots.actors_figure(result).axes[0].patches) == 1
    assert len(plots.actors_figure(alone).axes[0].patches) == 0


def test_pictures_name_what_they_show(result: Result) -> None:
    for figure in (
        plots.confusion_figure(result),
        plots.reliability_figure(result),
        plots.actors_figure(result),
        plots.selective_figure(result),
    ):
        measured = figure.axes[0].get_title(loc="left")
        assert measured.startswith("fake-cnn, ravdess, luna5\nUAR 93.2 [")
        assert measured.endswith("192 of 1440 clips, 24 speakers, 1 seed")


def test_a_leaky_result_says_so_in_its_pictures(result: Result) -> None:
    leaky = replace(result, protocol="random10", leaky=True)
    assert "LEAKY" in plots.actors_figure(leaky).axes[0].get_title(loc="left")


def test_without_matplotlib_the_extra_is_named(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"-m pip install '\.\[train\]'"):
        plots.result_figures(result)
