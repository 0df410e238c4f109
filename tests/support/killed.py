"""Train in a process of its own that is killed with SIGKILL at chosen points; run by test_fit.

    python killed.py FOLDER POINT …     each POINT is step:N, or half:N, before:N, after:N of the N-th file written

Every point is one process: it goes on from the folder's checkpoint and dies there. A last one trains to the end.
Torch is imported once and forked before it has started a thread.
"""

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import miniature
import numpy as np

from speech_emotion.training import sealed_tensors
from speech_emotion.training.fit import job
from speech_emotion.training.fit.job import Fitted, Job, Sides
from speech_emotion.training.fit.loop import Trainer
from speech_emotion.training.fit.train import fit, materials

CONFIG = miniature.recipe(fit={"epochs": 3, "batch_size": 5})  # two steps an epoch
DATASET = miniature.dataset(miniature.clips([1, 2, 3], miniature.EMOTIONS[:5]))
SIDES = Sides(train=np.arange(10), validation=np.arange(10, 15))


def train(folder: Path) -> Fitted:
    return fit(Job(CONFIG, DATASET, SIDES, folder), materials(CONFIG, DATASET))


def die_at(point: str) -> None:
    kind, _, number = point.partition(":")
    seen = 0

    def reached() -> bool:
        nonlocal seen
        seen += 1
        return seen == int(number)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    step, write_atomically = Trainer._step, job.write_atomically

    def dying_step(*arguments: Any) -> float:
        if reached():
            die()
        return step(*arguments)

    def dying_write(path: Path, data: bytes) -> None:
        if not reached():
            return write_atomically(path, data)
        if kind == "half":
            path.with_name(f".{path.name}.partial").write_bytes(data[: len(data) // 2])
        if kind == "after":
            write_atomically(path, data)
        return die()

    if kind == "step":
        Trainer._step = dying_step  # type: ignore[method-assign]
    else:
        sealed_tensors.write_atomically = job.write_atomically = dying_write  # type: ignore[attr-defined]


def run(folder: Path, point: str | None) -> int:
    """What the process died of: 9, or 0 where it came to its end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        if point:
            die_at(point)
        train(folder)
        os._exit(0)
    except Exception:  # noqa: BLE001 - a fork must not run on as its parent
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    for point in (*sys.argv[2:], None):
        ended = run(Path(sys.argv[1]), point)
        print(point or "end", ended)  # noqa: T201
