"""The thread that computes analyses: order, pauses, cancelling, progress."""

import threading
from collections.abc import Callable

import pytest
from analysis import Analysis
from work import Key, Task, Worker


class Steps:
    """A job of `n` steps. Each waits for `gate`, which is open unless a test closes it."""

    def __init__(self, n: int, gate: threading.Event | None = None) -> None:
        self.result: Analysis | None = None
        self.n, self.n_done = n, 0
        self.gate = gate

    @property
    def share_done(self) -> float:
        return self.n_done / self.n

    @property
    def seconds_done(self) -> float:
        return float(self.n_done)

    def step(self) -> None:
        if self.gate:
            assert self.gate.wait(30)
        self.n_done += 1
        if self.n_done == self.n:
            self.result = Analysis(f"{self.n} steps", "")


def key(name: str) -> Key:
    return Key(name, "", "model")


def task(job: Steps) -> Task:
    return Task(lambda: job, 100)


def test_everything_is_done_in_the_given_order() -> None:
    worker, order = Worker(), []

    def begin(name: str) -> Callable[[], Steps]:
        return lambda: order.append(name) or Steps(2)  # type: ignore[func-returns-value]

    new = worker.give({key(name): Task(begin(name), 1) for name in "abc"})
    assert new == {key(name) for name in "abc"}
    found: dict[Key, Analysis] = {}
    while len(found) < 3:
        assert worker.wait(30)
        found |= worker.take()
    assert order == ["a", "b", "c"]
    assert not worker.is_busy


def test_what_is_given_first_later_goes_first_and_the_other_goes_on_where_it_stopped() -> None:
    gate = threading.Event()
    worker, long, short = Worker(), Steps(1000, gate), Steps(1)
    worker.give({key("long"): task(long)})
    new = worker.give({key("short"): task(short), key("long"): task(long)})
    assert new == {key("short")}
    gate.set()
    found: dict[Key, Analysis] = {}
    while len(found) < 2:
        assert worker.wait(30)
        found |= worker.take()
    assert list(found) == [key("short"), key("long")]
    assert long.n_done == 1000  # no step was repeated


def test_a_cancelled_job_has_no_result() -> None:
    gate = threading.Event()
    worker, job = Worker(), Steps(1, gate)
    worker.give({key("a"): task(job)})
    worker.give({})
    gate.set()
    assert not worker.is_busy
    worker.give({key("b"): task(Steps(1))})
    assert worker.wait(30)
    assert set(worker.take()) == {key("b")}


def test_a_job_that_fails_is_an_error_and_the_next_is_done() -> None:
    worker = Worker()

    def fail() -> Steps:
        raise OSError("no space left")

    worker.give({key("a"): Task(fail, 1), key("b"): task(Steps(1))})
    found: dict[Key, Analysis] = {}
    while len(found) < 2:
        assert worker.wait(30)
        found |= worker.take()
    failed = found[key("a")].error
    assert failed is not None
    assert "OSError" in str(failed)
    assert found[key("b")].error is None


def test_progress_never_falls_and_knows_the_total() -> None:
    gate = threading.Event()
    worker, job = Worker(), Steps(4)
    job.n_done = 2
    job.gate = gate
    worker.give({key("a"): task(job)})
    worker._jobs[key("a")] = job  # as after its first step
    now = worker.progress
    assert (now.share, now.seconds_done, now.seconds_total) == (pytest.approx(0.5), 2.0, 4.0)
    assert (now.n_done, now.n_all) == (0, 1)
    worker.give({key("a"): task(job), key("b"): task(Steps(4, gate))})
    assert worker.progress.share == pytest.approx(0.5)  # not 0.25
    assert worker.progress.n_all == 2
    gate.set()
    while worker.is_busy:
        worker.wait(30)
    assert worker.progress.share == 1.0
