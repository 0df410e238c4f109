"""Fine-tuning. In: a recipe, a prepared dataset, who to learn from. Out: a run folder with a checkpoint.

Validated and exported is an exponential moving average of the weights. The first weights are those of the recipe's
`init`, all others are drawn from the seed, and all else from (seed, epoch), but for telephone lines and rooms, of
which a clip has one at each speed: a run that was killed and resumed ends, on one machine, with the weights of one
that was not.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.frames import FrameCache, batches
from speech_emotion.training.export.quantize import round_weights
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit.linear_probe import AugmentedEmbeddings, fit_head
from speech_emotion.training.fit.loop import Trainer, derive, keep_freed_memory, part, smooth
from speech_emotion.training.networks.cnn import EmotionNet, EmotionNetwork, EmotionPair
from speech_emotion.training.networks.encoder import EmotionTransformer
from speech_emotion.training.networks.vgg16 import Vgg16
from speech_emotion.windows import Framer

PAIR: Final = ("first", "second")  # folders of the two networks of a pair, within that of their run


@dataclass(frozen=True)
class Epoch:
    """One line of log.jsonl. `validation_uar` (percent) is None where nobody was set aside.

    `loss` is None where two trained networks were put together, and nothing was learned. `network`: which of the
    two learned, "first" or "second"; its log does not say so, because it lies in the folder of that name.
    """

    epoch: int
    n_epochs: int
    loss: float | None
    validation_uar: float | None
    validation_loss: float | None
    learning_rate: float
    seconds: float
    network: str = ""

    def row(self) -> dict[str, Any]:
        """For log.jsonl."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "network"}

    def __str__(self) -> str:
        validation = "" if self.validation_uar is None else f", validation UAR {self.validation_uar:.1f} %"
        if self.loss is None:
            return f"both networks{validation}, {self.seconds:.1f} s"
        network = f"{self.network} network, " if self.network else ""
        return f"{network}epoch {self.epoch}/{self.n_epochs}: loss {self.loss:.3f}{validation}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Sides:
    """Clip indices to learn from and to validate on, (n,) each; `validation` may be empty."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """What is known of a network when its training has ended.

    `validation` is what calibration.evidence gives, and the temperature without a prior. `trunks` are what the trunks
    that it began with say of themselves.
    """

    temperature: float
    validation: dict[str, Any]
    trunks: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Banks:
    """What the two networks of a pair learn from."""

    first: FrameCache | AugmentedEmbeddings
    second: FrameCache | AugmentedEmbeddings


Network = EmotionNet | EmotionTransformer | Vgg16


def assemble(config: TrainConfig) -> Network | EmotionPair:
    """The network that a run of this recipe ends with, its weights not yet trained."""
    return _paired(config) if config.second else build(config)


def _paired(config: TrainConfig) -> EmotionPair:
    return EmotionPair(*map(build, config.parts), weight=config.second_weight)


def build(config: TrainConfig) -> Network:
    """The recipe's network with fresh weights drawn from its seed; without a second one."""
    torch.manual_seed(derive(config.fit.seed, "weights"))
    network, frontend = config.network, dataclasses.asdict(config.frontend)
    if network.architecture == "transformer":
        return EmotionTransformer(layers=network.layers, dropout=network.dropout, **frontend)
    if network.architecture == "vgg16":
        return Vgg16(dropout=network.dropout, **frontend)
    return EmotionNet(channels=network.channels, dropout=network.dropout, **frontend)


def fit(
    config: TrainConfig,
    dataset: PreparedDataset,
    bank: FrameCache | AugmentedEmbeddings | Banks,
    sides: Sides,
    out: Path,
    *,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Fitted:
    """Train to the end, or on from the run folder's checkpoint."""
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(bank, Banks):
        return _pair(config, dataset, bank, sides, out, device, on_epoch)
    if isinstance(bank, AugmentedEmbeddings):
        return _probe(config, dataset, bank, sides, out, on_epoch)
    trainer = _FineTuner(config, bank, torch.from_numpy(sides.train), torch.device(device))
    validation = _ValidationSet(config, dataset, sides.validation, trainer.average)
    log: list[dict[str, Any]] = []
    if kept := resumable(config, dataset, sides, out):
        tensors, log = kept
        trainer.restore(tensors)
    state = {"fingerprint": _fingerprint(config, dataset, sides), "recipe": config.to_dict(), "log": log}
    for epoch in range(len(log), config.fit.epochs):
        started = time.perf_counter()
        loss = trainer.run_epoch(epoch)
        validation_uar, validation_loss = validation.score(trainer.average, trainer.device)
        seconds = time.perf_counter() - started
        line = Epoch(
            epoch + 1,
            config.fit.epochs,
            round(loss, 5),
            validation_uar,
            validation_loss,
            trainer.learning_rate,
            round(seconds, 2),
        )
        log.append(line.row())
        write_atomically(out / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log).encode())
        # Last: what it holds need not be written again.
        checkpoint.save(out, trainer.tensors(), state)
        on_epoch(line)
    round_weights(trainer.average)  # as its file will hold them
    temperature, evidence = validation.calibration(trainer.average)
    return Fitted(temperature, evidence, (trainer.trunk,) if trainer.trunk else ())


def _pair(
    config: TrainConfig,
    dataset: PreparedDataset,
    banks: Banks,
    sides: Sides,
    out: Path,
    device: str,
    on_epoch: Callable[[Epoch], None],
) -> Fitted:
    """Both networks, each in a folder of its own as if alone, then put together."""
    pair = _paired(config)
    networks, parts = (pair.first, pair.second), (banks.first, banks.second)
    trunks: list[dict[str, Any]] = []
    for name, network, recipe, bank in zip(PAIR, networks, config.parts, parts, strict=True):
        folder = out / name

        def tell(epoch: Epoch, name: str = name) -> None:
            on_epoch(dataclasses.replace(epoch, network=name))

        trunks += fit(recipe, dataset, bank, sides, folder, device=device, on_epoch=tell).trunks
        network.load_state_dict(kept_weights(checkpoint.load(folder)[0]))
    started = time.perf_counter()
    pair.eval()
    round_weights(pair)
    validation = _ValidationSet(config, dataset, sides.validation, pair)
    score, validation_loss = validation.score(pair, torch.device("cpu"))
    line = Epoch(1, 1, None, score, validation_loss, 0.0, round(time.perf_counter() - started, 2))
    _finish(config, dataset, sides, pair, line, out)
    on_epoch(line)
    temperature, evidence = validation.calibration(pair)
    return Fitted(temperature, evidence, tuple(trunks))


def _probe(
    config: TrainConfig,
    dataset: PreparedDataset,
    copies: AugmentedEmbeddings,
    sides: Sides,
    out: Path,
    on_epoch: Callable[[Epoch], None],
) -> Fitted:
    """The head alone, on embeddings that were made before: one epoch, so to speak."""
    started = time.perf_counter()
    network = build(config)
    began_with = trunk.start(network, config.init)
    labels = torch.from_numpy(np.array(dataset.labels, dtype=np.int64))
    rows = copies.embeddings[:, sides.train].flatten(0, 1).float()
    targets = labels[sides.train].repeat(len(copies.embeddings))
    validation = _ValidationSet(config, dataset, sides.validation, network)
    loss = fit_head(network, rows, targets, config.probe.penalty, config.fit.label_smoothing)
    round_weights(network)
    score, validation_loss = validation.score(network.eval(), torch.device("cpu"))
    line = Epoch(1, 1, round(loss, 5), score, validation_loss, 0.0, round(time.perf_counter() - started, 2))
    _finish(config, dataset, sides, network, line, out)
    on_epoch(line)
    temperature, evidence = validation.calibration(network)
    return Fitted(temperature, evidence, (began_with,) if began_with else ())


def _finish(
    config: TrainConfig, dataset: PreparedDataset, sides: Sides, network: nn.Module, line: Epoch, out: Path
) -> None:
    """Log and checkpoint of what was trained in one step."""
    log = [line.row()]
    write_atomically(out / "log.jsonl", (json.dumps(log[0]) + "\n").encode())
    state = {"fingerprint": _fingerprint(config, dataset, sides), "recipe": config.to_dict(), "log": log}
    weights = {f"average.{name}": tensor for name, tensor in network.state_dict().items()}
    checkpoint.save(out, weights, state)


def kept_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a finished run's checkpoint, the averaged weights that are exported."""
    return part(tensors, "average")


def resumable(
    config: TrainConfig, dataset: PreparedDataset, sides: Sides, out: Path
) -> tuple[dict[str, Tensor], list[dict[str, Any]]] | None:
    """The tensors and the log of the run in `out`, if there is one.

    Raises ConfigError where it is a run of another recipe, corpus or split.
    """
    if not checkpoint.exists(out):
        return None
    tensors, state = checkpoint.load(out)
    if state.get("fingerprint") != _fingerprint(config, dataset, sides):
        raise ConfigError(f"{out}: holds a run of another recipe, corpus or split. Choose another --out.")
    return tensors, state["log"]


class _FineTuner(Trainer):
    """Learns the labels of some clips of one corpus."""

    def __init__(self, config: TrainConfig, bank: FrameCache, clips: Tensor, device: torch.device) -> None:
        network = build(config)
        self.trunk = trunk.start(network, config.init)
        super().__init__(network, config, device)
        self.bank, self.clips = bank, clips
        self.n_frames = n_frames(config)

    def batches(self, generator: Generator) -> list[Tensor]:
        return batches(self.clips, self.config.fit.batch_size, generator)

    def loss(self, clips: Tensor, generator: Generator) -> Tensor:
        log_mel = self.bank.windows(clips, self.n_frames, generator).to(self.device)
        targets = smooth(
            self.bank.labels[clips].to(self.device), len(EMOTIONS), self.config.fit.label_smoothing
        )
        log_mel, targets = augment.augmented(log_mel, targets, self.config.augment, generator)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network.classify(log_mel)
        return nn.functional.cross_entropy(logits.float(), targets)


class _ValidationSet:
    """The validation clips as the windows a user would get, framed once."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: PreparedDataset,
        clips: npt.NDArray[np.int64],
        network: EmotionNetwork,
    ) -> None:
        windows = {clip: frame(config, dataset.waveform(clip)) for clip in clips.tolist()}
        scored = [clip for clip in windows if windows[clip]]  # a recording shorter than min_seconds has none
        self.labels = np.asarray(dataset.labels)[scored]
        self.n_speakers = len(set(np.asarray(dataset.speakers)[scored]))
        by_length: dict[int, list[tuple[int, npt.NDArray[np.float32]]]] = {}
        for recording, clip in enumerate(scored):
            for window in windows[clip]:
                by_length.setdefault(len(window), []).append((recording, window))
        self.recordings = np.array([r for group in by_length.values() for r, _ in group], dtype=np.int64)
        device = next(network.parameters()).device
        self.waveforms = [
            torch.from_numpy(np.stack([samples for _, samples in group])).to(device)
            for group in by_length.values()
        ]

    def score(self, network: EmotionNetwork, device: torch.device) -> tuple[float | None, float | None]:
        """UAR in percent and mean negative log-likelihood, uncalibrated; None without validation speakers."""
        if not len(self.labels):
            return None, None
        with torch.autocast(device.type, torch.bfloat16):
            logits = self._logits(network)
        probabilities = calibration.pooled(logits, self.recordings, 1.0)
        chosen = probabilities[np.arange(len(self.labels)), self.labels]
        score = 100 * uar(self.labels, probabilities.argmax(axis=1))
        return round(score, 3), round(float(-np.log(np.maximum(chosen, 1e-12)).mean()), 5)

    def calibration(self, network: EmotionNetwork) -> tuple[float, dict[str, Any]]:
        """The temperature, and what thresholds and a model of everybody are calibrated with; 1 without clips."""
        if not len(self.labels):
            return 1.0, {"scores": [], "confidences": [], "likeliest_temperature": 1.0}
        logits = self._logits(network)
        fit = partial(calibration.fit_temperature, logits, self.recordings, self.labels)
        temperature = fit(n_speakers=self.n_speakers)
        found = calibration.evidence(calibration.pooled(logits, self.recordings, temperature), self.labels)
        return temperature, {**found, "likeliest_temperature": fit()}

    @torch.inference_mode()
    def _logits(self, network: EmotionNetwork) -> npt.NDArray[np.float64]:
        parts = [network(part).float() for group in self.waveforms for part in torch.split(group, 64)]
        return torch.cat(parts).cpu().double().numpy()


def n_frames(config: TrainConfig) -> int:
    """Of what is learned from at once."""
    n_samples = round((config.fit.crop_seconds or config.window.seconds) * SAMPLE_RATE)
    return 1 + (n_samples - config.frontend.n_fft) // config.frontend.hop


def frame(config: TrainConfig, waveform: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """The windows that the runtime would cut from this recording."""
    window = config.window
    framer = Framer(
        *(round(s * SAMPLE_RATE) for s in (window.seconds, window.hop_seconds, window.min_seconds))
    )
    return [w.samples for w in (*framer.push(waveform), *framer.finish())]


def _fingerprint(config: TrainConfig, dataset: PreparedDataset, sides: Sides) -> str:
    facts = [config.to_dict(), dataset.key, sides.train.tolist(), sides.validation.tolist()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
