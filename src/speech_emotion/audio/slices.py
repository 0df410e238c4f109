"""A part of a binary file as a file of its own. In: a file and two offsets. Out: bytes, and no exception."""

import re
import struct
from collections.abc import Iterator
from typing import Protocol

BLOCK_BYTES = 2**20
LONGEST_MATCH = 64
ENDLESS = 2**40


class SeekableFile(Protocol):
    """The part of a binary file that is needed here."""

    def read(self, n_bytes: int, /) -> bytes:
        """Up to `n_bytes` from the current position; empty at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to a position, and return it."""

    def tell(self) -> int:
        """The current position."""


class FileSlice:
    """The bytes `start` to `end` of a file, for C libraries: no exception can pass through them.

    Where reading fails it ends, and `error` says why. Bytes can be replaced on the way: `patches` maps offsets to
    bytes. An endless slice claims to go on far beyond its end, where nothing comes but, for those who look for a tag
    in its last 128 bytes, zeros.
    """

    def __init__(
        self,
        file: SeekableFile,
        start: int = 0,
        end: int | None = None,
        patches: dict[int, bytes] | None = None,
        is_endless: bool = False,
    ) -> None:
        self._file, self._start, self._patches, self.is_endless = file, start, patches or {}, is_endless
        self._errors: list[Exception] = []
        self._at = 0
        if end is None:
            end = file.seek(0, 2)
        self.n_bytes = end - start

    @property
    def error(self) -> Exception | None:
        """Why reading ended, in this slice or in another of the same file."""
        return self._errors[-1] if self._errors else None

    def slice(self, start: int, end: int | None = None) -> "FileSlice":
        """The bytes from `start` to `end` of this slice."""
        end = self.n_bytes if end is None else end
        return self._sibling(FileSlice(self._file, self._start + start, self._start + end))

    def patched(self, patches: dict[int, bytes]) -> "FileSlice":
        """This slice with other bytes at some places."""
        return self._sibling(FileSlice(self._file, self._start, self._start + self.n_bytes, patches))

    def endless(self) -> "FileSlice":
        """This slice without a visible end."""
        return self._sibling(FileSlice(self._file, self._start, self._start + self.n_bytes, is_endless=True))

    def _sibling(self, other: "FileSlice") -> "FileSlice":
        other._errors = self._errors
        return other

    def read(self, n_bytes: int, /) -> bytes:
        """Up to `n_bytes` from the current position; empty at the end, or where reading fails."""
        if self.is_endless and self._at >= ENDLESS - 128:
            data = bytes(max(0, min(n_bytes, ENDLESS - self._at)))
        else:
            data = self._read_file(min(n_bytes, self.n_bytes - self._at))
        self._at += len(data)
        return data

    def _read_file(self, n_bytes: int) -> bytes:
        if n_bytes <= 0:
            return b""
        try:
            self._file.seek(self._start + self._at)
            data = (self._file.read(n_bytes) or b"")[:n_bytes]
        except Exception as error:  # noqa: BLE001 - a caller's file may raise anything
            self._errors.append(error)
            return b""
        return _with_patches(data, self._at, self._patches) if self._patches else data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, but not to before the beginning, as decoders of damaged files try."""
        origin = (0, self._at, ENDLESS if self.is_endless else self.n_bytes)[whence]
        if origin + offset >= 0:
            self._at = origin + offset
        return self._at

    def tell(self) -> int:
        """The current position."""
        return self._at


def _with_patches(data: bytes, start: int, patches: dict[int, bytes]) -> bytes:
    for offset, patch in patches.items():
        first, last = max(offset, start), min(offset + len(patch), start + len(data))
        if first < last:
            data = data[: first - start] + patch[first - offset : last - offset] + data[last - start :]
    return data


def read_at(file: SeekableFile, offset: int, n_bytes: int) -> bytes:
    """Up to `n_bytes` from `offset`."""
    file.seek(offset)
    return file.read(n_bytes)


def number_at(file: SeekableFile, offset: int, form: str) -> int:
    """The number at `offset`, 0 where the file is too short to hold it. `form` is as in struct."""
    n_bytes = struct.calcsize(form)
    return int(struct.unpack(form, read_at(file, offset, n_bytes).ljust(n_bytes, b"\0"))[0])


def matches(file: SeekableFile, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[int]:
    """Where `pattern`, which must not match more than 64 bytes, stands between `start` and `end`."""
    while start < end:
        block = read_at(file, start, min(BLOCK_BYTES, end - start))
        is_last = start + len(block) >= end or len(block) < LONGEST_MATCH
        n_new = len(block) if is_last else len(block) - LONGEST_MATCH + 1  # the rest comes again
        yield from (start + match.start() for match in pattern.finditer(block) if match.start() < n_new)
        if is_last:
            return
        start += n_new
