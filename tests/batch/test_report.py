"""The summary of a batch, in text and as one HTML file."""

import re
from html.parser import HTMLParser

from speech_emotion.batch.part import Settings
from speech_emotion.batch.report import to_html
from speech_emotion.batch.summary import Note, distribution, lines, total

NOTE = Note(
    n_bytes=10,
    n_inputs=6,
    n_rows=6,
    labels={"angry": 1, "happy": 2},
    abstained={"no_speech": 1},
    errors={"audio_decode": 2},
    audio_seconds=5400.0,
    work_seconds=60.0,
    slowest=[[3.25, "calls/long.wav"]],
    failed=[["<b>.wav", "audio_decode", "not <i>a</i> sound\x1b[31m"], ["c.wav", "audio_decode", "cut"]],
)


def test_the_lines_of_the_summary() -> None:
    assert list(lines(NOTE)) == [
        "4 of 6 answered, 1.50 h of sound, 6 rows",
        "😄 ██████████░░░░░░░░░░  happy              2   50.0 %",
        "😠 █████░░░░░░░░░░░░░░░  angry              1   25.0 %",
        "🔇 █████░░░░░░░░░░░░░░░  no speech          1   25.0 %",
        "Slowest: calls/long.wav, 3.25 s",
        "❌ 2 × audio_decode, as <b>.wav: not <i>a</i> sound\\x1b[31m",
    ]


def test_parts_add_up() -> None:
    whole = total([NOTE, NOTE])
    assert (whole.n_inputs, whole.n_rows, whole.n_failed, whole.audio_seconds) == (12, 12, 4, 10_800.0)
    assert whole.labels == {"angry": 2, "happy": 4}
    assert whole.slowest == NOTE.slowest * 2
    assert [name for _, name, _ in distribution(whole)] == ["happy", "angry", "no speech"]


def test_a_batch_in_which_all_failed_has_a_summary() -> None:
    nothing = Note(0, 1, 1, {}, {}, {"audio_decode": 1}, 0.0, 0.1, [], [["a", "audio_decode", "cut"]])
    assert list(lines(nothing)) == [
        "0 of 1 answered, 0.00 h of sound, 1 rows",
        "❌ 1 × audio_decode, as a: cut",
    ]


class Reader(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_that_asks_for_nothing(settings: Settings) -> None:
    page = to_html(NOTE, settings)
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "b", "i"} & set(reader.tags)
    assert not {"src", "href", "onclick"} & reader.attributes
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_report_says_what_the_summary_says(settings: Settings) -> None:
    page = to_html(NOTE, settings)
    text = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split())
    assert "Emotions of 6 recordings" in text
    assert "answered 4 of 6 inputs sound 1.50 h" in text
    assert "happy 2 50.0 % 😠 angry 1 25.0 %" in text
    assert "calls/long.wav 3.25" in text
    assert "audio_decode 2" in text
    assert "&lt;b&gt;.wav audio_decode not &lt;i&gt;a&lt;/i&gt; sound\\x1b[31m" in text
    assert 'style="width: 50.00%"' in page
