"""Live sound over a WebSocket. In: settings as JSON, then samples. Out: predictions as JSON, then why it ended.

One connection is one `classifier.stream`, fed in order and off the event loop. The next message is read once the last
one is answered. So if a client sends faster than this machine scores, TCP slows it down, and nothing piles up here.
A client that sends in real time is told when its answers lag behind. While they do, nobody else may connect; if they
lag far behind, the newest connection ends, before all are late.
"""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy.typing as npt

from speech_emotion.audio import SAMPLE_FORMATS, channel_names, decode_pcm
from speech_emotion.classifier import Adapt, Classifier
from speech_emotion.errors import ConfigError, InvalidWaveformError, SpeechEmotionError
from speech_emotion.model_info import MIN_NETWORK_HOP_SECONDS, ModelInfo
from speech_emotion.prediction import Prediction
from speech_emotion.profile import SpeakerProfile
from speech_emotion.server import origins as allowed
from speech_emotion.server.scheduling import TURN_SECONDS, Cores
from speech_emotion.server.scoring import MAX_SEPARATE_CHANNELS, read_adapt
from speech_emotion.version import __version__

if TYPE_CHECKING:
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

EXAMPLE: Final = '{"sample_rate": 48000, "format": "f32le"}'
MAX_MESSAGE_LENGTH: Final = 500  # characters of an error; some quote what was sent

# How a connection is closed: RFC 6455, section 7.4.1, and IANA's registry of WebSocket close codes
DONE, BAD_DATA, POLICY, TOO_BIG, TRY_AGAIN_LATER = 1000, 1003, 1008, 1009, 1013


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """What a server gives its connections. With the model compact one takes 4 % of a core at two answers per second.

    Attributes:
        max_connections: How many there may be at once.
        max_message_bytes: The largest message; 2.7 s of float samples at 48 kHz.
        max_message_seconds: The most sound in one message.
        idle_seconds: The longest wait for the next message, and for the client to read an answer.
        max_seconds: The longest connection.
        max_lag_seconds: How late the answers of any connection may be before nobody else may connect. At three times
            as much the newest connection ends.
    """

    max_connections: int = 16
    max_message_bytes: int = 2**19
    max_message_seconds: float = 5.0
    idle_seconds: float = 20.0
    max_seconds: float = 2 * 3600.0
    max_lag_seconds: float = math.inf


LIVE_LIMITS: Final = LiveLimits()
LATE_SECONDS: Final = 1.0  # a client is told
IN_TIME_SECONDS: Final = 0.5  # it is told that this is over
CAUGHT_UP_SECONDS: Final = 0.02  # who waits as long for a message has answered all that came


def route(
    classifier: Classifier, limits: LiveLimits, origins: Collection[str], cores: Cores
) -> "WebSocketRoute":
    """The route `/stream`, for pages of this host and of `origins` and for programs."""
    from starlette.routing import WebSocketRoute

    return WebSocketRoute("/stream", Live(classifier, limits, origins, cores).serve)


class _RefusedError(Exception):
    """Why a connection ends early. `code` is that of an error, or a word of docs/live.md."""

    def __init__(self, close_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.close_code, self.code = close_code, code


class Live:
    """All live connections: which may connect, how many at once, and how each one ends."""

    def __init__(
        self, classifier: Classifier, limits: LiveLimits, origins: Collection[str], cores: Cores
    ) -> None:
        self._classifier, self._limits, self._origins, self._cores = classifier, limits, origins, cores
        self._connections: dict[_Connection, str] = {}  # in the order in which they came, and whose they are
        self._shed_at = -math.inf

    @property
    def n_connected(self) -> int:
        """How many there are."""
        return len(self._connections)

    @property
    def max_lag_seconds(self) -> float:
        """How late the latest answers are."""
        return max((one.lag.seconds for one in self._connections), default=0.0)

    async def serve(self, websocket: "WebSocket") -> None:
        """Serve one connection to its end."""
        from starlette.websockets import WebSocketDisconnect

        if not allowed.is_allowed(websocket, self._origins):
            await websocket.close()  # not accepted yet: the answer is HTTP 403
            return
        connection = _Connection(websocket, self._classifier, self._limits, self._cores)
        connection.on_lag = self._shed
        try:
            await websocket.accept()
            self._check_room(websocket)
            self._connections[connection] = getattr(websocket.state, "client", "")
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
            self._connections.pop(connection, None)

    def _check_room(self, websocket: "WebSocket") -> None:
        key = getattr(websocket.state, "key", None)
        if not self._has_room(getattr(websocket.state, "client", "")):
            message = (
                f"there are {self._limits.max_connections} connections, the most possible; try again later"
            )
            raise _RefusedError(TRY_AGAIN_LATER, "busy", message)
        if key and list(self._connections.values()).count(key.name) >= key.streams:
            raise _RefusedError(
                TRY_AGAIN_LATER, "busy", f"this key may have {key.streams} streams at once; end one first"
            )
        if self.max_lag_seconds > self._limits.max_lag_seconds:
            message = "the answers of other connections are late; try again later"
            raise _RefusedError(TRY_AGAIN_LATER, "busy", message)

    def _has_room(self, client: str) -> bool:
        """Whether one more of `client` may connect. If all places are taken, the newest of the crowd makes room."""
        staying = Counter(whose for one, whose in self._connections.items() if not one.is_shed)
        if staying.total() < self._limits.max_connections:
            return True
        ((crowd, n_most),) = staying.most_common(1)
        if n_most <= staying[client] + 1:
            return False
        newest = [one for one, whose in self._connections.items() if whose == crowd and not one.is_shed][-1]
        newest.is_shed = True
        return True

    def _shed(self, lag_seconds: float) -> None:
        """Where answers are far too late, end the newest connection, unless one was just ended."""
        now, limit = time.monotonic(), 3 * self._limits.max_lag_seconds
        if lag_seconds > limit and now - self._shed_at > limit and self.n_connected > 1:
            self._shed_at = now
            next(reversed(self._connections)).is_shed = True


class _Lag:
    """How far the answers are behind the sound, as somebody who speaks would notice.

    A client that sends faster than real time is never late. Whenever the server has to wait for a message, it has
    caught up, and the time that the client was silent does not count.
    """

    def __init__(self) -> None:
        self._start = math.inf  # when the first sample was spoken
        self._position = 0.0  # seconds of sound scored
        self._waits_since = math.inf

    @property
    def seconds(self) -> float:
        """The lag now."""
        now = time.monotonic()
        has_caught_up = now - self._waits_since >= CAUGHT_UP_SECONDS
        return 0.0 if has_caught_up else max(0.0, now - self._start - self._position)

    def wait(self) -> None:
        """The next message is waited for."""
        self._waits_since = time.monotonic()

    def begin(self, seconds: float) -> None:
        """A message with `seconds` of sound came."""
        now = time.monotonic()
        if self._start == math.inf or now - self._waits_since >= CAUGHT_UP_SECONDS:
            self._start = now - self._position - seconds
        self._waits_since = math.inf

    def end(self, seconds: float) -> None:
        """It is answered."""
        self._position += seconds


class _Connection:
    """One connection: settings, samples, answers, the end."""

    def __init__(
        self, websocket: "WebSocket", classifier: Classifier, limits: LiveLimits, cores: Cores
    ) -> None:
        self._websocket, self._classifier, self._limits, self._cores = websocket, classifier, limits, cores
        self._n_samples = 0
        self.lag = _Lag()
        self.is_shed = False
        self.on_lag: Callable[[float], None] = lambda _: None
        self._told_at: float | None = None  # that answers are late

    async def serve(self) -> None:
        """From the settings to the end."""
        settings = _Settings.read(await self._receive())
        info = self._classifier.info.with_hop(settings.hop_seconds, minimum=MIN_NETWORK_HOP_SECONDS)
        stream = self._classifier.stream(
            sample_rate=settings.sample_rate,
            profile=settings.profile,
            adapt=settings.adapt,
            hop_seconds=settings.hop_seconds,
            channels=settings.channels,
        )
        await self._send(_ready(info, settings))
        step = round(TURN_SECONDS * settings.sample_rate)
        while isinstance(message := await self._receive(), bytes):
            if self.is_shed:
                raise _RefusedError(
                    TRY_AGAIN_LATER, "busy", "the server needs this place for others; connect again later"
                )
            samples = _samples(message, settings)
            seconds = len(samples) / settings.sample_rate
            self._check_length(seconds)
            self.lag.begin(seconds)
            self._n_samples += len(samples)
            for start in range(0, len(samples), step):
                turn = samples[start : start + step]
                await self._answer(await self._cores.run(stream.push, turn))
            self.lag.end(seconds)
            await self._tell_lag()
        _check_finish(message)
        await self._answer(await self._cores.run(stream.finish))
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

    async def _tell_lag(self) -> None:
        """Say that answers are late, at most once a second, and when they no longer are."""
        seconds, now = self.lag.seconds, time.monotonic()
        self.on_lag(seconds)
        if seconds >= LATE_SECONDS and (self._told_at is None or now - self._told_at >= 1.0):
            self._told_at = now
            await self._send({"type": "lag", "seconds": round(seconds, 2)})
        elif seconds < IN_TIME_SECONDS and self._told_at is not None:
            self._told_at = None
            await self._send({"type": "lag", "seconds": 0.0})

    async def refuse(self, close_code: int, code: str, message: str) -> None:
        """Send the reason, and close."""
        from starlette.websockets import WebSocketDisconnect

        with suppress(WebSocketDisconnect, _RefusedError, RuntimeError):  # gone already, or not reading
            await self._send({"type": "error", "code": code, "message": message[:MAX_MESSAGE_LENGTH]})
            await self._websocket.close(close_code, code)

    async def _receive(self) -> str | bytes:
        from starlette.websockets import WebSocketDisconnect

        try:
            self.lag.wait()
            async with asyncio.timeout(self._limits.idle_seconds):
                message = await self._websocket.receive()
        except TimeoutError as error:
            raise _RefusedError(
                POLICY,
                "idle",
                f"no message came for {self._limits.idle_seconds:g} s; connect again, and send steadily",
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
        from starlette.websockets import WebSocketDisconnect

        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                await self._websocket.send_text(json.dumps(message))  # in ASCII, which can always be sent
        except TimeoutError as error:
            raise _RefusedError(
                POLICY, "idle", "the answers were not read; connect again, and read them"
            ) from error
        except RuntimeError as error:  # after a frame that no WebSocket has, uvicorn has closed it already
            raise WebSocketDisconnect(1006) from error


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the first message sets."""

    sample_rate: int
    sample_format: str
    hop_seconds: float | None
    profile: SpeakerProfile | None
    channels: Literal["mix", "separate"]
    n_channels: int
    adapt: Adapt | None

    @classmethod
    def read(cls, message: str | bytes) -> Self:
        document = _read_json(message)
        if document is None:
            raise _RefusedError(
                BAD_DATA, "protocol", f"the first message must be JSON text such as {EXAMPLE}"
            )
        known = ("sample_rate", "format", "hop_seconds", "profile", "channels", "n_channels", "adapt")
        for key in document.keys() - set(known):
            close = get_close_matches(key[:40], known, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(f"there is no setting {key[:40]!a}; {advice}")
        if document.get("format") not in list(SAMPLE_FORMATS):
            raise ConfigError(f"format must be {' or '.join(SAMPLE_FORMATS)}; send for example {EXAMPLE}")
        profile, channels = document.get("profile"), document.get("channels", "mix")
        if channels not in ("mix", "separate"):
            raise ConfigError(f"channels must be mix or separate, not {channels!r:.40}")
        n_channels = document.get("n_channels", 2 if channels == "separate" else 1)
        if type(n_channels) is not int or not 1 <= n_channels <= MAX_SEPARATE_CHANNELS:
            raise ConfigError(f"n_channels must be 1 to {MAX_SEPARATE_CHANNELS}, not {n_channels!r:.40}")
        return cls(
            document.get("sample_rate", 0),
            document["format"],
            document.get("hop_seconds"),
            None if profile is None else SpeakerProfile.from_dict(profile),
            channels,
            n_channels,
            read_adapt(document.get("adapt")),
        )


def _read_json(message: str | bytes) -> dict[str, Any] | None:
    """`message`, if it is text with a JSON object."""
    try:
        document = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _ready(info: ModelInfo, settings: _Settings) -> dict[str, Any]:
    names = {"channels": channel_names(settings.n_channels)} if settings.channels == "separate" else {}
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
        **names,
    }


def _samples(message: bytes, settings: _Settings) -> npt.NDArray[Any]:
    """The samples (n_samples, n_channels) of a binary message."""
    try:
        samples = decode_pcm(message, settings.sample_format)
        if len(samples) % settings.n_channels:
            raise InvalidWaveformError(
                f"{len(samples)} samples came, which are no whole number for each of {settings.n_channels} channels; "
                "send all channels of a moment in one message"
            )
        return samples.reshape(-1, settings.n_channels)
    except InvalidWaveformError as error:  # half a sample
        raise _RefusedError(BAD_DATA, "protocol", str(error)) from error


def _check_finish(message: str) -> None:
    if _read_json(message) != {"type": "finish"}:
        raise _RefusedError(
            BAD_DATA, "protocol", 'after the settings come binary samples, and at the end {"type": "finish"}'
        )
