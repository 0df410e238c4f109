"""Long recordings. In: the bytes of a sound. Out: a job, that can be asked for its progress and its result.

Jobs are rows of an SQLite database, their sounds files beside it. Both survive a restart; a job that was under way
begins again, unless the server died under it again and again. A sound is deleted as soon as it is answered, a result
after a day.
"""

import asyncio
import json
import logging
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from speech_emotion.audio import Limits
from speech_emotion.errors import ConfigError
from speech_emotion.files import write_atomically
from speech_emotion.server.lanes import Lane, Request
from speech_emotion.server.problems import KINDS, ProblemError
from speech_emotion.server.scoring import Settings

KEEP_SECONDS: Final = 24 * 3600.0  # a result
MAX_UNFINISHED: Final = 64
MAX_ATTEMPTS: Final = 3  # of a job under which the whole server died, perhaps for its memory
_CLEAN_SECONDS: Final = 600.0
_LOG = logging.getLogger(__name__)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, answer TEXT NOT NULL, settings TEXT NOT NULL, status TEXT NOT NULL,
    progress REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, finished REAL,
    result BLOB, problem TEXT
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A row."""

    id: str
    client: str
    answer: str
    settings: str
    status: str
    progress: float
    attempts: int
    created: float
    finished: float | None
    result: bytes | None
    problem: str | None

    def document(self) -> dict[str, Any]:
        """The job as clients see it."""
        document: dict[str, Any] = {
            "id": self.id,
            "task": self.answer.removeprefix("/"),
            "status": self.status,
            "progress": round(self.progress, 3),
            "created": _time(self.created),
            "url": f"/v1/jobs/{self.id}",
        }
        if self.finished is not None:
            document |= {"finished": _time(self.finished), "expires": _time(self.finished + KEEP_SECONDS)}
        if self.result is not None:
            document["result"] = json.loads(self.result)
        if self.problem is not None:
            document["problem"] = json.loads(self.problem)
        return document


def _no_room(error: OSError | sqlite3.Error) -> ProblemError:
    _LOG.error("a job cannot be kept: %s", error.strerror if isinstance(error, OSError) else error)
    return ProblemError("storage", "the server has no room to keep this job; try again later", 60)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _open(path: Path) -> sqlite3.Connection:
    rows = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        rows.execute("PRAGMA locking_mode=EXCLUSIVE")  # two servers would score each job twice
        rows.execute("PRAGMA journal_mode=WAL")
        rows.execute("PRAGMA synchronous=NORMAL")
        rows.execute("PRAGMA secure_delete=ON")
        rows.execute(_SCHEMA)
    except sqlite3.Error:
        rows.close()
        raise
    return rows


class Jobs:
    """All jobs of a server.

    Args:
        folder: Where they are kept; one server at a time.
        lane: What scores them.
        limits: The largest sound.

    Raises:
        ConfigError: `folder` cannot be used.
    """

    def __init__(self, folder: Path, lane: Lane, limits: Limits) -> None:
        self._folder, self._lane, self._limits = folder, lane, limits
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cleaning: asyncio.Task[None] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._rows = _open(folder / "jobs.sqlite3")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"{folder}: jobs cannot be kept there ({error}). Choose another with --jobs"
            ) from error

    def start(self) -> None:
        """Go on with what an earlier server left."""
        self._rows.execute("UPDATE jobs SET status = 'QUEUED', progress = 0 WHERE status = 'IN_PROGRESS'")
        for (name,) in self._rows.execute(
            "SELECT id FROM jobs WHERE status = 'QUEUED' AND attempts >= ?", (MAX_ATTEMPTS,)
        ).fetchall():
            self._fail(name, ProblemError("crashed", f"the server ended {MAX_ATTEMPTS} times at this sound"))
        self._clean()
        for (found,) in self._rows.execute(
            "SELECT id FROM jobs WHERE status = 'QUEUED' ORDER BY created"
        ).fetchall():
            self._begin(found)
        self._cleaning = asyncio.create_task(self._keep_clean())

    async def stop(self) -> None:
        """Leave what is unfinished to the next server."""
        tasks = [*self._tasks.values(), *([self._cleaning] if self._cleaning else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._rows.execute("UPDATE jobs SET attempts = 0 WHERE finished IS NULL")  # it is not their fault
        self._rows.close()

    async def add(self, client: str, answer: str, settings: Settings, body: bytes) -> Job:
        """Keep a sound to be scored later.

        Raises:
            ProblemError: There are too many jobs.
        """
        if len(self._tasks) >= MAX_UNFINISHED:
            raise ProblemError("busy", f"{len(self._tasks)} jobs are unfinished; try again later", 30)
        name = secrets.token_urlsafe(16)
        try:
            await asyncio.to_thread(write_atomically, self._sound(name), body)
            self._rows.execute(
                "INSERT INTO jobs (id, client, answer, settings, status, created) VALUES (?, ?, ?, ?, 'QUEUED', ?)",
                (name, client, answer, json.dumps(asdict(settings)), time.time()),
            )
        except (OSError, sqlite3.Error) as error:  # the sound of a job that is none is deleted by `_clean`
            raise _no_room(error) from error
        self._begin(name)
        return self.find(client, name)

    def find(self, client: str, name: str) -> Job:
        """The job of that id, if it is this client's.

        Raises:
            ProblemError: There is none.
        """
        row = self._rows.execute("SELECT * FROM jobs WHERE id = ? AND client = ?", (name, client)).fetchone()
        if row is None:
            raise ProblemError("job_not_found", "there is no job of this id; results are kept for a day")
        return Job(*row)

    async def delete(self, client: str, name: str) -> None:
        """Forget a job; if it is under way, it ends.

        Raises:
            ProblemError: There is none of this client.
        """
        self.find(client, name)
        self._rows.execute("DELETE FROM jobs WHERE id = ?", (name,))
        if task := self._tasks.get(name):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._sound(name).unlink(missing_ok=True)

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._run(name))
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _run(self, name: str) -> None:
        """Score one job, and keep what comes out."""
        row = self._rows.execute("SELECT client, answer, settings FROM jobs WHERE id = ?", (name,)).fetchone()
        client, answer, settings = row

        def report(share: float) -> None:
            with suppress(sqlite3.Error):  # a full disk: how far a job is, is worth no failure
                self._rows.execute(
                    "UPDATE jobs SET status = 'IN_PROGRESS', progress = ?, attempts = attempts + ? WHERE id = ?",
                    (share, share == 0, name),
                )

        request = Request(
            answer, Settings.from_dict(json.loads(settings)), self._sound(name), self._limits, report
        )
        try:
            self._finish(name, "COMPLETED", result=await self._lane.run(client, request))
        except ProblemError as error:
            self._fail(name, error)
        except sqlite3.Error as error:
            self._fail(name, _no_room(error))

    def _fail(self, name: str, error: ProblemError) -> None:
        problem = {"code": error.code, "detail": error.detail, "title": KINDS[error.code].title}
        with suppress(OSError):
            self._sound(name).unlink(missing_ok=True)
        self._finish(name, "FAILED", problem=json.dumps(problem))

    def _finish(
        self, name: str, status: str, *, result: bytes | None = None, problem: str | None = None
    ) -> None:
        """Keep the outcome, and delete the sound."""
        self._rows.execute(
            "UPDATE jobs SET status = ?, progress = 1, finished = ?, result = ?, problem = ? WHERE id = ?",
            (status, time.time(), result, problem, name),
        )
        with suppress(OSError):
            self._sound(name).unlink(missing_ok=True)

    def _sound(self, name: str) -> Path:
        return self._folder / f"{name}.sound"

    async def _keep_clean(self) -> None:
        while True:
            await asyncio.sleep(_CLEAN_SECONDS)
            self._clean()

    def _clean(self) -> None:
        """Delete old results, and sounds without a job."""
        self._rows.execute("DELETE FROM jobs WHERE finished < ?", (time.time() - KEEP_SECONDS,))
        unfinished = {found for (found,) in self._rows.execute("SELECT id FROM jobs WHERE finished IS NULL")}
        for path in self._folder.glob("*.sound"):
            if path.stem not in unfinished and time.time() - path.stat().st_mtime > _CLEAN_SECONDS:
                path.unlink(missing_ok=True)
