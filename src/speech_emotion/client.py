"""A client of `speech-emotion serve`. In: a sound, the address of a server. Out: the same Predictions as in Python.

`Client` and `AsyncClient` have the verbs of a `Classifier`. A busy server is asked again after the time that it names;
a long sound becomes a job, which they wait for. Errors are those of the package, or a ServiceError.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from speech_emotion import errors
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.extras import require
from speech_emotion.prediction import Prediction
from speech_emotion.profile import SpeakerProfile

if TYPE_CHECKING:
    import httpx
    import numpy.typing as npt

URL: Final = "http://127.0.0.1:8000"
Sound = str | os.PathLike[str] | bytes | BinaryIO
RETRY_STATUSES: Final = (429, 503)
_OUR_ERRORS: Final = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SpeechEmotionError) and kind.code != "model"
}


class ServiceError(SpeechEmotionError):
    """The server refused, or did not answer as it should.

    Attributes:
        code: The stable code of the problem.
        status: The HTTP status; 0 if there was no answer.
        request_id: What its log calls the request.
    """

    def __init__(self, message: str, code: str = "service", status: int = 0, request_id: str = "") -> None:
        super().__init__(message)
        self.code, self.status, self.request_id = code, status, request_id


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request to be sent."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    files: Any = None


_Step = _Ask | float  # something to send, or seconds to wait
_Steps = Generator[_Step, "httpx.Response | None", Any]


class _Base:
    """What both clients share: the conversation, without sending anything."""

    def __init__(
        self,
        url: str = URL,
        *,
        key: str | None = None,
        timeout_seconds: float = 60.0,
        wait_seconds: float = 600.0,
    ) -> None:
        """
        Args:
            url: Where the server is.
            key: Its key for this client, if it wants one.
            timeout_seconds: The longest time for one request.
            wait_seconds: The longest time for an answer, with all requests repeated and jobs waited for.
        """
        require("httpx", extra="client", needed_for="The client")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._timeout, self._wait_seconds = url.rstrip("/"), timeout_seconds, wait_seconds

    def _score(
        self, path: str, source: Sound, profile: SpeakerProfile | None, settings: dict[str, Any]
    ) -> _Steps:
        """Send a sound; wait for its job, if it becomes one."""
        files = [("file", ("sound", _read(source)))]
        if profile is not None:
            files.append(("profile", ("profile.json", json.dumps(profile.to_dict()).encode())))
        params = {name: value for name, value in settings.items() if value is not None}
        until = time.monotonic() + self._wait_seconds
        response = yield from self._ask(_Ask("POST", path, params, files), until)
        if response.status_code != 202:
            return response.json()
        while True:
            job = response.json()
            if job["status"] == "COMPLETED":
                return job["result"]
            if job["status"] == "FAILED":
                raise _error(job["problem"], 200)
            yield from _pause(response, until)
            response = yield from self._ask(_Ask("GET", job["url"]), until)

    def _ask(self, ask: _Ask, until: float) -> "Generator[_Step, httpx.Response | None, httpx.Response]":
        """Send a request until it is answered."""
        while True:
            response = yield ask
            assert response is not None  # noqa: S101 - for the type checker: `ask` is no pause
            if response.status_code < 400:
                return response
            if response.status_code not in RETRY_STATUSES or "Retry-After" not in response.headers:
                raise _refusal(response)
            yield from _pause(response, until)

    def _socket_url(self) -> str:
        return f"ws{self._url.removeprefix('http')}/v1/stream"


def _pause(response: "httpx.Response", until: float) -> "Generator[_Step, httpx.Response | None, None]":
    seconds = float(response.headers.get("Retry-After", "1"))
    if time.monotonic() + seconds > until:
        raise (
            _refusal(response)
            if response.status_code >= 400
            else ServiceError("the job is not done yet; wait longer with wait_seconds", "too_long")
        )
    yield seconds


def _refusal(response: "httpx.Response") -> SpeechEmotionError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    return _error(problem if isinstance(problem, dict) else {}, response.status_code)


def _error(problem: Mapping[str, Any], status: int) -> SpeechEmotionError:
    code = problem.get("code", "service")
    message = problem.get("detail", f"the server answered with status {status}; is this its address?")
    if code in _OUR_ERRORS:
        return _OUR_ERRORS[code](message)
    return ServiceError(message, code, status, problem.get("request_id", ""))


def _read(source: Sound) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise errors.AudioNotFoundError(
                f"cannot read {str(source)!r}: {error.strerror}. Check the path"
            ) from error
    return source.read()


def _prediction(document: Mapping[str, Any]) -> Prediction:
    return Prediction(
        document["probabilities"],
        document["start_seconds"],
        document["end_seconds"],
        document["abstained"],
        tuple(document["warnings"]),
        tuple(document["emotions"]),
        document.get("channel"),
    )


def _predicted(document: Mapping[str, Any]) -> Prediction | tuple[Prediction, ...]:
    """One answer; one per channel; or one per segment."""
    several = document.get("channels") or document.get("segments")
    return tuple(map(_prediction, several)) if several else _prediction(document)


class Client(_Base):
    """Ask a server.

    Examples:
        >>> client = Client("http://127.0.0.1:8000")
        >>> client.predict("hello.wav")
        Prediction(happy 0.82, 0.00–3.42 s)
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __init__(self, url: str = URL, **options: Any) -> None:
        super().__init__(url, **options)
        import httpx

        self._http = httpx.Client(base_url=self._url, headers=self._headers, timeout=self._timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self, source: Sound, *, profile: SpeakerProfile | None = None, **settings: Any
    ) -> Prediction | tuple[Prediction, ...]:
        """One answer for a whole sound.

        Args:
            source: A path, the bytes of a file, or an open binary file.
            profile: The speaker's profile; None for any speaker.
            **settings: `track`, `channels`, `segments`, as in the address of the route.

        Returns:
            A prediction; with `channels="separate"` or `segments` a tuple of them.

        Raises:
            SpeechEmotionError: The sound cannot be used; a ServiceError if the server refuses for another reason.
        """
        return _predicted(self._run(self._score("/v1/predict", source, profile, settings)))

    def timeline(
        self, source: Sound, *, profile: SpeakerProfile | None = None, **settings: Any
    ) -> list[Prediction]:
        """One answer per window.

        Args:
            source: As for `predict`.
            profile: The speaker's profile; None for any speaker.
            **settings: `hop_seconds`, `track`, `channels`.

        Raises:
            SpeechEmotionError: As for `predict`.
        """
        document = self._run(self._score("/v1/timeline", source, profile, settings))
        return [_prediction(window) for window in document["windows"]]

    @contextmanager
    def stream(self, sample_rate: int, **settings: Any) -> Iterator["ClientStream"]:
        """Live sound, in a `with` statement.

        Args:
            sample_rate: Of the chunks, in Hz.
            **settings: `hop_seconds`, `channels`, `n_channels`, `profile` as in docs/live.md.

        Raises:
            ServiceError: The server refuses.
        """
        require("websockets", extra="client", needed_for="A stream")
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        try:
            with connect(self._socket_url(), additional_headers=self._headers) as line:
                yield ClientStream(line, {"sample_rate": sample_rate, "format": "f32le", **settings})
        except InvalidStatus as error:
            raise _denied(error) from error

    def _run(self, steps: _Steps) -> Any:
        """Send what the conversation wants to be sent."""
        response: httpx.Response | None = None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as end:
                return end.value
            if isinstance(step, _Ask):
                with _translated():
                    response = self._http.request(
                        step.method, step.path, params=step.params, files=step.files
                    )
            else:
                time.sleep(step)
                response = None


class AsyncClient(_Base):
    """The same for asyncio: `await client.predict(…)`, `async with client.stream(…)`."""

    def __init__(self, url: str = URL, **options: Any) -> None:
        super().__init__(url, **options)
        import httpx

        self._http = httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=self._timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self, source: Sound, *, profile: SpeakerProfile | None = None, **settings: Any
    ) -> Prediction | tuple[Prediction, ...]:
        """As `Client.predict`."""
        return _predicted(await self._run(self._score("/v1/predict", source, profile, settings)))

    async def timeline(
        self, source: Sound, *, profile: SpeakerProfile | None = None, **settings: Any
    ) -> list[Prediction]:
        """As `Client.timeline`."""
        document = await self._run(self._score("/v1/timeline", source, profile, settings))
        return [_prediction(window) for window in document["windows"]]

    @asynccontextmanager
    async def stream(self, sample_rate: int, **settings: Any) -> AsyncIterator["AsyncClientStream"]:
        """As `Client.stream`, in an `async with` statement."""
        require("websockets", extra="client", needed_for="A stream")
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus

        try:
            async with connect(self._socket_url(), additional_headers=self._headers) as line:
                settings = {"sample_rate": sample_rate, "format": "f32le", **settings}
                await line.send(json.dumps(settings))
                yield AsyncClientStream(line)
        except InvalidStatus as error:
            raise _denied(error) from error

    async def _run(self, steps: _Steps) -> Any:
        response: httpx.Response | None = None
        while True:
            try:
                step = steps.send(response)
            except StopIteration as end:
                return end.value
            if isinstance(step, _Ask):
                with _translated():
                    response = await self._http.request(
                        step.method, step.path, params=step.params, files=step.files
                    )
            else:
                await asyncio.sleep(step)
                response = None


@contextmanager
def _translated() -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        raise ServiceError(f"the server does not answer ({error}); is it running?", "no_answer") from error


def _denied(error: Any) -> SpeechEmotionError:
    try:
        problem = json.loads(error.response.body or b"{}")
    except ValueError:
        problem = {}
    return _error(problem, error.response.status_code)


class _Answers:
    """What came from a stream: predictions that nobody has taken yet, its warnings, its lag."""

    def __init__(self) -> None:
        self._found: list[Prediction] = []
        self.warnings: tuple[str, ...] = ()
        self.lag_seconds = 0.0
        self.has_ended = False

    def add(self, message: str | bytes) -> None:
        document = json.loads(message)
        match document["type"]:
            case "prediction":
                self._found.append(_prediction(document))
            case "lag":
                self.lag_seconds = document["seconds"]
            case "end":
                self.warnings, self.has_ended = tuple(document["warnings"]), True
            case "error":
                raise _error({"code": document["code"], "detail": document["message"]}, 0)

    def take(self) -> list[Prediction]:
        found, self._found = self._found, []
        return found


class _Stream:
    """What the server has said so far on a line."""

    def __init__(self, line: Any) -> None:
        self._line, self._answers = line, _Answers()

    @property
    def lag_seconds(self) -> float:
        """How late the server says its answers are."""
        return self._answers.lag_seconds

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the sound, known after `finish`."""
        return self._answers.warnings


class ClientStream(_Stream):
    """Push live sound, and take the answers that have come. Made by `Client.stream`."""

    def __init__(self, line: Any, settings: Mapping[str, Any]) -> None:
        super().__init__(line)
        line.send(json.dumps(settings))

    def push(self, samples: "npt.ArrayLike") -> list[Prediction]:
        """Send samples (n_samples,) or (n_samples, n_channels) as float with full scale at 1; answers so far.

        Raises:
            SpeechEmotionError: The server ended the stream.
        """
        self._line.send(_floats(samples))
        with suppress(TimeoutError):
            while True:
                self._answers.add(self._line.recv(timeout=0))
        return self._answers.take()

    def finish(self) -> list[Prediction]:
        """End the stream; the rest of the answers.

        Raises:
            SpeechEmotionError: The server ended the stream.
        """
        self._line.send('{"type": "finish"}')
        while not self._answers.has_ended:
            self._answers.add(self._line.recv())
        return self._answers.take()


class AsyncClientStream(_Stream):
    """The same for asyncio. Made by `AsyncClient.stream`."""

    async def push(self, samples: "npt.ArrayLike") -> list[Prediction]:
        """As `ClientStream.push`."""
        await self._line.send(_floats(samples))
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.001):
                    self._answers.add(await self._line.recv())
        return self._answers.take()

    async def finish(self) -> list[Prediction]:
        """As `ClientStream.finish`."""
        await self._line.send('{"type": "finish"}')
        while not self._answers.has_ended:
            self._answers.add(await self._line.recv())
        return self._answers.take()


def _floats(samples: "npt.ArrayLike") -> bytes:
    import numpy as np

    return np.asarray(samples, "<f4").tobytes()
