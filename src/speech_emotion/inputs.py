"""The sounds that arguments name. In: files, folders and wildcards that no shell expanded. Out: paths, in order."""

import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from speech_emotion.audio import AUDIO_SUFFIXES
from speech_emotion.errors import AudioNotFoundError, AudioTooLargeError, SpeechEmotionError

MAX_HELD_BYTES: Final = 64 * 2**20  # of a stream in memory; more of it goes to a temporary file


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
def spooled(stream: BinaryIO, name: str, max_bytes: int) -> Iterator[BinaryIO]:
    """A file that can be read from any place, with what comes from `stream` until its end.

    Raises:
        AudioTooLargeError: It has more than `max_bytes`.
    """
    with tempfile.SpooledTemporaryFile(MAX_HELD_BYTES) as file:
        n_bytes = 0
        while block := stream.read(2**20):
            n_bytes += len(block)
            if n_bytes > max_bytes:
                raise AudioTooLargeError(
                    f"{name} may have {max_bytes // 2**30} GiB and has more; save the sound to a file first"
                )
            file.write(block)
        file.seek(0)
        yield cast("BinaryIO", file)


def _in_folder(folder: str) -> Iterator[NamedSource]:
    """Everything below `folder` with the suffix of a sound, sorted. Links to folders are not followed."""
    unreadable: list[OSError] = []
    found = [
        os.path.join(parent, name)  # noqa: PTH118 - keeps the folder as it was given
        for parent, folders, names in os.walk(folder, onerror=unreadable.append)
        for name in names
        if is_sound(name) and not _is_hidden(parent[len(folder) :])
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
    n_plain = _n_plain(parts)
    base = Path(*parts[:n_plain])
    try:
        matches = base.glob(str(Path(*parts[n_plain:])))
        found = sorted(
            str(path)
            for path in matches
            if not path.is_dir() and _is_wanted(str(path.relative_to(base)), parts[-1])
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


def split_pattern(pattern: str) -> tuple[str, str]:
    """The folder that `pattern` begins with, and the rest from its first wildcard on, which is "" without any."""
    parts = pattern.split("/")
    n_plain = _n_plain(parts)
    return "/".join(parts[:n_plain]), "/".join(parts[n_plain:])


def is_match(name: str, pattern: str) -> bool:
    """Whether wildcards take the file `name` of a store, as they take one on a disk. Both are below a folder."""
    return _is_wanted(name, pattern.rpartition("/")[2]) and _fits(name.split("/"), pattern.split("/"))


def _n_plain(parts: Sequence[str]) -> int:
    return next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_fits(names[n:], parts[1:]) for n in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _is_wanted(name: str, last: str) -> bool:
    """Nothing that is hidden, and only sounds, unless `last`, the end of the pattern, names another suffix."""
    takes_all = "." in last and not glob.has_magic(Path(last).suffix)
    return not _is_hidden(name) and (takes_all or is_sound(Path(name).name))


def is_sound(name: str) -> bool:
    """Whether a file called so is taken from a folder."""
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in Path(path).parts)
