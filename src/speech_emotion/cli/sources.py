"""The sounds that arguments name: files, folders, wildcards that no shell expanded, and `-` for stdin.

`Progress` tells how much of them has been read.
"""

import glob
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from speech_emotion.errors import AudioNotFoundError, AudioTooLargeError, SpeechEmotionError

STDIN: Final = "-"
MAX_STDIN_BYTES: Final = 4 * 2**30
MAX_HELD_BYTES: Final = 64 * 2**20  # of stdin in memory; more of it goes to a temporary file


class NamedSource(NamedTuple):
    """A sound as outputs name it, its path, and why there is none."""

    name: str
    path: str
    error: SpeechEmotionError | None = None


def expand(arguments: Sequence[str]) -> Iterator[NamedSource]:
    """The sounds of all `arguments`, in order; an argument without any is one with its error."""
    for argument in arguments:
        if os.path.isdir(argument):  # noqa: PTH112 - which also takes names that cannot be
            yield from _in_folder(argument)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            yield from _matching(argument)
        else:
            yield NamedSource(argument, argument)


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file of that path, or for `-` what comes from stdin until its end."""
    from speech_emotion.audio import open_file

    if path != STDIN:
        with open_file(path) as file:
            yield file
        return
    if sys.stdin is None:
        raise AudioNotFoundError("stdin is closed; pipe a sound into it, or name a file")
    with tempfile.SpooledTemporaryFile(MAX_HELD_BYTES) as file:
        n_bytes = 0
        while block := sys.stdin.buffer.read(2**20):
            n_bytes += len(block)
            if n_bytes > MAX_STDIN_BYTES:
                raise AudioTooLargeError(
                    f"stdin may have {MAX_STDIN_BYTES // 2**30} GiB and has more; save the sound to a file first"
                )
            file.write(block)
        file.seek(0)
        yield cast("BinaryIO", file)


class Progress:
    """How many bytes of all sounds have been read.

    Args:
        sounds: All that will be read, one after another.
        on_bytes: Is called with the bytes that were read and those of all sounds; None for no one to tell.
    """

    def __init__(self, sounds: Sequence[NamedSource], on_bytes: Callable[[int, int], None] | None) -> None:
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


def _in_folder(folder: str) -> Iterator[NamedSource]:
    """Everything below `folder` with the suffix of a sound, sorted. Links to folders are not followed."""
    unreadable: list[OSError] = []
    found = [
        os.path.join(parent, name)  # noqa: PTH118 - keeps the folder as it was given
        for parent, folders, names in os.walk(folder, onerror=unreadable.append)
        for name in names
        if _is_sound(name) and not _is_hidden(parent[len(folder) :])
    ]
    for path in sorted(found):
        yield NamedSource(path, path)
    for error in unreadable:
        name = os.fsdecode(error.filename)
        message = f"cannot list the folder {name!r}: {error.strerror}; check its permissions"
        yield NamedSource(name, name, AudioNotFoundError(message))
    if not (found or unreadable):
        message = f"there is no sound in the folder {folder!r}: no name ends in .wav, .mp3 or the like; name its files"
        yield NamedSource(folder, folder, AudioNotFoundError(message))


def _matching(pattern: str) -> Iterator[NamedSource]:
    """The files that match `pattern`, sorted; only sounds, unless it names another suffix. `**` follows no links."""
    parts = Path(pattern).parts
    n_plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:n_plain])
    takes_all = "." in parts[-1] and not glob.has_magic(Path(parts[-1]).suffix)
    try:
        matches = base.glob(str(Path(*parts[n_plain:])))
        found = sorted(
            str(path)
            for path in matches
            if not path.is_dir()
            and (takes_all or _is_sound(path.name))
            and not _is_hidden(str(path.relative_to(base)))
        )
    except (ValueError, OSError) as error:
        message = (
            f"{pattern!r} is not a pattern that can be searched: {error}; name the files or their folder"
        )
        yield NamedSource(pattern, pattern, AudioNotFoundError(message))
        return
    for path in found:
        yield NamedSource(path, path)
    if not found:
        message = f"no file matches {pattern!r}; check its name"
        yield NamedSource(pattern, pattern, AudioNotFoundError(message))


def _is_sound(name: str) -> bool:
    from speech_emotion.audio import AUDIO_SUFFIXES

    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in Path(path).parts)
