"""Embeddings of augmented clips. In: a prepared dataset and a frozen network. Out: a row per clip and copy.

The network has not learned from this corpus, so one set serves every fold; it is kept beside the prepared dataset.
Until the set is whole, each copy is a file there, so that an interrupted run goes on with the copy it was at. Every
copy has random numbers of its own, so however many processes share the copies, the bytes are the same.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.files import DamagedFileError, digest, locked
from speech_emotion.parallel import Progress, in_parallel, processes_for
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.waveform_augment import at_speed, augmented
from speech_emotion.training.networks.base import EmotionNetwork, half_precision, one_thread
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors
from speech_emotion.training.weights import below_head

SCHEMA: Final = 4  # raise it whenever the code computes other embeddings from the same settings
BATCH: Final = 16
MIN_SOUNDS: Final = 500  # of a process


@dataclass(frozen=True, eq=False)
class AugmentedEmbeddings:
    """Every clip in every copy. parts: of each corpus (n_copies, n_clips, n_embedding), float16."""

    parts: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, config: TrainConfig, network: EmotionNetwork, dataset: PreparedDataset, progress: Progress
    ) -> "AugmentedEmbeddings":
        """The embeddings for `config`, read from beside the dataset if they were computed before."""
        name = f"{dataset.corpus}-embeddings-{_key(config, network, dataset)[:16]}.safetensors"
        path = dataset.folder.parent / name
        single = [path.with_stem(f"{path.stem}-copy-{k}") for k in range(config.copies_of(dataset.corpus))]
        with locked(path):  # several trainings may want them at once
            try:
                embeddings = read_sealed_tensors(path)[0]["embeddings"]
            except (OSError, DamagedFileError):
                embeddings = _computed(config, network, dataset, progress, single)
                write_sealed_tensors(path, {"embeddings": embeddings}, {})
            for file in single:
                file.unlink(missing_ok=True)
        return cls((embeddings,))

    @classmethod
    def joined(cls, parts: Sequence["AugmentedEmbeddings"]) -> "AugmentedEmbeddings":
        """Those of several corpora, one corpus after the other."""
        return cls(tuple(tensor for part in parts for tensor in part.parts))

    @classmethod
    def side_by_side(cls, networks: Sequence["AugmentedEmbeddings"]) -> "AugmentedEmbeddings":
        """Those of several networks, from the same copies."""
        return cls(
            tuple(torch.cat(tensors, dim=2) for tensors in zip(*(n.parts for n in networks), strict=True))
        )

    def rows(self, clips: npt.NDArray[np.int64], n_copies: int | None = None) -> tuple[Tensor, Tensor]:
        """All copies of some clips, or the first few: (n_rows, n_embedding) float32, and the clip of each row."""
        rows, found, start = [], [], 0
        for part in self.parts:
            own = torch.from_numpy(clips[(clips >= start) & (clips < start + part.shape[1])])
            copies = part[:n_copies, own - start]
            rows.append(copies.flatten(0, 1).float())
            found.append(own.repeat(len(copies)))
            start += part.shape[1]
        return torch.cat(rows), torch.cat(found)


def weights_digest(network: nn.Module) -> str:
    """Changes with the weights below the head."""
    weights = hashlib.sha256()
    for name, tensor in below_head(network).items():
        weights.update(name.encode() + tensor.numpy().tobytes())
    return weights.hexdigest()


def _key(config: TrainConfig, network: EmotionNetwork, dataset: PreparedDataset) -> str:
    settings = config.to_dict()
    facts = [settings[key] for key in ("window", "frontend", "network", "augment")]
    facts += [SCHEMA, config.copies_of(dataset.corpus), config.probe.crop_seconds, config.fit.seed]
    return digest([*facts, dataset.key, weights_digest(network)])


def _computed(
    config: TrainConfig,
    network: EmotionNetwork,
    dataset: PreparedDataset,
    progress: Progress,
    single: Sequence[Path],
) -> Tensor:
    """single: where each copy is kept, and read from if an interrupted run left it there."""
    copies: dict[int, Tensor] = {}
    for copy, path in enumerate(single):
        with suppress(OSError, DamagedFileError):
            copies[copy] = read_sealed_tensors(path)[0]["embeddings"]
    missing = [copy for copy in range(len(single)) if copy not in copies]
    workers = processes_for(len(missing) * len(dataset), MIN_SOUNDS)
    for copy, rows in in_parallel(partial(_copy, config, network.eval(), dataset), missing, workers):
        copies[copy] = torch.from_numpy(rows)
        write_sealed_tensors(single[copy], {"embeddings": copies[copy]}, {})
        progress(len(copies), len(single))
    return torch.stack([copies[copy] for copy in range(len(single))])


def _copy(
    config: TrainConfig, network: EmotionNetwork, dataset: PreparedDataset, copy: int
) -> tuple[int, npt.NDArray[np.float16]]:
    """The number of a copy, and the embeddings of all clips in it."""
    rng = np.random.default_rng(config.fit.seed_for(f"copy {copy}"))
    n_samples = round(rng.uniform(config.probe.crop_seconds, config.window.seconds) * SAMPLE_RATE)
    sounds = [_cut(config, dataset.waveform(clip), n_samples, rng) for clip in range(len(dataset))]
    with one_thread():
        return copy, _embedded(network, sounds).numpy()


def _cut(config: TrainConfig, waveform: FloatArray, n_samples: int, rng: np.random.Generator) -> FloatArray:
    """At most `n_samples` of a recording at one of the recipe's speeds, augmented."""
    samples = at_speed(waveform, float(rng.choice(config.augment.speeds)))
    start = rng.integers(max(len(samples) - n_samples, 0) + 1)
    return augmented(samples[start : start + n_samples], config.augment, rng)


@torch.inference_mode()
def _embedded(network: EmotionNetwork, sounds: Sequence[FloatArray]) -> Tensor:
    """(n_sounds, n_embedding). Sounds of similar length are one batch, each cut to the shortest of them."""
    order = sorted(range(len(sounds)), key=lambda index: len(sounds[index]))
    rows = torch.empty(len(sounds), network.n_embedding, dtype=torch.float16)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        shortest = len(sounds[batch[0]])
        waveform = torch.from_numpy(np.stack([sounds[index][:shortest] for index in batch]))
        with half_precision("cpu"):
            rows[batch] = network.analyse(waveform)[0].half()
    return rows
