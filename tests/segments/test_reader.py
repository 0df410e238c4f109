"""Files of segments: every format as its program writes it, and what is refused with its place."""

import codecs
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from speech_emotion import Segment, read_segments
from speech_emotion.errors import SegmentsError
from speech_emotion.segments.reader import MAX_BYTES
from speech_emotion.segments.segment import MAX_OVERLAPPING, seconds_of

RTTM = """;; made by hand
SPEAKER call 1 2.290 2.300 <NA> <NA> BEN <NA> <NA>
SPKR-INFO call 1 <NA> <NA> <NA> unknown ANN <NA>
SPEAKER call 1 0.000 2.290 <NA> <NA> ANN <NA> <NA>
"""
SRT = """1
00:00:00,000 --> 00:00:02,290
<i>Where</i> {\\an8}have
you been?

2
00:00:02,290 --> 00:00:04,590
[BEN]: I was here.

It is true.
"""
WEBVTT = """WEBVTT - a call
Kind: captions

STYLE
::cue { color: red }

NOTE two people

first
00:00.000 --> 00:02.290 align:start position:10%
<v.loud Ann>Where <b>have</b> you been &amp; why?</v>

00:00:02.290 --> 00:00:04.590
[BEN]: I was here.
"""
AUDACITY = "0.000000\t2.290000\tWhere have you been?\n\\\t120.0\t3000.0\n2,29\t4,59\t\n"
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 4.59
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 4.59
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 2.29
            text = "She said ""where""."
        intervals [2]:
            xmin = 2.29
            xmax = 4.59
            text = ""
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 4.59
        points: size = 1
        points [1]:
            number = 1.5
            mark = "click"
    item [3]:
        class = "IntervalTier"
        name = "Ben"
        xmin = 0
        xmax = 4.59
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 2.29
            text = ""
        intervals [2]:
            xmin = 2.29
            xmax = 4.59
            text = "Here."
"""
SHORT_TEXTGRID = """File type = "ooTextFile"
"TextGrid"

0
4.59
<exists>
1
"IntervalTier"
"Ann"
0
4.59
1
0
2.29
"Where?"
"""
WHISPER = """{"text": " Where? Here.", "language": "en", "segments": [
 {"id": 0, "seek": 0, "start": 0.0, "end": 2.29, "text": " Where?", "tokens": [1, 2], "temperature": 0.0},
 {"id": 1, "seek": 0, "start": 2.29, "end": 4.59, "text": " Here.", "tokens": [3]}]}"""
WHISPERX = """{"segments": [
 {"start": 2.29, "end": 4.59, "text": " 10 o'clock.", "speaker": "SPEAKER_01", "words": [{"word": "10"}]},
 {"start": 0.0, "end": 2.29, "text": " When?", "words": [{"word": "When?", "start": 0.1, "end": 0.4}]}],
 "word_segments": [{"word": "10"}]}"""


def read(tmp_path: Path, content: str | bytes) -> list[tuple[float, float, str | None, str | None]]:
    path = tmp_path / "segments"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [(one.start_seconds, one.end_seconds, one.speaker, one.text) for one in read_segments(path)]


@pytest.mark.parametrize(
    ("content", "first", "second"),
    [
        (RTTM, ("ANN", None), ("BEN", None)),
        (SRT, (None, "Where have you been?"), ("BEN", "I was here. It is true.")),
        (WEBVTT, ("Ann", "Where have you been & why?"), ("BEN", "I was here.")),
        (AUDACITY, (None, "Where have you been?"), (None, None)),
        (TEXTGRID, ("Ann", 'She said "where".'), ("Ben", "Here.")),
        (WHISPER, (None, "Where?"), (None, "Here.")),
        (WHISPERX, (None, "When?"), ("SPEAKER_01", "10 o'clock.")),
        ("start,end,speaker,text\n0,2.29,Ann,\"a, b\"\n\n2.29,4.59,,\n", ("Ann", "a, b"), (None, None)),
        ("Text;Speaker;End;Start\nHi;Ann;2,29;0,0\n;Ben;0:04,59;0:02,29\n", ("Ann", "Hi"), ("Ben", None)),
        ("label\tstart_seconds\tend_seconds\nangry\t0.0\t2.29\nsad\t2.29\t4.59\n", (None, None), (None, None)),
        ('[{"start": 0, "end": "2.29", "speaker": 0}, {"start": 2.29, "end": 4.59}]', ("0", None), (None, None)),
        ('{"start": 0, "end": 2.29, "text": "a"}\n{"start": 2.29, "end": 4.59}\n', (None, "a"), (None, None)),
    ],
)  # fmt: skip
def test_every_format_is_read(
    tmp_path: Path, content: str, first: tuple[str, str], second: tuple[str, str]
) -> None:
    expected = [(0.0, 2.29, *first), (2.29, pytest.approx(4.59), *second)]
    assert read(tmp_path, content) == expected
    assert read(tmp_path, codecs.BOM_UTF8 + content.replace("\n", "\r\n").encode()) == expected
    assert read(tmp_path, content.replace("\n", "\r").encode("utf-16")) == expected


def srt(*texts: str) -> str:
    return "\n".join(
        f"{n}\n00:00:{n:02},000 --> 00:00:{n + 1:02},000\n{text}\n" for n, text in enumerate(texts, start=1)
    )


def webvtt(*texts: str) -> str:
    return "WEBVTT\n\n" + srt(*texts).replace(",", ".")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Agent: Hi.", "Customer:\nHello."], [("Agent", "Hi."), ("Customer", "Hello.")]),
        (["Speaker 1: Hi.", "Dr. Ben O'Neil: Yes.", "Mm."] * 2,
         [("Speaker 1", "Hi."), ("Dr. Ben O'Neil", "Yes."), (None, "Mm.")] * 2),
        (["客户：你好", "<i>客户：</i>再见"], [("客户", "你好"), ("客户", "再见")]),
        (["Agent: Note: bring it.", "Agent:"], [("Agent", "Note: bring it."), ("Agent", None)]),
        (["Agent: Hi.", "Agent: So.", "Note: no answer", "Bye."],
         [("Agent", "Hi."), ("Agent", "So."), (None, "Note: no answer"), (None, "Bye.")]),
        (["[BEN]: Hi.", "Ann: Yes.", "Ann: No."], [("BEN", "Hi."), ("Ann", "Yes."), ("Ann", "No.")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", [srt, webvtt])
def test_a_name_with_a_colon_before_most_texts_is_the_speaker(
    tmp_path: Path, written: Callable[..., str], texts: list[str], expected: list[tuple[str | None, str]]
) -> None:
    assert [found[2:] for found in read(tmp_path, written(*texts))] == expected


@pytest.mark.parametrize(
    "texts",
    [
        ["Note: bring it.", "And then?"],
        ["Note: bring it."],
        ["He said to all of us: go.", "She told us what she thinks: no."],
        ["10: 30 then.", "See https://example.com."],
        ["We need: bread.", "Yes.", "And: salt.", "Right."],
    ],
)
@pytest.mark.parametrize("written", [srt, webvtt])
def test_a_colon_in_a_text_makes_no_speaker(
    tmp_path: Path, written: Callable[..., str], texts: list[str]
) -> None:
    assert [found[2:] for found in read(tmp_path, written(*texts))] == [(None, text) for text in texts]


def test_voices_of_webvtt_go_before_names_in_the_text(tmp_path: Path) -> None:
    found = read(
        tmp_path, webvtt("<v Agent>Note: hi.</v>", "<v Customer>Note: no.</v>", "Agent: bye", "Agent: now")
    )
    assert [one[2:] for one in found] == [
        ("Agent", "Note: hi."), ("Customer", "Note: no."), ("Agent", "bye"), ("Agent", "now")
    ]  # fmt: skip


def test_a_short_textgrid_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, SHORT_TEXTGRID) == [(0.0, 2.29, "Ann", "Where?")]


def test_segments_may_overlap_repeat_and_last_no_time(tmp_path: Path) -> None:
    found = read(tmp_path, "start,end\n5,9\n1,2\n1,1\n0,9\n1,2\n")
    assert [one[:2] for one in found] == [(0, 9), (1, 1), (1, 2), (1, 2), (5, 9)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("start,end\n1,2\n5,4\n", "line 3: it ends at 4 s, before it starts at 5 s"),
        ("start,end\n-1,2\n", "line 2: its start is -1 s, before the recording begins"),
        ("start,end\nnan,2\n", "line 2: a time must be as 12.5"),
        ("start,end\n0,\n", "line 2: a time must be as 12.5 or 0:00:12.5, not ''"),
        ("start;end\n0;1.234,5\n", "line 2: a time must be as"),
        ("start,end\n0,1_000\n", "line 2: a time must be as"),
        ("start,end\n0,90000\n", "if these are milliseconds, divide them by 1000"),
        ("start,end,text\n0,1,a, b\n", "line 2: it has 4 cells and the header 3"),
        ("start,end\n0,1\n2\n", "line 3: it has 1 cells and the header 2"),
        ('start,end\n0,"1\n', "this is not CSV"),
        ("start,start,end\n0,1,2\n", "2 columns for start"),
        ("start,text\n0,1\n", "(missing: end)"),
        ("start,end\n", "there are no segments"),
        ("start\tend\ttext\n0\t2290\tWhere?\n", "the .tsv of Whisper, whose times are milliseconds"),
        ("hello, world\n", "this is no file of segments that is known"),
        ("SPEAKER call 1 0.0 1.0\n", "line 1: a line must be SPEAKER FILE CHANNEL"),
        ("SPEAKER a 1 0 1 <NA> <NA> X\nSPEAKER b 1 0 1 <NA> <NA> X\n", "'a' and 'b'; keep the lines of one"),
        ("SPEAKER a 1 0 -1 <NA> <NA> X\n", "line 1: its end is -1 s"),
        (";; nothing\n", "there are no segments"),
        ("1\n00:00:01,000 -->\nhi\n", "line 2: the times must be as 00:00:01.000 --> 00:00:02.500"),
        ("WEBVTT\n\n00:01.000 --> 00:00.500\nhi\n", "line 3: it ends at 0.5 s, before"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nhi\n\nlost text\n", "line 6: this is neither a cue nor a note"),
        ("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:0\n\n00:01.000 --> 00:02.000\nhi\n", "those of a broadcast"),
        (TEXTGRID[:-30], "this TextGrid is cut short"),
        ('File type = "ooTextFile"\nObject class = "Pitch"\n', "another object of Praat"),
        ('{"text": "hi"}', "holds no list of segments"),
        ('{"word_segments": [{"word": "hi", "start": 0, "end": 1}]}', "holds no list of segments"),
        ('[{"start": 0, "end": 1}, {"word": "10"}]', "entry 2: it has no start"),
        ('[{"start": 0, "end": NaN}]', "entry 1: its end must be a number of seconds, not nan"),
        ('[{"start": 0, "end": Infinity}]', "not inf"),
        ('[{"start": 0, "end": 1' + "0" * 400 + "}]", "not inf"),
        ('[{"start": true, "end": 1}]', "entry 1: it has True as its start"),
        ('[{"start": 0, "end": 1, "text": ["a"]}]', "its text must be text"),
        ('[{"start": 0, "end": 1}, 7]', "entry 2: it must be an object, not 7"),
        ("[" * 100_000, "this JSON is nested too deeply"),
        ("[]", "there are no segments"),
        ('{"segments": [', "this is not JSON"),
        ("", "this file is empty"),
        ("\n \n", "this file is empty"),
        ("start,end,text\n0,1,gr\u00fcn\n".encode("latin-1"), "not text in UTF-8 (byte 21); save the file as UTF-8"),
        (b"RIFF\0\0\0\0WAVE", "this is not text"),
    ],
)  # fmt: skip
def test_what_is_impossible_is_refused_with_its_place(
    tmp_path: Path, content: str | bytes, complaint: str
) -> None:
    with pytest.raises(SegmentsError) as refusal:
        read(tmp_path, content)
    assert complaint in str(refusal.value)
    assert str(tmp_path / "segments") in str(refusal.value)
    assert str(refusal.value).replace("\n", "").isprintable()


def test_files_that_cannot_be_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for path in (tmp_path / "none.srt", tmp_path, large, Path("/dev/zero")):
        with pytest.raises(SegmentsError, match="segments"):
            read_segments(path)


def test_so_many_that_overlap_are_those_of_several_recordings(tmp_path: Path) -> None:
    at_once = "start,end\n" + "0,10\n" * MAX_OVERLAPPING
    assert len(read(tmp_path, at_once)) == MAX_OVERLAPPING
    assert len(read(tmp_path, at_once + "10,11\n")) == MAX_OVERLAPPING + 1
    with pytest.raises(SegmentsError, match=r"more than 100 segments overlap at 9\.9 s"):
        read(tmp_path, at_once + "9.9,11\n")


@pytest.mark.parametrize(
    ("text", "seconds"), [("12.5", 12.5), (" .5 ", 0.5), ("1:02,5", 62.5), ("01:00:00.25", 3600.25), ("7", 7)]
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_a_segment_of_ones_own_is_checked_as_well() -> None:
    with pytest.raises(SegmentsError, match="before it starts"):
        Segment(2.0, 1.0)


def test_damaged_files_are_read_or_refused_and_never_a_traceback(tmp_path: Path) -> None:
    whole = [RTTM, SRT, WEBVTT, AUDACITY, TEXTGRID, SHORT_TEXTGRID, WHISPER, WHISPERX]
    pieces = [
        "-->",
        "\n\n",
        '"',
        "<",
        ">",
        "\t",
        ",",
        ";",
        "nan",
        "1e999",
        "-1",
        "\x0b",
        "\u2028",
        "{",
        "]",
        "٣",
    ]
    rng = random.Random(7)  # noqa: S311 - the same damage each time
    n_refused = 0
    for _ in range(400):
        text = rng.choice(whole)
        for _ in range(rng.randint(1, 6)):
            start = rng.randrange(len(text) + 1)
            text = text[:start] + rng.choice(pieces) + text[start + rng.choice([0, 1, 3, 20]) :]
        try:
            assert read(tmp_path, text)
        except SegmentsError:
            n_refused += 1
    assert 100 < n_refused < 400


def test_long_lines_take_no_longer_than_they_are(tmp_path: Path) -> None:
    n = 200_000  # with a regular expression that looks back, minutes
    assert read(tmp_path, "1\n00:00:00,000 --> 00:00:01,000\n" + "<a" * n)
    assert read(tmp_path, "WEBVTT\n\n00:00.000 --> 00:01.000\n<v" + " " * n + "\n" + "<v " * n)
