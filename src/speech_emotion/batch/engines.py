"""What spreads the parts. In: a function and tasks with a number each. Out: each number with its result, or None.

None stands for a task whose process died. An engine knows nothing of sounds: another one is a function like these.

    pool    processes of this machine
    ray     Ray Data, on this machine or on a cluster that `address` names
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from speech_emotion.errors import ConfigError
from speech_emotion.extras import require
from speech_emotion.parallel import in_parallel

Value = TypeVar("Value")
Result = TypeVar("Result")
Tasks = Iterable[tuple[int, Value]]
Results = Iterator[tuple[int, Result | None]]
Engine = Callable[[Callable[[Any], Any], Iterable[tuple[int, Any]]], Iterator[tuple[int, Any]]]

ENGINES: Final = ("pool", "ray")
RAY_RETRIES: Final = (
    1  # of a task whose process died; Ray's own default, 3, takes long over a sound that kills it
)


def engine(name: str, *, workers: int | None = None, address: str | None = None) -> Engine:
    """The engine called `name`.

    Args:
        name: One of `ENGINES`.
        workers: Processes of this machine; None for one per core.
        address: Of a Ray cluster; None for a Ray on this machine that ends with the batch.

    Raises:
        ConfigError: There is no such engine, or it does not take one of these.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}. Choose one of: {', '.join(ENGINES)}")
    if name == "pool":
        if address:
            raise ConfigError("the engine pool has no address. Add the engine ray, or leave the address out")
        return partial(on_pool, workers)
    if workers and address:
        raise ConfigError("a cluster has the workers it has. Leave workers out, or the address")
    return partial(on_ray, workers, address)


def on_pool(workers: int | None, function: Callable[[Value], Result], tasks: Tasks[Value]) -> Results[Result]:
    """Every result, from processes of this machine."""
    return in_parallel(partial(_numbered, function), tasks, workers, on_death=lambda task: (task[0], None))


def _numbered(function: Callable[[Value], Result], task: tuple[int, Value]) -> tuple[int, Result]:
    number, value = task
    return number, function(value)


def on_ray(
    workers: int | None, address: str | None, function: Callable[[Value], Result], tasks: Tasks[Value]
) -> Results[Result]:
    """Every result, from Ray Data: one block per task, read and answered inside the mapper, without actors."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", extra="ray", needed_for="the engine ray")
    require("ray.data", extra="ray", needed_for="the engine ray")
    blocks = [{"number": number, "task": pickle.dumps(value)} for number, value in tasks]
    if not blocks:
        return
    own = {} if address else {"num_cpus": workers, "include_dashboard": False}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a block is lost only with its process: `_on_ray` catches the rest
        data = ray.data.from_items(blocks, override_num_blocks=len(blocks)).map(
            partial(_on_ray, function), max_retries=RAY_RETRIES
        )
        missing = {block["number"] for block in blocks}
        for row in data.iter_rows():
            missing.discard(row["number"])
            is_answer, value = pickle.loads(row["answer"])  # noqa: S301 - from our own processes
            if not is_answer:
                raise value
            yield row["number"], value
        yield from ((number, None) for number in sorted(missing))
    finally:
        ray.shutdown()


def _on_ray(function: Callable[[Any], Any], row: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = True, function(pickle.loads(row["task"]))  # noqa: S301
    except Exception as error:  # noqa: BLE001 - raised by the caller
        answer = False, error
    return {"number": row["number"], "answer": pickle.dumps(answer)}
