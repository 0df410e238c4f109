"""Analyses in a thread of their own, so that the page reacts at once. In: jobs. Out: analyses, and how far they are.

Streamlit draws the rest of a page grey until its script ends, so the script starts the work and does not wait for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from analysis import Analysis, Job
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from speech_emotion import SpeechEmotionError

_log = logging.getLogger(__name__)

MIN_SHARE, MIN_SECONDS = 0.02, 1.0  # of the work, before the time left is worth saying


class Key(NamedTuple):
    """What an analysis is about: sha256 of a sound and of the profile ("" without one), the model, and the kind.

    kind: "" for the mix of all channels, "channels" for each of them, or the sha256 of a transcript.
    """

    sound: str
    profile: str
    model: str
    kind: str = ""


class Task(NamedTuple):
    """A job to do: how to begin it, and how much it weighs beside others, in bytes."""

    begin: Callable[[], Job]
    n_bytes: int


class Progress(NamedTuple):
    """How far the work is.

    share: of all that was given since the worker was idle, 0 to 1; it never falls.
    seconds_done, seconds_total: of the sound that is read now; the total is an estimate, 0 if unknown.
    n_done, n_all: jobs. seconds_left: of waiting; None before it can be estimated.
    """

    share: float
    seconds_done: float
    seconds_total: float
    n_done: int
    n_all: int
    seconds_left: float | None


class Worker:
    """Does the first of the tasks that it was given last, then the next. A paused job goes on where it stopped."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._tasks: dict[Key, Task] = {}
        self._jobs: dict[Key, Job] = {}
        self._finished: dict[Key, Analysis] = {}
        self._batch: dict[Key, int] = {}  # bytes of all tasks since the worker was idle
        self._began, self._shown = 0.0, 0.0
        self._thread: threading.Thread | None = None
        self._session_id = ""

    def give(self, tasks: Mapping[Key, Task]) -> set[Key]:
        """Replace what is to be done; the keys that are new in it."""
        context = get_script_run_ctx()
        with self._lock:
            self._session_id = context.session_id if context else ""
            if not self._tasks and not self._finished:
                self._batch, self._began, self._shown = {}, time.monotonic(), 0.0
            self._tasks = {key: task for key, task in tasks.items() if key not in self._finished}
            self._jobs = {key: job for key, job in self._jobs.items() if key in self._tasks}
            kept = self._tasks.keys() | self._finished
            new = self._tasks.keys() - self._batch
            self._batch = {key: n for key, n in self._batch.items() if key in kept or key not in tasks}
            self._batch |= {key: task.n_bytes for key, task in self._tasks.items()}
            if self._tasks and not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, name="analysis", daemon=True)
                self._thread.start()
        return new

    def take(self) -> dict[Key, Analysis]:
        """The analyses that were finished since the last call."""
        with self._lock:
            finished, self._finished = self._finished, {}
        return finished

    def wait(self, seconds: float) -> bool:
        """Wait until something is finished; whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: bool(self._finished), max(seconds, 0.0))

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done."""
        return bool(self._tasks)

    @property
    def has_news(self) -> bool:
        """Whether something is finished that `take` has not returned."""
        return bool(self._finished)

    @property
    def progress(self) -> Progress:
        """How far the work is."""
        with self._lock:
            open_shares = {
                key: self._jobs[key].share_done if key in self._jobs else 0.0 for key in self._tasks
            }
            current = next((self._jobs[key] for key in self._tasks if key in self._jobs), None)
            total = sum(self._batch.values())
            left = sum(self._batch[key] * (1 - share) for key, share in open_shares.items())
            self._shown = max(self._shown, 1 - left / total if total else 0.0)
            seconds, n_open = time.monotonic() - self._began, len(self._tasks)
        done = current.seconds_done if current else 0.0
        share = current.share_done if current else 0.0
        known = self._shown > MIN_SHARE and seconds > MIN_SECONDS
        return Progress(
            self._shown,
            done,
            done / share if share > MIN_SHARE else 0.0,
            len(self._batch) - n_open,
            len(self._batch),
            seconds / self._shown * (1 - self._shown) if known else None,
        )

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._tasks or not self._is_visited():
                    self._thread = None
                    return
                key, task = next(iter(self._tasks.items()))
                job = self._jobs.get(key)
            job, result = _stepped(key, task, job)
            with self._lock:
                if key not in self._tasks:  # cancelled meanwhile
                    continue
                if job:
                    self._jobs[key] = job
                if result:
                    self._finished[key] = result
                    del self._tasks[key]
                    self._jobs.pop(key, None)
                    self._lock.notify_all()

    def _is_visited(self) -> bool:
        """Whether the page is still open; a visit that comes back starts the thread again."""
        return not runtime.exists() or runtime.get_instance().is_active_session(self._session_id)


def _stepped(key: Key, task: Task, job: Job | None) -> tuple[Job | None, Analysis | None]:
    """One slice of a job, begun if it was not; its result, if there is one."""
    try:
        job = job or task.begin()
        job.step()
    except Exception as error:  # noqa: BLE001 - whatever it is, the thread must do the next task
        _log.exception("an analysis failed")
        failure = SpeechEmotionError(
            f"the analysis failed ({type(error).__name__}); the log of the server says why"
        )
        return None, Analysis("", key.sound, error=failure)
    return job, job.result
