"""How many degraded copies of a recording the audit finds, and how often it takes two recordings for one.

    python benchmarks/audit.py --corpus RAVDESS=FOLDER [--corpus nEMO=FOLDER …] [--n 200] \
        [--out results/benchmarks/audit.json]

In: folders of recordings. Of the first, N clips drawn at random are degraded in each way, and searched for among
those clips and N others, which are their second takes where the names are those of the RAVDESS. Then all clips of
every folder are compared with all others of it. Out: a table, and JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import soxr

from speech_emotion import audio, degrade
from speech_emotion.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speech_emotion.corpora.readers import ravdess
from speech_emotion.evaluation.audit.fingerprint import THRESHOLD, Print, find_copies, print_of
from speech_emotion.provenance import commit

ROOT = Path(__file__).resolve().parent.parent
FloatArray = npt.NDArray[np.float32]
LOWER = 0.6  # in the second search, to see how near the nearest pair comes to the threshold


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well copies of recordings are found.")
    parser.add_argument("--corpus", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--n", type=int, default=200, help="clips that are degraded")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "audit.json")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"threshold": THRESHOLD, "recall": {}, "false_alarms": {}}
    folders = [text.partition("=")[::2] for text in arguments.corpus]
    for index, (name, folder) in enumerate(folders):
        start = time.process_time()
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in AUDIO_SUFFIXES)
        prints = {path: print_of(audio.load(path).samples) for path in paths}
        read = time.process_time()
        report["false_alarms"][name] = false_alarms(prints)
        done = time.process_time()
        report["false_alarms"][name] |= {
            "cpu_ms_per_clip": {
                "decode and print": round(1_000 * (read - start) / len(paths), 1),
                "search": round(1_000 * (done - read) / len(paths), 1),
            }
        }
        if index == 0:
            report["recall"] = recall(prints, arguments.n)
        print(json.dumps(report, indent=1), flush=True)
    report |= {"command": " ".join(["python", "benchmarks/audit.py", *sys.argv[1:]]), "commit": commit()}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def false_alarms(prints: dict[Path, Print | None]) -> dict[str, Any]:
    """Pairs that are taken for copies when every clip is a fold of its own, and the nearest that are not."""
    paths = list(prints)
    copies = find_copies(list(prints.values()), [str(path) for path in paths], threshold=LOWER)
    pairs = [(paths[copy.first].stem, paths[copy.second].stem, copy.correlation) for copy in copies]
    known = [pair for pair in pairs if frozenset(pair[:2]) in ravdess.KNOWN_DUPLICATES]
    others = [pair for pair in pairs if pair not in known]
    return {
        "n_clips": len(paths),
        "n_pairs": len(paths) * (len(paths) - 1) // 2,
        "known_identical_pairs_found": sum(pair[2] >= THRESHOLD for pair in known),
        "false_alarms": [rounded(pair) for pair in others if pair[2] >= THRESHOLD],
        "nearest_others": [rounded(pair) for pair in others if pair[2] < THRESHOLD][:5],
        "without_a_print": sum(print_ is None for print_ in prints.values()),
    }


def rounded(pair: tuple[str, str, float]) -> list[str | float]:
    return [*pair[:2], round(pair[2], 3)]


def recall(prints: dict[Path, Print | None], n_clips: int) -> dict[str, Any]:
    """Of `n_clips` clips, how many are found again in each degraded form, and what else was taken for them."""
    rng = np.random.default_rng(0)
    drawn = [list(prints)[index] for index in rng.permutation(len(prints))]
    chosen = drawn[:n_clips]
    others = {second_take(path) for path in chosen} & prints.keys() or set(drawn[n_clips : 2 * n_clips])
    originals = [*chosen, *sorted(others - set(chosen))]
    sounds = [audio.load(path).samples for path in chosen]
    found = {}
    for name, change in DEGRADED.items():
        degraded = [
            print_of(audio.load(change(sound, rng), sample_rate=SAMPLE_RATE).samples) for sound in sounds
        ]
        known = [prints[path] for path in originals]
        copies = find_copies([*known, *degraded], ["original"] * len(known) + ["copy"] * len(degraded))
        right = [copy for copy in copies if copy.second - len(known) == copy.first]
        wrong = [(originals[copy.first].stem, chosen[copy.second - len(known)].stem) for copy in copies]
        wrong = [
            pair for pair in wrong if len({*pair}) == 2 and frozenset(pair) not in ravdess.KNOWN_DUPLICATES
        ]
        found[name] = share(len(right), len(chosen)) | {"false_alarms": len(wrong)}
    return found


def second_take(path: Path) -> Path:
    """The same words, emotion and actor once more, by the name of a RAVDESS file."""
    fields = path.stem.split("-")
    if len(fields) == 7:
        fields[5] = {"01": "02", "02": "01"}[fields[5]]
    return path.with_stem("-".join(fields))


def share(n: int, of: int) -> dict[str, Any]:
    """Percent with its 95 % interval (Wilson)."""
    centre, width = (n + 1.92) / (of + 3.84), 1.96 * np.sqrt(n * (of - n) / of + 0.96) / (of + 3.84)
    low, high = (round(100 * float(np.clip(centre + side * width, 0, 1)), 1) for side in (-1, 1))
    return {"percent": round(100 * n / of, 1), "ci95": [low, high], "n": of}


def in_noise(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """With white noise 20 dB below the mean power of the clip."""
    noise = rng.standard_normal(len(samples)) * np.sqrt(np.square(samples).mean() / 100)
    return (samples + noise).astype(np.float32)


def trimmed(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    """From the first to the last sample of 3 % of the peak."""
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def at_8_khz(samples: FloatArray, _: np.random.Generator) -> FloatArray:
    return soxr.resample(soxr.resample(samples, SAMPLE_RATE, 8_000), 8_000, SAMPLE_RATE)


def played(rate: float) -> Callable[[FloatArray, np.random.Generator], FloatArray]:
    """Faster and higher, as a tape is."""
    return lambda samples, _: soxr.resample(samples, SAMPLE_RATE * rate, SAMPLE_RATE)


DEGRADED: dict[str, Callable[[FloatArray, np.random.Generator], FloatArray]] = {
    "gain −12 dB": partial(degrade.amplify, decibels=-12.0),
    "MP3, 64 kbit/s": degrade.mp3,
    "Opus, 14 kbit/s": degrade.opus,
    "white noise at 20 dB": in_noise,
    "8 kHz": at_8_khz,
    "trimmed": trimmed,
    "speed 1.1": played(1.1),
    "speed 0.9": played(0.9),
    "pitch +2 semitones": lambda samples, _: librosa.effects.pitch_shift(samples, sr=SAMPLE_RATE, n_steps=2),
    "tempo 1.1": lambda samples, _: librosa.effects.time_stretch(samples, rate=1.1),
}


if __name__ == "__main__":
    main()
