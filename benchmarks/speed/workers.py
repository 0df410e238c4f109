"""Contenders as processes. In: a command and the cores it may use. Out: how long its answers took, and ratios.

Whatever is compared is measured in turns: each round asks every contender once, so that a slower minute of the machine
falls on all of them. A ratio is the median of the ratios of the rounds.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np

from speed.environments import PEERS, python

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
OF_THIS_TREE: Final = os.environ | ONE_THREAD
ALONE: Final = {name: value for name, value in OF_THIS_TREE.items() if name != "PYTHONPATH"}


class Contender(NamedTuple):
    """What is compared.

    Attributes:
        environment: The name of its environment.
        script: Its file in peers/.
        arguments: What the script takes.
        title: What the page calls it.
        rounds: In how many rounds it takes part: fewer if it is slow.
    """

    environment: str
    script: str
    arguments: tuple[str, ...]
    title: str
    rounds: int

    def command(self, folder: Path, way: str, *paths: str) -> list[str]:
        """The command line; {envs} in an argument is the folder of the environments."""
        arguments = [argument.format(envs=folder) for argument in self.arguments]
        return [python(folder, self.environment), str(PEERS / self.script), way, *paths, *arguments]


def on_cores(cores: Sequence[int]) -> Callable[[], None]:
    """What a child does first: stay on `cores`."""
    return lambda: os.sched_setaffinity(0, cores)


class Worker:
    """A contender that is loaded and waits for requests. Use it in a `with` statement."""

    def __init__(self, command: Sequence[str], core: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ALONE,
            preexec_fn=on_cores([core]),
        )
        if not self._read().get("ready"):
            raise RuntimeError(f"{' '.join(command)} did not start")

    def send(self, task: str, argument: Any) -> None:
        """Ask for `task`; `receive` waits for the reply."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(json.dumps({"task": task, "argument": argument}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The reply: seconds, cpu_seconds, peak_mib and what was found."""
        return self._read()

    def ask(self, task: str, argument: Any) -> dict[str, Any]:
        """Send and receive."""
        self.send(task, argument)
        return self.receive()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin  # noqa: S101
        self._process.stdin.close()
        self._process.wait()


def cold(command: Sequence[str], core: int, env: Mapping[str, str] = ALONE) -> float:
    """Seconds of a whole process. `env` is `OF_THIS_TREE` for what runs this tree and not an environment."""
    start = time.perf_counter()
    subprocess.run(  # noqa: S603
        command,
        check=True,
        capture_output=True,
        env=env,
        preexec_fn=on_cores([core]),
    )
    return time.perf_counter() - start


def in_turns(actions: Mapping[str, tuple[Callable[[], float], int]]) -> dict[str, list[float]]:
    """Call each action once per round, for as many rounds as it has; an action returns its seconds."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(max(rounds for _, rounds in actions.values())):
        for name, (action, rounds) in actions.items():
            if index < rounds:
                found[name].append(action())
    return found


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and 99th percentile in milliseconds, and how many were measured."""
    low, median, high, p99 = np.percentile(np.asarray(seconds) * 1_000, (25, 50, 75, 99))
    return {
        "median_ms": round(float(median), 3),
        "low_ms": round(float(low), 3),
        "high_ms": round(float(high), 3),
        "p99_ms": round(float(p99), 3),
        "n": len(seconds),
    }


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of `of` / `to` over the rounds that both took part in."""
    n = min(len(of), len(to))
    low, median, high = np.percentile(np.asarray(of[:n]) / np.asarray(to[:n]), (25, 50, 75))
    return {"median": float(median), "low": float(low), "high": float(high), "n": n}
