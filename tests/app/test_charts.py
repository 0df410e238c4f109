"""The charts, as the data that a browser draws."""

import base64
import io
from typing import Any

import charts
import numpy as np
import pytest
from PIL import Image

from speech_emotion import EMOTIONS, Prediction
from speech_emotion.formats import picture
from speech_emotion.labels import ICONS


def answer(start: float, end: float, **shares: float) -> Prediction:
    """`shares` of some emotions, the rest on neutral."""
    probabilities = dict.fromkeys(EMOTIONS, 0.0) | shares
    probabilities["neutral"] += 1 - sum(shares.values())
    return Prediction(probabilities, start, end)


def silence(start: float, end: float) -> Prediction:
    return Prediction({}, start, end, abstained="no_speech")


def rows(chart: Any) -> list[dict[str, Any]]:
    (values,) = chart.to_dict()["datasets"].values()
    return list(values)


def test_every_emotion_and_abstention_has_its_own_colour_and_sign() -> None:
    assert picture.COLOURS.keys() == {*EMOTIONS, *picture.ABSTENTIONS}
    assert len({picture.COLOURS[name] for name in EMOTIONS}) == len(EMOTIONS)
    signs = [*ICONS.values(), *(icon for icon, _ in picture.ABSTENTIONS.values())]
    assert len(set(signs)) == len(signs)
    assert picture.icon("bored") == "🔊"
    colours = picture.colours(["bored", "happy", "tired"])
    assert len({colours[name] for name in ("bored", "happy", "tired")}) == 3


def test_bars_are_sorted_and_labelled_with_their_numbers() -> None:
    chart = charts.bars(answer(0, 4, angry=0.7, sad=0.2, calm=0.001))
    names = [row["emotion"] for row in rows(chart)]
    assert names[:4] == ["😠 angry  70 %", "😢 sad  20 %", "😐 neutral  10 %", "😌 calm  < 1 %"]
    assert [row["probability"] for row in rows(chart)[:2]] == [0.7, 0.2]
    assert rows(chart)[0]["colour"] == picture.COLOURS["angry"]
    assert chart.to_dict()["encoding"]["y"]["sort"] == names


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.0049, "< 1 %"), (0.424, "42 %"), (0.9951, "> 99 %"), (1.0, "100 %")]
)
def test_only_0_and_1_are_shown_as_0_and_100_percent(share: float, text: str) -> None:
    assert picture.percent(share) == text


def test_overlapping_windows_become_bands_that_touch() -> None:
    windows = [answer(0, 4, angry=1.0), answer(1, 5, sad=1.0), silence(2, 6)]
    drawn = [row for row in rows(picture.timeline(windows, EMOTIONS)) if row["high"] > row["low"]]
    assert [(row["emotion"], row["start"], row["end"]) for row in drawn] == [
        ("angry", 0.0, 2.5),
        ("sad", 2.5, 3.5),
        ("no_speech", 3.5, 6.0),
    ]


def test_the_heights_of_a_stack_are_the_probabilities() -> None:
    windows = [answer(0, 4, angry=0.5, sad=0.25), answer(1, 5, angry=0.5, sad=0.25)]
    first = [row for row in rows(picture.timeline(windows, EMOTIONS)) if row["start"] == 0]
    assert [row["emotion"] for row in first] == list(EMOTIONS)
    assert (first[0]["low"], first[-1]["high"]) == (0.0, 1.0)
    heights = {row["emotion"]: row["high"] - row["low"] for row in first}
    assert {name: height for name, height in heights.items() if height} == pytest.approx(
        {"neutral": 0.25, "sad": 0.25, "angry": 0.5}
    )
    assert {row["time"] for row in first} == {"0:00.0 to 0:02.5"}


def test_a_long_timeline_averages_neighbours() -> None:
    n = 4 * picture.MAX_BANDS
    windows = [answer(i, i + 4, angry=1.0 if i % 4 == 0 else 0.0) for i in range(n)]
    drawn = rows(picture.timeline(windows, EMOTIONS))
    angry = [row for row in drawn if row["emotion"] == "angry"]
    assert len(angry) == picture.MAX_BANDS
    assert {round(row["high"] - row["low"], 6) for row in angry} == {0.25}
    assert (angry[0]["start"], angry[-1]["end"]) == (0.0, n + 3.0)


def test_not_sure_is_marked_by_a_strip_over_the_colours() -> None:
    unsure = Prediction(dict.fromkeys(EMOTIONS, 1 / 8), 0, 4, abstained="not_sure")
    drawn = rows(picture.timeline([unsure, answer(4, 8, angry=1.0)], EMOTIONS))
    assert [(row["emotion"], row["start"], row["high"]) for row in drawn if row["emotion"] == "not_sure"] == [
        ("not_sure", 0.0, 1.0)
    ]
    assert drawn[len(EMOTIONS)]["emotion"] == "not_sure"  # after the colours, so drawn over them
    assert "not sure" in charts.legend([unsure], EMOTIONS)


def test_windows_without_probabilities_do_not_count_in_the_means() -> None:
    n = 2 * picture.MAX_BANDS
    windows = [answer(i, i + 4, sad=1.0) if i % 2 else silence(i, i + 4) for i in range(n)]
    drawn = rows(picture.timeline(windows, EMOTIONS))
    assert {row["high"] - row["low"] for row in drawn if row["emotion"] == "sad"} == {1.0}
    assert "no_speech" not in {row["emotion"] for row in drawn}


def test_the_legend_names_the_colours_that_are_drawn() -> None:
    windows = [answer(0, 4, angry=1.0), silence(4, 8)]
    html = charts.legend(windows, EMOTIONS)
    assert html.count("<i ") == len(EMOTIONS) + 1
    assert "no speech" in html
    assert "too short" not in html
    assert "<b>" not in charts.legend(windows[:1], ["<b>odd"])


def test_the_sentence_says_how_long_each_answer_lasts() -> None:
    windows = [answer(0, 4, angry=1.0), answer(1, 5, angry=1.0), answer(2, 6, sad=1.0), silence(3, 7)]
    assert charts.in_words(windows) == "Timeline: angry for 3.5 s, no speech for 2.5 s, sad for 1.0 s."


def test_the_waveform_centres_the_envelope_in_its_columns() -> None:
    chart = charts.waveform(np.array([[-0.5, 0.25], [0.0, 0.0]], np.float32), 2.0)
    assert rows(chart) == [{"start": 0.5, "low": -0.5, "high": 0.25}, {"start": 1.5, "low": 0.0, "high": 0.0}]
    assert chart.to_dict()["encoding"]["y"]["scale"]["domain"] == [-0.5, 0.5]


def test_the_heat_map_is_bright_where_it_is_loud_and_low_bands_are_below() -> None:
    log_mel = np.full((80, 30), -20.0, np.float32)
    log_mel[0, 10:] = 1.0
    kind, _, data = charts.heat_map(log_mel).partition(",")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (kind, pixels.shape) == ("data:image/png;base64", (80, 30, 3))
    assert pixels[79, 10:].min(axis=0).tolist() == [252, 255, 164]
    assert pixels[:79].max() <= 4
    assert pixels[79, :10].max() <= 4


def test_silence_is_dark() -> None:
    _, _, data = charts.heat_map(np.full((80, 30), -23.0, np.float32)).partition(",")
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).max() <= 4


def test_the_time_axes_of_all_charts_line_up() -> None:
    """The same left margin and domain: the same moment is at the same place."""
    windows = [answer(0, 4, angry=1.0), answer(1, 5, sad=1.0)]
    drawn = [
        charts.waveform(np.zeros((3, 2), np.float32), 5.0),
        charts.spectrogram(np.zeros((80, 9), np.float32), 5.0).to_dict()["layer"][1],
        picture.timeline(windows, EMOTIONS),
    ]
    for chart in drawn:
        spec = chart if isinstance(chart, dict) else chart.to_dict()
        assert spec["encoding"]["x"]["scale"]["domain"] == [0, 5.0]
        axis = spec["encoding"]["y"]["axis"]
        assert axis["minExtent"] == axis["maxExtent"] == picture.AXIS_PIXELS


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (65.25, "1:05.2"), (3725.0, "1:02:05.0")]
)
def test_the_clock(seconds: float, text: str) -> None:
    assert picture.clock(seconds) == text
