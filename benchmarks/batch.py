"""Files per second of a batch on each engine, beside a plain loop over librosa and torch, on the same files.

    python benchmarks/batch.py [--files 1024] [--model compact] [--engines pool-1 pool-2 ray-1 ray-2 loop]

In: the installed package, with the extras ray and train. Out: results/benchmarks/batch.json. Every way is a process of
its own, timed from its start to its end: `seconds` with many files, `start_seconds` with one. Rates are of the
difference, so they hold for a batch of any size. `cpu_ms_per_file` is the time of the processor, of all its processes:
on a machine that is shared it is what can be compared. Ray's processes are not its children, so Ray has neither this
nor a memory. `resume_seconds` is the wait for a second run that has nothing to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
DEMO_VOICE = ROOT / "src/speech_emotion/assets/demo-lively.flac"
RATE, SECONDS = 48_000, 3.5
WAYS = ("pool-1", "pool-2", "ray-1", "ray-2", "loop")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure batches.")
    parser.add_argument("--files", type=int, default=1024)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--engines", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--loop-over", type=Path, help=argparse.SUPPRESS)  # the plain loop, as a process
    arguments = parser.parse_args()
    if arguments.loop_over:
        loop(sorted(arguments.loop_over.glob("*.wav")))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_files(folder / "many", arguments.files)
        make_files(folder / "one", 1)
        ways = {way: measure(way, arguments.model, folder) for way in arguments.engines}
    for found in ways.values():
        per_second = (arguments.files - 1) / (found["seconds"] - found["start_seconds"])
        found["files_per_second"] = round(per_second, 1)
        found["audio_hours_per_hour"] = round(per_second * SECONDS, 1)
        if way_cpu := found.pop("cpu_seconds", None):
            found["cpu_ms_per_file"] = round(1000 * way_cpu / (arguments.files - 1), 2)
    report = {"ways": ways, "two_workers_of_twice_one": scaling(ways), "files": arguments.files}
    report |= {"seconds_per_file": SECONDS, "rate": RATE, "model": arguments.model}
    report |= provenance("all of them used")
    path = ROOT / "results/benchmarks/batch.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def scaling(ways: dict[str, Any]) -> dict[str, float]:
    """The rate of two workers as a share of twice that of one, for each engine."""
    rates = {way: found["files_per_second"] for way, found in ways.items()}
    return {
        name: round(rates[f"{name}-2"] / rates[f"{name}-1"] / 2, 3)
        for name in ("pool", "ray")
        if {f"{name}-1", f"{name}-2"} <= rates.keys()
    }


def make_files(folder: Path, n: int) -> None:
    """Recordings of 3.5 s at 48 kHz, each of another level."""
    folder.mkdir()
    voice, rate = soundfile.read(DEMO_VOICE, dtype="float32")
    samples = np.tile(np.repeat(voice, RATE // rate), 3)[: round(SECONDS * RATE)]
    for number in range(n):
        level = 0.3 + 0.7 * number / max(n - 1, 1)
        soundfile.write(folder / f"{number:05d}.wav", level * samples, RATE, subtype="PCM_16")


def measure(way: str, model: str, folder: Path) -> dict[str, Any]:
    """Many files and one file, both from the start of the process to its end."""
    name, _, workers = way.partition("-")

    def command(files: str) -> list[str]:
        if name == "loop":
            return [sys.executable, __file__, "--loop-over", str(folder / files)]
        batch = [sys.executable, "-m", "speech_emotion", "batch", str(folder / files), "--model", model]
        return [*batch, "--out", str(folder / f"{way}-{files}"), "--engine", name, "--workers", workers]

    start, cpu_of_one, _ = timed(command("one"))
    seconds, cpu, rss = timed(command("many"))
    found = {"seconds": round(seconds, 2), "start_seconds": round(start, 2)}
    if name != "ray":
        found |= {"cpu_seconds": cpu - cpu_of_one, "largest_process_mib": round(rss)}
    if name != "loop":
        found["resume_seconds"] = round(timed(command("many"))[0], 1)
    return found


def timed(command: list[str]) -> tuple[float, float, float]:
    """The seconds on the clock, those of the processor, and the memory of the largest process in MiB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=-3, env=os.environ | {"OMP_NUM_THREADS": "1"})  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)  # with the processes that it started and waited for
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def loop(paths: list[Path]) -> None:
    """What most scripts do: librosa decodes and resamples, the network runs in torch, on one thread."""
    import librosa
    import torch

    from speech_emotion.training.config import TrainConfig
    from speech_emotion.training.networks.build import assemble

    torch.set_num_threads(1)
    network = assemble(
        TrainConfig.load(ROOT / "recipes/ravdess-compact.toml")
    ).eval()  # any weights take as long
    with torch.inference_mode():
        for path in paths:
            samples, _ = librosa.load(path, sr=16_000)
            network(torch.from_numpy(samples)[None]).softmax(dim=1).numpy()


if __name__ == "__main__":
    main()
