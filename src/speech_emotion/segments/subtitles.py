"""SubRip (SRT) and WebVTT. In: the text of a file. Out: its cues as Segments.

Tags are left out of the text. A `<v Name>` of WebVTT is the speaker, and so is a `[NAME]: ` that begins a text, as
WhisperX writes it.
"""

import html
import re
from collections.abc import Iterator
from typing import Final

from speech_emotion.errors import SegmentsError
from speech_emotion.segments.segment import Segment, at, lines_of, one_line, seconds_of

ARROW: Final = "-->"
TIMING: Final = re.compile(r"\s*[\d:.,]+\s*-->")  # how a line with times begins
_TIMING: Final = re.compile(r"\s*(\S+?)\s*-->\s*(\S+)(\s.*)?")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>\n]*>|\{\\[^{}\n]*\}")
_WEBVTT_TAG: Final = re.compile(r"<[^<>\n]*>")
_VOICE: Final = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^\s<>][^<>\n]*)>")
_PREFIX: Final = re.compile(r"\s*\[([^\]\n]{1,100})\]:\s*")
_BLOCKS_WITHOUT_CUE: Final = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")


def read_srt(text: str) -> Iterator[Segment]:
    """Yield the cues of SRT. A text goes on to the number of the next cue, over blank lines."""
    lines = lines_of(text)
    starts = [number for number, line in enumerate(lines) if TIMING.match(line)]
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        body = lines[start + 1 : following]
        if following is not None and body and body[-1].strip().isdecimal():
            body.pop()
        with at(f"line {start + 1}"):
            yield _cue(lines[start], _TAG.sub("", "\n".join(body)))


def read_webvtt(text: str) -> Iterator[Segment]:
    """Yield the cues of WebVTT; its notes, styles, regions and settings say nothing about sound."""
    lines = lines_of(text)
    starts = [n for n, line in enumerate(lines) if line.strip() and (n == 0 or not lines[n - 1].strip())]
    for start, following in zip(starts, [*starts[1:], len(lines)], strict=True):
        block = [line for line in lines[start:following] if line.strip()]
        if ARROW in "".join(block[:2]):
            n_before = 0 if ARROW in block[0] else 1
            with at(f"line {start + n_before + 1}"):
                yield _webvtt_cue(block[n_before], "\n".join(block[n_before + 1 :]))
        elif any("X-TIMESTAMP-MAP" in line for line in block):
            raise SegmentsError(f"line {start + 1}: its times are those of a broadcast; export plain WebVTT")
        elif start > 0 and not _BLOCKS_WITHOUT_CUE.match(block[0]):
            raise SegmentsError(
                f"line {start + 1}: this is neither a cue nor a note; a text may have no blank line. Remove it"
            )


def _webvtt_cue(timing: str, body: str) -> Segment:
    voices = dict.fromkeys(html.unescape(name).strip() for name in _VOICE.findall(body))
    return _cue(timing, html.unescape(_WEBVTT_TAG.sub("", body)), ", ".join(voices) or None)


def _cue(timing: str, body: str, speaker: str | None = None) -> Segment:
    parts = _TIMING.fullmatch(timing)
    if parts is None:
        raise SegmentsError("the times must be as 00:00:01.000 --> 00:00:02.500; correct them")
    prefix = _PREFIX.match(body)
    if prefix and speaker is None:
        speaker, body = prefix[1].strip(), body[prefix.end() :]
    return Segment(seconds_of(parts[1]), seconds_of(parts[2]), speaker, one_line(body))
