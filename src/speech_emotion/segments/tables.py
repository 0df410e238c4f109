"""Tables: RTTM, Audacity labels, and CSV with a header. In: the text of a file. Out: its rows as Segments."""

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Final

from speech_emotion.errors import SegmentsError
from speech_emotion.segments.segment import Segment, at, lines_of, one_line, seconds_of

RTTM_TYPES: Final = frozenset(
    {"SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "SU", "IP"}
    | {"CB", "A/P", "SPEAKER", "SPKR-INFO"}
)
RTTM_COMMENT: Final = ";;"
NOTHING: Final = "<NA>"
LABEL: Final = re.compile(r"[\d.,]+\t[\d.,]+(\t|$)")  # of Audacity
DELIMITERS: Final = ",;\t"
# What a column may be called: as other programs do, and as the tables of `predict` do.
COLUMNS: Final = {
    "start": ("start", "start_seconds"),
    "end": ("end", "end_seconds"),
    "speaker": ("speaker",),
    "text": ("text",),
}


def read_rttm(text: str) -> Iterator[Segment]:
    """Yield the lines of type SPEAKER; the other types are not about who speaks when."""
    recordings: dict[str, None] = {}
    for number, line in enumerate(lines_of(text), start=1):
        fields = line.split()
        if not fields or line.startswith(RTTM_COMMENT) or fields[0] in RTTM_TYPES - {"SPEAKER"}:
            continue
        with at(f"line {number}"):
            if fields[0] != "SPEAKER" or len(fields) < 8:
                raise SegmentsError(
                    "a line must be SPEAKER FILE CHANNEL START DURATION <NA> <NA> NAME …; correct it"
                )
            recordings[fields[1]] = None
            if len(recordings) > 1:
                names = " and ".join(map(ascii, recordings))
                raise SegmentsError(f"this names the recordings {names}; keep the lines of one")
            start, seconds = seconds_of(fields[3]), seconds_of(fields[4])
            words, name = (None if field == NOTHING else field for field in (fields[5], fields[7]))
            yield Segment(start, start + seconds, name, words)


def read_audacity(text: str) -> Iterator[Segment]:
    """Yield the labels; a line that begins with a backslash holds the frequencies of the one before it."""
    for number, line in enumerate(lines_of(text), start=1):
        if line.startswith("\\") or not line.strip():
            continue
        with at(f"line {number}"):
            start, _, rest = line.partition("\t")
            end, _, label = rest.partition("\t")
            yield Segment(seconds_of(start), seconds_of(end), None, one_line(label))


def read_csv(text: str) -> Iterator[Segment]:
    """Yield the rows of a table with the columns start, end and, if there are any, speaker and text."""
    header = next(line for line in lines_of(text) if line.strip())
    delimiter = max(DELIMITERS, key=header.count)
    _refuse_milliseconds(header, text)
    rows = csv.reader((line + "\n" for line in lines_of(text)), delimiter=delimiter, strict=True)
    try:
        filled = (row for row in rows if any(cell.strip() for cell in row))
        names = next(filled)
        places = _places(names)
        for row in filled:
            with at(f"line {rows.line_num}"):
                if len(row) != len(names):
                    raise SegmentsError(
                        f"it has {len(row)} cells and the header {len(names)}; "
                        f"put a text that holds {delimiter!r} in quotes"
                    )
                cells = {column: row[place] for column, place in places.items()}
                speaker, words = one_line(cells.get("speaker")), one_line(cells.get("text"))
                yield Segment(seconds_of(cells["start"]), seconds_of(cells["end"]), speaker, words)
    except csv.Error as error:
        raise SegmentsError(
            f"line {rows.line_num}: this is not CSV ({error}); save the table again"
        ) from error


def _places(header: Sequence[str]) -> dict[str, int]:
    """Where each column is."""
    names = [cell.strip().lower() for cell in header]
    places = {}
    for column, spellings in COLUMNS.items():
        found = [place for place, name in enumerate(names) if name in spellings]
        if len(found) > 1:
            raise SegmentsError(f"the table has {len(found)} columns for {column}; keep one")
        if found:
            places[column] = found[0]
    if missing := [column for column in ("start", "end") if column not in places]:
        raise SegmentsError(
            f"this is no file of segments that is known, nor a table with the columns start and end (missing: "
            f"{' and '.join(missing)}). Give RTTM, SRT, WebVTT, Audacity labels, a TextGrid, the JSON of Whisper or "
            "WhisperX, or CSV or JSON with start and end in seconds"
        )
    return places


def _refuse_milliseconds(header: str, text: str) -> None:
    """The .tsv of Whisper counts milliseconds, and nothing in it says so."""
    is_whisper = header.strip().lower().split("\t") == ["start", "end", "text"]
    if is_whisper and not re.search(r"^\d*[.,:]|^\d+\t\d*[.,:]", text, re.MULTILINE):
        raise SegmentsError(
            "this looks like the .tsv of Whisper, whose times are milliseconds; give its .json or .srt, "
            "or write the seconds as 12.0"
        )
