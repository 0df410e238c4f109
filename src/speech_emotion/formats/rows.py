"""Answers as text, JSON, JSON Lines and CSV, each row as soon as it is known. In: outcomes. Out: lines of text."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

from speech_emotion.errors import SpeechEmotionError
from speech_emotion.labels import ICONS
from speech_emotion.prediction import Prediction
from speech_emotion.segments import Segment
from speech_emotion.text import guard, printable, valid_unicode

BAR_WIDTH = 10
INTERRUPTED: Final = {"error": "interrupted", "message": "stopped here; the rest of the rows is missing"}


class Outcome(NamedTuple):
    """One row: what a source gave for the whole of it, for a window or for a given segment; or an error instead."""

    source: str
    prediction: Prediction | None = None
    error: SpeechEmotionError | None = None
    segment: Segment | None = None


def write_text(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a line per prediction or error."""
    for source, prediction, error, segment in outcomes:
        name = printable(source)
        if prediction:
            print(
                f"{_picture(prediction)}  {_in_words(prediction)}  {name}{_said(segment)}",
                file=out,
                flush=True,
            )
        if error:
            print(f"❌ {name}: {printable(str(error))} ({error.code})", file=out, flush=True)


def write_json(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write one array of rows. If writing stops early it is not valid JSON, so a part never passes for the whole."""
    out.write("[")
    for index, row in enumerate(_rows(outcomes, Prediction.to_dict)):
        out.write(",\n " if index else "\n ")
        out.write(_json(row))
        out.flush()
    out.write("\n]\n")


def write_jsonl(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write an object per line. If writing stops early, the last one says so."""
    try:
        for row in _rows(outcomes, Prediction.to_dict):
            print(_json(row), file=out, flush=True)
    except BaseException:
        print(_json(INTERRUPTED), file=out)
        raise


def write_csv(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:
    """Write a row per prediction or error, under `columns`. If writing stops early, the last row says so."""
    try:
        write_table(_rows(outcomes, Prediction.to_row), columns, out)
    except BaseException:
        csv.DictWriter(out, columns, lineterminator="\n").writerow(INTERRUPTED)
        raise


def columns(labels: Iterable[str], channels: str = "mix", *, segments: bool = False) -> list[str]:
    """The columns of a table of answers: source, those of `Prediction.to_row`, a label each, error, message.

    Args:
        labels: The model's.
        channels: "separate" for a column that names the channel.
        segments: Whether the answers are those of given segments, which have a speaker and a text.
    """
    channel = "left" if channels == "separate" else None
    answer = Prediction({}, 0.0, 0.0, abstained="no_speech", channel=channel).to_row()
    said = ["speaker", "text"] if segments else []
    return ["source", *said, *answer, *labels, "error", "message"]


def write_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], out: TextIO) -> None:
    """Write rows as CSV. Text is escaped for spreadsheets and terminals; a row may lack columns."""
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
        out.flush()


def error_fields(error: SpeechEmotionError) -> dict[str, str]:
    """What stands in a row or an object in place of an answer: `error`, the stable code, and `message`."""
    return {"error": error.code, "message": valid_unicode(str(error))}


def _picture(prediction: Prediction) -> str:
    """An icon, and a bar as long as the confidence; empty if the answer is not sure."""
    if prediction.label:
        icon = ICONS.get(prediction.label, "🔊")
    else:
        icon = "🤔" if prediction.abstained == "not_sure" else "🔇"
    n_full = round(BAR_WIDTH * (prediction.confidence or 0.0))
    return f"{icon} {'█' * n_full:░<{BAR_WIDTH}}"


def _in_words(prediction: Prediction) -> str:
    """The prediction's own line and the runner-up, in columns."""
    runner_up = prediction.runner_up
    second = f"then {runner_up} {prediction.probabilities[runner_up]:.2f}" if runner_up else ""
    return f"{prediction!s:<27}  {second:<19}"


def _said(segment: Segment | None) -> str:
    """Who speaks and what, for the end of a line."""
    words = [word for word in (segment.speaker, segment.text) if word] if segment else []
    return f"  {printable(': '.join(words))}" if words else ""


def _rows(
    outcomes: Iterable[Outcome], to_row: Callable[[Prediction], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for source, prediction, error, segment in outcomes:
        row: dict[str, Any] = {"source": valid_unicode(source)}
        if segment:
            said = {"speaker": segment.speaker, "text": segment.text}
            row |= {key: value and valid_unicode(value) for key, value in said.items()}
        if prediction:
            yield row | to_row(prediction)
        if error:
            yield row | error_fields(error)


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _cell(value: str | float | None) -> str | float | None:
    return guard(printable(value)) if isinstance(value, str) else value
