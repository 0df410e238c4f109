"""Which inputs arguments and tables name, and what is carried through."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from speech_emotion.batch.manifest import list_inputs
from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError


@pytest.fixture
def listed(classifier: Classifier):  # type: ignore[no-untyped-def]
    """The inputs of arguments, as rows."""
    return lambda *arguments: list_inputs(map(str, arguments), classifier.info).to_pylist()


def test_files_folders_and_wildcards_each_sound_once(calls: Path, listed) -> None:  # type: ignore[no-untyped-def]
    rows = listed("calls/02.wav", "calls", "calls/more/*.wav", "none.wav")
    assert [row["path"] for row in rows] == [
        "calls/02.wav",
        *(f"calls/{n:02d}.wav" for n in (0, 4, 6, 8, 10, 12, 14)),
        "calls/cut.wav",
        *(f"calls/more/{n:02d}.wav" for n in range(1, 16, 2)),
        *("calls/text.wav", "none.wav"),
    ]
    assert rows[0]["location"] == os.fsencode(calls / "02.wav")  # holds in another folder


def test_a_folder_without_sounds_is_a_row(tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    (row,) = listed(tmp_path)
    assert (row["path"], row["error"]) == (str(tmp_path), "audio_not_found")


TABLE = [{"path": "a.wav", "id": "007", "label": "x"}, {"path": "/b.wav", "id": "", "label": "y"}]


def write(path: Path) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(TABLE), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in TABLE))
    else:
        rows = [list(TABLE[0]), *(list(row.values()) for row in TABLE)]
        path.write_text("".join(("\t" if path.suffix == ".tsv" else ",").join(row) + "\n" for row in rows))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_a_table_names_sounds_and_its_columns_are_kept(suffix: str, tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    table = tmp_path / f"calls.{suffix}"
    write(table)
    nothing = {"error": None, "message": None}
    assert listed(table) == [
        {"path": "a.wav", "location": bytes(tmp_path / "a.wav"), "id": "007", "input_label": "x", **nothing},
        {"path": "/b.wav", "location": b"/b.wav", "id": "", "input_label": "y", **nothing},
    ]


def test_tables_and_files_together(tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "calls.csv")
    Path(tmp_path / "more.csv").write_text('file,note\n"c\nd.wav",hello\ns3://bucket/e.wav,\n,\n')
    rows = listed(tmp_path / "calls.csv", "x.wav", tmp_path / "more.csv")
    assert [(row["path"], row["id"], row["note"]) for row in rows] == [
        ("x.wav", None, None),
        ("a.wav", "007", None),
        ("/b.wav", "", None),
        ("c\nd.wav", None, "hello"),
        ("s3://bucket/e.wav", None, ""),
        ("", None, ""),
    ]
    assert [row["location"] for row in rows[-2:]] == [b"s3://bucket/e.wav", b""]


def test_paths_of_a_csv_may_be_any_bytes(tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfpath\n\xff.wav\n")
    (row,) = listed(tmp_path / "t.csv")
    assert (row["path"], row["location"]) == ("\\udcff.wav", bytes(tmp_path) + b"/\xff.wav")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a table"),
        (b"path,id\na.wav\n", "cannot be read as a table"),
        (b"paths,id\na.wav,1\n", "has no column 'path', only paths, id. Rename 'paths'"),
        (b"path,id,id\na.wav,1,2\n", "has several columns 'id'"),
        (b"path\n", "the tables have no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(content: bytes, message: str, tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        listed(tmp_path / "t.csv")


def test_a_table_that_is_not_there_is_refused(tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="No such file"):
        listed(tmp_path / "t.csv")


def test_another_scheme_is_refused(listed) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="object stores are s3://, gs://, az://"):
        listed("https://example.org/a.wav")


def test_tables_that_do_not_agree_are_refused(tmp_path: Path, listed) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("path,id\na.wav,1\n")
    (tmp_path / "b.jsonl").write_text('{"path": "b.wav", "id": 1}\n')
    with pytest.raises(ConfigError, match="columns of different types"):
        listed(tmp_path / "a.csv", tmp_path / "b.jsonl")
