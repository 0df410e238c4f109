"""How many cores this process may use. In: what the system says. Out: a number that pools of workers start with.

A container sees all cores of its machine, and may have a quota of a few. More workers only wait for each other.
"""

import math
import os
from pathlib import Path


def n_cores(root: Path = Path("/")) -> int:
    """The cores that this process may run on, and no more than its quota of processor time (cgroups v1 and v2).

    Args:
        root: Where the system's files are.

    Returns:
        At least 1. Of a quota the whole cores count: what is left of it is for the rest of the program.
    """
    # os.process_cpu_count has come with Python 3.13, and knows no quota
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _whole(_quota(root))))


def _whole(quota: float) -> int:
    return 2**31 if quota == math.inf else math.floor(quota)


def _quota(root: Path) -> float:
    """The smallest quota of this process's group and all groups around it, in cores."""
    quotas = [math.inf]
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        mounted = root / "sys/fs/cgroup"
        if "cpu" in controllers.split(","):
            mounted /= "cpu"
        elif controllers:
            continue
        group = mounted / path.lstrip(
            "/"
        )  # in a container this may be a path of the machine that is not there
        for folder in (group, *group.parents):
            if folder.is_relative_to(mounted):
                quotas.append(_quota_of_v1(folder) if controllers else _quota_of_v2(folder))
    return min(quotas)


def _quota_of_v2(folder: Path) -> float:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() else math.inf


def _quota_of_v1(folder: Path) -> float:
    quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else math.inf  # -1: none


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
