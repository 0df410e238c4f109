"""How often the speech gate is right. In: folders of speech and of other sounds. Out: a table, and JSON.

    python benchmarks/speech_gate.py --speech RAVDESS=FOLDER … --other ESC-10=FOLDER … \
        [--out results/benchmarks/speech-gate.json]

All recordings below a folder are judged, whole and in windows of 3 s as a classifier hears them; speech also in
windows with pink noise 10 dB below the voice. Silence, noise and tones are made here, 500 windows of each.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.speech import has_speech
from speech_emotion.windows import Framer

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".flac", ".wav", ".ogg", ".opus", ".mp3"}
WINDOW = 3 * SAMPLE_RATE
SHORTEST = SAMPLE_RATE // 2
N_MADE = 500

FloatArray = npt.NDArray[np.float32]
Counts = dict[str, tuple[int, int]]  # judged as speech, of how many


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how often the speech gate is right.")
    parser.add_argument("--speech", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--other", nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "speech-gate.json")
    arguments = parser.parse_args()
    report = {
        "false_abstention_percent": {name: not_speech(of_folder(at)) for name, at in named(arguments.speech)},
        "rejected_percent": {
            **{name: not_speech(of_folder(at, voices=False)) for name, at in named(arguments.other)},
            **{name: not_speech({"windows": count(make)}) for name, make in MADE.items()},
        },
        "command": " ".join(["python", "benchmarks/speech_gate.py", *sys.argv[1:]]),
        "commit": commit(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report)


def named(folders: list[str]) -> Iterator[tuple[str, Path]]:
    for folder in folders:
        name, _, path = folder.partition("=")
        yield name, Path(path)


def of_folder(folder: Path, *, voices: bool = True) -> Counts:
    """How many recordings and windows below `folder` are taken for speech."""
    chance = np.random.default_rng(0)
    found: dict[str, list[bool]] = {"whole": [], "windows": [], "windows in noise": []}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
        samples = load(path).samples
        found["whole"].append(has_speech(samples))
        for window in windows(samples):
            found["windows"].append(has_speech(window))
            if voices:
                found["windows in noise"].append(has_speech(in_noise(window, chance)))
    return {name: (sum(answers), len(answers)) for name, answers in found.items() if answers}


def windows(samples: FloatArray) -> list[FloatArray]:
    framer = Framer(WINDOW, WINDOW, SHORTEST)
    return [window.samples for window in (*framer.push(samples), *framer.finish())]


def in_noise(samples: FloatArray, chance: np.random.Generator) -> FloatArray:
    """`samples` with pink noise 10 dB below the voice, which is what is less than 30 dB below the loudest 25 ms."""
    power = np.square(samples[: len(samples) // 400 * 400]).reshape(-1, 400).mean(axis=1)
    voice = power[power > power.max() / 1_000]
    noise = coloured(len(samples), 1, chance)
    return (samples + noise * np.sqrt((voice.mean() if len(voice) else 0) / 10)).astype(np.float32)


def coloured(n_samples: int, exponent: float, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise of RMS 1 whose power falls with frequency to the `exponent`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(chance.standard_normal(n_samples))
    spectrum /= np.maximum(np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE), 20) ** (exponent / 2)
    noise = np.fft.irfft(spectrum, n_samples)
    return noise / np.sqrt(np.square(noise).mean())


def hum(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Mains, 50 or 60 Hz and its harmonics, with up to a tenth of noise."""
    time, mains = np.arange(WINDOW) / SAMPLE_RATE, chance.choice([50, 60])
    tones = sum(np.sin(2 * np.pi * (n * mains * time + chance.random())) / n for n in range(1, 9))
    return tones + coloured(WINDOW, 0, chance) * chance.uniform(0, 0.1)


def tone(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.sin(
        2 * np.pi * np.exp(chance.uniform(np.log(40), np.log(7_000))) * np.arange(WINDOW) / SAMPLE_RATE
    )


def beeps(chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """A tone, switched on and off half to eight times a second, in faint noise."""
    time = np.arange(WINDOW) / SAMPLE_RATE
    is_on = np.sin(2 * np.pi * chance.uniform(0.5, 8) * time) > 0
    return tone(chance) * is_on + coloured(WINDOW, 0, chance) * 1e-3


MADE: dict[str, Callable[[np.random.Generator], npt.NDArray[np.float64]]] = {
    "digital silence": lambda _: np.zeros(WINDOW),
    "near silence": lambda chance: coloured(WINDOW, chance.uniform(0, 2), chance) * 1e-4,
    "white noise": lambda chance: coloured(WINDOW, 0, chance),
    "pink noise": lambda chance: coloured(WINDOW, 1, chance),
    "brown noise": lambda chance: coloured(WINDOW, 2, chance),
    "hum": hum,
    "tone": tone,
    "beeps": beeps,
}


def count(make: Callable[[np.random.Generator], npt.NDArray[np.float64]]) -> tuple[int, int]:
    """How many made windows, each at a level of its own, are taken for speech."""
    chance = np.random.default_rng(0)
    levels = 10 ** chance.uniform(-3, -0.6, N_MADE)
    return sum(has_speech((make(chance) * level).astype(np.float32)) for level in levels), N_MADE


def not_speech(counts: Counts) -> dict[str, Any]:
    """Percent judged as no speech, its 95 % interval (Wilson) and how many were judged."""
    return {name: share(n - n_speech, n) for name, (n_speech, n) in counts.items()}


def share(n: int, of: int) -> dict[str, Any]:
    centre, width = (n + 1.92) / (of + 3.84), 1.96 * np.sqrt(n * (of - n) / of + 0.96) / (of + 3.84)
    low, high = (round(100 * float(np.clip(centre + side * width, 0, 1)), 2) for side in (-1, 1))
    return {"percent": round(100 * n / of, 2), "ci95": [low, high], "n": of}


def commit() -> str | None:
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None  # noqa: S603


def print_table(report: dict[str, Any]) -> None:
    for title in ("false_abstention_percent", "rejected_percent"):
        print(title.replace("_", " "))  # noqa: T201
        for name, row in report[title].items():
            for kind, found in row.items():
                interval = "–".join(map(str, found["ci95"]))
                print(f"  {name:<16} {kind:<17} {found['percent']:6.2f}  [{interval}]  n {found['n']}")  # noqa: T201


if __name__ == "__main__":
    main()
