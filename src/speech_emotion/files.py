"""Folders that are whole or refused. In: a working folder of finished files. Out: it, sealed and in place.

A sealed folder carries `manifest.json` with the size and sha256 of every file beside it, and its own. The
manifest is written last and the folder takes its name in one step, so that `kill -9`, a full disk or a
flipped byte leaves the old folder, the new folder, or one that `read` refuses; never half of one.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from speech_emotion.errors import CorpusError

MANIFEST: Final = "manifest.json"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """The sha256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def seal(folder: Path, facts: Mapping[str, Any]) -> None:
    """Force every file of `folder` to the disk, then write the manifest: `facts` and the files' checksums."""
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    manifest = {**facts, "files": files}
    manifest["manifest_sha256"] = digest(manifest)
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def read(folder: Path, *, schema: int, verify: bool) -> dict[str, Any]:
    """The manifest of a sealed folder whose files agree with it: in size, or with `verify` in every byte."""
    manifest = _parse(folder / MANIFEST)
    if manifest.get("schema") != schema:
        raise CorpusError(
            f"{folder} has form {manifest.get('schema')}; this version reads form {schema}. Prepare it again."
        )
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != expected["bytes"]:
            raise CorpusError(f"{path} is missing or cut: its manifest says otherwise. Prepare it again.")
        if verify and sha256(path) != expected["sha256"]:
            raise CorpusError(f"{path} is damaged: its checksum is not the manifest's. Prepare it again.")
    return manifest


def _parse(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path.parent} is not prepared: it has no {path.name}. Prepare it first."
        ) from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({error}). Prepare it again.") from error
    if not isinstance(manifest, dict) or manifest.pop("manifest_sha256", None) != digest(manifest):
        raise CorpusError(f"{path} is damaged: it does not match its own checksum. Prepare it again.")
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


def working(final: Path) -> Path:
    """Where `final` is made, beside it. Work that was stopped stays there, for the next run to take up or to clear."""
    return final.with_name(f".{final.name}.partial")


def empty(folder: Path) -> Path:
    """`folder`, there and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all; to a device or a pipe, just write."""
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


def join(parts: Sequence[Path], array: Path, *, dtype: str, shape: tuple[int, ...]) -> None:
    """Copy raw files into one `.npy`. Not through a memory map: there a full disk ends in SIGBUS, not an error."""
    with array.open("wb") as out:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)


def _sync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # Windows has no folder to flush
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(final: Path) -> Iterator[None]:
    """Translate what the system refuses while `final` is made."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        next_step = "Free some space" if error.errno == errno.ENOSPC else "Make sure that it can be written"
        raise CorpusError(
            f"Preparing {final} stopped ({reason}). {next_step} and run it again: it goes on from there."
        ) from error


@contextlib.contextmanager
def locked(final: Path) -> Iterator[None]:
    """Wait until nobody else makes `final`. The system itself drops the lock of a process that dies."""
    path = final.with_name(f".{final.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
