"""Sound over the network. In: a Classifier. Out: a Starlette app whose WebSocket `/stream` answers live sound.

Whole sounds are answered by the routes of http.py.

docs/live.md describes the messages and what ends a connection. One connection is one `classifier.stream`, fed in
order and off the event loop. A message is read only once the last one is answered, so who sends faster than this
machine listens is slowed down by TCP, and nothing piles up here. All who are heard take turns on the cores, so that
nobody waits for another's message. What is heard is neither kept nor logged.
"""

import asyncio
import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError, SpeechEmotionError
from speech_emotion.extras import require
from speech_emotion.prediction import Prediction
from speech_emotion.profile import SpeakerProfile
from speech_emotion.server import http
from speech_emotion.version import __version__

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

FORMATS: Final[dict[str, np.dtype[Any]]] = {"f32le": np.dtype("<f4"), "s16le": np.dtype("<i2")}
EXAMPLE: Final = '{"sample_rate": 48000, "format": "f32le"}'
LONGEST_COMPLAINT: Final = 500  # characters; some quote what was sent

# How a connection is closed: RFC 6455, section 7.4.1, and IANA's registry of WebSocket close codes
DONE, BAD_DATA, POLICY, TOO_BIG, TRY_AGAIN_LATER = 1000, 1003, 1008, 1009, 1013


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """What a server gives its connections. With the shipped model one takes 4 % of a core at two answers a second.

    max_message_bytes: 2.7 s of float samples at 48 kHz. max_message_seconds: of sound. idle_seconds: between two
    messages, and for taking an answer.
    """

    max_connections: int = 16
    max_message_bytes: int = 2**19
    max_message_seconds: float = 5.0
    idle_seconds: float = 20.0
    max_seconds: float = 2 * 3600.0


LIVE_LIMITS: Final = LiveLimits()


def create_app(
    classifier: Classifier, *, limits: LiveLimits = LIVE_LIMITS, origins: Collection[str] = ()
) -> "Starlette":
    """The routes, to be served alone or mounted under a path. MissingExtraError without the extra "serve".

    A page in a browser may connect if it came from this host, or from one of `origins`, such as
    "https://example.org". Whoever serves it sets the largest message that is read at all, uvicorn's `ws_max_size`;
    `limits.max_message_bytes` is what is taken.
    """
    require("starlette", extra="serve", needed_for="Listening over the network")
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    cores = asyncio.Semaphore(os.cpu_count() or 1)
    live = _Route(classifier, limits, origins, cores)
    whole = http.routes(classifier, live.is_welcome, cores)
    return Starlette(routes=[WebSocketRoute("/stream", live.serve), *whole])


class _RefusedError(Exception):
    """Why a connection ends before its time; `code` as in `errors`, or a word of docs/live.md."""

    def __init__(self, close_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.close_code, self.code = close_code, code


class _Route:
    """Who may connect, how many at once, and how it ends."""

    def __init__(
        self, classifier: Classifier, limits: LiveLimits, origins: Collection[str], cores: asyncio.Semaphore
    ) -> None:
        self._classifier, self._limits, self._origins, self._cores = classifier, limits, origins, cores
        self._n_connected = 0

    async def serve(self, websocket: "WebSocket") -> None:
        from starlette.websockets import WebSocketDisconnect

        if not self.is_welcome(websocket):
            await websocket.close()  # not accepted yet: the answer is HTTP 403
            return
        connection = _Connection(websocket, self._classifier, self._limits, self._cores)
        self._n_connected += 1
        try:
            await websocket.accept()
            self._check_room()
            async with asyncio.timeout(self._limits.max_seconds):
                await connection.serve()
        except WebSocketDisconnect:
            pass
        except _RefusedError as error:
            await connection.refuse(error.close_code, error.code, str(error))
        except SpeechEmotionError as error:
            await connection.refuse(BAD_DATA, error.code, str(error))
        except TimeoutError:
            message = f"a connection may last {self._limits.max_seconds:g} s; open another one"
            await connection.refuse(POLICY, "too_long", message)
        finally:
            self._n_connected -= 1

    def is_welcome(self, connection: "HTTPConnection") -> bool:
        """Whether a request comes from a page of this host, of one of `origins`, or from a program."""
        origin = connection.headers.get("origin")  # programs that are no browsers send none
        host = connection.headers.get("host", "").lower()
        return origin is None or origin in self._origins or origin.lower().partition("://")[2] == host

    def _check_room(self) -> None:
        if self._n_connected > self._limits.max_connections:
            message = (
                f"{self._limits.max_connections} are being listened to, more do not fit; try again later"
            )
            raise _RefusedError(TRY_AGAIN_LATER, "busy", message)


class _Connection:
    """One sender of sound: settings, samples, answers, the end."""

    def __init__(
        self, websocket: "WebSocket", classifier: Classifier, limits: LiveLimits, cores: asyncio.Semaphore
    ) -> None:
        self._websocket, self._classifier, self._limits, self._cores = websocket, classifier, limits, cores
        self._n_samples = 0

    async def serve(self) -> None:
        settings = _Settings.read(await self._receive())
        http.check_hop(self._classifier.info, settings.hop_seconds)
        stream = self._classifier.stream(
            sample_rate=settings.sample_rate, profile=settings.profile, hop_seconds=settings.hop_seconds
        )
        await self._send(_ready(self._classifier, settings))
        step = round(http.TURN_SECONDS * settings.sample_rate)
        while isinstance(message := await self._receive(), bytes):
            samples = _samples(message, settings.dtype)
            self._check_length(len(samples) / settings.sample_rate)
            self._n_samples += len(samples)
            for start in range(0, len(samples), step):
                turn = samples[start : start + step]
                await self._answer(await http.on_a_core(self._cores, stream.push, turn))
        _check_finish(message)
        await self._answer(await http.on_a_core(self._cores, stream.finish))
        await self._send({"type": "end", "n_samples": self._n_samples, "warnings": list(stream.warnings)})
        await self._websocket.close(DONE)

    def _check_length(self, seconds: float) -> None:
        if seconds > self._limits.max_message_seconds:
            raise _RefusedError(
                TOO_BIG,
                "too_big",
                f"a message may have {self._limits.max_message_seconds:g} s of sound, not {seconds:.1f}; send less at "
                "a time, a tenth of a second is best",
            )

    async def refuse(self, close_code: int, code: str, message: str) -> None:
        """Say why, and close."""
        from starlette.websockets import WebSocketDisconnect

        with suppress(WebSocketDisconnect, _RefusedError):  # gone already, or not listening
            await self._send({"type": "error", "code": code, "message": message[:LONGEST_COMPLAINT]})
            await self._websocket.close(close_code, code)

    async def _receive(self) -> str | bytes:
        from starlette.websockets import WebSocketDisconnect

        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                message = await self._websocket.receive()
        except TimeoutError as error:
            raise _RefusedError(
                POLICY,
                "idle",
                f"nothing came for {self._limits.idle_seconds:g} s; connect again, and send steadily",
            ) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        content: str | bytes = message["bytes"] if message.get("text") is None else message["text"]
        if len(content) > self._limits.max_message_bytes:
            raise _RefusedError(
                TOO_BIG,
                "too_big",
                f"a message may have {self._limits.max_message_bytes} bytes, not {len(content)}; send less at a time, "
                "a tenth of a second is best",
            )
        return content

    async def _answer(self, predictions: list[Prediction]) -> None:
        for prediction in predictions:
            await self._send({"type": "prediction", **prediction.to_dict(), "n_samples": self._n_samples})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                await self._websocket.send_text(json.dumps(message))  # in ASCII, which can always be sent
        except TimeoutError as error:
            raise _RefusedError(
                POLICY, "idle", "answers were not taken; connect again, and read them"
            ) from error


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the first message asks for."""

    sample_rate: int
    dtype: np.dtype[Any]
    hop_seconds: float | None
    profile: SpeakerProfile | None

    @classmethod
    def read(cls, message: str | bytes) -> Self:
        document = _read_json(message)
        if document is None:
            raise _RefusedError(
                BAD_DATA, "protocol", f"the first message must be JSON text such as {EXAMPLE}"
            )
        known = ("sample_rate", "format", "hop_seconds", "profile")
        for key in document.keys() - set(known):
            close = get_close_matches(key[:40], known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(f"there is no setting {key[:40]!a}; {advice}")
        if document.get("format") not in list(FORMATS):
            raise ConfigError(f"format must be {' or '.join(FORMATS)}; send for example {EXAMPLE}")
        profile = document.get("profile")
        return cls(
            document.get("sample_rate", 0),
            FORMATS[document["format"]],
            document.get("hop_seconds"),
            None if profile is None else SpeakerProfile.from_dict(profile),
        )


def _read_json(message: str | bytes) -> dict[str, Any] | None:
    """`message`, if it is text with a JSON object."""
    try:
        document = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _ready(classifier: Classifier, settings: _Settings) -> dict[str, Any]:
    info = classifier.info.with_hop(settings.hop_seconds)
    return {
        "type": "ready",
        "version": __version__,
        "model": info.name,
        "model_sha256": info.sha256,
        "labels": list(info.labels),
        "window_seconds": info.window_seconds,
        "hop_seconds": info.hop_seconds,
        "min_seconds": info.min_seconds,
        "profile": settings.profile is not None,
    }


def _samples(message: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The samples (n_samples,) of a binary message."""
    if len(message) % dtype.itemsize:
        raise _RefusedError(
            BAD_DATA,
            "protocol",
            f"a sample has {dtype.itemsize} bytes and {len(message)} came, which is no whole number of samples; "
            "send whole samples of one channel",
        )
    return np.frombuffer(message, dtype)


def _check_finish(message: str) -> None:
    if _read_json(message) != {"type": "finish"}:
        raise _RefusedError(
            BAD_DATA, "protocol", 'after the settings come binary samples, and at the end {"type": "finish"}'
        )
