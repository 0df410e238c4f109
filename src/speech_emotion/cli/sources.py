"""What the verbs read: the file of a path, or for `-` a sound from stdin. `Progress` tells how much of it was read."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from speech_emotion.errors import AudioNotFoundError

if TYPE_CHECKING:
    from speech_emotion.inputs import NamedSource

STDIN: Final = "-"
MAX_STDIN_BYTES: Final = 4 * 2**30


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file of that path, or for `-` what comes from stdin until its end."""
    from speech_emotion.audio import open_file
    from speech_emotion.inputs import spooled

    if path != STDIN:
        with open_file(path) as file:
            yield file
        return
    if sys.stdin is None:
        raise AudioNotFoundError("stdin is closed; pipe a sound into it, or name a file")
    with spooled(sys.stdin.buffer, "stdin", MAX_STDIN_BYTES) as file:
        yield file


class Progress:
    """How many bytes of all sounds have been read.

    Args:
        sounds: All that will be read, one after another.
        on_bytes: Is called with the bytes that were read and those of all sounds; None for no one to tell.
    """

    def __init__(self, sounds: "Sequence[NamedSource]", on_bytes: Callable[[int, int], None] | None) -> None:
        self._on_bytes = on_bytes
        self._n_before = 0
        self._n_total = sum(_size(sound.path) for sound in sounds) if on_bytes else 0
        self._tell(0)

    @contextmanager
    def of(self, file: BinaryIO, path: str) -> Iterator[BinaryIO]:
        """`file` of that path, the reading of which is told."""
        if self._on_bytes is None:
            yield file
            return
        n_bytes = file.seek(0, os.SEEK_END)
        self._n_total += n_bytes - _size(path)  # now also known of stdin
        file.seek(0)
        yield cast("BinaryIO", _Watched(file, self._tell))
        self._tell(n_bytes)
        self._n_before += n_bytes

    def _tell(self, n_bytes: int) -> None:
        if self._on_bytes:
            self._on_bytes(self._n_before + n_bytes, self._n_total)


class _Watched:
    """A file that tells how far it has been read. A look at its end before does not count as the way there."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell, self._n_read = file, tell, 0

    def read(self, n_bytes: int = -1, /) -> bytes:
        data = self._file.read(n_bytes)
        self._n_read += len(data)
        self._tell(min(self._file.tell(), self._n_read))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _size(path: str) -> int:
    """The size of a file; 0 for what is none."""
    try:
        return Path(path).stat().st_size if path != STDIN else 0
    except (OSError, ValueError):
        return 0
