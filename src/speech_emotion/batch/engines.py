"""What spreads the parts. In: a function and tasks with a number each. Out: each number with its result, or None.

None stands for a task whose process died. An engine knows nothing of sounds: another one is a function like these.

    pool    processes of this machine
    ray     Ray Data, on this machine or on a cluster that `address` names
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

from speech_emotion.errors import ConfigError, WorkerDiedError
from speech_emotion.extras import require
from speech_emotion.parallel import Crew, in_parallel

Value = TypeVar("Value")
Result = TypeVar("Result")
Tasks = Iterable[tuple[int, Value]]
Results = Iterator[tuple[int, Result | None]]
Engine = Callable[[Callable[[Any], Any], Iterable[tuple[int, Any]]], Iterator[tuple[int, Any]]]

ENGINES: Final = ("pool", "ray")


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
    """Every result, from Ray Data: one block per task, sounds read inside the mapper, no actors.

    Ray does the blocks of a lost machine again, for ever: right for a machine, wrong for a sound that kills its
    process. So each of Ray's processes has one below it that answers, as on the pool, and only that one dies.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", extra="ray", needed_for="the engine ray")
    data = require("ray.data", extra="ray", needed_for="the engine ray")
    blocks = [{"number": number, "task": pickle.dumps(value)} for number, value in tasks]
    if not blocks:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    local = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray's own share no base
        raise ConfigError(
            f"Ray does not start or answer: {error} Check the address, or use the pool"
        ) from error
    try:
        data.DataContext.get_current().enable_progress_bars = False
        mapper = partial(_on_ray, pickle.dumps(function))
        for row in data.from_items(blocks, override_num_blocks=len(blocks)).map(mapper).iter_rows():
            is_answer, value = pickle.loads(row["answer"])  # noqa: S301 - from our own processes
            if not is_answer:
                raise value
            yield row["number"], value
    except ray.exceptions.RayError as error:
        raise WorkerDiedError(f"Ray stopped: {error}. What is done is kept: run it again to go on") from error
    finally:
        ray.shutdown()


def _on_ray(function: bytes, block: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = True, _crew(function).ask(pickle.loads(block["task"]))  # noqa: S301
    except Exception as error:  # noqa: BLE001 - raised by the caller
        answer = False, error
    return {"number": block["number"], "answer": pickle.dumps(answer)}


@lru_cache(maxsize=1)
def _crew(function: bytes) -> Crew[Any, Any]:
    """The process below this one of Ray's, kept for its next block. None is the result if it dies."""
    return Crew(pickle.loads(function), on_death=lambda _: None)  # noqa: S301
