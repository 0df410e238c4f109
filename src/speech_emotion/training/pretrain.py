"""Pre-training. In: a recipe and several prepared corpora. Out: a trunk that fine-tuning starts from.

One network, one linear head a corpus for that corpus's own categories: corpora that disagree about emotions can
still teach one ear. Every twelfth speaker of each corpus is set aside, so that the log shows what was learned of
voices that were not heard. The corpus that is fine-tuned on later takes no part, and so none of its test speakers.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from speech_emotion import corpora
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.files import write_atomically
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import PretrainConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.frames import FrameCache, batches
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.loop import Trainer, derive, keep_freed_memory, smooth
from speech_emotion.training.fit.train import Epoch, build, n_frames
from speech_emotion.training.networks.frontend import LogMel

ONE_IN = 12  # speakers set aside


def pretrain(
    config: PretrainConfig,
    datasets: Mapping[str, PreparedDataset],
    out: Path,
    *,
    commit: str | None,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Path:
    """Train to the end, or on from `out`'s checkpoint, and return `out`/trunk.safetensors."""
    if set(datasets) != set(config.corpora):
        raise ConfigError(
            f"{config.name} learns from {', '.join(config.corpora)}; got {', '.join(datasets)}."
        )
    out.mkdir(parents=True, exist_ok=True)
    trainer = _PreTrainer(config, datasets, torch.device(device))
    keep_freed_memory()  # not before: what was freed between the frames of fourteen hours is 20 GB
    facts = [config.to_dict(), {name: dataset.key for name, dataset in sorted(datasets.items())}]
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    log: list[dict[str, Any]] = []
    if checkpoint.exists(out):
        tensors, state = checkpoint.load(out)
        if state.get("fingerprint") != fingerprint:
            raise ConfigError(f"{out}: holds a run of another recipe or other corpora. Choose another --out.")
        trainer.restore(tensors)
        log = state["log"]
    state = {"fingerprint": fingerprint, "recipe": config.to_dict(), "log": log}
    for epoch in range(len(log), config.fit.epochs):
        line = _run(trainer, epoch)
        log.append(line.row())
        write_atomically(out / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log).encode())
        checkpoint.save(out, trainer.tensors(), state)
        on_epoch(line)
    path = out / "trunk.safetensors"
    trunk.save(trainer.average.network, _facts(config, datasets, trainer.began_with, log, commit), path)
    return path


def _run(trainer: "_PreTrainer", epoch: int) -> Epoch:
    started = time.perf_counter()
    loss = trainer.run_epoch(epoch)
    score = trainer.validate()
    seconds = round(time.perf_counter() - started, 2)
    fit = trainer.config.fit
    return Epoch(epoch + 1, fit.epochs, round(loss, 5), score, None, trainer.learning_rate, seconds)


class _Ears(nn.Module):
    """The network without its own head, and a head a corpus."""

    def __init__(self, network: Any, n_categories: Mapping[str, int], dropout: float) -> None:
        super().__init__()
        network.head = nn.Identity()
        self.network = network
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Dropout(dropout), nn.Linear(network.n_embedding, n))
                for name, n in n_categories.items()
            }
        )

    @property
    def stages(self) -> list[nn.Module]:
        stages: list[nn.Module] = self.network.stages
        return stages


class _PreTrainer(Trainer):
    """Clips of all corpora in one batch, each lost by the head of its own corpus."""

    def __init__(
        self, config: PretrainConfig, datasets: Mapping[str, PreparedDataset], device: torch.device
    ) -> None:
        network = build(config)
        self.began_with = trunk.start(network, config.init)
        torch.manual_seed(derive(config.fit.seed, "heads"))
        categories = {name: len(dataset.categories) for name, dataset in datasets.items()}
        super().__init__(_Ears(network, categories, config.network.dropout), config, device)
        frontend = LogMel(**dataclasses.asdict(config.frontend))
        self.names = list(datasets)
        self.banks = [FrameCache(datasets[name], frontend, config.augment) for name in self.names]
        self.n_frames = n_frames(config)
        rows = [
            (corpus, clip, _is_set_aside(name, speaker))
            for corpus, name in enumerate(self.names)
            for clip, speaker in enumerate(datasets[name].speakers)
        ]
        self.corpus, self.clip, aside = (torch.tensor(column) for column in zip(*rows, strict=True))
        self.rows, self.aside = torch.nonzero(~aside.bool())[:, 0], torch.nonzero(aside.bool())[:, 0]

    def batches(self, generator: Generator) -> list[Tensor]:
        return batches(self.rows, self.config.fit.batch_size, generator)

    def loss(self, clips: Tensor, generator: Generator) -> Tensor:
        log_mel = self._windows(clips, generator)
        nothing = torch.zeros(len(clips), 1)  # mixup would need one head for all
        log_mel, _ = augment.augmented(log_mel, nothing, self.config.augment, generator)
        losses = [
            nn.functional.cross_entropy(
                logits, smooth(labels, logits.shape[1], self.config.fit.label_smoothing), reduction="sum"
            )
            for logits, labels in self._answers(self.network, log_mel, clips)
        ]
        return torch.stack(losses).sum() / len(clips)

    def _windows(self, rows: Tensor, generator: Generator) -> Tensor:
        windows = [
            self.banks[int(self.corpus[row])].windows(self.clip[row : row + 1], self.n_frames, generator)
            for row in rows.tolist()
        ]
        return torch.cat(windows).to(self.device)

    def _answers(self, ears: Any, log_mel: Tensor, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(logits, labels) of the rows of each corpus that has any."""
        with torch.autocast(self.device.type, torch.bfloat16):
            embedding = ears.network.embed(log_mel)
        answers = []
        for corpus, name in enumerate(self.names):
            mine = self.corpus[rows] == corpus
            if mine.any():
                labels = self.banks[corpus].labels[self.clip[rows][mine]].to(self.device)
                answers.append((ears.heads[name](embedding[mine.to(self.device)].float()), labels))
        return answers

    @torch.inference_mode()
    def validate(self) -> float | None:
        """Mean over the corpora of the UAR (percent) on the speakers that were set aside; None without any."""
        if not len(self.aside):
            return None
        generator = Generator().manual_seed(0)
        found: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for rows in torch.split(self.aside, 64):
            for corpus in sorted(set(self.corpus[rows].tolist())):
                mine = rows[self.corpus[rows] == corpus]
                found.setdefault(corpus, []).extend(
                    self._answers(self.average, self._windows(mine, generator), mine)
                )
        scores = [
            uar(
                torch.cat([labels for _, labels in pairs]).cpu().numpy(),
                torch.cat([logits for logits, _ in pairs]).argmax(1).cpu().numpy(),
            )
            for pairs in found.values()
        ]
        return round(100 * float(np.mean(scores)), 3)


def _is_set_aside(corpus: str, speaker: str) -> bool:
    return int(hashlib.sha256(f"{corpus} {speaker}".encode()).hexdigest(), 16) % ONE_IN == 0


def _facts(
    config: PretrainConfig,
    datasets: Mapping[str, PreparedDataset],
    began_with: Mapping[str, Any],
    log: list[dict[str, Any]],
    commit: str | None,
) -> dict[str, Any]:
    """What the trunk says of itself: where it comes from, and under which licences."""
    heard = [corpora.get(name) for name in config.corpora]
    licences = [began_with.get("licence"), *(corpus.licence for corpus in heard)]
    citations = [began_with.get("citation"), *(corpus.citation for corpus in heard)]
    return {
        "name": config.name,
        "recipe": config.to_dict(),
        "began_with": dict(began_with),
        "corpora": list(config.corpora),
        "corpus_hashes": {name: dataset.corpus_hash for name, dataset in datasets.items()},
        "n_clips": {name: len(dataset.clips) for name, dataset in datasets.items()},
        "licence": "; ".join(dict.fromkeys(text for text in licences if text)),
        "citation": " ".join(dict.fromkeys(text for text in citations if text)),
        "validation_uar": log[-1]["validation_uar"],
        "commit": commit,
    }
