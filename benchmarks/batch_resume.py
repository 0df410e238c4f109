"""A batch that is killed and goes on: is every input there once?

    python benchmarks/batch_resume.py [--clips 10000] [--engine pool] [--workers 2] [--folder FOLDER]

In: the installed package. Out: results/benchmarks/batch-resume-ENGINE.json. Makes clips of 1 to 2 s, of which one in
a hundred is broken in one of five ways; starts `speech-emotion batch` on them; kills it and all that it started after
a quarter and after half of the parts; lets it end; and counts. FOLDER keeps the clips and the answers; a run that was
stopped goes on there.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from provenance import provenance
from pyarrow import parquet

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "src/speech_emotion/assets"
KILLS = (0.25, 0.5)  # of the parts


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a batch twice, let it end, count the rows.")
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--engine", choices=["pool", "ray"], default="pool")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        broken = make_clips(folder / "clips", arguments.clips)
        out = folder / f"answers-{arguments.engine}"
        command = [sys.executable, "-m", "speech_emotion", "batch", str(folder / "clips"), "--out", str(out)]
        command += ["--model", "compact", "--engine", arguments.engine, "--workers", str(arguments.workers)]
        runs = [kill_at(share, command, out) for share in KILLS]
        start = time.monotonic()
        ended = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        runs.append({"exit_code": ended.returncode, "seconds": round(time.monotonic() - start, 1)})
        print(ended.stdout, ended.stderr)
        report = {"runs": runs, **count(out, folder / "clips", broken)}
    report |= provenance(f"shared with other work; {arguments.workers} workers")
    path = ROOT / f"results/benchmarks/batch-resume-{arguments.engine}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def make_clips(folder: Path, n: int) -> int:
    """Write `n` clips, unless they are there; returns how many are broken."""
    folder.mkdir(parents=True, exist_ok=True)
    voices = [soundfile.read(path, dtype="float32") for path in sorted(ASSETS.glob("demo-*.flac"))]
    rng = np.random.default_rng(7)
    n_broken = 0
    for number in range(n):
        voice, rate = voices[number % len(voices)]
        n_samples = int(rng.uniform(1, 2) * rate)
        start = int(rng.integers(0, len(voice) - n_samples + 1)) if len(voice) > n_samples else 0
        samples, level = voice[start : start + n_samples], rng.uniform(0.3, 1.0)
        path = folder / f"{number % 100:02d}" / f"{number:05d}.wav"
        is_broken = number % 100 == 42
        n_broken += is_broken
        if path.exists() or path.is_symlink():
            continue
        path.parent.mkdir(exist_ok=True)
        if is_broken:
            damage(path, number // 100 % 5)
        else:
            soundfile.write(path, level * samples, rate, subtype="PCM_16")
    return n_broken


def damage(path: Path, kind: int) -> None:
    """A file that cannot be answered: empty, text, half a header, a pipe, a link to nowhere."""
    if kind < 3:
        path.write_bytes([b"", b"this is text, whatever it is called", b"RIFF\x00\x00\x00\x00WAVEfmt "][kind])
    elif kind == 3:
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere.wav")


def kill_at(share: float, command: list[str], out: Path) -> dict[str, Any]:
    """Run until a share of the parts is there, then kill every process of it."""
    start = time.monotonic()
    process = subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3)  # noqa: S603
    while process.poll() is None and len(list(out.glob("part-*"))) < share * n_parts(out):
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    found = {"exit_code": code, "seconds": round(time.monotonic() - start, 1)}
    return found | {"parts": len(list(out.glob("part-*"))), "of": n_parts(out)}


def n_parts(out: Path) -> float:
    """The parts of the batch; infinitely many before it exists."""
    try:
        facts = json.loads((out / "_batch/batch.json").read_text())
    except FileNotFoundError:
        return float("inf")
    return float(-(-facts["n_inputs"] // facts["n_per_part"]))


def count(out: Path, clips: Path, n_broken: int) -> dict[str, Any]:
    """What is in the answers, beside what was asked."""
    rows = parquet.read_table(out, columns=["path", "label", "abstained", "error"]).to_pylist()
    asked = {str(path) for path in clips.rglob("*.wav")}
    times = Counter(row["path"] for row in rows)
    return {
        "inputs": len(asked),
        "broken": n_broken,
        "rows": len(rows),
        "missing": len(asked - times.keys()),
        "twice": sum(n > 1 for n in times.values()),
        "errors": dict(Counter(row["error"] for row in rows if row["error"])),
        "labels": dict(Counter(row["label"] or row["abstained"] for row in rows if not row["error"])),
    }


if __name__ == "__main__":
    main()
