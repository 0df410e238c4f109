"""What a client sends. In: a request with a sound as its body, or a form with files. Out: their bytes, in memory.

Bytes are counted before they are held, and all of them must have come within a time that no client can stretch.
Nothing is written to disk.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from speech_emotion.profile import MAX_BYTES
from speech_emotion.server.problems import ProblemError

if TYPE_CHECKING:
    from starlette.datastructures import FormData, Headers
    from starlette.requests import Request

MAX_NAME: Final = 255  # characters of a file name
FROM_CURL: Final = "application/x-www-form-urlencoded"  # with -d and with --data-binary
AS_BODY: Final = "Send the sound as the body: curl --data-binary @clip.wav"


@dataclass(frozen=True, slots=True)
class Form:
    """What a form may have.

    Attributes:
        max_files: How many sounds.
        has_profile: Whether one part may be a profile, called "profile".
    """

    max_files: int = 1
    has_profile: bool = False


ONE_FILE: Final = Form()


@dataclass(frozen=True, slots=True)
class Upload:
    """What came.

    Attributes:
        sounds: Name and bytes of each sound; the body of a request has no name.
        profile: The document of a profile, if there is one.
    """

    sounds: tuple[tuple[str, bytes], ...]
    profile: dict[str, Any] | None = None


class Bodies:
    """All bodies that are held at the moment.

    Args:
        max_bytes: The largest body.
        seconds: The longest time until all of it has come.
        max_held_bytes: How much all of them may have together.
    """

    def __init__(self, max_bytes: int, seconds: float, max_held_bytes: int | None = None) -> None:
        self._max_bytes, self._seconds, self._max_held_bytes = max_bytes, seconds, max_held_bytes
        self._n_held = 0

    @asynccontextmanager
    async def received(self, request: "Request", form: Form = ONE_FILE) -> AsyncIterator[Upload]:
        """The sounds of a request, as long as they are used.

        Raises:
            ProblemError: The body is too large, too slow, or a form of another kind.
        """
        size = [0]
        try:
            yield await self._receive(request, form, size)
        finally:
            self._n_held -= size[0]

    async def _receive(self, request: "Request", form: Form, size: list[int]) -> Upload:
        content_type = request.headers.get("content-type", "").lower()
        is_form = content_type.startswith("multipart/form-data")
        chunks = self._chunks(request, size)
        try:
            async with asyncio.timeout(self._seconds):
                if is_form:
                    return await _read_form(request.headers, chunks, self._max_bytes, form)
                body = b"".join([chunk async for chunk in chunks])
        except TimeoutError as error:
            message = f"the sound did not arrive within {self._seconds:g} s; send it again"
            raise ProblemError("idle", message) from error
        if body and content_type == FROM_CURL and not any(left_out in body for left_out in b"\0\r\n"):
            raise ProblemError("form", f"curl -d leaves out zeros and line ends. {AS_BODY}")
        return Upload((("", body),))

    async def _chunks(self, request: "Request", size: list[int]) -> AsyncGenerator[bytes, None]:
        """The body as it comes, counted before it is held."""
        too_large = ProblemError(
            "too_big", f"a sound may have {self._max_bytes} bytes; send it in parts, or as FLAC"
        )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise too_large
        async for chunk in request.stream():
            size[0] += len(chunk)
            self._n_held += len(chunk)
            if size[0] > self._max_bytes:
                raise too_large
            if self._max_held_bytes is not None and self._n_held > self._max_held_bytes:
                raise ProblemError("busy", "all memory for sounds is in use; try again later", 5)
            yield chunk


async def _read_form(
    headers: "Headers", chunks: AsyncGenerator[bytes, None], max_bytes: int, form: Form
) -> Upload:
    from starlette.formparsers import MultiPartException, MultiPartParser

    class Parser(MultiPartParser):
        is_whole = False

        def on_end(self) -> None:
            self.is_whole = True

    async def whole() -> AsyncGenerator[bytes, None]:
        """The form, or an error inside of the parser, which then closes the file that has no end."""
        async for chunk in chunks:
            yield chunk
        if not parser.is_whole:
            raise MultiPartException("Its last boundary is missing.")

    n_profiles = int(form.has_profile)
    parser = Parser(headers, whole(), max_files=form.max_files + n_profiles, max_fields=n_profiles)
    parser.spool_max_size = max_bytes  # in memory: there is never a temporary file
    try:
        parts = await parser.parse()
        try:
            return await _take(parts, form)
        finally:
            await parts.close()
    except MultiPartException as error:
        raise ProblemError("form", f"this form is not answered: {error.message} {_advice(form)}") from error


def _advice(form: Form) -> str:
    if form == ONE_FILE:
        return (
            "A form has one file and nothing else, as curl -F file=@clip.wav sends it; settings belong in the "
            f"address. {AS_BODY}"
        )
    return (
        f"A form has up to {form.max_files} files and perhaps a profile: curl -F file=@clip.wav -F profile=@me.json; "
        "settings belong in the address"
    )


async def _take(parts: "FormData", form: Form) -> Upload:
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException

    sounds: list[tuple[str, bytes]] = []
    profile: dict[str, Any] | None = None
    for name, part in parts.multi_items():
        if form.has_profile and name == "profile":
            profile = _profile(await part.read() if isinstance(part, UploadFile) else part.encode())
        elif isinstance(part, UploadFile):
            sounds.append(((part.filename or "")[:MAX_NAME], await part.read()))
        else:
            raise MultiPartException("It has a field that is neither a file nor a profile.")
    if not sounds:
        raise MultiPartException("It has no file.")
    if len(sounds) > form.max_files:
        raise MultiPartException(f"Too many files. Maximum number of files is {form.max_files}.")
    return Upload(tuple(sounds), profile)


async def require_connected(request: "Request") -> None:
    """Raise ClientDisconnect once the client has hung up."""
    from starlette.requests import ClientDisconnect

    if await request.is_disconnected():
        raise ClientDisconnect


def _profile(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProblemError(
            "model",
            "the profile is not a JSON object of up to 1 MiB; send the file that `speech-emotion enrol` wrote",
        )
    return document
