"""Examples of speech and of other sounds. In: folders of recordings. Out: what a detector of speech learns from.

Half of the speakers, and half of the recordings of other sounds, are learned from (`is_learned`); the other half is
for benchmarks/speech_head.py. Tones, music, engines, animals and noises made here join the other sounds. The same
folders give the same examples.
"""

import re
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from made_sounds import KINDS, Array, degrade, unit, voice

from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.degrade import voice_power

SUFFIXES = {".flac", ".wav", ".ogg", ".opus", ".mp3"}
# Examples of a corpus, of a folder of other sounds, of a made kind.
N_PER_SPEECH, N_PER_OTHER, N_PER_KIND = 1200, 1400, 200
VOICES = 2 / 3  # of the loss: to refuse a voice is worse than to answer a noise
N_PER_RECORDING = 3  # examples of one recording of speech
SHARES = {"speech": 2.0, "other": 3.0, "made": 0.35}  # of a corpus, a folder and a made kind in the loss
# Who speaks: RAVDESS, CREMA-D, EmoGator, nEMO, EmoSpeech-IN and EmotionTTS-ko; elsewhere a recording stands for itself.
SPEAKER = re.compile(
    r"Actor_\d+|\b\d{4}(?=_[A-Z]{3}_)|\d{6}(?=/)|[A-Z]{2}\d(?=_)|[0-9a-f]{12}(?=[0-9a-f]*\.\w+$)|\w+(?=/wav/)"
)
VOICE = "voice"
MIN_SNR_DB, MAX_SNR_DB = 0.0, 25.0


class Example(NamedTuple):
    """What one sound was: `kind` is its category, `noise` the category that was mixed into it, or ""."""

    statistics: Array
    is_voice: bool
    source: str
    group: str  # speech, other or made
    kind: str
    noise: str
    speaker: str  # or ""


Describe = Callable[
    [npt.NDArray[np.float32]], Array | None
]  # a sound → its statistics, or None if it is too quiet


class Recording(NamedTuple):
    kind: str
    samples: Array


def named(folders: list[str]) -> dict[str, Path]:
    pairs = (folder.partition("=") for folder in folders)
    return {name: Path(path) for name, _, path in pairs}


def paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def is_learned(path: Path, folder: Path) -> bool:
    """Whether `path` below `folder` is for training; otherwise it is for the test."""
    return zlib.crc32(speaker_of(path, folder).encode()) % 2 == 0


def speaker_of(path: Path, folder: Path) -> str:
    inside = path.relative_to(folder).as_posix()
    speaker = SPEAKER.search(inside)
    return speaker.group() if speaker else inside


def kind_of(path: Path, folder: Path) -> str:
    """The category of another sound: its folder, or its name where there is none."""
    return path.parent.name if path.parent != folder else path.stem


def make_examples(speech: dict[str, Path], other: dict[str, Path], describe: Describe) -> list[Example]:
    """Every source in a process of its own, with a generator of its own."""
    noises = {name: recordings(folder) for name, folder in other.items()}
    pool = [recording for found in noises.values() for recording in found]
    with ProcessPoolExecutor() as workers:
        jobs = [workers.submit(of_speech, name, folder, pool, describe) for name, folder in speech.items()]
        jobs += [workers.submit(of_other, name, found, describe) for name, found in noises.items()]
        jobs += [workers.submit(of_kind, kind, describe) for kind in (*KINDS, VOICE)]
        return [example for job in jobs for example in job.result()]


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def recordings(folder: Path) -> list[Recording]:
    return [Recording(kind_of(p, folder), load(p).samples) for p in paths(folder) if is_learned(p, folder)]


def of_speech(name: str, folder: Path, pool: list[Recording], describe: Describe) -> list[Example]:
    """A third as they are, a third through some channel, a third in noise."""
    rng, examples = generator(name), []
    learned = [path for path in paths(folder) if is_learned(path, folder)]
    for index in np.resize(rng.permutation(len(learned)), N_PER_SPEECH // N_PER_RECORDING):
        path = learned[index]
        recording = load(path).samples
        for way in range(N_PER_RECORDING):
            samples, noise = cut_loud(recording, rng), ""
            if way > 0:
                samples = degrade(samples, rng)
            if way > 1:
                samples, noise = in_noise(samples, pool, rng)
            if (found := describe(samples.astype(np.float32))) is not None:
                speaker = speaker_of(path, folder)
                examples.append(Example(found, True, name, "speech", name, noise, speaker))
    return examples


def of_other(name: str, found: list[Recording], describe: Describe) -> list[Example]:
    rng, examples = generator(name), []
    for index in range(N_PER_OTHER):
        kind, samples = found[index % len(found)]
        samples = cut(samples, rng)
        samples = degrade(samples, rng) if rng.random() < 0.6 else samples
        if (statistics := describe(samples.astype(np.float32))) is not None:
            examples.append(Example(statistics, False, name, "other", kind, "", ""))
    return examples


def of_kind(kind: str, describe: Describe) -> list[Example]:
    """Made sounds of a kind, mostly through some channel, some with a sound of another kind behind them."""
    rng, examples = generator(kind), []
    for _ in range(N_PER_KIND):
        n = n_samples(rng)
        samples = (voice if kind == VOICE else KINDS[kind])(n, rng)
        if rng.random() < 0.25:
            second = KINDS[list(KINDS)[rng.integers(len(KINDS))]](n, rng)
            below_db = rng.uniform(10, 20) if kind == VOICE else rng.uniform(-5, 20)
            samples = unit(samples) + unit(second) * 10 ** (-below_db / 20)
        samples = degrade(samples, rng) if rng.random() < 0.7 else samples
        if (found := describe(samples.astype(np.float32))) is not None:
            examples.append(Example(found, kind == VOICE, kind, "made", kind, "", ""))
    return examples


def in_noise(samples: Array, pool: list[Recording], rng: np.random.Generator) -> tuple[Array, str]:
    if rng.random() < 0.5:
        kind, noise = pool[rng.integers(len(pool))]
        noise = cut(np.tile(noise, 1 + len(samples) // len(noise)), rng, len(samples))
    else:
        kind = ["steady", "steady", "modulated", "hum", "engine", "wind", "ensemble", "clicks"][
            rng.integers(8)
        ]
        noise = KINDS[kind](len(samples), rng)
    snr_db = rng.uniform(MIN_SNR_DB, MAX_SNR_DB)
    level = np.sqrt(voice_power(samples)) * 10 ** (-snr_db / 20)
    return samples + noise / (np.sqrt(np.square(noise).mean()) + 1e-9) * level, kind


def n_samples(rng: np.random.Generator) -> int:
    """Mostly 3 s, else 4 s or from half a second on."""
    drawn = rng.random()
    seconds = 3.0 if drawn < 0.5 else 4.0 if drawn < 0.6 else rng.uniform(0.5, 4)
    return int(seconds * SAMPLE_RATE)


def cut(samples: Array, rng: np.random.Generator, n: int | None = None) -> Array:
    n = n or n_samples(rng)
    start = rng.integers(len(samples) - n + 1) if len(samples) > n else 0
    return samples[start : start + n]


def cut_loud(samples: Array, rng: np.random.Generator) -> Array:
    """A piece in which a person speaks: not more than 10 dB softer than the whole."""
    n = n_samples(rng)
    for _ in range(10):
        piece = cut(samples, rng, n)
        if loudest(piece) > loudest(samples) / 10:
            break
    return piece


def loudest(samples: Array) -> float:
    frames = np.square(samples[: len(samples) // 400 * 400]).reshape(-1, 400).mean(axis=1)
    return float(np.percentile(frames, 95))


def importance(examples: list[Example]) -> Array:
    """How much each example weighs: sources as SHARES says, all voices as VOICES says."""
    sources = np.array([example.source for example in examples])
    groups = np.array([SHARES[example.group] for example in examples])
    is_voice = np.array([example.is_voice for example in examples])
    _, index, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weight = groups / counts[index]
    for voices, part in ((True, VOICES), (False, 1 - VOICES)):
        weight[is_voice == voices] *= part / weight[is_voice == voices].sum()
    return weight.astype(np.float32)


def left_out(
    examples: list[Example],
    other: dict[str, Path],
    rejected: Callable[[list[Example], str, Path], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Percent of windows of 3 s of each kind that `rejected` finds, by a head that was not trained on that kind."""
    kinds = [(name, kind) for name, folder in other.items() for kind in kinds_of(folder)]
    with ProcessPoolExecutor() as workers:
        jobs = [workers.submit(rejected, examples, kind, other[name]) for name, kind in kinds]
        found: dict[str, dict[str, Any]] = {name: {} for name in other}
        for (name, kind), job in zip(kinds, jobs, strict=True):
            found[name][kind] = job.result()
    return found


def kinds_of(folder: Path) -> list[str]:
    return sorted({kind_of(path, folder) for path in paths(folder)})


def in_windows(samples: Array) -> list[Array]:
    """Windows of 3 s, the last one moved back to the end."""
    length = 3 * SAMPLE_RATE
    starts = [*range(0, len(samples) - length, length), max(len(samples) - length, 0)]
    return [samples[start : start + length] for start in starts]
