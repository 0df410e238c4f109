"""Praat TextGrid, long or short. In: the text of a file. Out: the intervals of its interval tiers as Segments.

A tier is a speaker. Intervals without text are the pauses between the others, and no segments; points have no duration.
"""

import re
from typing import Final

from speech_emotion.errors import SegmentsError
from speech_emotion.segments.segment import Segment, at, one_line, seconds_of

# Praat reads the free-standing strings, numbers and flags of a file, and takes all else for comment.
_TOKEN: Final = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)(-?\d[\d.eE+-]*|<exists>|<absent>)(?!\S)|(?<!\S)![^\n]*')


def read_textgrid(text: str) -> list[Segment]:
    """Return the intervals that have a text, tier by tier."""
    tokens = _Tokens(text)
    if [tokens.next(), tokens.next()] != ["ooTextFile", "TextGrid"]:
        raise SegmentsError("this is another object of Praat than a TextGrid; save a TextGrid as text")
    tokens.skip(2)  # its start and end
    if tokens.next() != "<exists>":
        raise SegmentsError("this TextGrid has no tiers; add an interval tier")
    segments, n_interval_tiers = [], 0
    for _ in range(tokens.count()):
        kind, name = tokens.next(), tokens.next()
        tokens.skip(2)
        if kind == "IntervalTier":
            n_interval_tiers += 1
            segments += _intervals(tokens, name)
        elif kind == "TextTier":
            tokens.skip(2 * tokens.count())
        else:
            raise SegmentsError(
                f"a tier must be an IntervalTier or a TextTier, not {kind!a:.40}; save it again"
            )
    if not n_interval_tiers:
        raise SegmentsError("this TextGrid has only points, which have no duration; add an interval tier")
    return segments


def _intervals(tokens: "_Tokens", tier: str) -> list[Segment]:
    segments = []
    for number in range(1, tokens.count() + 1):
        start, end, text = tokens.next(), tokens.next(), one_line(tokens.next())
        if text:
            with at(f"tier {tier!a:.60}, interval {number}"):
                segments.append(Segment(seconds_of(start), seconds_of(end), one_line(tier), text))
    return segments


class _Tokens:
    """The strings, numbers and flags of a file, one after another."""

    def __init__(self, text: str) -> None:
        self._matches = _TOKEN.finditer(text)

    def next(self) -> str:
        for match in self._matches:
            string, plain = match.groups()
            if string is not None:
                return str(string).replace('""', '"')
            if plain:
                return str(plain)
        raise SegmentsError("this TextGrid is cut short; save it again")

    def skip(self, n: int) -> None:
        for _ in range(n):
            self.next()

    def count(self) -> int:
        number = self.next()
        if not number.isdecimal():
            raise SegmentsError(
                f"a number of tiers or intervals must stand where {number!a:.40} does; save it again"
            )
        return int(number)
