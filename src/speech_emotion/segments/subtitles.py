"""SubRip (SRT) and WebVTT. In: the text of a file. Out: its cues as Segments.

Tags are left out of the text. A `<v Name>` of WebVTT is the speaker, and so is a `[NAME]: ` that begins a text, as
WhisperX writes it. A `Name: ` is one if most texts begin so: a single `Note: ` is text.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
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
# Up to three words and a colon.
_NAME: Final = re.compile(r"([^\W\d_][\w.'’-]{0,29}(?: [\w.'’-]{1,30}){0,2}) ?(?::(?: |$)|：) ?")
_BLOCKS_WITHOUT_CUE: Final = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")


def read_srt(text: str) -> list[Segment]:
    """The cues of SRT. A text goes on to the number of the next cue, over blank lines."""
    return _with_names(_srt_cues(text))


def read_webvtt(text: str) -> list[Segment]:
    """The cues of WebVTT; its notes, styles, regions and settings say nothing about sound."""
    return _with_names(_webvtt_cues(text))


def _srt_cues(text: str) -> Iterator[Segment]:
    lines = lines_of(text)
    starts = [number for number, line in enumerate(lines) if TIMING.match(line)]
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        body = lines[start + 1 : following]
        if following is not None and body and body[-1].strip().isdecimal():
            body.pop()
        with at(f"line {start + 1}"):
            yield _cue(lines[start], _TAG.sub("", "\n".join(body)))


def _webvtt_cues(text: str) -> Iterator[Segment]:
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
        speaker, body = prefix[1].strip() or None, body[prefix.end() :]
    return Segment(seconds_of(parts[1]), seconds_of(parts[2]), speaker, one_line(body))


def _with_names(cues: Iterable[Segment]) -> list[Segment]:
    """`cues` whose texts begin with `Name: ` have that speaker, if most texts without a speaker begin so.

    A name that occurs once counts only if all of these texts begin with one.
    """
    cues = list(cues)
    found = [None if cue.speaker else _NAME.match(cue.text or "") for cue in cues]
    n_without_speaker = sum(cue.speaker is None for cue in cues)
    n_of = Counter(match[1] for match in found if match)
    n_named = n_of.total()
    if n_named < 2 or n_named <= n_without_speaker / 2:
        return cues
    return [
        replace(cue, speaker=match[1], text=one_line((cue.text or "")[match.end() :]))
        if match and (n_of[match[1]] > 1 or n_named == n_without_speaker)
        else cue
        for cue, match in zip(cues, found, strict=True)
    ]
