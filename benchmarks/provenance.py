"""Where a number comes from. In: how the cores were used. Out: command, commit, machine and load, for a result."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from speech_emotion.provenance import commit

ROOT = Path(__file__).resolve().parent.parent


def provenance(used: str) -> dict[str, Any]:
    """What the numbers were measured on, and how to measure them again. `used`: how the machine's cores were shared."""
    is_first = os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO)
    before = ["chrt", "-r", "1"] if is_first else []
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return {
        "command": " ".join([*before, "python", str(script), *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {used}",
        "load_average": round(os.getloadavg()[0], 2),
    }
