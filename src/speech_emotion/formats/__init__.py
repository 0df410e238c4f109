"""Answers in every format. In: outcomes, one per row. Out: text, tables, subtitles, annotations, a report, a picture.

Whatever a file is called or a speaker says, it cannot steer a terminal, break a format or be run as a formula by a
spreadsheet.

A new format is one function beside `write_png`, and its line in `WRITERS`: `predict --format NAME` takes it from there.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TextIO

from speech_emotion.extras import require
from speech_emotion.formats.cues import write_audacity, write_rttm, write_srt, write_textgrid, write_webvtt
from speech_emotion.formats.rows import (
    Outcome,
    columns,
    error_fields,
    write_csv,
    write_json,
    write_jsonl,
    write_table,
    write_text,
)

__all__ = ["ONE_RECORDING", "WRITERS", "Outcome", "Writer", "columns", "error_fields", "write_table"]

Writer = Callable[[Iterable[Outcome], TextIO, Sequence[str]], None]


def write_png(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:
    """Draw the answers over time, once all are known."""
    for module in ("altair", "vl_convert"):
        require(module, extra="app", needed_for="a picture")
    from speech_emotion.formats.picture import write_png  # takes a second to import

    write_png(outcomes, out, columns)


def write_html(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:
    """Write a report, once all answers are known."""
    from speech_emotion.formats.report import write_html  # what a prediction does not need

    write_html(outcomes, out, columns)


WRITERS: Final[dict[str, Writer]] = {
    "text": write_text,
    "json": write_json,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "srt": write_srt,
    "webvtt": write_webvtt,
    "audacity": write_audacity,
    "textgrid": write_textgrid,
    "rttm": write_rttm,
    "html": write_html,
    "png": write_png,
}
ONE_RECORDING: Final = ("srt", "webvtt", "audacity", "textgrid", "png")  # have no place for a second one
