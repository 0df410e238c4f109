"""Which decoder loses nothing? Hundreds of generated files, ffmpeg as the judge of their length, and what each costs.

    python benchmarks/decoders.py [--rates 8000 16000 22050 44100 48000] [--out results/benchmarks/decoders.json]

In: encoders × modes × containers × what becomes of files (tests/support/encoded_set.py). Out: for the audio gate, and
for libsndfile, PyAV and miniaudio (if installed) alone: how many files are read right, refused, or lost in part without
a word; CPU milliseconds for a minute of sound; the size on disk.
"""

import argparse
import importlib.metadata
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from provenance import ROOT, provenance

from speech_emotion.audio import load, open_audio

sys.path.insert(0, str(ROOT / "tests" / "support"))
import encoded_set
from sounds import voice

try:
    import miniaudio
except ImportError:
    miniaudio = None

Decoded = tuple[float, tuple[str, ...]]
SPEED_OF = ("WAV", "FLAC", "MP3")
PACKAGES = ("numpy", "onnxruntime", "soundfile", "soxr", "av", "miniaudio")


def by_gate(path: Path) -> Decoded:
    """What the product does."""
    waveform = load(path)
    return waveform.seconds, waveform.warnings


def by_core(path: Path) -> Decoded:
    """What it does where PyAV is not installed."""
    installed = sys.modules["av"]
    sys.modules["av"] = None  # type: ignore[assignment]
    try:
        return by_gate(path)
    finally:
        sys.modules["av"] = installed


def by_soundfile(path: Path) -> Decoded:
    with soundfile.SoundFile(path) as sound:
        n_samples = 0
        while n_new := len(sound.read(16_384, dtype="float32")):
            n_samples += n_new
        return n_samples / sound.samplerate, ()


def by_av(path: Path) -> Decoded:
    with av.open(str(path), metadata_errors="ignore") as media:
        return sum(frame.samples / frame.sample_rate for frame in media.decode(media.streams.audio[0])), ()


def by_miniaudio(path: Path) -> Decoded:
    sound = miniaudio.decode_file(str(path), nchannels=1, sample_rate=16_000)
    return len(sound.samples) / 16_000, ()


READERS: dict[str, Callable[[Path], Decoded]] = {
    "this package, with the media extra": by_gate,
    "this package, without it": by_core,
    "libsndfile alone": by_soundfile,
    "PyAV alone": by_av,
} | ({"miniaudio alone": by_miniaudio} if miniaudio else {})


def main() -> None:
    parser = argparse.ArgumentParser(description="Which decoder loses nothing?")
    parser.add_argument("--rates", type=int, nargs="+", default=[8_000, 16_000, 22_050, 44_100, 48_000])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "decoders.json")
    arguments = parser.parse_args()
    report = {
        "verdicts": verdicts(tuple(arguments.rates)),
        "cpu_ms_per_minute": cpu_ms_per_minute(),
        "installed_mb": {name: size for name in PACKAGES if (size := installed_mb(name))},
        **provenance("shared with other work"),
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def verdicts(rates: tuple[int, ...]) -> dict[str, Any]:
    """Each reader → verdict → number of files, and the kinds of files that it loses in part."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    for rate in rates:
        with tempfile.TemporaryDirectory() as folder:
            paths = encoded_set.everything(Path(folder), (rate,))
            by_ffmpeg = encoded_set.seconds_by_ffmpeg(paths, Path(folder))
            for reader, read in READERS.items():
                for path in paths:
                    word = verdict(read, path, by_ffmpeg[path])
                    counts[reader][word] += 1
                    lost[reader].update([path.suffix] if word == "lost" else [])
    return {
        reader: {"files": count.total(), **dict(count), "lost in": dict(lost[reader])}
        for reader, count in counts.items()
    }


def verdict(read: Callable[[Path], Decoded], path: Path, by_ffmpeg: float) -> str:
    try:
        seconds, warnings = read(path)
    except Exception:  # noqa: BLE001 - each reader has errors of its own
        return encoded_set.verdict(path, None, (), by_ffmpeg)
    return encoded_set.verdict(path, seconds, warnings, by_ffmpeg)


def cpu_ms_per_minute(n_times: int = 7) -> dict[str, dict[str, float]]:
    """The shortest of several times that each reader takes for a minute at 44.1 kHz, mono."""
    times: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in SPEED_OF:
            path = Path(folder) / f"minute.{kind.lower()}"
            soundfile.write(path, np.tile(voice(6, 44_100), 10), 44_100, format=kind)
            times[kind] = {
                name: round(1000 * min(cpu_seconds(read, path) for _ in range(n_times)), 1)
                for name, read in (READERS | {"this package, with the media extra": streamed}).items()
            }
    return times


def streamed(path: Path) -> Decoded:
    with open_audio(path) as stream:
        return sum(map(len, stream)) / 16_000, stream.warnings


def cpu_seconds(read: Callable[[Path], Decoded], path: Path) -> float:
    start = time.process_time()
    read(path)
    return time.process_time() - start


def installed_mb(package: str) -> float:
    """The files that its distribution lists; 0 if it is not installed."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return 0.0
    return round(sum(file.size or 0 for file in files) / 2**20, 1)


if __name__ == "__main__":
    main()
