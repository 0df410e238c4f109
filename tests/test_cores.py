"""How many cores a process may use: those of the machine, of its affinity, and of the quota of its container."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from speech_emotion import cores
from speech_emotion.cores import n_cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of eight cores."""
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("quota", "n"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("9900000 100000\n", 8),
    ],
)
def test_a_container_of_cgroups_2(machine: Path, quota: str, n: int) -> None:
    put(machine, "proc/self/cgroup", "0::/\n")
    put(machine, "sys/fs/cgroup/cpu.max", quota)
    assert n_cores(machine) == n


def test_the_smallest_quota_of_the_groups_around_it_counts(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/pod/container\n")
    put(machine, "sys/fs/cgroup/pod/container/cpu.max", "max 100000\n")
    put(machine, "sys/fs/cgroup/pod/cpu.max", "300000 100000\n")
    assert n_cores(machine) == 3


@pytest.mark.parametrize(("quota", "n"), [("-1\n", 8), ("400000\n", 4)])
def test_cgroups_1(machine: Path, quota: str, n: int) -> None:
    """The path is that on the machine, which a container does not see."""
    put(machine, "proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n")
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert n_cores(machine) == n


def test_without_groups_the_cores_count(machine: Path) -> None:
    assert n_cores(machine) == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_that_may_run_on_one_core_has_one() -> None:
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    program += "from speech_emotion.cores import n_cores; print(n_cores())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
