"""Whole sounds over HTTP. In: the bytes of a sound as the body of a POST, or as the one file of a form. Out: JSON.

The content decides what a sound is, whatever its headers claim. The client sets no limit: bytes and seconds are
counted while they come, receiving and scoring have an end, and when too many sounds wait, the next one is told to try
again.
"""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from speech_emotion import shipped
from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier
from speech_emotion.cores import n_cores
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.server import origins as allowed
from speech_emotion.server.bodies import Bodies, require_connected
from speech_emotion.server.problems import ProblemError, from_error
from speech_emotion.server.scheduling import TURN_SECONDS, Cores
from speech_emotion.server.scoring import ANSWERS, Answer, Bounds, Settings, answered_by, turns

if TYPE_CHECKING:
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


def routes(
    classifier: Classifier, limits: RestLimits, origins: Collection[str], cores: Cores
) -> "list[Route]":
    """`/models` and a route for each of `ANSWERS`, for pages of this host and of `origins` and for programs."""
    from starlette.routing import Route

    sounds = _Sounds(classifier, limits, origins, cores)
    return [
        Route("/models", partial(list_models, classifier)),
        *(Route(path, partial(sounds.respond, answer), methods=["POST"]) for path, answer in ANSWERS.items()),
    ]


async def list_models(classifier: Classifier, _: "Request") -> "Response":
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
        self._bodies = Bodies(limits.max_body_bytes, limits.body_seconds)

    async def respond(self, answer: Answer, request: "Request") -> "Response":
        """Answer one request, or say why not."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        try:
            return Response(await self._content(answer, request), media_type="application/json")
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone
        except ProblemError as error:
            return JSONResponse(_refusal(error), error.status, error.headers)
        except SpeechEmotionError as error:
            return JSONResponse(_refusal(error), from_error(error).status)

    async def _content(self, answer: Answer, request: "Request") -> bytes:
        """The answer to the sound in the body, once there is a slot for it."""
        if not allowed.is_allowed(request, self._origins):
            raise ProblemError("origin", "pages of other hosts are not answered")
        settings = Settings.read(request.query_params)
        settings.check(self._classifier)
        if self._n_waiting >= self._limits.max_waiting:
            message = f"too many sounds are waiting; try again in {RETRY_SECONDS} s"
            raise ProblemError("busy", message, RETRY_SECONDS)
        self._n_waiting += 1
        try:
            async with asyncio.timeout(self._limits.max_seconds):
                async with self._bodies.received(request) as upload, self._slots:
                    ((_, body),) = upload.sounds
                    with closing(
                        turns(
                            self._classifier,
                            answer,
                            body,
                            settings,
                            Bounds(self._limits.audio, max_turn_seconds=TURN_SECONDS),
                        )
                    ) as scoring:
                        return await self._take(scoring, request)
        except TimeoutError as error:
            raise ProblemError(
                "too_long",
                f"there was no answer within {self._limits.max_seconds:g} s; send a shorter sound, ask for fewer "
                "answers, or try again later",
                RETRY_SECONDS,
            ) from error
        finally:
            self._n_waiting -= 1

    async def _take(self, scoring: Iterator[float | bytes], request: "Request") -> bytes:
        """What the last turn gives. Raises ClientDisconnect once the client has hung up."""
        content: float | bytes = 0.0
        while not isinstance(content, bytes):
            await require_connected(request)
            content = await self._cores.run(scoring.__next__)
        return content


def _refusal(error: ProblemError | SpeechEmotionError) -> dict[str, str]:
    message = error.detail if isinstance(error, ProblemError) else str(error)
    return {"error": error.code, "message": message}
