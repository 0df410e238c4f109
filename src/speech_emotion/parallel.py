"""Work spread over processes or threads. In: a function and its tasks. Out: the results.

Threads for what one library call does (decode, hash), processes for Python between short calls. All parts of the
package that need processes start them here: corpora, training, evaluation and batches.

A process is a fresh interpreter that gets its tasks through a pipe. Nothing of the caller is imported again in it, so
a script needs no `if __name__ == "__main__"`, and it runs one thread: under contention two were 100 times slower.

Tasks and answers are pickles. These processes protect from crashes, not from attackers: each has all rights of the
user, so whatever takes one over needs no pickle to go on. The server, for sounds of strangers, speaks JSON with its
own processes (server/worker.py).
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, Final, Generic, TypeVar

from speech_emotion.cores import n_cores
from speech_emotion.errors import SpeechEmotionError, WorkerDiedError

Progress = Callable[[int, int], None]
"""Called with what is done and the total, in clips or bytes."""

Task = TypeVar("Task")
Result = TypeVar("Result")

_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_START: Final = "import sys; sys.path[:] = sys.argv[1:]; from speech_emotion.parallel import _serve; _serve()"
_STARTS: Final = 3  # a process that dies so often before its first task will not start at all
_POLL_SECONDS: Final = 0.5


def processes_for(n_items: int, minimum: int) -> int:
    """How many processes `n_items` deserve, if `minimum` of them take longer than the start of a process."""
    return max(1, min(n_cores(), n_items // minimum))


def in_threads(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """`function(task)` of every task, in their order, one thread per core."""
    with ThreadPoolExecutor(n_cores()) as pool:
        yield from pool.map(function, tasks)


def in_parallel(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int | None,
    *,
    on_death: Callable[[Task], Result] | None = None,
) -> Iterator[Result]:
    """`function(task)` of every task, in the order of completion.

    Args:
        function: A function that pickle can name, or a partial of one.
        tasks: What it is called with; read as the work goes on.
        workers: Processes; None for one per core. A single one is this process, unless there is an `on_death`.
        on_death: Gives the result of a task whose process was killed or crashed; the others go on. None to raise.

    Raises:
        WorkerDiedError: A process died, and there is no `on_death`; or none can be started.
    """
    workers = workers or n_cores()
    if on_death is None:
        tasks = list(tasks)
        workers = min(workers, len(tasks))
        if workers <= 1:
            yield from map(function, tasks)
            return
    crew = Crew(function, on_death)
    threads = ThreadPoolExecutor(workers, initializer=_leave_ctrl_c_to_the_caller)
    pending: set[Future[Result]] = set()
    try:
        for task in tasks:
            pending.add(threads.submit(crew.ask, task))
            while len(pending) >= 2 * workers:  # one is ready for a process that comes free
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        crew.end()
        threads.shutdown(cancel_futures=True)


class Crew(Generic[Task, Result]):
    """Processes that wait for tasks; one more is started whenever none is free.

    Args:
        function: What is called with each task.
        on_death: Gives the result of a task whose process died; None to raise.
    """

    def __init__(self, function: Callable[[Task], Result], on_death: Callable[[Task], Result] | None) -> None:
        self._function = pickle.dumps(function)
        self._on_death = on_death
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._has_ended = False

    def ask(self, task: Task) -> Result:
        """What the function gives for `task`, in the next process that is free; threads may call this at once.

        Raises:
            WorkerDiedError: The process died, and there is no `on_death`; or none can be started.
        """
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = self._new()
        try:
            is_answer, value = process.ask(pickle.dumps(task))
        except _EndedError:
            with self._lock:
                self._processes.discard(process)
            process.end()
            if self._on_death is None:
                raise WorkerDiedError(
                    "A worker process was killed, perhaps because memory ran out. Run it again to resume."
                ) from None
            return self._on_death(task)
        self._idle.put(process)
        if not is_answer:
            raise value
        result: Result = value
        return result

    def _new(self) -> "_Process":
        for _ in range(_STARTS):
            with self._lock:
                if self._has_ended:
                    break
                process = _Process()
                self._processes.add(process)
            with contextlib.suppress(_EndedError):
                process.ask(self._function)
                return process
            process.end()
        raise WorkerDiedError(
            "No worker process can be started; what it printed says why. Mend that and run it again."
        )

    def end(self) -> None:
        """End every process at once, whatever it does."""
        with self._lock:
            self._has_ended = True
            for process in self._processes:
                process.end()


class _EndedError(Exception):
    """The process is no longer there."""


class _Process:
    """A process that runs `_serve`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a constant
            [sys.executable, "-P", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
        )

    def ask(self, message: bytes) -> tuple[bool, Any]:
        """Send `message`; wait for True and an answer, or False and an exception."""
        tasks, answers = self._process.stdin, self._process.stdout
        try:
            tasks.write(message)  # type: ignore[union-attr] # both are pipes
            tasks.flush()  # type: ignore[union-attr]
            answer: tuple[bool, Any] = pickle.load(answers)  # type: ignore[arg-type] # noqa: S301 - from our child
        except (
            EOFError,
            OSError,
            ValueError,
            pickle.UnpicklingError,
        ) as error:  # ValueError: closed by `end`
            raise _EndedError from error
        return answer

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # part of a message is left in it
                pipe.close()  # type: ignore[union-attr]


# In the process


def _serve() -> None:
    """Answer the tasks that come through stdin until it ends."""
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    function = pickle.load(tasks)  # noqa: S301 - from our parent
    _send(answers, (True, None))
    while True:
        try:
            task = pickle.load(tasks)  # noqa: S301
        except EOFError:
            return
        try:
            answer = True, function(task)
        except Exception as error:  # noqa: BLE001 - the caller's to handle
            error.add_note(traceback.format_exc())
            answer = False, error
        _send(answers, answer)


def _send(answers: BinaryIO, answer: tuple[bool, Any]) -> None:
    try:
        message = pickle.dumps(answer)
    except Exception:  # noqa: BLE001 - an exception of another library that holds what cannot be pickled
        message = pickle.dumps((False, SpeechEmotionError(str(answer[1]))))
    answers.write(message)
    answers.flush()


def _end_with_parent(parent: int) -> None:
    """End when the parent ends: it may have been killed while this process has hours of work before it."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def _leave_ctrl_c_to_the_caller() -> None:
    """Block Ctrl-C in this thread: processes that it starts never get it, and one message is printed, not many."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
