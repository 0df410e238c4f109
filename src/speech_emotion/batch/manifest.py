"""The list of inputs. In: files, folders, wildcards, tables of paths, URIs. Out: one table, a row per input.

A table of paths (.csv, .tsv, .parquet, .jsonl) has a column `path` or `file`; relative paths begin at the table. Its
other columns are carried through to the rows; one that has the name of a column of the rows is called input_NAME.
"""

import csv
import io
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json as arrow_json
from pyarrow import parquet

from speech_emotion.batch import stores
from speech_emotion.batch.part import INPUT_SCHEMA, row_schema
from speech_emotion.errors import ConfigError
from speech_emotion.inputs import expand
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import valid_unicode

_PATH_COLUMNS: Final = ("path", "file")


def list_inputs(arguments: Iterable[str], info: ModelInfo) -> pa.Table:
    """Find every input.

    Args:
        arguments: Files, folders, wildcards, tables of paths, and URIs of objects, prefixes and tables.
        info: The model, whose rows have columns of their own.

    Returns:
        The columns of `INPUT_SCHEMA` and those of the tables, in the order of the arguments; folders are sorted. A
        sound that arguments name twice is there once. What cannot be listed is a row with its error.

    Raises:
        ConfigError: A table cannot be read, or has no column of paths; or there are no inputs.
    """
    tables: list[pa.Table] = []
    named: dict[bytes, dict[str, Any]] = {}
    for argument in arguments:
        if PurePath(argument).suffix.lower() in _READERS:
            tables.append(_read_table(argument, [*row_schema(info).names, *INPUT_SCHEMA.names]))
        elif stores.is_uri(argument):
            named |= {os.fsencode(uri): _input(uri, uri) for uri in _in_store(argument)}
        else:
            named |= {_absolute(path): _input(name, path, error) for name, path, error in expand([argument])}
    listed = pa.Table.from_pylist(list(named.values()), schema=INPUT_SCHEMA)
    try:
        inputs = pa.concat_tables([listed, *tables], promote_options="default")
    except pa.ArrowException as error:
        raise ConfigError(f"the tables have columns of different types ({error}). Make them alike") from error
    if not len(inputs):
        raise ConfigError("there is nothing to answer: the tables have no rows. Give at least one sound")
    return inputs


def _input(name: str, path: str, error: Any = None) -> dict[str, Any]:
    failure = {"error": error.code, "message": valid_unicode(str(error))} if error else {}
    return {"path": valid_unicode(name), "location": _absolute(path), **failure}


def _absolute(path: str) -> bytes:
    """The bytes of a path that holds in another folder and another process; a URI as it is."""
    return os.fsencode(path if stores.is_uri(path) else os.path.abspath(path))  # noqa: PTH100 - keeps links


def _in_store(uri: str) -> list[str]:
    try:
        found = stores.sounds_below(uri)
    except OSError as error:
        raise ConfigError(f"{uri} cannot be listed: {error}. Check its name and the permissions") from error
    if not found:
        raise ConfigError(
            f"there is no sound at {uri}: nothing there matches, or ends in .wav, .mp3 or the like"
        )
    return found


# Tables of paths


def _read_table(location: str, taken: list[str]) -> pa.Table:
    """The inputs that a table lists. Its columns are not called like those of the rows, which are `taken`."""
    try:
        table = _READERS[PurePath(location).suffix.lower()](stores.read(location))
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{location} cannot be read as a table: {reason}. Mend it, or name a sound"
        ) from error
    column = next((name for name in _PATH_COLUMNS if name in table.column_names), None)
    if column is None:
        close = get_close_matches("path", table.column_names, n=1)
        advice = f"Rename {close[0]!r}" if close else "Call the column of paths so"
        raise ConfigError(f"{location} has no column 'path', only {', '.join(table.column_names)}. {advice}")
    names = [
        "path" if name == column else f"input_{name}" if name in taken else name
        for name in table.column_names
    ]
    if repeated := [name for name, n in Counter(names).items() if n > 1]:
        raise ConfigError(f"{location} has several columns {repeated[0]!r}. Give each its own name")
    given = [_text_of(value) for value in table[column].to_pylist()]
    base = location.rpartition("/")[0] if stores.is_uri(location) else os.path.dirname(location)  # noqa: PTH120
    rows = [{"path": valid_unicode(path), "location": _below(base, path)} for path in given]
    inputs = pa.Table.from_pylist(rows, schema=INPUT_SCHEMA)
    for name, column_of_table in zip(names, table.columns, strict=True):
        if name != "path":
            inputs = inputs.append_column(name, column_of_table)
    return inputs


def _text_of(value: Any) -> str:
    """A path, which a CSV gives as bytes; of a table with types it may be anything."""
    return os.fsdecode(value) if isinstance(value, bytes) else "" if value is None else str(value)


def _below(base: str, path: str) -> bytes:
    if not path:
        return b""
    if stores.is_uri(path):
        return os.fsencode(path)
    if not stores.is_uri(base):
        return _absolute(os.path.join(base, path))  # noqa: PTH118
    scheme, _, folder = base.partition("://")
    return os.fsencode(f"{scheme}://{posixpath.normpath(f'{folder}/{path}')}")


def _from_csv(data: bytes, delimiter: str = ",") -> pa.Table:
    """Every column is text as it stands, so that 007 stays 007. Paths may be any bytes."""
    header = next(
        csv.reader(io.StringIO(data[: 1 << 20].decode("utf-8-sig", "replace")), delimiter=delimiter), []
    )
    types = {name: pa.binary() if name in _PATH_COLUMNS else pa.string() for name in header}
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=types),
    )


_READERS: Final[dict[str, Callable[[bytes], pa.Table]]] = {
    ".csv": _from_csv,
    ".tsv": lambda data: _from_csv(data, "\t"),
    ".parquet": lambda data: parquet.read_table(pa.BufferReader(data)),
    ".jsonl": lambda data: arrow_json.read_json(pa.BufferReader(data)),
    ".ndjson": lambda data: arrow_json.read_json(pa.BufferReader(data)),
}
