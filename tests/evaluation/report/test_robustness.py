"""The page and the picture about robustness."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread

from speech_emotion.evaluation.answers import Score
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.report import plots, robustness
from speech_emotion.evaluation.robustness import Outcome, Robustness
from speech_emotion.evaluation.splits import protocol


@pytest.fixture
def known() -> Robustness:
    """Two conditions with round numbers."""
    change = PairedDifference(-0.5, (-0.6, 0.01), 4, 1, 3)
    clean = Outcome("clean", 12, Score(0.75, 0.011, (0.7, 0.8)), None, 0.75, 0.0)
    noisy = Outcome("pink noise, SNR 0 dB", 12, Score(0.25, 0.02, (0.2, 0.3)), change, None, 0.125)
    return Robustness(
        corpus="savee",
        protocol="savee4",
        leaky=False,
        split_hash=protocol("savee4").split_hash,
        model="stand-in",
        seeds=(0, 3),
        n_speakers=4,
        n_emotions=3,
        noise=None,
        command="speech-emotion robustness run",
        commit=None,
        conditions={"clean": clean, "pink-0db": noisy},
    )


def test_the_table_is_in_percent(known: Robustness) -> None:
    assert robustness.robustness_table(known) == [
        "| condition | UAR | minus clean | worse, better for | no answer | UAR where it answers |",
        "| --- | --- | --- | --- | --- | --- |",
        "| clean | 75.0 ± 1.1 [70.0, 80.0] | – | – | 0.0 % | 75.0 |",
        "| pink noise, SNR 0 dB | 25.0 ± 2.0 [20.0, 30.0] | -50.0 [-60.0, +1.0] | 3, 1 of 4 speakers "
        "| 12.5 % | – |",
    ]


def test_the_picture_shows_scores_intervals_clean_and_chance(known: Robustness, tmp_path: Path) -> None:
    figure = plots.robustness_figure(known)
    (axes,) = figure.axes
    dots, clean, chance = axes.lines
    assert dots.get_xdata().tolist() == [75, 25]
    assert (clean.get_xdata()[0], chance.get_xdata()[0]) == (75, 100 / 3)
    (intervals,) = axes.collections
    ends = [segment[:, 0].round(6).tolist() for segment in intervals.get_segments()]
    assert ends == [[70, 80], [20, 30]]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["clean", "pink noise, SNR 0 dB"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # clean stands on top
    assert "savee, savee4: stand-in" in axes.get_title(loc="left")
    (path,) = plots.draw(plots.robustness_figures(known), known.stem, tmp_path / "figures")
    assert path.name == "savee-savee4-stand-in-robustness.png"
    assert imread(path)[..., :3].std() > 0.03


def test_the_page_has_a_part_per_file(known: Robustness) -> None:
    text = robustness.page([replace(known, noise="street")])
    assert text.startswith("# Robustness\n")
    assert "## savee, savee4: stand-in" in text
    assert "\n".join(robustness.robustness_table(known)) in text
    assert "Recorded noise: street." in text
    assert "(robustness/savee-savee4-stand-in.json)" in text
    assert "(figures/savee-savee4-stand-in-robustness.png)" in text
