"""Faces, the summary of a long recording, cards, and the report: what they say and what they never hold."""

import io
import re
from dataclasses import replace

import pytest

from speech_emotion.errors import AudioDecodeError
from speech_emotion.formats import WRITERS, Outcome, cards
from speech_emotion.formats.look import FACES, colours, face, name
from speech_emotion.formats.report import Channel, Section, document
from speech_emotion.formats.summary import in_words, shares, strip, turning_points
from speech_emotion.labels import EMOTIONS
from speech_emotion.prediction import Prediction
from speech_emotion.segments import Segment
from speech_emotion.text import clock, percent


def stretch(
    label: str, start: float, end: float, share: float = 0.8, channel: str | None = None
) -> Prediction:
    rest = (1 - share) / (len(EMOTIONS) - 1)
    shares = {one: share if one == label else rest for one in EMOTIONS}
    return Prediction(shares, start, end, channel=channel)


STRETCHES = [
    stretch("neutral", 0, 60),
    replace(stretch("angry", 60, 70, 0.3), abstained="not_sure"),
    stretch("angry", 80, 100),
    stretch("neutral", 100, 110),
]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.004, "< 1 %"), (0.425, "42 %"), (0.996, "> 99 %"), (1, "100 %")]
)
def test_a_share_is_written_in_one_way(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text", "short"),
    [
        (0, "0:00.0", "0:00"),
        (65.25, "1:05.2", "1:05"),
        (59.96, "1:00.0", "1:00"),
        (3600, "1:00:00.0", "1:00:00"),
    ],
)
def test_a_time_is_written_in_one_way(seconds: float, text: str, short: str) -> None:
    assert (clock(seconds), clock(seconds, tenths=False)) == (text, short)


def test_every_emotion_and_abstention_has_a_face_a_colour_and_a_name() -> None:
    for key in (*EMOTIONS, "not_sure", "no_speech", "too_short", "unreadable"):
        assert f"se-icon-{key}'" in face(key)
        assert f".se-icon-{key} {{" in FACES
    assert "se-icon-any'" in face("bored")
    assert set(EMOTIONS) < set(colours(EMOTIONS))
    assert colours(["bored"])["bored"].startswith("#")
    assert (name("not_sure"), name("very_bored")) == ("not sure", "very bored")


def test_shares_and_turning_points_are_those_of_the_speech() -> None:
    assert shares(STRETCHES) == {"neutral": 0.7, "angry": 0.2, "not_sure": 0.1}
    turns = turning_points(STRETCHES)
    assert [(turn.seconds, turn.before, turn.after) for turn in turns] == [
        (80, "neutral", "angry"),
        (100, "angry", "neutral"),
    ]
    assert in_words(STRETCHES, 120) == (
        "Speech in 1:40.0 of 2:00.0: mostly neutral (70 %), then angry (20 %), not sure (10 %). "
        "It turns to angry at 1:20.0, to neutral at 1:40.0."
    )
    halves = in_words([stretch("sad", 0, 4), stretch("calm", 4, 7), stretch("angry", 7, 10)], 10)
    assert "most often sad (40 %)" in halves  # and not mostly
    silence = [Prediction({}, 0, 30, abstained="no_speech")]
    assert in_words(silence, 30) == "No speech was found in 0:30.0."


def test_only_the_most_lasting_turns_are_named() -> None:
    many = [stretch(("angry", "sad")[n % 2], 10 * n, 10 * n + 10 - n / 10) for n in range(9)]
    assert in_words(many, 90).endswith("(8 changes in all).")
    assert in_words(many, 90).count(" at ") == 4


def test_turns_to_the_same_emotion_are_named_together() -> None:
    outbursts = [stretch(*one) for one in (("calm", 0, 9), ("sad", 9, 29), ("calm", 29, 30), ("sad", 30, 50))]
    outbursts += [stretch("calm", 50, 51), stretch("sad", 51, 71), stretch("happy", 71, 90)]
    assert in_words(outbursts, 90).endswith(
        "It turns to sad at 0:09.0, 0:30.0, 0:51.0, to happy at 1:11.0 (6 changes in all)."
    )


def test_a_strip_has_a_block_per_stretch_where_it_is() -> None:
    drawn = strip({"left": STRETCHES, "right": STRETCHES[:1]}, 200)
    assert re.findall(r"left:([\d.]+)%;width:([\d.]+)%", drawn) == [
        ("0.00", "30.00"),
        ("30.00", "5.00"),
        ("40.00", "10.00"),
        ("50.00", "5.00"),
        ("0.00", "30.00"),
    ]
    assert "left: Speech in" in drawn


def test_a_card_says_the_answer_its_share_and_its_caveat() -> None:
    card = cards.answer_card(stretch("angry", 0, 4), caveat="Be <careful>.")
    assert "<span class='se-answer'>angry</span><span class='se-share'>80 %</span>" in card
    assert "then neutral 3 %" in card
    assert "Be &lt;careful&gt;." in card
    short = cards.answer_card(Prediction({}, 0, 0.2, abstained="too_short"), minimum_seconds=0.5)
    assert "It needs 0.5 s or more." in short
    assert "maybe angry" in cards.answer_card(STRETCHES[1])
    assert cards.bars(Prediction({}, 0, 1, abstained="no_speech")) == ""
    assert cards.bars(stretch("angry", 0, 4)).index("angry") < cards.bars(stretch("angry", 0, 4)).index(
        "neutral"
    )


def report(*outcomes: Outcome) -> str:
    out = io.StringIO()
    WRITERS["html"](outcomes, out, [])
    return out.getvalue()


def test_a_report_has_a_section_per_recording_and_asks_for_nothing() -> None:
    page = report(
        Outcome("a<b>.wav", stretch("angry", 0, 4)),
        Outcome("broken.wav", error=AudioDecodeError("this is no sound")),
        Outcome(
            "call.wav", stretch("neutral", 0, 5, channel="left"), segment=Segment(0, 5, "ann", "<hello>")
        ),
        Outcome("call.wav", stretch("sad", 5, 9, channel="right"), segment=Segment(5, 9, "bob")),
    )
    assert page.count("<h2>") == 4  # three recordings, and how it was made
    assert "a&lt;b&gt;.wav" in page
    assert "this is no sound" in page
    assert "&lt;hello&gt;" in page
    assert "angry: 1 (50 %)" in page
    assert "left: Speech in 0:05.0" in page
    assert not re.search(r"<script|<link|<img|<b>|src=|href=|@import|url\((?!\"data:)", page)


def test_the_channels_of_a_call_stand_before_their_mix() -> None:
    channels = [
        Channel("Left channel", stretch("angry", 0, 9), "Often wrong."),
        Channel("Right channel", stretch("sad", 0, 9)),
    ]
    page = document([Section("call.wav", stretch("neutral", 0, 9), seconds=9, channels=channels)], [])
    cards = re.findall(r"<h3>(.*?)</h3>.*?<span class='se-answer'>(.*?)</span>", page, re.DOTALL)
    assert cards == [
        ("Left channel", "angry"),
        ("Right channel", "sad"),
        ("The mix of all channels", "neutral"),
    ]
    assert page.index("Often wrong.") < page.index("Right channel")


def test_a_report_on_a_timeline_sums_it_up() -> None:
    page = report(*(Outcome("long.wav", one) for one in STRETCHES))
    assert "mostly neutral" in page
    assert page.count("<tr>") == 1 + len(STRETCHES)
