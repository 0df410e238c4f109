"""A table of clips. In: a CSV file with path, label, speaker and fold. Out: its rows."""

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from speech_emotion.errors import ConfigError
from speech_emotion.files import digest

SPLITS: Final = ("train", "validation", "test")
MAX_TABLE_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a clip, its speaker and its fold."""

    path: str  # with forward slashes
    label: str
    speaker: str
    fold: str


def read_table(path: str | os.PathLike[str]) -> tuple[Row, ...]:
    """The rows of a CSV file in UTF-8, with a BOM or without, divided by commas, semicolons or tabs.

    ConfigError if a column or a value is missing, or if there are fewer than two folds.
    """
    text = _text_of(Path(path))
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}, is not CSV ({error}). Save it as CSV.") from error
    names = [name.strip().lower() for name in lines[0][1]] if lines else []
    columns = _columns(names, path)
    rows = tuple(_row(cells, columns, f"{path}, line {number}") for number, cells in lines[1:])
    if len({row.fold for row in rows}) < 2:
        raise ConfigError(f"{path} must have rows of two folds or more; there is nothing to keep apart.")
    return rows


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Name a CSV file.") from error
    if len(data) > MAX_TABLE_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_TABLE_BYTES >> 20} MiB. Name a table, not a recording."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error.reason}). Save it as CSV in UTF-8.") from error


def _columns(names: Sequence[str], path: str | os.PathLike[str]) -> dict[str, int]:
    """Where each field of a Row stands; `split` may stand in for `fold`."""
    divided = [name for name in ("fold", "split") if name in names]
    wanted = ["path", "label", "speaker", *divided]
    if len(divided) != 1 or any(names.count(name) != 1 for name in wanted):
        raise ConfigError(
            f"{path} must begin with the names of its columns: path, label, speaker, and either fold or split, "
            f"each once; got {', '.join(names) or 'nothing'}. Add or rename them in its first line."
        )
    return {name: names.index(name) for name in wanted}


def _row(cells: Sequence[str], columns: Mapping[str, int], where: str) -> Row:
    if len(cells) <= max(columns.values()):
        raise ConfigError(f"{where} has {len(cells)} cells, fewer than the first line. Complete it.")
    values = {name: cells[column].strip() for name, column in columns.items()}
    if missing := [name for name, value in values.items() if not value]:
        raise ConfigError(f"{where} has no {missing[0]}. Complete it.")
    if "split" in values:
        values["fold"] = values.pop("split").lower()
        if values["fold"] not in SPLITS:
            raise ConfigError(
                f"{where}: split is {values['fold']!r}, expected {', '.join(SPLITS)}. Rename it."
            )
    path = str(PurePosixPath(values.pop("path").replace("\\", "/")))
    return Row(path, **values)


def table_sha256(rows: Iterable[Row]) -> str:
    """The sha256 of a table, whatever the order of its rows and the form of its file."""
    return digest(sorted([row.path, row.label, row.speaker, row.fold] for row in rows))


def by_fold(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each fold; fold 2 comes before fold 10."""
    folds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        folds[row.fold].append(row)
    return {fold: folds[fold] for fold in sorted(folds, key=lambda fold: (len(fold), fold))}


def spread(rows: Iterable[Row], key: Callable[[Row], str]) -> tuple[str, ...]:
    """The values of `key` in two folds or more with their rows, the widest spread first."""
    folds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        folds[key(row)][row.fold] += 1
    spread = sorted((-len(n), -n.total(), value, n) for value, n in folds.items() if len(n) > 1)
    return tuple(
        f"{value}: {', '.join(f'{n} in {fold}' for fold, n in sorted(counts.items()))}"
        for _, _, value, counts in spread
    )
