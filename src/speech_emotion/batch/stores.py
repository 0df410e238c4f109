"""Files on disks and in object stores. In: a path, or a URI as s3://bucket/key. Out: listings, bytes, sounds.

Object stores are reached through pyarrow.fs, with credentials from the environment only: what AWS, Google and Azure
document for their own command lines.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Protocol

from pyarrow import fs

from speech_emotion.errors import AudioNotFoundError, ConfigError
from speech_emotion.files import locked, read_regular_file, write_atomically
from speech_emotion.inputs import is_match, is_sound, split_pattern, spooled

SCHEMES: Final = ("s3", "gs", "az")
_PATIENCE: Final = timedelta(minutes=1)  # with a store that does not answer; Google's client would try for 15
_AZURE_SECRETS: Final = {"account_key": "AZURE_STORAGE_KEY", "sas_token": "AZURE_STORAGE_SAS_TOKEN"}
MAX_BYTES: Final = 4 * 2**30  # of a sound in an object store, and of a table of inputs


def is_uri(location: str) -> bool:
    """Whether `location` is in an object store."""
    scheme, is_there, _ = location.partition("://")
    if is_there and scheme not in SCHEMES and "/" not in scheme:
        raise ConfigError(
            f"{location}: object stores are {'://, '.join(SCHEMES)}://. Copy it to one, or to a disk"
        )
    return bool(is_there) and scheme in SCHEMES


class Folder(Protocol):
    """Where a batch keeps its files. Each is there whole or not at all."""

    def sizes(self) -> dict[str, int]:
        """The files, by their names below the folder, and their sizes in bytes."""

    def read(self, name: str) -> bytes:
        """The bytes of a file; FileNotFoundError if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file; OSError if that cannot be done."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep the folder to this process, as far as the store has locks."""


class LocalFolder:
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def sizes(self) -> dict[str, int]:
        """The files, by their names below the folder, and their sizes; files that are being written are left out."""
        found = (path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in found}

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and its folders."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)

    def locked(self) -> AbstractContextManager[None]:
        """Wait until no other process works in the folder, then keep it to this one."""
        return locked(self.path / "_batch" / "batch.json")


class BucketFolder:
    """A prefix in an object store, where an object appears once all of it has arrived."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._system, self._prefix = _at(self._uri)

    def __str__(self) -> str:
        return self._uri

    def sizes(self) -> dict[str, int]:
        """The objects, by their names below the prefix, and their sizes."""
        found = _listed(self._system, self._prefix)
        return {str(PurePosixPath(info.path).relative_to(self._prefix)): info.size for info in found}

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        with self._system.open_input_stream(f"{self._prefix}/{name}") as stream:
            data: bytes = stream.read()
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""
        with self._system.open_output_stream(f"{self._prefix}/{name}") as stream:
            stream.write(data)

    def locked(self) -> AbstractContextManager[None]:
        """Nothing: stores have no locks. Two batches at once would write the same objects twice."""
        return nullcontext()


def folder(location: str | os.PathLike[str]) -> Folder:
    """The folder at a path or a URI; it need not exist."""
    text = os.fspath(location)
    return BucketFolder(text) if is_uri(text) else LocalFolder(Path(text))


def read(location: str) -> bytes:
    """The bytes of a file or an object.

    Raises:
        OSError: There is none, or it cannot be read.
        ValueError: It is larger than `MAX_BYTES`.
    """
    if not is_uri(location):
        return read_regular_file(Path(location), MAX_BYTES)
    system, path = _at(location)
    with system.open_input_stream(path) as stream:
        data: bytes = stream.read()
    return data


def sounds_below(uri: str) -> list[str]:
    """The URIs of the sounds in an object store, sorted.

    They are the object `uri` itself, or all below it that are called like sounds, or those that its wildcards match.

    Raises:
        OSError: It cannot be listed.
        ConfigError: It names no bucket.
    """
    scheme, _, path = uri.partition("://")
    folder, pattern = split_pattern(path.rstrip("/"))
    system, base = _at(f"{scheme}://{folder}")  # refuses wildcards in the name of the bucket
    if system.get_file_info(path).type == fs.FileType.File:
        return [uri]
    names = sorted(info.path for info in _listed(system, base))
    if pattern:
        names = [name for name in names if is_match(name[len(base) + 1 :], pattern)]
    else:
        names = [name for name in names if is_sound(PurePosixPath(name).name)]
    return [f"{scheme}://{name}" for name in names]


def opened(location: str) -> AbstractContextManager[str | BinaryIO]:
    """What the reader takes: the path of a local file, or the content of an object, read once from start to end."""
    return _fetched(location) if is_uri(location) else nullcontext(location)


@contextmanager
def _fetched(uri: str) -> Iterator[BinaryIO]:
    try:
        system, path = _at(uri)
        with system.open_input_stream(path) as stream, spooled(stream, uri, MAX_BYTES) as file:
            yield file
    except OSError as error:
        reason = "there is no such object" if error.errno == errno.ENOENT else error
        raise AudioNotFoundError(
            f"cannot read {uri}: {reason}. Check its name and the permissions"
        ) from error


def _listed(system: Any, path: str) -> list[Any]:
    selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
    return [info for info in system.get_file_info(selector) if info.type == fs.FileType.File]


def _at(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it: bucket/key."""
    scheme, _, path = uri.partition("://")
    if not path.strip("/"):
        raise ConfigError(f"{uri}: names no bucket. Give it as {scheme}://BUCKET/FOLDER")
    return _system(scheme), path


@cache
def _system(scheme: str) -> Any:
    if scheme == "s3":
        return fs.S3FileSystem(endpoint_override=os.environ.get("AWS_ENDPOINT_URL"))
    if scheme == "gs":
        is_emulator = "CLOUD_STORAGE_EMULATOR_ENDPOINT" in os.environ
        return fs.GcsFileSystem(anonymous=is_emulator, retry_time_limit=_PATIENCE)
    account = os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise ConfigError("az:// needs the name of the storage account. Set AZURE_STORAGE_ACCOUNT")
    given = {name: os.environ.get(variable) for name, variable in _AZURE_SECRETS.items()}
    return fs.AzureFileSystem(account, **{name: value for name, value in given.items() if value})
