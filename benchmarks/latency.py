"""How long a person waits: an import, the help, one file as a whole process, one file when warm.

    python benchmarks/latency.py [--model MODEL] [--out results/benchmarks/latency.json]

In: the installed package and a model. Out: for each wait its minimum and median over n runs and its goal, as a
table and as JSON. Processes run with bytecode compiled and on one core, as does the warm prediction.
"""

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance

import speech_emotion
from speech_emotion.classifier import Classifier, load

ROOT = Path(__file__).resolve().parent.parent
DEMO_VOICE = ROOT / "src/speech_emotion/assets/demo-lively.flac"
RATE, SECONDS = 48_000, 3.5
N_PROCESSES, N_WARM = 15, 200


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long a person waits.")
    parser.add_argument("--model", help="a model in the package or an exported .onnx, instead of the default")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "latency.json")
    arguments = parser.parse_args()
    compileall.compile_dir(Path(speech_emotion.__file__).parent, quiet=2)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # what this process starts stays there too
    report = measure(arguments.model) | provenance("one used")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, wait in report["waits"].items():
        support = f"min {wait['min_ms']:.1f}, n {wait['n']}, goal {wait['goal_ms']}"
        print(f"{name:<28} {wait['median_ms']:8.1f} ms  ({support})")


def measure(model: str | None) -> dict[str, Any]:
    classifier = load(model)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.wav"
        soundfile.write(clip, three_and_a_half_seconds(), RATE, subtype="PCM_16")
        assert classifier.predict(clip).label, "the clip must be scored, not abstained on"  # noqa: S101
        predict = [sys.executable, "-m", "speech_emotion", "predict", str(clip)]
        predict += ["--model", model] if model else []
        waits = {
            "import speech_emotion": import_wait(),
            "speech-emotion --help": process_wait([sys.executable, "-m", "speech_emotion", "--help"], 200),
            "speech-emotion predict": process_wait(predict, 800),
            "warm predict, 3.5 s 48 kHz": warm_wait(classifier, clip),
        }
    info = classifier.info
    return {
        "waits": waits,
        "model": info.name,
        "model_sha256": info.sha256,
        "window_seconds": info.window_seconds,
    }


def three_and_a_half_seconds() -> np.ndarray:
    """The demo voice, again and again until it is long enough, as a 48 kHz recording."""
    voice, rate = soundfile.read(DEMO_VOICE, dtype="float32")
    repeated = np.tile(np.repeat(voice, RATE // rate), 3)
    return repeated[: round(SECONDS * RATE)]


def import_wait() -> dict[str, Any]:
    """The import alone, timed inside fresh processes."""
    code = "import time; t = time.perf_counter(); import speech_emotion; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    seconds = [float(subprocess.check_output(command)) for _ in range(N_PROCESSES)]  # noqa: S603
    return wait(seconds, 300)


def process_wait(command: list[str], goal_ms: float) -> dict[str, Any]:
    """A whole process, from its start to its end."""

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603

    run()
    return wait(timed(run, N_PROCESSES), goal_ms)


def warm_wait(classifier: Classifier, clip: Path) -> dict[str, Any]:
    """From the file to the answer in a process that has answered before."""
    for _ in range(10):
        classifier.predict(clip)
    return wait(timed(lambda: classifier.predict(clip), N_WARM), 15)


def timed(action: Callable[[], object], n: int) -> list[float]:
    seconds = []
    for _ in range(n):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def wait(seconds: list[float], goal_ms: float) -> dict[str, Any]:
    milliseconds = [1_000 * second for second in seconds]
    return {
        "median_ms": round(statistics.median(milliseconds), 2),
        "min_ms": round(min(milliseconds), 2),
        "n": len(milliseconds),
        "goal_ms": goal_ms,
    }


if __name__ == "__main__":
    main()
