"""A trunk that stays as it is, and a linear head. In: varied copies of a corpus's recordings. Out: a trained network.

The embeddings of every clip, in many varied copies (vary.py), are computed once and serve every fold and protocol:
the trunk has not learned from this corpus, so nobody's test speakers are in it. What is learned is multinomial
logistic regression over standardised embeddings, a convex problem with one answer: "linear probing" (Alain & Bengio
2016, arXiv 1610.01644).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from speech_emotion.audio import SAMPLE_RATE, FloatArray
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.files import locked, write_atomically
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.waveform_augment import at_speed, varied
from speech_emotion.training.fit.loop import derive, keep_freed_memory, smooth

SCHEMA: Final = 3  # of the kept copies: raise it whenever the code makes others of the same settings
BATCH: Final = 16
MAX_ITERATIONS: Final = 100
EPSILON: Final = 1e-5  # of the batch normalisation that standardises

Progress = Callable[[int, int], None]  # copies made, copies in all


@dataclass(frozen=True, eq=False)
class AugmentedEmbeddings:
    """Every clip in every copy: embeddings (n_copies, n_clips, n_embedding)."""

    embeddings: Tensor


def copies(
    config: TrainConfig,
    network: Any,
    dataset: PreparedDataset,
    folder: Path,
    progress: Progress = lambda *_: None,
) -> AugmentedEmbeddings:
    """The copies that `config` asks for, from `folder` where they were made before."""
    path = folder / f"{dataset.corpus}-embeddings-{_key(config, network, dataset)[:16]}.safetensors"
    with locked(path):  # several trainings may want them at once
        kept = _read(path)
        if kept is None:
            kept = _make(config, network, dataset, progress)
            tensors = {"embeddings": kept.embeddings}
            write_atomically(path, safetensors.torch.save(tensors, metadata={"sha256": _sha256(kept)}))
        return kept


def _read(path: Path) -> AugmentedEmbeddings | None:
    """The copies that were kept; None where there are none, or where they are damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            kept = AugmentedEmbeddings(file.get_tensor("embeddings"))
            return kept if (file.metadata() or {}).get("sha256") == _sha256(kept) else None
    except (OSError, SafetensorError):
        return None


def _sha256(kept: AugmentedEmbeddings) -> str:
    return hashlib.sha256(kept.embeddings.numpy().tobytes()).hexdigest()


def _key(config: TrainConfig, network: Any, dataset: PreparedDataset) -> str:
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not name.startswith("head."):
            weights.update(name.encode() + tensor.numpy().tobytes())
    settings = config.to_dict()
    facts = [settings[key] for key in ("window", "frontend", "augment")]
    facts += [
        SCHEMA,
        config.probe.copies,
        config.probe.crop_seconds,
        config.fit.seed,
        dataset.key,
        weights.hexdigest(),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _make(
    config: TrainConfig, network: Any, dataset: PreparedDataset, progress: Progress
) -> AugmentedEmbeddings:
    keep_freed_memory()
    network.eval()
    embeddings = []
    for copy in range(config.probe.copies):
        embeddings.append(_one_copy(config, network, dataset, copy))
        progress(copy + 1, config.probe.copies)
    return AugmentedEmbeddings(torch.stack(embeddings))


def _one_copy(config: TrainConfig, network: Any, dataset: PreparedDataset, copy: int) -> Tensor:
    """Every clip once: embeddings (n_clips, n_embedding) as float16."""
    chance = np.random.default_rng(derive(config.fit.seed, f"copy {copy}"))
    seconds = chance.uniform(config.probe.crop_seconds, config.window.seconds)
    n_samples = round(seconds * SAMPLE_RATE)
    sounds = [_cut(config, dataset.waveform(clip), n_samples, chance) for clip in range(len(dataset))]
    return _embedded(network, sounds)


def _cut(
    config: TrainConfig, waveform: FloatArray, n_samples: int, chance: np.random.Generator
) -> FloatArray:
    """At most `n_samples` of a recording at one of the recipe's speeds, varied."""
    samples = at_speed(waveform, float(chance.choice(config.augment.speeds)))
    start = chance.integers(max(len(samples) - n_samples, 0) + 1)
    return varied(samples[start : start + n_samples], config.augment, chance)


@torch.inference_mode()
def _embedded(network: Any, sounds: Sequence[FloatArray]) -> Tensor:
    """(n_sounds, n_embedding) as float16. Neighbours in length are heard together, as long as the shortest of them."""
    rows: list[Tensor | None] = [None] * len(sounds)
    order = sorted(range(len(sounds)), key=lambda index: len(sounds[index]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        shortest = len(sounds[batch[0]])
        waveform = torch.from_numpy(np.stack([sounds[index][:shortest] for index in batch]))
        with torch.autocast("cpu", torch.bfloat16):
            embedding = network.listen(waveform)[0].half()
        for index, row in zip(batch, embedding, strict=True):
            rows[index] = row
    return torch.stack([row for row in rows if row is not None])


def fit_head(network: Any, rows: Tensor, labels: Tensor, penalty: float, label_smoothing: float) -> float:
    """Give `network` the head that is likeliest for embeddings (n, n_embedding) and label indices (n,).

    Minimises the mean cross-entropy + penalty · ‖weight‖² by L-BFGS and returns it. The head's batch normalisation
    holds the mean and variance of the rows.
    """
    norm, _, linear = network.head
    mean, variance = rows.mean(dim=0), rows.var(dim=0)
    x = (rows - mean) / (variance + EPSILON).sqrt()
    targets = smooth(labels, len(EMOTIONS), label_smoothing)
    weight = torch.zeros(len(EMOTIONS), rows.shape[1], requires_grad=True)
    bias = torch.zeros(len(EMOTIONS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(nn.functional.linear(x, weight, bias), targets)
        loss = loss + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.fill_(1.0)
        norm.bias.zero_()
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return objective()
