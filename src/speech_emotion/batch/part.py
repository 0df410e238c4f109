"""The one function that answers. In: a table of inputs and the settings. Out: a table of rows, and how long each took.

Whatever spreads the work calls `process_part`, so that every engine gives the same rows. A sound that cannot be
answered is a row with its error.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from speech_emotion.audio import Channels
from speech_emotion.batch import stores
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioNotFoundError, ConfigError, SpeechEmotionError
from speech_emotion.files import digest
from speech_emotion.model_info import ModelInfo
from speech_emotion.prediction import Prediction
from speech_emotion.profile import SpeakerProfile
from speech_emotion.text import valid_unicode

SCHEMA: Final = 1  # of the rows; another one cannot go on with a batch of this one

INPUT_SCHEMA: Final = pa.schema(
    [
        ("path", pa.string()),  # as it was given
        ("location", pa.binary()),  # the absolute path, whose bytes need not be UTF-8, or the URI
        ("error", pa.string()),  # of an input that could not be listed
        ("message", pa.string()),
    ]
)
_BEFORE: Final = {"path": pa.string(), "channel": pa.string(), "segment": pa.int32()}
_TIMES: Final = {name: pa.float64() for name in ("start_seconds", "end_seconds", "duration_seconds")}
_ANSWER: Final = {"label": pa.string(), "confidence": pa.float64(), "runner_up": pa.string()}
_ANSWER_TEXTS: Final = dict.fromkeys(("emotions", "abstained", "warnings"), pa.string())
_AFTER: Final = dict.fromkeys(("model", "model_sha256", "error", "message"), pa.string())


@dataclass(frozen=True)
class Settings:
    """How every input of a batch is answered.

    Attributes:
        classifier: The model. Sent to another process, it loads the same file there.
        timeline: One row per window instead of one per sound.
        channels: "separate" for rows of each channel, "mix" for their mean.
        profile: The speaker's profile; None for any speaker.
        hop_seconds: The time between two windows of a timeline; None for the model's own.
    """

    classifier: Classifier
    timeline: bool = False
    channels: Channels = "mix"
    profile: SpeakerProfile | None = None
    hop_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse a profile of another model or an impossible hop once, not once per input."""
        if self.profile:
            self.profile.for_model(self.classifier.info)
        if self.hop_seconds is not None and not self.timeline:
            raise ConfigError("hop_seconds is the time between the answers of a timeline. Ask for a timeline")
        self.classifier.info.with_hop(self.hop_seconds)

    def to_dict(self) -> dict[str, Any]:
        """What the rows depend on, as JSON."""
        info = self.classifier.info
        return {
            "schema": SCHEMA,
            "model": info.name,
            "model_sha256": info.sha256,
            "timeline": self.timeline,
            "channels": self.channels,
            "hop_seconds": self.hop_seconds,
            "profile": digest(self.profile.to_dict()) if self.profile else None,
        }


class Part(NamedTuple):
    """The rows of some inputs.

    Attributes:
        rows: A table in the schema of `row_schema`, with the columns of the inputs last.
        n_rows: How many of them each input has, in order; at least one.
        seconds: How long each input took.
    """

    rows: pa.Table
    n_rows: list[int]
    seconds: list[float]


def row_schema(info: ModelInfo) -> pa.Schema:
    """The columns of the rows of a model, without those that the inputs bring along."""
    emotions = dict.fromkeys(info.labels, pa.float64())
    return pa.schema({**_BEFORE, **_TIMES, **_ANSWER, **_ANSWER_TEXTS, **emotions, **_AFTER})


def process_part(inputs: pa.Table, settings: Settings) -> Part:
    """Answer every input, in order.

    Args:
        inputs: The columns of `INPUT_SCHEMA`, and any others.
        settings: How.

    Returns:
        One row per input, channel and window. The same for the same inputs, wherever it runs.
    """
    rows: list[dict[str, Any]] = []
    n_rows: list[int] = []
    seconds: list[float] = []
    for given in inputs.select(INPUT_SCHEMA.names).to_pylist():
        start = time.perf_counter()
        found = _rows(given, settings)
        seconds.append(time.perf_counter() - start)
        n_rows.append(len(found))
        rows += found
    table = pa.Table.from_pylist(rows, schema=row_schema(settings.classifier.info))
    others = inputs.drop_columns(INPUT_SCHEMA.names).take(np.repeat(np.arange(len(inputs)), n_rows))
    for name in others.column_names:
        table = table.append_column(others.schema.field(name), others[name])
    return Part(table, n_rows, seconds)


def error_part(inputs: pa.Table, settings: Settings, error: SpeechEmotionError) -> Part:
    """The rows of inputs that failed with `error` outside of `process_part`: their process died."""
    failed = {"error": error.code, "message": str(error)}
    columns = [pa.array([text] * len(inputs)) for text in failed.values()]
    for name, column in zip(failed, columns, strict=True):
        inputs = inputs.set_column(inputs.column_names.index(name), name, column)
    return process_part(inputs, settings)


def _rows(given: Mapping[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """The rows of one input; of one that failed a single row, with its error."""
    info = settings.classifier.info
    common = {"path": given["path"], "model": info.name, "model_sha256": info.sha256}
    if given["error"]:
        return [common | {"error": given["error"], "message": given["message"]}]
    try:
        answers = _answers(os.fsdecode(given["location"]), settings)
    except SpeechEmotionError as error:
        return [common | {"error": error.code, "message": valid_unicode(str(error))}]
    except Exception as error:  # noqa: BLE001 - whatever one sound does must not end a batch of a million
        message = valid_unicode(f"{type(error).__name__}: {error}. Please report it with this file")
        return [common | {"error": "unexpected", "message": message}]
    segments: dict[str | None, int] = {}
    rows = []
    for answer in answers:
        segments[answer.channel] = segment = segments.get(answer.channel, -1) + 1
        rows.append(common | answer.to_row() | {"channel": answer.channel, "segment": segment})
    duration = max(row["end_seconds"] for row in rows)
    return [row | {"duration_seconds": duration} for row in rows]


def _answers(location: str, settings: Settings) -> list[Prediction]:
    if not location:
        raise AudioNotFoundError("its row has no path. Write one, or leave the row out")
    classifier, profile = settings.classifier, settings.profile
    with stores.opened(location) as source:
        if settings.timeline:
            return classifier.timeline(
                source, profile=profile, channels=settings.channels, hop_seconds=settings.hop_seconds
            )
        if settings.channels == "separate":
            return list(classifier.predict(source, profile=profile, channels="separate"))
        return [classifier.predict(source, profile=profile)]
