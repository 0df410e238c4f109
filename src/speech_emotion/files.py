"""Files that are whole or refused. In: bytes, JSON, arrays, a folder. Out: the same, sealed with a sha256.

Everything this package writes goes through `write_atomically`: after a crash or on a full disk, the old file is
still there or the new one is complete. What it reads back later is sealed as well, so that a flipped bit is an
error and never another number. A seal detects damage; it is not a signature.

    sealed JSON     one object with a member "sha256", the digest of all the others
    sealed folder   any files, and `manifest.json`: a sealed JSON with the size and sha256 of each of them
    sealed tensors  a .safetensors file with a sealed JSON as its metadata: see training/sealed_tensors.py

A module that keeps something translates what reading raises at its own border:

    try:
        body = read_sealed_json(path)
    except (OSError, DamagedFileError) as error:
        raise ModelFormatError(f"{path}: not a finished run ({error}). Train it to its end first.") from error
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from speech_emotion.errors import CorpusError, SpeechEmotionError

MANIFEST: Final = "manifest.json"
SEAL: Final = "sha256"  # the member of a sealed JSON that holds the digest of the others
_DO_NOT_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # Windows has no such flag and no such files


class DamagedFileError(ValueError):
    """A file is not in its sealed form, or its content is not what was written. Callers translate it."""


# Writing


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all. To a device or a pipe, just write.

    Raises:
        OSError: The disk is full, or `path` cannot be written; what was there before is unchanged.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process makes `path`, then keep it to this one.

    The lock is a file `.NAME.lock` beside `path`. The system releases the lock of a process that dies.
    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def writing(path: Path, error_class: type[SpeechEmotionError]) -> Iterator[None]:
    """Translate an OSError raised while `path` is made into `error_class`, with a next step.

    A broken pipe passes: it is the reader of the program's output that went away.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        next_step = "Free some space" if error.errno == errno.ENOSPC else "Choose a path that can be written"
        raise error_class(
            f"{path}: cannot be written ({error.strerror or error}). {next_step} and run it again: "
            "what is finished is kept."
        ) from error


# Reading


class FileTooLargeError(ValueError):
    """A file is larger than what is read of its kind. Callers translate it."""


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file that another program may have made. Never waits, and never reads more than `max_bytes`.

    Raises:
        OSError: There is no such file, it may not be read, or it is a folder, a pipe or a device.
        ValueError: The name cannot be one of a file.
        FileTooLargeError: It is larger than `max_bytes`.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _DO_NOT_WAIT)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
        data = b"" if found.st_size > max_bytes else file.read(max_bytes + 1)
    if max(found.st_size, len(data)) > max_bytes:
        raise FileTooLargeError(f"it is larger than {max_bytes} bytes")
    return data


# Checksums


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """The sha256 of a JSON value, whatever the order of its keys. Keys are text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# Sealed JSON


def write_sealed_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write `body`, an object of JSON values with text as keys, and its seal. Whole, or not at all.

    `read_sealed_json` returns an equal object, where tuples have become lists.
    """
    write_atomically(path, seal_json(body, indent=1).encode())


def read_sealed_json(path: Path) -> dict[str, Any]:
    """The object that `write_sealed_json` wrote, without its seal.

    Raises:
        OSError: The file cannot be read; FileNotFoundError if there is none.
        DamagedFileError: It is not sealed JSON, or a bit of it changed.
    """
    return unseal_json(path.read_bytes())


def seal_json(body: Mapping[str, Any], *, indent: int | None = None) -> str:
    """`body` as JSON text with its seal, for a place that is not a file of its own."""
    return json.dumps({**body, SEAL: digest(body)}, indent=indent, ensure_ascii=False)


def unseal_json(text: str | bytes) -> dict[str, Any]:
    """The object that `seal_json` was given; DamagedFileError if `text` is not what it returned."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"it is not JSON: {error}") from error
    if not isinstance(body, dict) or SEAL not in body:
        raise DamagedFileError(f"it is not a JSON object with a {SEAL}")
    if body.pop(SEAL) != digest(body):
        raise DamagedFileError("it is damaged: it does not match its own checksum")
    return body


# Sealed folders


def seal_folder(folder: Path, facts: Mapping[str, Any]) -> None:
    """Force every file of `folder` to the disk, then write the manifest: `facts` and the files' checksums.

    The manifest comes last, and `put_in_place` gives the folder its name in one step: whatever happens, there is
    the old folder, the new one, or one that `read_sealed_folder` refuses.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    write_sealed_json(folder / MANIFEST, {**facts, "files": files})


def read_sealed_folder(folder: Path, *, schema: int, verify: bool) -> dict[str, Any]:
    """The manifest of a sealed folder whose files agree with it.

    Args:
        folder: What `seal_folder` sealed.
        schema: The form of its content that the caller reads: the member "schema" of its facts.
        verify: Compare every byte (1.5 GB/s), not only the files' sizes.

    Raises:
        CorpusError: There is no such folder, it has another form, or a file is missing, cut or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = read_sealed_json(path)
    except FileNotFoundError as error:
        raise CorpusError(f"{folder} is not prepared: it has no {MANIFEST}. Prepare it first.") from error
    except (OSError, DamagedFileError) as error:
        raise CorpusError(f"{path} cannot be used ({error}). Prepare it again.") from error
    if manifest.get("schema") != schema:
        raise CorpusError(
            f"{folder} has form {manifest.get('schema')}; this version reads form {schema}. Prepare it again."
        )
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            raise CorpusError(f"{path} is missing or cut: its manifest says otherwise. Prepare it again.")
        if verify and sha256_of(path) != expected["sha256"]:
            raise CorpusError(f"{path} is damaged: its checksum is not the manifest's. Prepare it again.")
    return manifest


def put_in_place(working: Path, final: Path) -> None:
    """Give a sealed folder its final name. An older one steps aside first and is deleted after."""
    if final.exists():
        final.rename(_aside(final))
    working.rename(final)
    _sync(final.parent)
    shutil.rmtree(_aside(final), ignore_errors=True)


def recover(final: Path) -> None:
    """Take back the older folder of a `put_in_place` that was killed between its two renames."""
    if not final.exists() and _aside(final).exists():
        _aside(final).rename(final)
    shutil.rmtree(_aside(final), ignore_errors=True)


def working_folder(final: Path) -> Path:
    """Where `final` is made, beside it. What an interrupted run leaves there the next one takes up or clears."""
    return final.with_name(f".{final.name}.partial")


def empty_folder(folder: Path) -> Path:
    """Make `folder` exist and be empty; returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # Windows has no folder to flush
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
