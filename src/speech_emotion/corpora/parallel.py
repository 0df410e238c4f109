"""Work spread over processes or threads. In: a function and its tasks. Out: the results.

Threads for what one library call does (decode, hash), processes for Python between short calls. Processes are
spawned: a forked child can inherit a lock that the thread of a progress display holds, and wait for ever.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

from speech_emotion.errors import CorpusError

Progress = Callable[[int, int], None]
"""Called with what is done and the total, in clips or bytes."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_threads(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """`function(task)` of every task, in their order, one thread per core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, tasks)


def in_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None
) -> Iterator[Result]:
    """`function(task)` of every task, in the order of completion, by default in one process per core."""
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent)
    try:
        with _ctrl_c_later():
            futures = [pool.submit(function, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise CorpusError(
            "A worker process was killed, perhaps because memory ran out. Run it again to resume."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Block Ctrl-C. Processes started meanwhile never get it: only the parent answers, with one message."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End when the parent ends: workers of a killed process would wait for another task for ever."""

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
