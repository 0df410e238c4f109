"""Work in processes: every task has one result, whatever becomes of the processes."""

import math
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from speech_emotion import parallel
from speech_emotion.errors import WorkerDiedError
from speech_emotion.parallel import in_parallel, processes_for


def test_every_task_has_one_result() -> None:
    assert sorted(in_parallel(math.sqrt, [n * n for n in range(50)], 3)) == list(range(50))


def test_the_processes_are_others_and_run_one_thread() -> None:
    found = set(in_parallel(os.getenv, ["OMP_NUM_THREADS"] * 4, 2))
    assert found == {"1"}
    pids = set(in_parallel(eval, ["__import__('os').getpid()"] * 8, 2))
    assert os.getpid() not in pids
    assert len(pids) <= 2


@pytest.mark.parametrize(("n_items", "expected"), [(0, 1), (99, 1), (200, 2), (10_000, 4)])
def test_few_items_deserve_few_processes(
    n_items: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "n_cores", lambda: 4)
    assert processes_for(n_items, 100) == expected


def test_one_worker_is_this_process() -> None:
    assert list(in_parallel(eval, ["__import__('os').getpid()"], 1)) == [os.getpid()]


def test_a_death_without_an_answer_to_it_is_an_error() -> None:
    with pytest.raises(WorkerDiedError, match=r"A worker process was killed.*Run it again"):
        list(in_parallel(os._exit, [9, 9], 2))


KILL = f"__import__('os').kill(__import__('os').getpid(), {int(signal.SIGKILL)})"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_costs_its_task_alone(workers: int) -> None:
    tasks = ["1", KILL, "2", "__import__('ctypes').string_at(0)", "3", "4"]
    found = list(in_parallel(eval, tasks, workers, on_death=lambda task: f"died of {task}"))
    assert sorted(map(str, found)) == ["1", "2", "3", "4", *sorted(f"died of {tasks[i]}" for i in (1, 3))]


def test_an_exception_reaches_the_caller_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        list(in_parallel(eval, ["1", "1 / 0", "2"], 2))
    assert "Traceback" in raised.value.__notes__[0]


def test_what_a_library_prints_does_not_come_between_the_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(in_parallel(eval, [r"print('hello\n', end='', flush=True)"] * 3, 2)) == [None] * 3
    assert capfd.readouterr().err == "hello\n" * 3


def test_a_process_that_cannot_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    function = partial(_Unloadable())
    with pytest.raises(WorkerDiedError, match="No worker process can be started"):
        list(in_parallel(function, [1, 2], 2))
    assert "ModuleNotFoundError" in capfd.readouterr().err


class _Unloadable:
    def __reduce__(self) -> tuple[object, ...]:
        return __import__, ("no_such_module",)

    def __call__(self, task: int) -> int:
        return task


def test_tasks_are_read_as_the_work_goes_on() -> None:
    read = []

    def tasks():  # type: ignore[no-untyped-def]
        for n in range(100):
            read.append(n)
            yield str(n)

    results = in_parallel(eval, tasks(), 2, on_death=str)
    next(results)
    assert len(read) <= 4
    results.close()  # type: ignore[attr-defined]
    assert len(read) <= 4


def test_a_script_needs_no_guard_and_names_in_its_folder_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('this is not the library')")
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from speech_emotion.parallel import in_parallel\nprint(sum(in_parallel(eval, ['1', '2'], 2)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("3\n", "")
