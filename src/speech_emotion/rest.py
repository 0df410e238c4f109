"""One answer for one sound over HTTP. In: the bytes of a sound as the body of a POST. Out: JSON.

`POST /predict` answers with the Prediction of all of it, `POST /timeline` with one a window. Whatever the body claims
to be, its content decides. No limit is left to the sender: bytes and seconds are counted while they come, waiting has
an end, and when as many sounds wait as may wait, the next one is told to come back.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from speech_emotion import __version__
from speech_emotion.audio import SAMPLE_RATE, Limits, open_audio
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioDecodeError, AudioTooLargeError, ConfigError, SpeechEmotionError
from speech_emotion.prediction import Prediction

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import Route

RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one request may cost: bytes of its body, seconds until all of it came, and of sound; how many may wait."""

    max_body_bytes: int = 25 * 2**20
    body_seconds: float = 60.0
    max_waiting: int = 16
    audio: Limits = field(default=Limits(max_seconds=600.0, max_decoded_bytes=256 * 2**20))


REST_LIMITS: Final = RestLimits()


class _RefusedError(Exception):
    """An answer that is none; `code` as in `errors`, or a word of docs/live.md."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def routes(
    classifier: Classifier, is_welcome: "Callable[[HTTPConnection], bool]", limits: RestLimits = REST_LIMITS
) -> "list[Route]":
    """`/predict` and `/timeline` for whom `is_welcome` lets in by the headers of their request."""
    from starlette.routing import Route

    rest = _Rest(classifier, is_welcome, limits)
    return [
        Route("/predict", rest.predict, methods=["POST"]),
        Route("/timeline", rest.timeline, methods=["POST"]),
    ]


class _Rest:
    def __init__(
        self, classifier: Classifier, is_welcome: "Callable[[HTTPConnection], bool]", limits: RestLimits
    ) -> None:
        self._classifier, self._is_welcome, self._limits = classifier, is_welcome, limits
        self._cores = asyncio.Semaphore(os.cpu_count() or 1)
        self._n_waiting = 0

    async def predict(self, request: "Request") -> "Response":
        return await self._respond(request, lambda windows: self._classifier.pool(windows).to_dict())

    async def timeline(self, request: "Request") -> "Response":
        return await self._respond(request, lambda windows: {"windows": [w.to_dict() for w in windows]})

    async def _respond(
        self, request: "Request", answer: Callable[[list[Prediction]], dict[str, Any]]
    ) -> "Response":
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        try:
            windows = await self._heard(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except _RefusedError as error:
            headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else None
            return JSONResponse(_complaint(error.code, error), error.status, headers)
        except SpeechEmotionError as error:
            return JSONResponse(_complaint(error.code, error), _status(error))
        info = self._classifier.info
        model = {"version": __version__, "model": info.name, "model_sha256": info.sha256}
        return JSONResponse({**answer(windows), **model})

    async def _heard(self, request: "Request") -> list[Prediction]:
        """The windows of the sound in the body, once there is room to listen."""
        if not self._is_welcome(request):
            raise _RefusedError(403, "origin", "pages of other hosts are not answered")
        hop_seconds = _hop_seconds(request.query_params)
        if self._n_waiting >= self._limits.max_waiting:
            raise _RefusedError(503, "busy", f"too many sounds are waiting; try again in {RETRY_SECONDS} s")
        self._n_waiting += 1
        try:
            body = await self._body(request)
            async with self._cores:
                return await asyncio.to_thread(self._windows, body, hop_seconds)
        finally:
            self._n_waiting -= 1

    async def _body(self, request: "Request") -> bytes:
        most = self._limits.max_body_bytes
        too_large = _RefusedError(
            413, "too_big", f"a sound may have {most} bytes; send it in parts, or as FLAC"
        )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise too_large
        except TimeoutError as error:
            message = f"the sound did not arrive within {self._limits.body_seconds:g} s; send it again"
            raise _RefusedError(408, "idle", message) from error
        return bytes(body)

    def _windows(self, body: bytes, hop_seconds: float | None) -> list[Prediction]:
        stream = self._classifier.stream(sample_rate=SAMPLE_RATE, hop_seconds=hop_seconds)
        windows: list[Prediction] = []
        with open_audio(body, limits=self._limits.audio) as audio:
            for block in audio:
                windows += stream.push(block)
            windows += stream.finish()
            return [replace(window, warnings=audio.warnings) for window in windows]


def _hop_seconds(query: Any) -> float | None:
    if unknown := sorted(query.keys() - {"hop_seconds"}):
        raise ConfigError(f"there is no setting {unknown[0][:40]!r}; the only one is hop_seconds")
    try:
        return float(query["hop_seconds"]) if "hop_seconds" in query else None
    except ValueError as error:
        raise ConfigError(
            f"hop_seconds must be a number, such as 0.5, not {query['hop_seconds'][:40]!r}"
        ) from error


def _status(error: SpeechEmotionError) -> int:
    """The status of RFC 9110 for what can be wrong with a setting or a sound."""
    if isinstance(error, ConfigError):
        return 400
    if isinstance(error, AudioTooLargeError):
        return 413
    return 415 if isinstance(error, AudioDecodeError) else 422


def _complaint(code: str, error: Exception) -> dict[str, str]:
    return {"error": code, "message": str(error)}
