"""Worker processes, and the queue before them. In: the bytes of a sound. Out: the answer, or why there is none.

A lane has workers of its own: that for clips as many as there are cores, those for longer sounds fewer, at a lower
priority of the operating system. So a short sound never waits behind a long one. A worker that dies, hangs or outgrows
its limits is replaced, and costs the one request that it worked on. If something else killed it, another worker gets
that request, once.
"""

import asyncio
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from speech_emotion.audio import Limits
from speech_emotion.server.fair import FairQueue, FullError, Ticket
from speech_emotion.server.metrics import Metrics
from speech_emotion.server.problems import ProblemError
from speech_emotion.server.scoring import LongSoundError, Settings
from speech_emotion.server.worker import HEADER, pack

COMMAND: Final = [sys.executable, "-m", "speech_emotion.server.worker"]
START_SECONDS: Final = 120.0  # a loaded machine takes long to import and to load a model
PIPE_BYTES: Final = 2**20  # so that most clips go through in one piece
MAX_ATTEMPTS: Final = (
    2  # of a request whose worker was killed from outside, perhaps by the system for its memory
)
PASSED_ON: Final = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "SYSTEMROOT",
)  # no key among them
_CRASHES: Final = {
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGILL", "SIGFPE", "SIGBUS", "SIGSYS")
    if hasattr(signal, name)
}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker is told.

    Attributes:
        model: What `load` takes.
        sha256: The digest of that model.
        memory_bytes: The largest address space.
    """

    model: str | None
    sha256: str
    memory_bytes: int = 2 * 2**30


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What a lane is for.

    Attributes:
        name: What metrics and logs call it.
        n_workers: How many sounds it scores at once.
        nice: By how much the system prefers other processes to its workers.
        max_work_seconds: The most seconds of sound, times channels and smaller hops; None for as much as there is.
        cpu_seconds: Of processor time, for one request.
        wall_seconds: Until a worker that says nothing is taken for dead.
        max_waiting: How many requests may wait.
        measured_work_seconds: How far to count the work of a sound that is too long.
    """

    name: str
    n_workers: int
    nice: int
    max_work_seconds: float | None
    cpu_seconds: int
    wall_seconds: float
    max_waiting: int
    measured_work_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A sound to be scored.

    Attributes:
        answer: A key of `ANSWERS`.
        settings: What was asked for.
        body: The bytes of the sound, or the file that has them and is read when its turn comes.
        limits: The largest sound.
        on_progress: Told the share that is done: 0 when its turn comes, then more, now and then; None if nobody asks.
    """

    answer: str
    settings: Settings
    body: bytes | Path
    limits: Limits
    on_progress: Callable[[float], None] | None = None


class Lane:
    """A queue and its workers."""

    def __init__(self, options: LaneOptions, worker: WorkerOptions, metrics: Metrics) -> None:
        self.options, self._worker, self._metrics = options, worker, metrics
        self._queue: FairQueue[Request] = FairQueue(options.max_waiting)
        self._tasks: list[asyncio.Task[None]] = []
        self._n_ready = 0
        metrics.watch_queue(options.name, lambda: len(self._queue))

    @property
    def is_ready(self) -> bool:
        """Whether a worker can score now, or is doing so."""
        return self._n_ready > 0

    def start(self) -> None:
        """Start the workers; the first request does it otherwise."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._serve()) for _ in range(self.options.n_workers)]

    async def stop(self) -> None:
        """End all workers, whatever they do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def require_room(self, client: str) -> None:
        """Refuse a request that would be refused later, before its body is read.

        Raises:
            ProblemError: "busy".
        """
        if self._queue.is_full_for(client):
            raise self._busy()

    async def run(self, client: str, request: Request) -> bytes:
        """Return the answer of a worker, once it is this request's turn.

        Raises:
            ProblemError: There is no room, the sound cannot be used, or its worker was lost.
            LongSoundError: It is work for the next lane.
        """
        self.start()
        ticket = Ticket(client, request)
        try:
            self._queue.put(ticket)
            return await ticket.answer
        except FullError as error:
            raise self._busy() from error
        finally:
            self._queue.discard(ticket)

    def _busy(self) -> ProblemError:
        seconds = math.ceil(len(self._queue) * self._queue.mean_seconds / self.options.n_workers)
        return ProblemError(
            "busy", f"{len(self._queue)} sounds are waiting; try again later", max(1, seconds)
        )

    async def _serve(self) -> None:
        """Be one worker, and its successors."""
        process: _Process | None = None
        try:
            while True:
                if process is None or process.is_gone:
                    process = await self._start_process()
                ticket = await self._next(process)
                if ticket is not None and not await self._answer(process, ticket):
                    await process.stop()
                if process.is_gone:
                    self._n_ready -= 1
                    self._metrics.worker_lost(self.options.name)
        finally:
            if process is not None:
                await process.stop()

    async def _start_process(self) -> "_Process":
        while True:
            try:
                process = await _Process.start(self._worker, self.options.nice)
            except (OSError, _NotStartedError) as error:
                _LOG.error("a worker does not start: %s", error)
                await asyncio.sleep(1)
            else:
                self._n_ready += 1
                return process

    async def _next(self, process: "_Process") -> Ticket[Request] | None:
        """The next request, or None if the process ended first."""
        coming = asyncio.ensure_future(self._queue.get())
        try:
            await asyncio.wait({coming, process.gone}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else None
        finally:
            coming.cancel()

    async def _answer(self, process: "_Process", ticket: Ticket[Request]) -> bool:
        """Have a request answered. False if the process must be replaced."""
        started = asyncio.get_running_loop().time()
        found: bytes | Exception
        is_whole = True
        if self.options.nice:  # nobody waits for a long sound any more: stop working on it
            ticket.answer.add_done_callback(lambda answer: process.kill() if answer.cancelled() else None)
        try:
            request = await _with_bytes(ticket.request)
            if request.on_progress:
                request.on_progress(0.0)
            found, seconds = await process.ask(request, self.options)
            self._metrics.scored(self.options.name, seconds)
        except (ProblemError, LongSoundError) as error:
            found = error
        except _LostError as error:
            found, is_whole = error.problem, False
        except Exception as error:  # noqa: BLE001 - the next request must not pay for it
            _LOG.exception("a mistake of the server, while a worker scored")
            detail = f"scoring failed with {type(error).__name__}; report it with the request id"
            found, is_whole = ProblemError("internal", detail), False
        self._queue.charge(ticket, asyncio.get_running_loop().time() - started)
        if not ticket.answer.done():
            self._settle(ticket, found)
        return is_whole

    def _settle(self, ticket: Ticket[Request], found: bytes | Exception) -> None:
        """Give a request its answer, or another turn if its worker was ended from outside."""
        if isinstance(found, bytes):
            ticket.answer.set_result(found)
            return
        if isinstance(found, ProblemError) and found.code == "worker_lost":
            ticket.n_attempts += 1
            if ticket.n_attempts < MAX_ATTEMPTS:
                self._queue.put_back(ticket)
                return
        ticket.answer.set_exception(found)


async def _with_bytes(request: Request) -> Request:
    """The same request with what its file has."""
    if isinstance(request.body, bytes):
        return request
    try:
        return replace(request, body=await asyncio.to_thread(request.body.read_bytes))
    except OSError as error:
        _LOG.error("the sound of a job cannot be read: %s", error.strerror)
        raise ProblemError("internal", "the sound is no longer there; send it again") from error


class _NotStartedError(Exception):
    """A worker process ended before it could score."""


class _LostError(Exception):
    """A worker process died or was killed."""

    def __init__(self, problem: ProblemError) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _Process:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.gone = asyncio.ensure_future(process.wait())

    @classmethod
    async def start(cls, worker: WorkerOptions, nice: int) -> Self:
        """Start a process, and wait until its model is loaded."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        process = cls(
            await asyncio.create_subprocess_exec(
                *COMMAND,
                json.dumps({**asdict(worker), "nice": nice}),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers itself
            )
        )
        process._widen_pipe()
        try:
            async with asyncio.timeout(START_SECONDS):
                document, _ = await process._read()
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            await process.stop()
            raise _NotStartedError(f"it ended with {process._process.returncode}") from error
        except asyncio.CancelledError:
            await process.stop()
            raise
        if document["kind"] != "ready":
            await process.stop()
            raise _NotStartedError(document["detail"])
        return process

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.gone.done()

    async def ask(self, request: Request, lane: LaneOptions) -> tuple[bytes, float]:
        """The answer of the process, and the seconds of sound in it."""
        try:
            await self._send(request, lane)
            while True:
                async with asyncio.timeout(lane.wall_seconds):
                    document, content = await self._read()
                match document["kind"]:
                    case "answer":
                        return content, document["seconds"]
                    case "long":
                        raise LongSoundError(document["work_seconds"])
                    case "problem":
                        raise ProblemError(document["code"], document["detail"])
                    case "last":  # the process ends now
                        raise _LostError(ProblemError(document["code"], document["detail"]))
                    case "progress" if request.on_progress:
                        request.on_progress(document["share"])
        except TimeoutError as error:
            await self.stop()
            detail = f"the sound was not scored within {lane.wall_seconds:g} s; send a shorter one"
            raise _LostError(ProblemError("too_long", detail)) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            await self.stop()
            raise _LostError(self._why_it_died()) from error
        except (ValueError, KeyError, TypeError) as error:  # a decoder wrote where it must not
            await self.stop()
            detail = (
                "the process that scored this sound answered with nonsense; convert it to WAV or FLAC first"
            )
            raise _LostError(ProblemError("crashed", detail)) from error

    async def _send(self, request: Request, lane: LaneOptions) -> None:
        head = {
            "answer": request.answer,
            "settings": asdict(request.settings),
            "limits": asdict(request.limits),
            "progress": request.on_progress is not None,
            "max_work_seconds": lane.max_work_seconds,
            "measured_work_seconds": lane.measured_work_seconds,
            "cpu_seconds": lane.cpu_seconds,
        }
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert isinstance(request.body, bytes)  # noqa: S101 - for the type checker
        self._process.stdin.write(pack(head, request.body))
        self._process.stdin.write(request.body)
        async with asyncio.timeout(lane.wall_seconds):
            await self._process.stdin.drain()

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        n_text, n_content = HEADER.unpack(await self._process.stdout.readexactly(HEADER.size))
        document = json.loads(await self._process.stdout.readexactly(n_text))
        return document, await self._process.stdout.readexactly(n_content)

    def _why_it_died(self) -> ProblemError:
        code = -(self._process.returncode or 0)
        if code in _CRASHES:
            return ProblemError("crashed", "a decoder crashed on this sound; convert it to WAV or FLAC first")
        if code == getattr(signal, "SIGXCPU", None):
            return ProblemError("too_costly", "this sound needs too much processor time; send a shorter one")
        return ProblemError("worker_lost", "the process that scored this sound was ended; send it again", 1)

    def _widen_pipe(self) -> None:
        if sys.platform == "linux":
            import fcntl

            assert self._process.stdin is not None  # noqa: S101 - for the type checker
            pipe = self._process.stdin.transport.get_extra_info("pipe")
            with suppress(OSError):  # the system has a limit for all pipes of a user
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def kill(self) -> None:
        """End it now."""
        # Not Process.kill: it asks first whether the process has ended, and then asyncio never learns how it did
        if not self.is_gone:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    async def stop(self) -> None:
        """End it, and wait until the system has cleaned up."""
        self.kill()
        await self.gone
