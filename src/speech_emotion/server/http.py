"""Whole sounds over HTTP. In: the bytes of a sound as the body of a POST, or as the one file of a form. Out: JSON.

The content decides what a sound is, whatever its headers claim. The client sets no limit: bytes and seconds are
counted while they come, receiving and scoring have an end, and when too many sounds wait, the next one is told to try
again.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from speech_emotion import shipped
from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioDecodeError, AudioTooLargeError, ConfigError, SpeechEmotionError
from speech_emotion.server import origins as allowed
from speech_emotion.server.scheduling import TURN_SECONDS, Cores, n_cores
from speech_emotion.server.scoring import ANSWERS, Answer, Settings, answered_by, turns

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one request may cost.

    Attributes:
        max_body_bytes: The largest body.
        body_seconds: The longest time until all of it has come.
        max_seconds: The longest time until its answer is ready. A server that stops waits as long.
        max_waiting: How many requests may be received or wait at once.
        audio: The largest sound once decoded.
    """

    max_body_bytes: int = 25 * 2**20
    body_seconds: float = 20.0
    max_seconds: float = 28.0
    max_waiting: int = 16
    audio: Limits = field(default=Limits(max_seconds=600.0, max_decoded_bytes=256 * 2**20))


REST_LIMITS: Final = RestLimits()


class _RefusedError(Exception):
    """A refusal: its HTTP status, and a `code`, that of an error or a word of docs/live.md."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def routes(
    classifier: Classifier, limits: RestLimits, origins: Collection[str], cores: Cores
) -> "list[Route]":
    """`/models` and a route for each of `ANSWERS`, for pages of this host and of `origins` and for programs."""
    from starlette.routing import Route

    sounds = _Sounds(classifier, limits, origins, cores)
    return [
        Route("/models", partial(_list_models, classifier)),
        *(Route(path, partial(sounds.respond, answer), methods=["POST"]) for path, answer in ANSWERS.items()),
    ]


async def _list_models(classifier: Classifier, _: "Request") -> "Response":
    """Name the model that answers, and those that a server can be started with."""
    from starlette.responses import JSONResponse

    listed = [{"name": one.name, "purpose": one.purpose, "default": one.is_default} for one in shipped.MODELS]
    return JSONResponse({"shipped": listed, **answered_by(classifier)})


class _Sounds:
    """All requests with whole sounds: which are answered, how many at once, and how long each may take."""

    def __init__(
        self, classifier: Classifier, limits: RestLimits, origins: Collection[str], cores: Cores
    ) -> None:
        self._classifier, self._limits, self._origins, self._cores = classifier, limits, origins, cores
        # So many sounds at a time: if all that wait took turns, all of them would be late.
        self._slots = asyncio.Semaphore(n_cores())
        self._n_waiting = 0

    async def respond(self, answer: Answer, request: "Request") -> "Response":
        """Answer one request, or say why not."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        try:
            return Response(await self._content(answer, request), media_type="application/json")
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone
        except _RefusedError as error:
            headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else None
            return JSONResponse(_refusal(error.code, error), error.status, headers)
        except SpeechEmotionError as error:
            return JSONResponse(_refusal(error.code, error), _status(error))

    async def _content(self, answer: Answer, request: "Request") -> bytes:
        """The answer to the sound in the body, once there is a slot for it."""
        if not allowed.is_allowed(request, self._origins):
            raise _RefusedError(403, "origin", "pages of other hosts are not answered")
        settings = Settings.read(request.query_params)
        settings.check(self._classifier)
        if self._n_waiting >= self._limits.max_waiting:
            raise _RefusedError(503, "busy", f"too many sounds are waiting; try again in {RETRY_SECONDS} s")
        self._n_waiting += 1
        try:
            async with asyncio.timeout(self._limits.max_seconds):
                body = await self._body(request)
                async with self._slots:
                    with closing(
                        turns(
                            self._classifier,
                            answer,
                            body,
                            settings,
                            limits=self._limits.audio,
                            max_turn_seconds=TURN_SECONDS,
                        )
                    ) as scoring:
                        return await self._take(scoring, request)
        except TimeoutError as error:
            raise _RefusedError(
                503,
                "too_long",
                f"there was no answer within {self._limits.max_seconds:g} s; send a shorter sound, ask for fewer "
                "answers, or try again later",
            ) from error
        finally:
            self._n_waiting -= 1

    async def _body(self, request: "Request") -> bytes:
        """The sound that was sent: all of the body, or the one file of a form."""
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        chunks = self._chunks(request)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                if is_form:
                    return await _file_in_form(request.headers, chunks, self._limits.max_body_bytes)
                return b"".join([chunk async for chunk in chunks])
        except TimeoutError as error:
            message = f"the sound did not arrive within {self._limits.body_seconds:g} s; send it again"
            raise _RefusedError(408, "idle", message) from error

    async def _chunks(self, request: "Request") -> AsyncGenerator[bytes, None]:
        """The body as it comes, counted before it is held."""
        maximum = self._limits.max_body_bytes
        too_large = _RefusedError(
            413, "too_big", f"a sound may have {maximum} bytes; send it in parts, or as FLAC"
        )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > maximum:
            raise too_large
        n_bytes = 0
        async for chunk in request.stream():
            n_bytes += len(chunk)
            if n_bytes > maximum:
                raise too_large
            yield chunk

    async def _take(self, scoring: Iterator[float | bytes], request: "Request") -> bytes:
        """What the last turn gives. Raises ClientDisconnect once the client has hung up."""
        from starlette.requests import ClientDisconnect

        content: float | bytes = 0.0
        while not isinstance(content, bytes):
            if await request.is_disconnected():
                raise ClientDisconnect
            content = await self._cores.run(scoring.__next__)
        return content


async def _file_in_form(headers: "Headers", chunks: AsyncGenerator[bytes, None], max_bytes: int) -> bytes:
    """The content of the one file in a form, read in memory: there is never a temporary file."""
    from starlette.datastructures import UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    parser = MultiPartParser(headers, chunks, max_files=1, max_fields=0)
    parser.spool_max_size = max_bytes
    try:
        form = await parser.parse()
        file = next(iter(form.values()), None)
        if not isinstance(file, UploadFile):
            raise MultiPartException("It has no file.")
        content = await file.read()
    except MultiPartException as error:
        raise _RefusedError(
            400,
            "form",
            f"this form is not answered: {error.message} A form has one file and nothing else, as curl -F "
            "file=@clip.wav sends it; settings belong in the address. Or send the sound as the body: "
            "curl --data-binary @clip.wav",
        ) from error
    await form.close()
    return content


def _status(error: SpeechEmotionError) -> int:
    """The status of RFC 9110 for what can be wrong with a setting or a sound."""
    if isinstance(error, ConfigError):
        return 400
    if isinstance(error, AudioTooLargeError):
        return 413
    return 415 if isinstance(error, AudioDecodeError) else 422


def _refusal(code: str, error: Exception) -> dict[str, str]:
    return {"error": code, "message": str(error)}
