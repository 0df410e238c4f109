"""One answer for one sound over HTTP. In: the bytes of a sound as the body of a POST. Out: JSON.

`POST /predict` answers with the Prediction of all of it, `POST /timeline` with one a window. Whatever the body claims
to be, its content decides. No limit is left to the sender: bytes and seconds are counted while they come, waiting and
listening have an end, and when as many sounds wait as may wait, the next one is told to come back.

Whatever is heard over the network, here and in server.py, takes turns on the cores, a tenth of a second of sound each.
"""

import asyncio
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from speech_emotion.audio import SAMPLE_RATE, Limits, open_audio
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioDecodeError, AudioTooLargeError, ConfigError, SpeechEmotionError
from speech_emotion.model_info import ModelInfo
from speech_emotion.prediction import Prediction
from speech_emotion.version import __version__

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import Route

RETRY_SECONDS: Final = 5
MIN_HOP_SECONDS: Final = 0.25  # over the network, where one pays for what another asks
TURN_SECONDS: Final = 0.1  # of sound, what a live message has: so long one keeps a core while others wait

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one request may cost: bytes of its body, and of sound; how many may wait.

    body_seconds: until all of it came. max_seconds: until its answer is ready; a server that stops waits as long.
    """

    max_body_bytes: int = 25 * 2**20
    body_seconds: float = 20.0
    max_seconds: float = 28.0
    max_waiting: int = 16
    audio: Limits = field(default=Limits(max_seconds=600.0, max_decoded_bytes=256 * 2**20))


REST_LIMITS: Final = RestLimits()


class _RefusedError(Exception):
    """An answer that is none; `code` as in `errors`, or a word of docs/live.md."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


async def on_a_core(cores: asyncio.Semaphore, work: Callable[..., T], *arguments: Any) -> T:
    """`work(*arguments)` in a thread, once one of `cores` is free; first come, first served.

    It keeps the core until the thread is done, even if nobody waits for it any more: threads cannot be cancelled.
    """
    async with cores:
        done = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        try:
            return await asyncio.shield(done)
        finally:
            while not done.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([done])


def check_hop(info: ModelInfo, hop_seconds: Any) -> None:
    """ConfigError unless `hop_seconds` is None, or a number that may be asked for over the network."""
    if hop_seconds is None:
        return
    is_number = isinstance(hop_seconds, int | float) and not isinstance(hop_seconds, bool)
    if not is_number or not MIN_HOP_SECONDS <= hop_seconds <= info.window_seconds:
        raise ConfigError(
            f"hop_seconds, how often an answer is given, must be {MIN_HOP_SECONDS:g} to {info.window_seconds:g} s over "
            f"the network, not {hop_seconds!r:.40}. Pass for example 0.5, or leave it out for the model's "
            f"{info.hop_seconds:g} s"
        )


def routes(
    classifier: Classifier,
    is_welcome: "Callable[[HTTPConnection], bool]",
    cores: asyncio.Semaphore,
    limits: RestLimits = REST_LIMITS,
) -> "list[Route]":
    """`/predict` and `/timeline` for whom `is_welcome` lets in by the headers of their request."""
    from starlette.routing import Route

    rest = _Rest(classifier, is_welcome, cores, limits)
    return [
        Route("/predict", rest.predict, methods=["POST"]),
        Route("/timeline", rest.timeline, methods=["POST"]),
    ]


class _Rest:
    def __init__(
        self,
        classifier: Classifier,
        is_welcome: "Callable[[HTTPConnection], bool]",
        cores: asyncio.Semaphore,
        limits: RestLimits,
    ) -> None:
        self._classifier, self._is_welcome, self._cores, self._limits = classifier, is_welcome, cores, limits
        # So many sounds at a time: if all that wait took turns, all of them would be late.
        self._listening = asyncio.Semaphore(os.cpu_count() or 1)
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
            return Response(await self._content(request, answer), media_type="application/json")
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except _RefusedError as error:
            headers = {"Retry-After": str(RETRY_SECONDS)} if error.status == 503 else None
            return JSONResponse(_complaint(error.code, error), error.status, headers)
        except SpeechEmotionError as error:
            return JSONResponse(_complaint(error.code, error), _status(error))

    async def _content(
        self, request: "Request", answer: Callable[[list[Prediction]], dict[str, Any]]
    ) -> bytes:
        """The answer to the sound in the body, once there is room to listen."""
        if not self._is_welcome(request):
            raise _RefusedError(403, "origin", "pages of other hosts are not answered")
        hop_seconds = _hop_seconds(request.query_params)
        check_hop(self._classifier.info, hop_seconds)
        if self._n_waiting >= self._limits.max_waiting:
            raise _RefusedError(503, "busy", f"too many sounds are waiting; try again in {RETRY_SECONDS} s")
        self._n_waiting += 1
        try:
            async with asyncio.timeout(self._limits.max_seconds):
                body = await self._body(request)
                async with self._listening:
                    with closing(self._turns(body, hop_seconds, answer)) as turns:
                        return await self._listen(request, turns)
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

    async def _listen(self, request: "Request", turns: "Iterator[bytes | None]") -> bytes:
        """What the last of `turns` gives. ClientDisconnect, once the one who asked has hung up."""
        from starlette.requests import ClientDisconnect

        content = None
        while content is None:
            if await request.is_disconnected():
                raise ClientDisconnect
            content = await on_a_core(self._cores, turns.__next__)
        return content

    def _turns(
        self, body: bytes, hop_seconds: float | None, answer: Callable[[list[Prediction]], dict[str, Any]]
    ) -> Generator[bytes | None, None, None]:
        """Hear `body`, TURN_SECONDS of it a turn, each None; the last one gives the answer as JSON."""
        stream = self._classifier.stream(sample_rate=SAMPLE_RATE, hop_seconds=hop_seconds)
        windows: list[Prediction] = []
        step = round(TURN_SECONDS * SAMPLE_RATE)
        with open_audio(body, limits=self._limits.audio) as audio:
            for block in audio:
                for start in range(0, len(block), step):
                    windows += stream.push(block[start : start + step])
                    yield None
            windows += stream.finish()
            windows = [replace(window, warnings=audio.warnings) for window in windows]
        info = self._classifier.info
        model = {"version": __version__, "model": info.name, "model_sha256": info.sha256}
        yield json.dumps({**answer(windows), **model}, allow_nan=False, separators=(",", ":")).encode()


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
