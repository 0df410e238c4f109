"""Damage recordings at random and hand them to the audio gate. In: how long or how often. Out: a count, and findings.

    python benchmarks/fuzz_audio.py [--seconds 120] [--count 10000000] [--seed 0] [--case INDEX]

Case (seed, index) is always the same bytes; --case writes them to standard output. A case may end in a finite
waveform or in an AudioError. A foreign exception, a value that is not finite, a crash of the process or 20 s
without an answer is a finding.
"""

import argparse
import io
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speech_emotion.audio import Limits, load
from speech_emotion.errors import AudioError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
import encoded_set
import media
from sounds import voice

CONTAINERS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "ULAW")]
CONTAINERS += [
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("RF64", "PCM_24"),
]
CONTAINERS += [("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16")]
NUMBERS = [
    bytes(4),
    b"\xff" * 4,
    b"\x7f" + b"\xff" * 3,
    b"\xff" * 3 + b"\x7f",
    b"\x80" + bytes(3),
    b"\x01\0\0\0",
]
LIMITS = Limits(max_seconds=60, max_decoded_bytes=2**25)
HANG_SECONDS = 20
BATCH = 5_000


def recordings() -> list[bytes]:
    """A short recording in every container that the gate reads."""
    sound, stereo = voice(0.25, 16_000), np.stack([voice(0.1, 48_000)] * 2, axis=1)
    return [
        *(
            written(samples, rate, *names)
            for names in CONTAINERS
            for samples, rate in ((sound, 16_000), (stereo, 48_000))
        ),
        *(media.encoded(voice(0.25, 48_000), 48_000, suffix) for suffix in media.FORMATS),
        media.encoded(sound, 16_000, "mkv", video=True),
        media.encoded(sound, 16_000, "mp4", options={"movflags": "frag_keyframe+empty_moov"}),
        *(media.encoded(voice(0.25, 8_000), 8_000, suffix) for suffix in ("amr", "3gp")),
        *(media.encoded(sound, 16_000, suffix) for suffix in ("g722.wav", "flv", "flac.oga")),
        media.encoded(sound, 16_000, "mp3", options={"write_xing": "0"}),
        media.two_tracks(sound, sound, default=2),
        2 * written(sound, 16_000, "MP3", "MPEG_LAYER_III"),
        2 * written(sound, 16_000, "OGG", "VORBIS"),
        2 * written(sound, 16_000, "FLAC", "PCM_16"),
        2 * written(sound, 16_000, "WAV", "PCM_16"),
        *by_ffmpeg(),
    ]


def by_ffmpeg() -> list[bytes]:
    """What only ffmpeg's program writes, where it is installed: Speex, and the Opus in CAF of voice messages."""
    if not encoded_set.HAS_FFMPEG:
        return []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        soundfile.write(source, voice(0.25, 16_000), 16_000)
        settings = [
            encoded_set.Setting("speex", "spx", "-c:a libspeex"),
            encoded_set.Setting("opus", "caf", "-c:a libopus"),
        ]
        return [path.read_bytes() for path in encoded_set.encode(source, settings)]


def written(samples: Any, rate: int, container: str, encoding: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=encoding)
    return file.getvalue()


def damaged(originals: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(rng.choice(originals))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        start = int(rng.random() ** rng.choice((1, 4)) * len(data))  # more often in the header
        n_bytes = rng.choice((1, 2, 4, 8, 64, 1_000))
        match rng.randrange(7):
            case 0 if data[start:]:
                data[start] ^= 1 << rng.randrange(8)
            case 1:
                data[start : start + n_bytes] = rng.randbytes(n_bytes)
            case 2:
                data[start : start + 4] = rng.choice(NUMBERS)
            case 3:
                del data[start : start + n_bytes]
            case 4:
                data[start:start] = data[start : start + n_bytes]
            case 5:
                del data[start:]
            case 6:
                other = rng.choice(originals)
                data[start:] = other[int(rng.random() * len(other)) :]
    return bytes(data)


def outcome(data: bytes) -> str:
    """What became of one case, "FOUND …" if it must not."""
    try:
        samples = load(data, limits=LIMITS).samples
    except AudioError as error:
        return error.code
    except Exception as error:  # noqa: BLE001 - this is what we are looking for
        return f"FOUND {error!r}"
    is_good = samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all()
    return "decoded" if is_good else "FOUND not finite"


def case(seed: int, index: int, originals: list[bytes]) -> bytes:
    return damaged(originals, random.Random(f"{seed} {index}"))  # noqa: S311


def work(
    cases: range, seed: int, end_time: float, originals: list[bytes], progress: Any, answers: Any
) -> None:
    counts: Counter[str] = Counter()
    for index in cases:
        progress.value = index
        found = outcome(case(seed, index, originals))
        counts[f"{found} in case {index}" if found.startswith("FOUND") else found] += 1
        if time.time() > end_time:
            break
    answers.put(counts)


def fuzz(seed: int, seconds: float, count: int) -> Counter[str]:
    """Run cases in another process, and begin again behind one that kills it or does not end."""
    originals, end_time = recordings(), time.time() + seconds
    progress, answers = multiprocessing.Value("q", 0), multiprocessing.SimpleQueue()
    counts: Counter[str] = Counter()
    first = 0
    while first < count and time.time() < end_time:
        cases = range(first, min(first + BATCH, count))
        worker = multiprocessing.Process(
            target=work, args=(cases, seed, end_time, originals, progress, answers)
        )
        worker.start()
        if ends(worker, progress):
            counts += answers.get()
        else:
            counts[f"FOUND exit {worker.exitcode} in case {progress.value}"] += 1
        first = progress.value + 1
    return counts


def ends(worker: multiprocessing.Process, progress: Any) -> bool:
    """Whether `worker` ends by itself and well; it is killed when it stays at one case."""
    while worker.is_alive():
        before = progress.value
        worker.join(HANG_SECONDS)
        if worker.is_alive() and progress.value == before:
            worker.kill()
            worker.join()
    return worker.exitcode == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Damage recordings at random and hand them to the audio gate."
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--count", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="write the bytes of this case instead")
    arguments = parser.parse_args()
    if arguments.case is not None:
        sys.stdout.buffer.write(case(arguments.seed, arguments.case, recordings()))
        return
    counts = fuzz(arguments.seed, arguments.seconds, arguments.count)
    for what, n in counts.most_common():
        print(f"{n:>9} {what}")
    findings = [what for what in counts if what.startswith("FOUND")]
    print(f"{counts.total():>9} cases, {len(findings)} findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
