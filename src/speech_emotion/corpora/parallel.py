"""Work spread over processes. In: a function and its tasks. Out: the results, as they are done.

Processes, not threads: most of the work is Python between short calls. They are spawned: a forked child can
inherit a lock that the thread of a progress display holds, and wait for ever.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import TypeVar

from speech_emotion.errors import CorpusError

Progress = Callable[[int, int], None]
"""Called with the clips done and the clips in all."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None
) -> Iterator[Result]:
    """`function(task)` of every task, in the order of completion; by default one process a core."""
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
            "A worker process was killed, perhaps for want of memory. Run it again: it goes on from there."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back. Processes started meanwhile never get it: the parent alone answers, with one message."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Watch the parent: the workers of a killed process would wait for another task for ever."""

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
