"""Speed, side by side: this package and what a user would pick instead, in one run on one machine.

    python benchmarks/speed.py setup ENVS
    python benchmarks/speed.py run ENVS RAVDESS [--every 12] [--out results/benchmarks/speed.json]
    python benchmarks/speed.py page

`setup` makes an environment for each contender in the folder ENVS, which takes some 6 GB. `run` measures all of them in
turns, in about five minutes on two cores; RAVDESS is the folder with Actor_01 to Actor_24. `page` writes
docs/performance.md and its picture from the result.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from provenance import provenance
from speed import environments, measure, page
from speed.goals import goals

from speech_emotion.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "results" / "benchmarks" / "speed.json"
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
    run.add_argument("--hour", type=float, default=3600.0, help="the seconds of the long recording")
    run.add_argument("--out", type=Path, default=RESULT)
    verbs.add_parser("page", help="write docs/performance.md and its picture")
    arguments = parser.parse_args()
    if arguments.verb == "setup":
        environments.set_up(arguments.envs)
    elif arguments.verb == "run":
        load = os.getloadavg()[0]
        found = measure.run(arguments.envs, arguments.ravdess, arguments.every, arguments.hour)
        report = {"goals": goals(found), **found, "processor": processor()}
        report["versions"] = {name: version(name) for name in LIBRARIES}
        report |= provenance("one used unless stated") | {"load_average": round(load, 2)}
        report["command"] = "python benchmarks/speed.py run ENVS RAVDESS"
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1, default=np.ndarray.tolist) + "\n")
        print(page.table_of_goals(report))
    else:
        report = json.loads(RESULT.read_text())
        write_atomically(ROOT / page.PICTURE, page.picture(report))
        write_atomically(ROOT / page.PAGE, page.page(report).encode())


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
