"""One contender as a process. In: what it can do, as functions. Out: answers, and how long each took.

Every contender is a script that calls `serve`. It runs in an environment of its own, so this file needs Python alone.

    python CONTENDER once FILE …    print the answer for FILE: a cold process
    python CONTENDER serve …        read requests as lines of JSON and answer each with a line of JSON
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Task = Callable[[Any], object]


def serve(start: Callable[..., dict[str, Task]]) -> None:
    """Do what the command line says.

    Args:
        start: Called once with the arguments that are left. Returns the tasks by name; "answer" takes a path.
    """
    way, *rest = sys.argv[1:]
    if way == "once":
        print(start(*rest[1:])["answer"](rest[0]))
        return
    tasks = start(*rest)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        task, argument = tasks[request["task"]], request["argument"]
        cpu, wall = time.process_time(), time.perf_counter()
        found = task(argument)
        reply = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "found": found,
        }
        print(json.dumps(reply), flush=True)
