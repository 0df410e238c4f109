"""How often "no speech" is right. In: folders of speech and of other sounds. Out: a table, and JSON.

    python benchmarks/speech_head.py --speech RAVDESS=FOLDER … --other ESC-10=FOLDER … \
        [--out results/benchmarks/speech-head.json]

The shipped model answers as it would answer a user. It is scored on the speakers and recordings that the training of
the speech head (tools/) left for the test, at most 300 evenly chosen recordings per folder: whole, in windows of 3 s,
and speech also in windows with pink noise 10, 5 and 0 dB below the voice; and on all their shouted recordings. Silence,
noise and tones are made here, 500 windows of each. The file of the weights says how a head does on a kind of sound that
it was trained without; that is repeated here.
"""

import argparse
import functools
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech_emotion import classifier
from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.audio.speech import is_audible
from speech_emotion.degrade import add_pink_noise, coloured_noise
from speech_emotion.provenance import commit
from speech_emotion.training.export.speech_head import HEADS
from speech_emotion.windows import Framer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from speech_examples import is_learned, named, paths  # noqa: E402  a script's neighbour is not a package

MAX_RECORDINGS = 300
SHOUTED = re.compile(r"03-01-0[56]-02")  # RAVDESS: angry and fearful, strong
SNR_DB = (10, 5, 0)
WINDOW = 3 * SAMPLE_RATE
SHORTEST = SAMPLE_RATE // 2
N_MADE = 500

FloatArray = npt.NDArray[np.float32]
Counts = dict[str, tuple[int, int]]  # judged as speech, of how many


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how often the speech head is right.")
    parser.add_argument("--speech", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--other", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "speech-head.json")
    arguments = parser.parse_args()
    speech, other = named(arguments.speech), named(arguments.other)
    with ProcessPoolExecutor() as workers:
        of_speech = {name: workers.submit(of_folder, folder) for name, folder in speech.items()}
        of_other = {name: workers.submit(of_folder, folder, voices=False) for name, folder in other.items()}
        of_other |= {name: workers.submit(of_made, name) for name in MADE}
    info = shipped().info
    report = {
        "false_abstention_percent": {name: not_speech(job.result()) for name, job in of_speech.items()},
        "rejected_percent": {name: not_speech(job.result()) for name, job in of_other.items()},
        "left_out_rejected_percent": json.loads(HEADS["pretrained"].read_bytes())[
            "left_out_rejected_percent"
        ],
        "milliseconds_per_window": {"is_audible": milliseconds()},
        "model": info.name,
        "model_sha256": info.sha256,
        "command": " ".join(["python", "benchmarks/speech_head.py", *sys.argv[1:]]),
        "commit": commit(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report)


shipped = functools.cache(classifier.load)


def speaks(samples: FloatArray) -> bool:
    """Whether any window of `samples` is taken for speech."""
    timeline = shipped().timeline(samples, sample_rate=SAMPLE_RATE)
    return any(prediction.abstained != "no_speech" for prediction in timeline)


def of_folder(folder: Path, *, voices: bool = True) -> Counts:
    """How many recordings and windows below `folder` are taken for speech."""
    rng = np.random.default_rng(0)
    found: dict[str, list[bool]] = defaultdict(list)
    held_out = [path for path in paths(folder) if not is_learned(path, folder)]
    for path in held_out[:: max(1, -(-len(held_out) // MAX_RECORDINGS))]:
        samples = load(path).samples
        found["whole"].append(speaks(samples))
        for window in windows(samples):
            found["windows"].append(speaks(window))
            for snr_db in SNR_DB if voices else ():
                noisy = add_pink_noise(window, rng, snr_db=snr_db)
                found[f"windows, SNR {snr_db} dB"].append(speaks(noisy))
    for path in held_out:
        if SHOUTED.match(path.name):
            found["shouted, whole"].append(speaks(load(path).samples))
    return {name: (sum(answers), len(answers)) for name, answers in found.items()}


def windows(samples: FloatArray) -> list[FloatArray]:
    framer = Framer(WINDOW, WINDOW, SHORTEST)
    return [window.samples for window in (*framer.push(samples), *framer.finish())]


def coloured(n_samples: int, exponent: float, rng: np.random.Generator) -> npt.NDArray[np.floating]:
    """`degrade.coloured_noise` of RMS 1."""
    noise = coloured_noise(n_samples, rng, exponent)
    return noise / np.sqrt(np.square(noise).mean())


def hum(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mains, 50 or 60 Hz and its harmonics, with up to a tenth of noise."""
    time, mains = np.arange(WINDOW) / SAMPLE_RATE, rng.choice([50, 60])
    tones = sum(np.sin(2 * np.pi * (n * mains * time + rng.random())) / n for n in range(1, 9))
    return tones + coloured(WINDOW, 0, rng) * rng.uniform(0, 0.1)


def tone(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.sin(
        2 * np.pi * np.exp(rng.uniform(np.log(40), np.log(7_000))) * np.arange(WINDOW) / SAMPLE_RATE
    )


def beeps(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A tone, switched on and off half to eight times a second, in faint noise."""
    time = np.arange(WINDOW) / SAMPLE_RATE
    is_on = np.sin(2 * np.pi * rng.uniform(0.5, 8) * time) > 0
    return tone(rng) * is_on + coloured(WINDOW, 0, rng) * 1e-3


MADE: dict[str, Callable[[np.random.Generator], npt.NDArray[np.float64]]] = {
    "digital silence": lambda _: np.zeros(WINDOW),
    "near silence": lambda rng: coloured(WINDOW, rng.uniform(0, 2), rng) * 1e-4,
    "white noise": lambda rng: coloured(WINDOW, 0, rng),
    "pink noise": lambda rng: coloured(WINDOW, 1, rng),
    "brown noise": lambda rng: coloured(WINDOW, 2, rng),
    "hum": hum,
    "tone": tone,
    "beeps": beeps,
}


def of_made(name: str) -> Counts:
    """How many made windows, each at a level of its own, are taken for speech."""
    rng = np.random.default_rng(0)
    levels = 10 ** rng.uniform(-3, -0.6, N_MADE)
    answers = [speaks((MADE[name](rng) * level).astype(np.float32)) for level in levels]
    return {"windows": (sum(answers), N_MADE)}


def milliseconds() -> float:
    """The median processor time of `is_audible` for a window of 3 s."""
    window = MADE["pink noise"](np.random.default_rng(0)).astype(np.float32)
    times = []
    for _ in range(500):
        start = time.thread_time()
        is_audible(window)
        times.append(time.thread_time() - start)
    return round(1_000 * float(np.median(times)), 2)


def not_speech(counts: Counts) -> dict[str, Any]:
    """Percent judged as no speech, its 95 % interval (Wilson) and how many were judged."""
    return {name: share(n - n_speech, n) for name, (n_speech, n) in counts.items()}


def share(n: int, of: int) -> dict[str, Any]:
    centre, width = (n + 1.92) / (of + 3.84), 1.96 * np.sqrt(n * (of - n) / of + 0.96) / (of + 3.84)
    low, high = (round(100 * float(np.clip(centre + side * width, 0, 1)), 2) for side in (-1, 1))
    return {"percent": round(100 * n / of, 2), "ci95": [low, high], "n": of}


def print_table(report: dict[str, Any]) -> None:
    for title in ("false_abstention_percent", "rejected_percent"):
        print(title.replace("_", " "))
        for name, row in report[title].items():
            for kind, found in row.items():
                interval = "–".join(map(str, found["ci95"]))
                print(f"  {name:<16} {kind:<19} {found['percent']:6.2f}  [{interval}]  n {found['n']}")
    print("rejected by a head trained without the kind")
    for name, kinds in report["left_out_rejected_percent"].items():
        for kind, row in kinds.items():
            print(f"  {name:<16} {kind:<40} {row['percent']:6.1f}  n {row['n']}")
    for name, spent in report["milliseconds_per_window"].items():
        print(f"{name}: {spent} ms per window of 3 s")


if __name__ == "__main__":
    main()
