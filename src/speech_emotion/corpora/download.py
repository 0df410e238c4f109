"""Fetch a published archive. In: a Corpus and the folder to make. Out: the folder, verified and unpacked.

    …/Audio_Speech_Actors_01-24.zip.part        the bytes so far; a later run resumes here
    …/Audio_Speech_Actors_01-24.zip.part.etag   the version of the archive that they belong to
    …/Audio_Speech_Actors_01-24.zip             complete, its checksum verified
    …/.ravdess.partial/                         becomes …/ravdess in one step

A download resumes only if the server still has the same version, by a strong ETag; the checksum decides in the end.
No member of an archive is written outside the folder.
"""

import hashlib
import http.client
import os
import re
import shutil
import stat
import struct
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from speech_emotion import files
from speech_emotion.corpora.manifest import Archive, Corpus
from speech_emotion.errors import CorpusError
from speech_emotion.parallel import Progress
from speech_emotion.version import __version__

CHUNK_BYTES: Final = 1 << 18
RETRIED_STATUSES: Final = (408, 425, 429)  # too slow, too early, too many; and all from 500
DAMAGED: Final = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError)
NAME_CONFLICTS: Final = (FileExistsError, NotADirectoryError, IsADirectoryError)
_STRONG_ETAG: Final = re.compile(r'"[!#-~]*"')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try again. An attempt that gets one percent of the archive further is not counted."""

    attempts: int = 8
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """Limits that an archive of recordings stays far below."""

    max_files: int = 20_000
    max_bytes: int = 4 * 2**30
    max_ratio: float = 100.0  # unpacked bytes per packed byte; RAVDESS has 2.8


class _CutError(Exception):
    """This attempt failed; another may succeed."""


def fetch(
    corpus: Corpus,
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    retries: Retries = Retries(),
) -> Path:
    """Download `corpus` into the new `folder`, which it returns. Does nothing if the corpus is there already.

    Raises:
        CorpusError: The corpus has no verified archive, `folder` holds something else, the server refused, or the
            archive is not the published one.
    """
    folder = Path(folder).absolute()
    if corpus.archive is None:
        raise CorpusError(f"{corpus.title} has no archive that can be verified. {corpus.how_to_get}")
    archive = folder.parent / corpus.archive.filename
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.locked(archive):
            if not _is_there(corpus, folder):
                is_ours = not archive.exists()
                download(corpus.archive, archive, progress=progress, retries=retries)
                unpack(archive, folder)
                if is_ours:
                    archive.unlink()
    except OSError as error:
        raise CorpusError(
            f"Downloading {corpus.title} stopped at {error.filename or folder}: {error.strerror or error}. "
            "Fix that and run it again to resume."
        ) from error
    return folder


def _is_there(corpus: Corpus, folder: Path) -> bool:
    """False if `folder` is absent or empty; CorpusError if it holds something else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        n_clips = len(corpus.scan(folder))
    except CorpusError:
        n_clips = 0
    if n_clips < corpus.n_clips:
        raise CorpusError(
            f"{folder} is already there, with {n_clips} of the {corpus.n_clips} clips of {corpus.title}. "
            "Name a new folder or move this one away."
        )
    return True


def download(
    archive: Archive, path: Path, *, progress: Progress | None = None, retries: Retries = Retries()
) -> None:
    """Download the published archive to `path`, resuming and retrying, and verify it."""
    if path.exists():
        verify(path, archive)
        return
    part = path.with_name(f"{path.name}.part")
    if _size(part) > archive.size_bytes:
        _forget(part)
    _require_space(path.parent, archive.size_bytes - _size(part))
    attempts_left, wait_seconds = retries.attempts, retries.first_wait_seconds
    furthest = _size(part)  # byte that any attempt reached
    while _size(part) != archive.size_bytes:
        try:
            _attempt(archive, part, progress, retries.timeout_seconds)
        except _CutError as error:
            if _size(part) - furthest >= archive.size_bytes / 100:
                attempts_left, wait_seconds = retries.attempts, retries.first_wait_seconds
                furthest = _size(part)
                continue
            attempts_left -= 1
            if not attempts_left:
                raise CorpusError(
                    f"{archive.url} could not be downloaded: {error}. Run it again later to resume at byte "
                    f"{_resumable(part)[0]}. Or download it by hand, put it at {path} and run it again."
                ) from error
            time.sleep(wait_seconds)
            wait_seconds = min(2 * wait_seconds, retries.longest_wait_seconds)
    verify(part, archive)
    part.replace(path)
    _etag_file(part).unlink(missing_ok=True)


def verify(path: Path, archive: Archive) -> None:
    """Compare size and checksum with the publication; a file that differs is renamed and refused."""
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if _size(path) == archive.size_bytes and md5 == archive.md5:
        return
    n_bytes, quarantine = _size(path), path.with_name(f"{archive.filename}.wrong")
    path.replace(quarantine)
    _etag_file(path).unlink(missing_ok=True)
    raise CorpusError(
        f"{archive.filename} is not what was published: {n_bytes} bytes with MD5 {md5}, published are "
        f"{archive.size_bytes} with {archive.md5}. It was moved to {quarantine}; run it again for a new one."
    )


def _attempt(archive: Archive, part: Path, progress: Progress | None, timeout_seconds: float) -> None:
    """Request the rest, or all, once and append it to `part`; _CutError if it does not become complete."""
    n_have, etag = _resumable(part)
    headers = {"User-Agent": f"speech-emotion/{__version__}", "Accept-Encoding": "identity"}
    if n_have:
        headers |= {"Range": f"bytes={n_have}-", "If-Range": etag}
    with _open(archive, headers, part, timeout_seconds) as response:
        answer = _answer(response)
        if answer.n_bytes not in (None, archive.size_bytes):
            raise CorpusError(
                f"{archive.url} offers {answer.n_bytes} bytes where {archive.size_bytes} are published. "
                "Look at that page in a browser: a network login, or a new version, may be in the way."
            )
        if answer.start != 0 and (answer.start, answer.etag) != (n_have, etag):
            _forget(part)
            raise _CutError("the server sent another part than the one that was asked for")
        if answer.start == 0:
            _forget(part)
            _etag_file(part).write_text(answer.etag, encoding="utf-8")
        with part.open("ab") as file:
            for chunk in _chunks(response):
                file.write(chunk)
                if file.tell() > archive.size_bytes:
                    file.truncate(0)
                    raise _CutError(f"the server sent more than the {archive.size_bytes} published bytes")
                if progress:
                    progress(file.tell(), archive.size_bytes)
            file.flush()
            os.fsync(file.fileno())
    if _size(part) < archive.size_bytes:
        raise _CutError(f"the connection ended at byte {_size(part)} of {archive.size_bytes}")


def _open(
    archive: Archive, headers: dict[str, str], part: Path, timeout_seconds: float
) -> http.client.HTTPResponse:
    request = urllib.request.Request(archive.url, headers=headers)  # noqa: S310 - from our own table
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_seconds)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(part)
        elif error.code < 500 and error.code not in RETRIED_STATUSES:
            raise CorpusError(
                f"{archive.url} answers {error.code} {error.reason}. Look at that page in a browser, download it "
                f"by hand, put it beside the folder as {archive.filename} and run it again."
            ) from error
        raise _CutError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(str(error)) from error
    return response


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(str(error)) from error


class _Answer(NamedTuple):
    """Which bytes of which version a server is about to send."""

    start: int | None  # None if it does not say
    n_bytes: int | None  # of the whole archive; None if it does not say
    etag: str


def _answer(response: http.client.HTTPResponse) -> _Answer:
    etag = _strong(response.headers.get("ETag", ""))
    if response.status == http.HTTPStatus.OK:
        return _Answer(0, _number(response.headers.get("Content-Length")), etag)
    content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != http.HTTPStatus.PARTIAL_CONTENT or content_range is None:
        return _Answer(None, None, etag)
    return _Answer(int(content_range[1]), _number(content_range[2]), etag)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _resumable(part: Path) -> tuple[int, str]:
    """How many bytes can be resumed from, and the version they belong to; (0, "") if none can."""
    try:
        etag = _strong(_etag_file(part).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        etag = ""
    return (_size(part), etag) if etag and _size(part) else (0, "")


def _strong(etag: str) -> str:
    """`etag` if it names one exact version; "" if it is weak (W/) or none."""
    return etag if _STRONG_ETAG.fullmatch(etag) else ""


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _require_space(folder: Path, n_bytes: int) -> None:
    n_free = shutil.disk_usage(folder).free
    if n_free < n_bytes:
        raise CorpusError(
            f"{folder} has {n_free / 2**20:.0f} MiB free and {n_bytes / 2**20:.0f} MiB are needed. "
            "Free some space or name a folder on another disk."
        )


def unpack(archive: Path, folder: Path, *, limits: UnpackLimits = UnpackLimits()) -> None:
    """Unpack a zip file into the new `folder`: all of it, or nothing."""
    working = files.empty_folder(files.working_folder(folder))
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _members(zipped, archive, limits)
            _require_space(folder.parent, sum(member.file_size for member in members))
            for member in members:
                _extract(zipped, member, working)
        if folder.exists():
            folder.rmdir()  # fails unless it is empty
        files.put_in_place(working, folder)
    except (*DAMAGED, *NAME_CONFLICTS) as error:
        raise CorpusError(f"{archive} was not unpacked: {error}. Delete it and download it again.") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _members(zipped: zipfile.ZipFile, archive: Path, limits: UnpackLimits) -> list[zipfile.ZipInfo]:
    """The files of an archive; BadZipFile if they break the limits or lead out of the folder."""
    members = [member for member in zipped.infolist() if not member.is_dir()]
    n_bytes = sum(member.file_size for member in members)
    if len(members) > limits.max_files or n_bytes > limits.max_bytes:
        raise zipfile.BadZipFile(f"it claims {len(members)} files with {n_bytes} bytes")
    if n_bytes > limits.max_ratio * _size(archive):
        raise zipfile.BadZipFile(f"it claims to grow {n_bytes / _size(archive):.0f} times")
    for member in members:
        _check_member(member)
        if not 0 <= member.header_offset < _size(archive):
            raise zipfile.BadZipFile(f"{member.filename!r} is said to lie outside the archive")
    if len({member.filename.lower() for member in members}) < len(members):
        raise zipfile.BadZipFile("it holds one name twice")
    return members


def _check_member(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename  # before zipfile cut it at a NUL or turned its separators
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0"):
        raise zipfile.BadZipFile(f"it holds the name {name!r}, which leads out of the folder")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise zipfile.BadZipFile(f"{name!r} is a link or a device, not a file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name!r} is packed in a way that is neither stored nor deflated")
    if member.flag_bits & 1:
        raise zipfile.BadZipFile(f"{name!r} is encrypted")


def _extract(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one file. zipfile returns no byte more than the header claims, and compares the checksum."""
    target = folder / member.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(member) as source, target.open("xb") as out:
        shutil.copyfileobj(source, out, CHUNK_BYTES)
