"""JSON. In: the document of Whisper or WhisperX, a list of objects, or an object per line. Out: Segments."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from speech_emotion.errors import SegmentsError
from speech_emotion.segments.segment import Segment, at, lines_of, one_line, seconds_of
from speech_emotion.segments.tables import COLUMNS

_SHAPES: Final = (
    'give the JSON of Whisper or WhisperX, which has "segments", or a list of objects with start, end and, '
    "if you like, speaker and text"
)


def read_json(text: str) -> Iterator[Segment]:
    """Yield the segments of a document; words within them are left to their segment."""
    for number, entry in enumerate(_entries(text), start=1):
        with at(f"entry {number}"):
            if not isinstance(entry, dict):
                raise SegmentsError(f"it must be an object, not {entry!a:.40}; {_SHAPES}")
            start, end = (_seconds(entry, name) for name in ("start", "end"))
            yield Segment(start, end, _text(entry, "speaker"), _text(entry, "text"))


def _entries(text: str) -> list[Any]:
    try:
        document = _document(text)
    except RecursionError as error:
        raise SegmentsError(f"this JSON is nested too deeply; {_SHAPES}") from error
    if isinstance(document, dict):
        document = [document] if _value(document, "start") is not None else document.get("segments")
    if not isinstance(document, list):
        raise SegmentsError(f"this JSON holds no list of segments; {_SHAPES}")
    return document


def _document(text: str) -> Any:
    """What `text` holds: one document, or a list of what each line holds."""
    try:
        return json.loads(text)
    except ValueError as of_all:
        try:
            return [json.loads(line) for line in lines_of(text) if line.strip()]
        except ValueError:
            raise SegmentsError(f"this is not JSON: {of_all}; write it again") from of_all


def _value(entry: Mapping[str, Any], name: str) -> Any:
    return next((entry[key] for key in COLUMNS[name] if entry.get(key) is not None), None)


def _seconds(entry: Mapping[str, Any], name: str) -> float:
    value = _value(entry, name)
    if isinstance(value, str):
        return seconds_of(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        what = "has no" if value is None else f"has {value!a:.40} as its"
        raise SegmentsError(f"it {what} {name}, which must be a number of seconds; {_SHAPES}")
    try:
        return float(value)
    except OverflowError:
        return float("inf")  # which no segment takes


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    """Its speaker or its text. Speakers may be numbers."""
    value = _value(entry, name)
    if not isinstance(value, str | int | None) or isinstance(value, bool):
        raise SegmentsError(f"its {name} must be text, not {value!a:.40}; correct it")
    return one_line(None if value is None else str(value))
