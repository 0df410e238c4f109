"""Answers in every format: complete, readable by what reads that format, and safe whatever a text says."""

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from speech_emotion import EMOTIONS, Prediction, Segment, read_segments
from speech_emotion.errors import AudioDecodeError
from speech_emotion.formats import ONE_RECORDING, WRITERS, Outcome, columns

SHARES = {"neutral": 0.25, "angry": 0.75}
ANGRY = Prediction(SHARES, 0.0, 2.5)
SILENT = Prediction({}, 2.5, 3661.0, abstained="no_speech")
UNSURE = Prediction(SHARES, 2.0, 2.0004, abstained="not_sure")
ODD = Segment(0.0, 2.5, 'A "B" <C>\t& D', "-->\n=1+1 \x1b[31m")


def written(name: str, *outcomes: Outcome) -> str:
    out = io.StringIO()
    WRITERS[name](outcomes, out, columns(["neutral", "angry"], segments=True))
    return out.getvalue()


def said(prediction: Prediction, speaker: str | None = "Ann", text: str | None = "Where?") -> Outcome:
    segment = Segment(prediction.start_seconds, prediction.end_seconds, speaker, text)
    return Outcome("a call.wav", prediction, segment=segment)


def test_srt() -> None:
    assert written("srt", said(SILENT, None, None), said(ANGRY)) == (
        "1\n00:00:00,000 --> 00:00:02,500\nangry 0.75\nAnn: Where?\n\n"
        "2\n00:00:02,500 --> 01:01:01,000\nno answer (no speech)\n\n"
    )


def test_webvtt() -> None:
    assert written("webvtt", said(ANGRY), said(UNSURE, None)) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nangry 0.75\n<v Ann>Where?\n\n"
        "00:00:02.000 --> 00:00:02.001\nnot sure (maybe angry 0.75)\nWhere?\n\n"
    )


def test_audacity() -> None:
    channel = Prediction(SHARES, 0.0, 2.5, channel="left")
    assert written("audacity", Outcome("x", channel), said(SILENT)) == (
        "0.000\t2.500\tleft | angry 0.75\n2.500\t3661.000\tAnn | no answer (no speech) | Where?\n"
    )


def test_textgrid_has_a_tier_per_speaker_and_none_has_overlap() -> None:
    text = written("textgrid", said(ANGRY), said(UNSURE), said(ANGRY, "Ben"), Outcome("x", SILENT))
    assert 'name = "Ann"' in text
    assert 'name = "Ann (2)"' in text
    assert text.startswith(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 3661.000\n'
    )
    ann = text.split("item [1]:")[1].split("item [2]:")[0].split()
    assert " ".join(ann[9:]) == (
        "xmax = 3661.000 intervals: size = 2 "
        'intervals [1]: xmin = 0.000 xmax = 2.500 text = "angry 0.75 | Where?" '
        'intervals [2]: xmin = 2.500 xmax = 3661.000 text = ""'
    )


def test_rttm_is_a_line_per_answer_and_says_what_is_missing() -> None:
    error = Outcome("b.wav", error=AudioDecodeError("no sound"))
    right = Prediction(SHARES, 1.0, 2.0, channel="right")
    lines = written("rttm", said(ANGRY), Outcome("a.b.wav", right), Outcome("x", SILENT), error).splitlines()
    assert lines == [
        "SPEAKER a_call 1 0.000 2.500 <NA> <NA> Ann/angry 0.750 <NA>",
        "SPEAKER a.b 2 1.000 1.000 <NA> <NA> angry 0.750 <NA>",
        "SPEAKER x 1 2.500 3658.500 <NA> <NA> no_speech <NA> <NA>",
        ";; b.wav: no sound (audio_decode)",
    ]


def test_json_lines() -> None:
    first, second = map(json.loads, written("jsonl", said(ANGRY), Outcome("x", SILENT)).splitlines())
    assert first == {"source": "a call.wav", "speaker": "Ann", "text": "Where?"} | ANGRY.to_dict()
    assert second == {"source": "x"} | SILENT.to_dict()


@pytest.mark.parametrize("name", ["srt", "webvtt", "textgrid", "audacity"])
def test_what_is_written_can_be_read_as_segments(tmp_path: Path, name: str) -> None:
    path = tmp_path / "segments"
    path.write_text(written(name, said(ANGRY), Outcome("x", Prediction(SHARES, 3.0, 4.0))))
    first, second = read_segments(path)
    assert (first.start_seconds, first.end_seconds, second.end_seconds) == (0.0, 2.5, 4.0)
    assert "angry 0.75" in str(first.text)
    assert "Where?" in str(first.text)
    if name in ("webvtt", "textgrid"):
        assert first.speaker == "Ann"


@pytest.mark.parametrize("name", ["json", "jsonl", "csv"])
def test_rows_that_are_written_can_be_read_as_segments(tmp_path: Path, name: str) -> None:
    path = tmp_path / "segments"
    path.write_text(written(name, said(ANGRY), said(SILENT, None, None)))
    assert read_segments(path) == [Segment(0.0, 2.5, "Ann", "Where?"), Segment(2.5, 3661.0)]


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"png"}))
def test_no_text_breaks_a_format(tmp_path: Path, name: str) -> None:
    odd = Outcome("=cmd\n\x1b[0m\udcff.wav", ANGRY, segment=ODD)
    text = written(name, odd, Outcome("x", Prediction(SHARES, 3.0, 4.0)))
    if "json" not in name:  # where it is escaped
        assert text.replace("\n", "").replace("\t", "").isprintable()
    assert text.encode()
    if name == "csv":
        first, second = csv.DictReader(io.StringIO(text))
        assert (first["source"][:2], second["source"]) == ("'=", "x")
    if name in ("srt", "webvtt", "textgrid", "audacity"):
        path = tmp_path / "segments"
        path.write_text(text)
        assert [one.end_seconds for one in read_segments(path)] == [2.5, 4.0]


@pytest.mark.parametrize("name", ONE_RECORDING)
def test_an_error_leaves_nothing_that_looks_whole(name: str) -> None:
    out = io.StringIO()
    outcomes = [Outcome("x.wav", ANGRY), Outcome("x.wav", error=AudioDecodeError("damaged"))]
    with pytest.raises(AudioDecodeError, match=r"x\.wav: damaged"):
        WRITERS[name](outcomes, out, [])
    assert out.getvalue() == ""


def test_the_picture_has_a_row_per_channel(tmp_path: Path) -> None:
    path = tmp_path / "timeline.png"
    shares = dict.fromkeys(EMOTIONS, 0.125)
    outcomes = [
        Outcome("call.wav", Prediction(shares, start, start + 4.0, channel=side))
        for start in range(3)
        for side in ("left", "right")
    ]
    with path.open("w") as out:
        WRITERS["png"](outcomes, out, [])
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.height > 2 * 220 * 2
