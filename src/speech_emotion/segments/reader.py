"""A file of segments. In: its path. Out: its Segments by start. The content decides what it is, not its name."""

import codecs
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from speech_emotion.errors import SegmentsError
from speech_emotion.files import FileTooLargeError, read_regular_file
from speech_emotion.segments import subtitles, tables, textgrid, transcripts
from speech_emotion.segments.segment import Segment, in_order, lines_of

MAX_BYTES: Final = 32 * 2**20  # the words of 24 hours of speech take 20 MiB in the JSON of WhisperX


def read_segments(path: str | os.PathLike[str]) -> list[Segment]:
    """Return the segments in a file, by start.

    Examples:
        >>> read_segments("call.json")[0]
        Segment(start_seconds=0.0, end_seconds=2.4, speaker='SPEAKER_00', text='Good morning.')

    Args:
        path: RTTM, SRT, WebVTT, Audacity labels, a Praat TextGrid, the JSON of Whisper or WhisperX, or CSV, JSON or
            JSON Lines with start, end and, optionally, speaker and text. UTF-8, or UTF-16 with its mark.

    Returns:
        One or more segments. They may overlap and may go beyond the end of the recording.

    Raises:
        SegmentsError: The file cannot be read, or a segment in it is impossible; the message names its place.
    """
    try:
        data = read_regular_file(Path(path), MAX_BYTES)
    except FileTooLargeError as error:
        raise SegmentsError(
            f"{_name(path)} is no list of segments: {error}. Give one of a recording"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise SegmentsError(f"cannot read the segments {_name(path)}: {reason}. Check its name") from error
    return segments_of(data, os.fsdecode(path))


def segments_of(data: bytes, name: str) -> list[Segment]:
    """Return the segments in the content of a file, by start.

    Args:
        data: As in the file that `read_segments` reads.
        name: The file's name, for messages.

    Raises:
        SegmentsError: A segment is impossible, or it is none of the formats.
    """
    try:
        text = _decoded(data)
        return in_order(_reader_for(text)(text))
    except SegmentsError as error:
        raise SegmentsError(f"{name!r}: {error}") from error


def _name(path: str | os.PathLike[str]) -> str:
    return repr(os.fsdecode(path))


def _decoded(data: bytes) -> str:
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if data.startswith(marks) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SegmentsError(
            f"this is not text in UTF-8 (byte {error.start}); save the file as UTF-8"
        ) from error
    if "\0" in text:
        raise SegmentsError("this is not text; give a file of segments as text")
    if not text.strip():
        raise SegmentsError("this file is empty; give one with segments")
    return text


def _reader_for(text: str) -> Callable[[str], Iterable[Segment]]:
    """The reader of the format that `text` is in."""
    lines = [line for line in lines_of(text) if line.strip()]
    first = next((line for line in lines if not line.startswith(tables.RTTM_COMMENT)), "")
    if re.match(r"WEBVTT(\s|$)", text):
        return subtitles.read_webvtt
    if "ooTextFile" in first:
        return textgrid.read_textgrid
    if first.lstrip().startswith(("{", "[")):
        return transcripts.read_json
    if any(subtitles.TIMING.match(line) for line in lines[:2]):
        return subtitles.read_srt
    if not first or first.split()[0] in tables.RTTM_TYPES:
        return tables.read_rttm
    return tables.read_audacity if tables.LABEL.match(first) else tables.read_csv
