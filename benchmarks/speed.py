"""Speed, side by side: this package and what a user would pick instead, in one run on one machine.

    python benchmarks/speed.py setup ENVS
    python benchmarks/speed.py run ENVS RAVDESS [--only STEP …] [--every 12] [--out FILE]
    python benchmarks/speed.py page

`setup` makes an environment for each contender in the folder ENVS, which takes some 6 GB. `run` measures all of them in
turns, in some six minutes on two cores, into results/benchmarks/speed.json; RAVDESS is the folder with Actor_01 to
Actor_24. What is compared is measured within one step, and steps may be measured one by one. `page` writes
docs/performance.md and its picture from the result.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from provenance import provenance
from speed import environments, measure, page
from speed.goals import goals

from speech_emotion.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "results" / "benchmarks" / "speed.json"
LOAD = round(os.getloadavg()[0], 2)  # before anything is measured
LIBRARIES = ("numpy", "onnxruntime", "soundfile", "soxr")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure speed beside what a user would pick instead.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    setup = verbs.add_parser("setup", help="make the environments")
    run = verbs.add_parser("run", help="measure")
    for verb in (setup, run):
        verb.add_argument("envs", type=lambda text: Path(text).resolve())
    run.add_argument("ravdess", type=Path)
    run.add_argument("--every", type=int, default=12, help="of the clips, each N-th is read for throughput")
    run.add_argument("--only", action="append", choices=measure.STEPS, help="this step; repeat it for more")
    run.add_argument("--out", type=Path, default=RESULT)
    verbs.add_parser("page", help="write docs/performance.md and its picture")
    arguments = parser.parse_args()
    if arguments.verb == "setup":
        environments.set_up(arguments.envs)
    elif arguments.verb == "run":
        steps = arguments.only or measure.STEPS
        for found in measure.run(arguments.envs, arguments.ravdess, steps, arguments.every):
            keep(arguments.out, found)
    else:
        report = json.loads(RESULT.read_text())
        write_atomically(ROOT / page.PICTURE, page.picture(report))
        write_atomically(ROOT / page.PAGE, page.page(report).encode())


def keep(path: Path, found: dict[str, Any]) -> None:
    """Add what a step found to the file at `path`, if that has the same origin; otherwise start it anew."""
    origin = {
        **{
            key: value for key, value in provenance("one used unless stated").items() if key != "load_average"
        },
        "command": "python benchmarks/speed.py run ENVS RAVDESS",
        "processor": processor(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    before = json.loads(path.read_text()) if path.exists() else {}
    is_same = all(before.get(key) == value for key, value in origin.items())
    report = origin | (before if is_same else {}) | found
    report["load_averages"] = report.get("load_averages", {}) | dict.fromkeys(found, LOAD)
    if set(measure.STEPS) <= report.keys():
        report["goals"] = goals(report)
    write_atomically(path, (json.dumps(report, indent=1) + "\n").encode())


def processor() -> str:
    """The name of the processor and those of its units that matter here."""
    lines = dict(
        line.split("\t: ", 1) if "\t: " in line else (line, "")
        for line in Path("/proc/cpuinfo").read_text().replace("\t\t", "\t").splitlines()
    )
    flags = lines.get("flags", "").split()
    units = [
        flag
        for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")
        if flag in flags
    ]
    return f"{lines.get('model name', 'unknown')} ({', '.join(units)})"


if __name__ == "__main__":
    main()
