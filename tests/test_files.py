"""Files: whole or refused, and one process at a time."""

import errno
import json
import os
from pathlib import Path

import pytest

from speech_emotion.errors import ConfigError
from speech_emotion.files import (
    DamagedFileError,
    FileTooLargeError,
    read_regular_file,
    read_sealed_json,
    write_atomically,
    write_sealed_json,
    writing,
)

BODY = {"name": "ä", "scores": [0.1 + 0.2, None, True], "nested": {"b": 1, "a": 2}}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x": b"old"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(path, b"data")
    assert os.read(reader, 9) == b"data"
    os.close(reader)
    assert path.is_fifo()


def test_sealed_json_comes_back_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_sealed_json(path, BODY)
    assert read_sealed_json(path) == BODY
    text = json.loads(path.read_text(encoding="utf-8"))
    assert {key: text[key] for key in BODY} == BODY


def test_of_sealed_json_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_sealed_json(path, BODY)
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            assert read_sealed_json(path) == BODY
        except DamagedFileError:
            continue
        assert whole[position : position + 1] in b" \n4"  # between two values, or the same number


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"3", b"null", b'{"a": 1}', b'{"sha256": 1}', b"[" * 100_000, b"\xff\xfe\0"]
)
def test_other_files_are_no_sealed_json(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="it is"):
        read_sealed_json(path)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sealed_json(tmp_path / "x.json")


def test_what_the_system_refuses_becomes_an_error_with_a_next_step(tmp_path: Path) -> None:
    said = r"out: cannot be written \(No space left.*Free some space"
    with pytest.raises(ConfigError, match=said), writing(tmp_path / "out", ConfigError):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BrokenPipeError), writing(tmp_path / "out", ConfigError):
        raise BrokenPipeError


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_and_a_device_are_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe or a device"):
            read_regular_file(path, 9)
    with pytest.raises(IsADirectoryError):
        read_regular_file(tmp_path, 9)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"123456789")
    assert read_regular_file(path, 9) == b"123456789"
    (tmp_path / "link").symlink_to(path)
    assert read_regular_file(tmp_path / "link", 9) == b"123456789"
    with pytest.raises(FileTooLargeError, match="larger than 8 bytes"):
        read_regular_file(path, 8)
    os.truncate(path, 2**40)
    with pytest.raises(FileTooLargeError):
        read_regular_file(path, 2**30)
