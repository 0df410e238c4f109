"""Answers as text, JSON and CSV. In: what each source gave. Out: lines, one JSON document, or a table.

An outcome is a source's name with its predictions, or with the error that stands in their place; a timeline comes as
one outcome per window, as soon as it is known. Whatever a file is
called, its name cannot steer a terminal, break a table or be run as a formula by a spreadsheet.

A new format is one function beside `write_csv`, and its line in `WRITERS`: `predict --format NAME` takes it from there.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

from speech_emotion.errors import SpeechEmotionError
from speech_emotion.labels import ICONS
from speech_emotion.prediction import Prediction
from speech_emotion.text import guard, printable, valid_unicode

BAR_WIDTH = 10


class Outcome(NamedTuple):
    """What one source gave: predictions, or an error."""

    source: str
    predictions: list[Prediction]
    error: SpeechEmotionError | None = None


def write_text(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write a line per prediction or error, as soon as it is there."""
    for source, predictions, error in outcomes:
        name = printable(source)
        for prediction in predictions:
            print(f"{_picture(prediction)}  {_in_words(prediction)}  {name}", file=out, flush=True)
        if error:
            print(f"❌ {name}: {printable(str(error))} ({error.code})", file=out, flush=True)


def write_json(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Write one array of rows. If writing stops early it is not valid JSON, so a part never passes for the whole."""
    out.write("[")
    for index, row in enumerate(_rows(outcomes, Prediction.to_dict)):
        out.write(",\n " if index else "\n ")
        out.write(json.dumps(row, ensure_ascii=False, allow_nan=False))
        out.flush()
    out.write("\n]\n")


def write_csv(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:
    """Write a row per prediction or error, under `columns`. If writing stops early, the last row says so."""
    try:
        write_table(_rows(outcomes, Prediction.to_row), columns, out)
    except BaseException:
        row = {"error": "interrupted", "message": "stopped here; the rest of the table is missing"}
        csv.DictWriter(out, columns, lineterminator="\n").writerow(row)
        raise


Writer = Callable[[Iterable[Outcome], TextIO, Sequence[str]], None]
WRITERS: Final[dict[str, Writer]] = {"text": write_text, "json": write_json, "csv": write_csv}


def columns(labels: Iterable[str], channels: str = "mix") -> list[str]:
    """The columns of a table of answers: source, those of `Prediction.to_row`, a label each, error, message."""
    channel = "left" if channels == "separate" else None
    answer = Prediction({}, 0.0, 0.0, abstained="no_speech", channel=channel).to_row()
    return ["source", *answer, *labels, "error", "message"]


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


def _rows(
    outcomes: Iterable[Outcome], to_row: Callable[[Prediction], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for source, predictions, error in outcomes:
        name = {"source": valid_unicode(source)}
        for prediction in predictions:
            yield name | to_row(prediction)
        if error:
            yield name | error_fields(error)


def _cell(value: str | float | None) -> str | float | None:
    return guard(printable(value)) if isinstance(value, str) else value
