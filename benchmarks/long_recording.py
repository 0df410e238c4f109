"""How much memory a long recording needs, and how that grows.

    python benchmarks/long_recording.py [--hours 1] [--channels 2] [--segments | --hop 4] [--model MODEL] [--out FILE]

In: the demo voices, which are written again and again with pauses into a FLAC of that length. Out: peak and slope of
the memory of `speech-emotion predict --timeline --csv` on it, and its speed, as a line and as JSON. The slope is that
of a straight line through resident memory against the time of the row being printed, without the first fifth. With
--segments the same of `predict --segments` with one segment per 5 s. `times_real_time` is by the clock,
`times_real_time_of_core` by the time of the processor, which other programs disturb less.
"""

import argparse
import csv
import json
import os
import re
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
ASSETS = ROOT / "src/speech_emotion/assets"
RATE = 16_000
PAUSE_SECONDS = 3.0
SEGMENT_SECONDS = 5.0
WARM_UP = 0.2  # of the recording, until all caches are full


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory that a long recording needs.")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--channels", type=int, default=1, help="2 with --channels separate")
    parser.add_argument("--segments", action="store_true", help="answer per segment of 5 s")
    parser.add_argument("--hop", help="seconds between the answers, instead of the model's own")
    parser.add_argument("--model", help="a model in the package or an exported .onnx, instead of the default")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "long-recording.json")
    arguments = parser.parse_args()
    options = ["--model", arguments.model] if arguments.model else []
    options += ["--hop", arguments.hop] if arguments.hop else []
    found = measure(arguments.hours, arguments.channels, with_segments=arguments.segments, options=options)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found | provenance("one used"), indent=1) + "\n")
    print(
        f"{found['hours']:g} h, {found['n_channels']} channels, {found['n_rows']} rows: peak {found['peak_mib']:.0f} "
        f"MiB, slope {found['slope_mib_per_hour']:+.2f} MiB per hour, {found['times_real_time']:.0f} × real time"
    )


def measure(
    hours: float, n_channels: int = 1, *, with_segments: bool = False, options: list[str]
) -> dict[str, Any]:
    """Predict on a recording of that length in a process of its own, and watch its memory."""
    with tempfile.TemporaryDirectory() as folder:
        recording, segments = Path(folder) / "long.flac", Path(folder) / "segments.csv"
        write_recording(recording, hours, n_channels)
        write_segments(segments, hours)
        what = ["--segments", str(segments)] if with_segments else ["--timeline"]
        what += ["--channels", "separate"] if n_channels > 1 else []
        command = [
            sys.executable,
            "-m",
            "speech_emotion",
            "predict",
            str(recording),
            "--csv",
            *what,
            *options,
        ]
        started = time.monotonic()
        watched = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
            for row in csv.DictReader(process.stdout or []):
                watched.append((float(row["end_seconds"]) / 3600, *resident(process.pid)))
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    at, mib, peak = np.array(watched).T
    settled = (at >= WARM_UP * hours) & (mib > 0)
    return {
        "hours": hours,
        "n_channels": n_channels,
        "segments": with_segments,
        "n_rows": len(watched),
        "peak_mib": float(peak.max()),
        "slope_mib_per_hour": float(np.polyfit(at[settled], mib[settled], 1)[0]),
        "times_real_time": hours * 3600 / seconds,
        "times_real_time_of_core": hours * 3600 / (used.ru_utime + used.ru_stime),
    }


def write_recording(path: Path, hours: float, n_channels: int) -> None:
    """Write the demo voices with pauses, in each channel another one first; never all of it in memory."""
    voices = [soundfile.read(one, dtype="float32")[0] for one in sorted(ASSETS.glob("demo-*.flac"))]
    pause = np.zeros(round(PAUSE_SECONDS * RATE), np.float32)
    turns = [np.concatenate([*voices[n:], *voices[:n], pause]) for n in range(n_channels)]
    turn = np.stack(turns, axis=1)  # (n_samples, n_channels)
    n_left = round(hours * 3600 * RATE)
    with soundfile.SoundFile(path, "w", RATE, n_channels, "PCM_16", format="FLAC") as file:
        while n_left > 0:
            file.write(turn[:n_left])
            n_left -= len(turn)


def write_segments(path: Path, hours: float) -> None:
    """Write a segment per SEGMENT_SECONDS, with alternating speakers."""
    starts = np.arange(0, hours * 3600 - SEGMENT_SECONDS, SEGMENT_SECONDS)
    lines = [f"{start},{start + SEGMENT_SECONDS},speaker {place % 2}" for place, start in enumerate(starts)]
    path.write_text("\n".join(["start,end,speaker", *lines]) + "\n")


def resident(pid: int) -> tuple[float, float]:
    """Resident memory of a process and its peak so far, in MiB; 0 once it has ended.

    Not `ru_maxrss`, which counts the memory of the process that started it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    now, peak = (re.search(rf"{name}:\s*(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
    return (int(now[1]) / 1024, int(peak[1]) / 1024) if now and peak else (0.0, 0.0)


if __name__ == "__main__":
    main()
