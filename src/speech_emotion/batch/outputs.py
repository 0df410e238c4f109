"""Rows as files. In: a table. Out: its bytes as Parquet, CSV or JSON Lines.

A new format is one function, and its line in `ENCODERS`.
"""

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from speech_emotion.text import guard, printable


def to_parquet(rows: pa.Table) -> bytes:
    """One Parquet file."""
    out = pa.BufferOutputStream()
    parquet.write_table(rows, out, compression="zstd")
    data: bytes = out.getvalue().to_pybytes()
    return data


def from_parquet(data: bytes) -> pa.Table:
    """The table of a Parquet file."""
    return parquet.read_table(pa.BufferReader(data))


def to_csv(rows: pa.Table) -> bytes:
    """One table with a header. Text is escaped for spreadsheets and terminals."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([guard(printable(name)) for name in rows.column_names])
    for row in rows.to_pylist():
        writer.writerow([guard(printable(cell)) if isinstance(cell, str) else cell for cell in row.values()])
    return out.getvalue().encode()


def to_json_lines(rows: pa.Table) -> bytes:
    """One object per line, with every column."""
    lines = (json.dumps(_finite(row), ensure_ascii=False, default=str) for row in rows.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN, which a column of the inputs may hold."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


ENCODERS: Final[dict[str, Callable[[pa.Table], bytes]]] = {
    "parquet": to_parquet,
    "csv": to_csv,
    "jsonl": to_json_lines,
}
