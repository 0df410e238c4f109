"""One given stretch of a recording, and clock times. In: numbers and text. Out: a Segment, or a SegmentsError."""

import heapq
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from speech_emotion.errors import SegmentsError

MAX_SECONDS: Final = 24 * 3600.0  # what a recording may last
MAX_OVERLAPPING: Final = 100  # segments at one moment; each of them holds a window of samples
_TIME: Final = re.compile(r"[+-]?(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?|[.,]\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording that somebody named: an utterance, a turn, an interval of a transcript.

    Attributes:
        start_seconds: Where it starts, in seconds from the beginning of the recording.
        end_seconds: Where it ends, in the same.
        speaker: Who speaks, if that is known.
        text: What is said, if that is known.

    Raises:
        SegmentsError: A time is not finite, before 0 or beyond 24 hours, or the end is before the start.
    """

    start_seconds: float
    end_seconds: float
    speaker: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        for name, seconds in (("start", self.start_seconds), ("end", self.end_seconds)):
            if not math.isfinite(seconds):
                raise SegmentsError(f"its {name} must be a number of seconds, not {seconds}; correct it")
            if seconds < 0:
                raise SegmentsError(
                    f"its {name} is {seconds:g} s, before the recording begins; count from its beginning"
                )
            if seconds > MAX_SECONDS:
                raise SegmentsError(
                    f"its {name} is {seconds:g} s, and a recording may last {MAX_SECONDS:g} s; "
                    "if these are milliseconds, divide them by 1000"
                )
        if self.end_seconds < self.start_seconds:
            raise SegmentsError(
                f"it ends at {self.end_seconds:g} s, before it starts at {self.start_seconds:g} s; "
                "correct it, or give start and end rather than start and duration"
            )


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Return `segments` by start, then by end; equal ones stay in their order.

    Raises:
        SegmentsError: There is none, or more than MAX_OVERLAPPING are open at one moment.
    """
    ordered = sorted(segments, key=lambda one: (one.start_seconds, one.end_seconds))
    if not ordered:
        raise SegmentsError("there are no segments; give one or more, or leave them out")
    ends: list[float] = []
    for segment in ordered:
        while ends and ends[0] <= segment.start_seconds:
            heapq.heappop(ends)
        heapq.heappush(ends, segment.end_seconds)
        if len(ends) > MAX_OVERLAPPING:
            raise SegmentsError(
                f"more than {MAX_OVERLAPPING} segments overlap at {segment.start_seconds:g} s; "
                "are these the segments of several recordings? Give those of one"
            )
    return ordered


def seconds_of(text: str) -> float:
    """The seconds in `12.5`, `12,5`, `1:02.5` or `00:01:02,500`.

    Raises:
        SegmentsError: It is none of these.
    """
    parts = _TIME.fullmatch(text.strip())
    if parts is None:
        raise SegmentsError(f"a time must be as 12.5 or 0:00:12.5, not {text.strip()!a:.40}; correct it")
    hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in parts.groups())
    sign = -1 if text.strip().startswith("-") else 1
    return sign * (3600 * hours + 60 * minutes + seconds)


def one_line(text: str | None) -> str | None:
    """`text` on one line; None if it is empty."""
    return " ".join((text or "").split()) or None


def lines_of(text: str) -> list[str]:
    """The lines of `text`, whichever of the three ends they have."""
    return re.split(r"\r\n|\r|\n", text)


@contextmanager
def at(place: str) -> Iterator[None]:
    """Name the place of an error: `line 12` or `entry 3`."""
    try:
        yield
    except SegmentsError as error:
        raise SegmentsError(f"{place}: {error}") from error
