"""The service: what `speech-emotion serve` puts on a port. In: a model. Out: a Starlette app with the routes of /v1.

POST /v1/predict, /v1/timeline     a sound, answered at once; a long one becomes a job
/v1/jobs                           long recordings
WS   /v1/stream                    live sound
GET  /v1/models                    the model that answers
GET  /healthz, /readyz, /metrics   for those who run it
GET  /docs, /openapi.json          the description, for people and for programs
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from speech_emotion.audio import Limits
from speech_emotion.classifier import load
from speech_emotion.cores import n_cores
from speech_emotion.extras import require
from speech_emotion.server import http, openapi, websocket
from speech_emotion.server import origins as allowed
from speech_emotion.server.bodies import ONE_FILE, Bodies, Form, Upload
from speech_emotion.server.gate import Gate
from speech_emotion.server.jobs import MAX_UNFINISHED, Jobs
from speech_emotion.server.keys import Keys
from speech_emotion.server.lanes import Lane, LaneOptions, Request, WorkerOptions
from speech_emotion.server.metrics import Metrics
from speech_emotion.server.problems import ProblemError
from speech_emotion.server.scheduling import Cores
from speech_emotion.server.scoring import ANSWERS, LongSoundError, Settings
from speech_emotion.server.websocket import LiveLimits

if TYPE_CHECKING:
    from starlette import requests
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import BaseRoute

CLIP_SECONDS: Final = 10.0  # of sound, times channels and smaller hops: the first lane
SYNC_SECONDS: Final = 60.0  # the second one; more is a job
MAX_FILES: Final = 20
MAX_WAITING: Final = 64
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What a service is started with.

    Attributes:
        model: What `load` takes.
        n_workers: How many clips are scored at once; None for as many as there are cores.
        jobs_folder: Where jobs are kept.
        keys: Who may ask; none for everybody.
        hosts: The names that the header Host may have; none for any.
        origins: Other hosts whose pages may ask and read answers.
        max_body_bytes: The largest body.
        max_seconds: The longest sound.
        body_seconds: The longest time until all of a body has come.
        answer_seconds: The longest time until an answer that is no job.
    """

    jobs_folder: Path
    model: str | None = None
    n_workers: int | None = None
    keys: Keys = field(default_factory=lambda: Keys([]))
    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    max_body_bytes: int = 25 * MIB
    max_seconds: float = 600.0
    body_seconds: float = 20.0
    answer_seconds: float = 28.0

    @property
    def audio(self) -> Limits:
        """The largest sound: 256 MiB decoded for ten minutes."""
        return Limits(
            max_seconds=self.max_seconds, max_decoded_bytes=round(256 * MIB * self.max_seconds / 600)
        )


def create_service(options: ServiceOptions) -> "Starlette":
    """Return the app, with its workers started and ended by its lifespan.

    Args:
        options: What it is started with.

    Raises:
        MissingExtraError: The extra "serve" is not installed.
        SpeechEmotionError: The model, the folder of jobs or an origin cannot be used.
    """
    for module in ("starlette", "python_multipart"):
        require(module, extra="serve", needed_for="The server")
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware

    allowed.check(options.origins)
    metrics = Metrics()
    service = _Service(options, metrics)
    readable = Middleware(
        CORSMiddleware,
        allow_origins=options.origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "X-Request-Id"],
        expose_headers=["Retry-After", "Location", "X-Request-Id"],
    )
    routes = service.routes()
    gate = Middleware(
        Gate,
        keys=options.keys,
        hosts=options.hosts,
        origins=options.origins,
        metrics=metrics,
        paths=[getattr(route, "path", "") for route in routes],
    )
    return Starlette(
        routes=routes,
        middleware=[readable, gate],
        exception_handlers={HTTPException: _as_problem},
        lifespan=service.lifespan,
    )


async def _as_problem(_: Any, error: Any) -> NoReturn:
    """No route, or no such method: the gate says it."""
    if error.status_code == 405:
        allow = error.headers["Allow"]
        raise ProblemError("method", f"use {allow}; /docs lists all addresses", allow=allow) from error
    raise ProblemError("not_found", "there is nothing at this address; /docs lists all of them") from error


class _Service:
    """The routes, and what they share."""

    def __init__(self, options: ServiceOptions, metrics: Metrics) -> None:
        self._options, self._metrics = options, metrics
        self._classifier = load(options.model)
        self._bodies = Bodies(options.max_body_bytes, options.body_seconds, 16 * options.max_body_bytes)
        worker = WorkerOptions(options.model, self._classifier.info.sha256)
        cores = options.n_workers or n_cores()
        few = max(1, cores // 2)
        wait = options.answer_seconds
        lanes = (
            LaneOptions("clips", cores, 0, CLIP_SECONDS, 60, wait, MAX_WAITING, SYNC_SECONDS),
            LaneOptions("longer", few, 5, SYNC_SECONDS, 120, wait, MAX_WAITING),
            LaneOptions("jobs", few, 10, None, 60 + round(3 * options.max_seconds), 120.0, MAX_UNFINISHED),
        )
        self._lanes = [Lane(one, worker, metrics) for one in lanes]
        self._clips, self._longer = self._lanes[:2]
        self._jobs = Jobs(options.jobs_folder, self._lanes[2], options.audio)
        self._live = websocket.Live(
            self._classifier, LiveLimits(max_connections=64, max_lag_seconds=1.0), options.origins, Cores()
        )
        metrics.watch_streams(lambda: self._live.n_connected, lambda: self._live.max_lag_seconds)

    def routes(self) -> "list[BaseRoute]":
        """All of them."""
        from starlette.routing import Route, WebSocketRoute

        description = openapi.document(self._classifier.info, self._options)
        return [
            *(Route(f"/v1{path}", partial(self._answer_sounds, path), methods=["POST"]) for path in ANSWERS),
            Route("/v1/jobs", self._add_job, methods=["POST"]),
            Route("/v1/jobs/{id}", self._show_or_delete_job, methods=["GET", "DELETE"]),
            Route("/v1/models", partial(http.list_models, self._classifier), methods=["GET"]),
            WebSocketRoute("/v1/stream", self._live.serve),
            Route("/healthz", _healthy, methods=["GET"]),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._show_metrics, methods=["GET"]),
            *openapi.routes(description),
        ]

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Run the workers."""
        self._clips.start()
        self._jobs.start()
        try:
            yield
        finally:
            await self._jobs.stop()
            await asyncio.gather(*(lane.stop() for lane in self._lanes))

    # Sounds

    async def _answer_sounds(self, path: str, request: "requests.Request") -> "Response":
        client = request.state.client
        settings = Settings.read(request.query_params)
        settings.check(self._classifier)
        self._clips.require_room(client)
        async with self._bodies.received(request, Form(MAX_FILES, has_profile=True)) as upload:
            settings = replace(settings, profile=upload.profile)
            settings.check(self._classifier)
            try:
                async with asyncio.timeout(self._options.answer_seconds):
                    return await _unless_gone(request, self._answer_upload(client, path, settings, upload))
            except TimeoutError as error:
                detail = f"there was no answer within {self._options.answer_seconds:g} s; send it to /v1/jobs"
                raise ProblemError("too_long", detail, 5) from error

    async def _answer_upload(self, client: str, path: str, settings: Settings, upload: Upload) -> "Response":
        from starlette.responses import JSONResponse, Response

        if len(upload.sounds) == 1:
            ((_, body),) = upload.sounds
            try:
                content = await self._score(client, path, settings, body)
            except LongSoundError:
                return await self._accept(client, path, settings, body)
            return Response(content, media_type="application/json")
        answers = [
            {"name": name} | await self._answer_one_of_several(client, path, settings, body)
            for name, body in upload.sounds
        ]
        return JSONResponse({"answers": answers})

    async def _answer_one_of_several(
        self, client: str, path: str, settings: Settings, body: bytes
    ) -> dict[str, Any]:
        """The answer, a job, or why there is neither: one bad file does not stop the rest."""
        try:
            try:
                answer: dict[str, Any] = json.loads(await self._score(client, path, settings, body))
            except LongSoundError:
                answer = {"job": (await self._jobs.add(client, path, settings, body)).document()}
        except ProblemError as error:
            self._metrics.refused(error.code)
            return {"problem": {"code": error.code, "detail": error.detail}}
        return answer

    async def _score(self, client: str, path: str, settings: Settings, body: bytes) -> bytes:
        """The answer to one sound, of the first lane that takes it. Raises LongSoundError if none does."""
        request = Request(path, settings, body, self._options.audio)
        try:
            return await self._clips.run(client, request)
        except LongSoundError as error:
            if error.work_seconds > SYNC_SECONDS:
                raise
            return await self._longer.run(client, request)

    # Jobs

    async def _accept(self, client: str, path: str, settings: Settings, body: bytes) -> "Response":
        from starlette.responses import JSONResponse

        job = await self._jobs.add(client, path, settings, body)
        document = job.document()
        return JSONResponse(document, 202, {"Location": document["url"], "Retry-After": "1"})

    async def _add_job(self, request: "requests.Request") -> "Response":
        query = dict(request.query_params)
        path = f"/{query.pop('task', 'predict')}"
        if path not in ANSWERS:
            names = " or ".join(name.removeprefix("/") for name in ANSWERS)
            raise ProblemError("config", f"task must be {names}, not {path[1:40]!r}")
        settings = Settings.read(query)
        settings.check(self._classifier)
        async with self._bodies.received(request, replace(ONE_FILE, has_profile=True)) as upload:
            settings = replace(settings, profile=upload.profile)
            settings.check(self._classifier)
            ((_, body),) = upload.sounds
            if not body:
                raise ProblemError("audio_decode", "the body is empty; send the bytes of a sound")
            return await self._accept(request.state.client, path, settings, body)

    async def _show_or_delete_job(self, request: "requests.Request") -> "Response":
        from starlette.responses import JSONResponse, Response

        client, name = request.state.client, request.path_params["id"]
        if request.method == "DELETE":
            await self._jobs.delete(client, name)
            return Response(status_code=204)
        job = self._jobs.find(client, name)
        return JSONResponse(job.document(), headers={} if job.finished else {"Retry-After": "1"})

    # For those who run it

    async def _ready(self, _: "requests.Request") -> "Response":
        from starlette.responses import JSONResponse

        if not self._clips.is_ready:
            raise ProblemError("busy", "no worker is ready yet; try again later", 1)
        return JSONResponse({"status": "ready", "model": self._classifier.info.name})

    async def _show_metrics(self, _: "requests.Request") -> "Response":
        from starlette.responses import Response

        content, media_type = self._metrics.text()
        return Response(content, media_type=media_type)


async def _healthy(_: "requests.Request") -> "Response":
    from starlette.responses import JSONResponse

    return JSONResponse({"status": "ok"})


async def _unless_gone(request: "requests.Request", answering: "Coroutine[Any, Any, Response]") -> "Response":
    """What `answering` returns. If the client hangs up first, it is given up."""
    from starlette.requests import ClientDisconnect

    work = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _gone(request: "requests.Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
