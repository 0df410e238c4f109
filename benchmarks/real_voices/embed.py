"""Embeddings of every clip of many corpora, clean and augmented, by frozen speech encoders, for the trials beside it.

    python benchmarks/real_voices/embed.py DATA --whisper tiny.bin base.bin --copies 8 --cache FOLDER

Copy 0 is the middle 4 s of a clip as it is. The other copies are cuts of 1.5 to 4 s at another speed, over a
telephone, in a room, through a codec, with noise: AUGMENT. The cache holds, per copy and encoder, the four moments of
each of the first four layers as float16, in the order of `rows_of`.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import whisper
from clips import Row, rows_of

from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.data.waveform_augment import at_speed, augmented
from speech_emotion.training.networks.encoder import SpeechEncoder, _moments, normalise
from speech_emotion.training.networks.frontend import LogMel

WINDOW: Final = 4 * SAMPLE_RATE
SHORTEST: Final = round(0.3 * SAMPLE_RATE)
N_LAYERS: Final = 4
BATCH: Final = 16
CROP_SECONDS: Final = 1.5
SPEEDS: Final = (0.84, 0.9, 0.95, 1.0, 1.05, 1.1, 1.18)
AUGMENT: Final = AugmentConfig(
    tilt_db=6.0,
    noise_probability=0.3,
    telephone_probability=0.12,
    room_probability=0.15,
    lowpass_probability=0.2,
    codec_probability=0.35,
)


def decoded(row: Row) -> npt.NDArray[np.int16]:
    """(n,) 16-bit samples of the largest amplitude; empty for what cannot be read or is too short."""
    try:
        samples = load(row.path).samples
    except SpeechEmotionError:
        return np.zeros(0, np.int16)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0 or len(samples) < SHORTEST:
        return np.zeros(0, np.int16)
    return np.rint(samples / peak * 32767).astype(np.int16)


def waveforms(rows: list[Row], cache: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """All clips end to end, and the bounds of each."""
    path, bounds = cache / "waveforms.npy", cache / "bounds.npy"
    if not bounds.exists():
        with ProcessPoolExecutor(2) as pool:
            clips = list(pool.map(decoded, rows, chunksize=64))
        np.save(path, np.concatenate(clips))
        np.save(bounds, np.cumsum([0, *map(len, clips)]))
    return np.load(path, mmap_mode="r"), np.load(bounds)


def cut(samples: npt.NDArray[np.float32], copy: int, index: int, n_samples: int) -> npt.NDArray[np.float32]:
    if copy == 0:
        start = max(0, len(samples) - WINDOW) // 2
        return samples[start : start + WINDOW]
    rng = np.random.default_rng([copy, index])
    samples = at_speed(samples, float(rng.choice(SPEEDS)))
    start = rng.integers(max(len(samples) - n_samples, 0) + 1)
    return augmented(samples[start : start + n_samples], AUGMENT, rng)


def embed(task: tuple[list[Path], Path, int, int, int]) -> None:
    """One part of the clips of one copy, by every encoder."""
    models, cache, copy, part, n_parts = task
    torch.set_num_threads(1)
    started = time.perf_counter()
    encoders, out = [], []
    for model in models:
        weights, facts = whisper.decode(model, N_LAYERS)
        size = facts["name"].removeprefix("whisper-").removesuffix(" encoder")
        out.append(cache / f"{size}-{copy}-{part}.npy")
        width = len(weights["convolutions.0.bias"])
        encoder = SpeechEncoder(80, width, N_LAYERS).eval()
        encoder.load_state_dict(weights)
        encoders.append(encoder)
    if all(path.exists() for path in out):
        return
    front_end = LogMel(n_mels=80, n_fft=400, hop=160, fmin_hz=0.0)
    every, bounds = waveforms([], cache)
    mine = np.array_split(np.arange(len(bounds) - 1), n_parts)[part]
    lengths = bounds[1:] - bounds[:-1]
    rng = np.random.default_rng([copy, part])
    n_samples = {index: round(rng.uniform(CROP_SECONDS * SAMPLE_RATE, WINDOW)) for index in mine.tolist()}
    sounds = {}
    for index in mine.tolist():
        if lengths[index]:
            samples = every[bounds[index] : bounds[index + 1]].astype(np.float32) / 32768
            sounds[index] = cut(samples, copy, index, n_samples[index])
    print(f"copy {copy}, part {part}: sounds {time.perf_counter() - started:.0f} s", flush=True)
    found = [np.full((len(mine), N_LAYERS, 4 * encoder.width), np.nan, np.float16) for encoder in encoders]
    order = sorted(sounds, key=lambda index: len(sounds[index]))
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        shortest = len(sounds[batch[0]])
        waveform = torch.from_numpy(np.stack([sounds[index][:shortest] for index in batch]))
        rows = np.array(batch) - mine[0]
        with torch.inference_mode():
            log_mel = normalise(front_end(waveform))
            for encoder, table in zip(encoders, found, strict=True):
                with torch.autocast("cpu", torch.bfloat16):
                    layers = encoder(log_mel)
                moments = [torch.cat(_moments(frames.float()), dim=1) for frames in layers]
                table[rows] = torch.stack(moments, dim=1).half().numpy()
    for path, table in zip(out, found, strict=True):
        np.save(path.with_suffix(".partial.npy"), table)
        path.with_suffix(".partial.npy").replace(path)
    print(f"copy {copy}, part {part}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeddings of many corpora, clean and augmented.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--whisper", type=Path, nargs="+", required=True, metavar="MODEL")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    waveforms(list(rows_of(arguments.data)), arguments.cache)
    tasks = [
        (arguments.whisper, arguments.cache, copy, part, arguments.parts)
        for copy in range(arguments.copies)
        for part in range(arguments.parts)
    ]
    with ProcessPoolExecutor(arguments.workers) as pool:
        list(pool.map(embed, tasks))


if __name__ == "__main__":
    main()
