"""Embeddings of every clip of many corpora by a frozen speech encoder, for choose.py beside it.

    python benchmarks/real_voices/embed.py DATA --whisper base.bin --cache FOLDER

Of each clip the middle 4 s. The cache holds, part by part, the four moments of each of the first four layers as
float16, (n_clips, 4, 4 · width), in the order of `rows_of`.
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
from speech_emotion.training.networks.base import moments
from speech_emotion.training.networks.encoder import SpeechEncoder, normalise
from speech_emotion.training.networks.frontend import LogMel

WINDOW: Final = 4 * SAMPLE_RATE
N_LAYERS: Final = 4
BATCH: Final = 16


def middle(row: Row) -> npt.NDArray[np.float32]:
    """(n,) the middle of a clip, its largest amplitude 1."""
    samples = load(row.path).samples
    samples = np.rint(samples / np.abs(samples).max() * 32767) / 32768
    start = max(0, len(samples) - WINDOW) // 2
    return samples[start : start + WINDOW].astype(np.float32)


def embed(task: tuple[Path, Path, list[Row]]) -> None:
    """One part of the clips."""
    model, out, rows = task
    torch.set_num_threads(1)
    started = time.perf_counter()
    weights, _ = whisper.decode(model, N_LAYERS)
    encoder = SpeechEncoder(80, len(weights["convolutions.0.bias"]), N_LAYERS).eval()
    encoder.load_state_dict(weights)
    front_end = LogMel(n_mels=80, n_fft=400, hop=160, fmin_hz=0.0)
    sounds = [middle(row) for row in rows]
    found = np.empty((len(rows), N_LAYERS, 4 * encoder.width), np.float16)
    order = sorted(range(len(rows)), key=lambda index: len(sounds[index]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        shortest = len(sounds[batch[0]])
        waveform = torch.from_numpy(np.stack([sounds[index][:shortest] for index in batch]))
        with torch.inference_mode():
            log_mel = normalise(front_end(waveform))
            with torch.autocast("cpu", torch.bfloat16):
                layers = encoder(log_mel)
            pooled = [torch.cat(moments(frames.float()), dim=1) for frames in layers]
            found[batch] = torch.stack(pooled, dim=1).half().numpy()
    np.save(out, found)
    print(f"{out.name}: {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeddings of many corpora.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--whisper", type=Path, required=True, metavar="MODEL")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("embeddings"))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    rows = list(rows_of(given.data))
    parts = np.array_split(np.arange(len(rows)), given.parts)
    tasks = [
        (given.whisper, given.cache / f"embeddings-{number}.npy", [rows[index] for index in part])
        for number, part in enumerate(parts)
    ]
    with ProcessPoolExecutor(given.workers) as pool:
        list(pool.map(embed, tasks))


if __name__ == "__main__":
    main()
