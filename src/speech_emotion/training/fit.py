"""The training loop. In: a recipe, a prepared dataset, who to learn from. Out: a run folder with a checkpoint.

One loop for CPU and CUDA: AdamW, linear warm-up and half a cosine, bf16 autocast, channels_last. Validated and
exported is an exponential moving average of the weights. The first weights are drawn from the seed and all else
from (seed, epoch): a run that was killed and resumed ends, on one machine, with the weights of one that was not.
"""

import copy
import ctypes
import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.corpora.sealed import write_whole
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.metrics import uar
from speech_emotion.labels import EMOTIONS
from speech_emotion.training import augment, calibrate, checkpoint
from speech_emotion.training.config import AugmentConfig, TrainConfig
from speech_emotion.training.dataset import FrameBank, batches
from speech_emotion.training.networks import EmotionNet
from speech_emotion.windows import Framer

MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class Epoch:
    """One line of log.jsonl. `validation_uar` (percent) is None where nobody was set aside."""

    epoch: int
    n_epochs: int
    loss: float
    validation_uar: float | None
    validation_loss: float | None
    learning_rate: float
    seconds: float

    def __str__(self) -> str:
        validation = "" if self.validation_uar is None else f", validation UAR {self.validation_uar:.1f} %"
        return f"epoch {self.epoch}/{self.n_epochs}: loss {self.loss:.3f}{validation}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Sides:
    """Clip indices to learn from and to validate on, (n,) each; `validation` may be empty."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


def build(config: TrainConfig) -> EmotionNet:
    """The recipe's network with fresh weights drawn from its seed."""
    torch.manual_seed(_derive(config.fit.seed, "weights"))
    return EmotionNet(
        n_labels=len(EMOTIONS),
        **dataclasses.asdict(config.network),
        **dataclasses.asdict(config.frontend),
    )


def fit(
    config: TrainConfig,
    dataset: PreparedDataset,
    bank: FrameBank,
    sides: Sides,
    out: Path,
    *,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> float:
    """Train to the end, or on from the run folder's checkpoint, and return the temperature of the result."""
    _keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    trainer = _Trainer(config, bank, torch.from_numpy(sides.train), torch.device(device))
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
        log.append(dataclasses.asdict(line))
        write_whole(out / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log).encode())
        checkpoint.save(out, trainer.tensors(), state)  # last: what it holds need not be written again
        on_epoch(line)
    return validation.temperature(trainer.average)


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


class _Trainer:
    """The network, its moving average and the optimiser, one epoch at a time."""

    def __init__(self, config: TrainConfig, bank: FrameBank, clips: Tensor, device: torch.device) -> None:
        self.config, self.bank, self.clips, self.device = config, bank, clips, device
        network = build(config).to(device)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        decay = config.fit.weight_decay
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.fit.learning_rate,
        )
        self.n_frames = (
            1 + (round(config.window.seconds * SAMPLE_RATE) - config.frontend.n_fft) // config.frontend.hop
        )
        self.learning_rate = 0.0

    def run_epoch(self, epoch: int) -> float:
        """Mean training loss."""
        fit = self.config.fit
        generator = Generator().manual_seed(_derive(fit.seed, f"epoch {epoch}"))
        torch.manual_seed(_derive(fit.seed, f"dropout {epoch}"))
        self.network.train()
        order = batches(self.clips, fit.batch_size, generator)
        losses = []
        for step, clips in enumerate(order, start=epoch * len(order)):
            self._set_learning_rate(step / (len(order) * fit.epochs))
            losses.append(self._step(clips, generator))
            self._update_average(step)
        loss = float(np.mean(losses))
        if not math.isfinite(loss):
            raise ConfigError(f"The loss became {loss} in epoch {epoch + 1}. Lower fit.learning_rate.")
        return loss

    def _step(self, clips: Tensor, generator: Generator) -> float:
        log_mel = self.bank.windows(clips, self.n_frames, generator).to(self.device)
        targets = nn.functional.one_hot(self.bank.labels[clips], len(EMOTIONS)).float().to(self.device)
        targets = targets * (1 - self.config.fit.label_smoothing) + self.config.fit.label_smoothing / len(
            EMOTIONS
        )
        log_mel, targets = augmented(log_mel, targets, self.config.augment, generator)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network.classify(log_mel)
        loss = nn.functional.cross_entropy(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()

    def _set_learning_rate(self, progress: float) -> None:
        warmup = self.config.fit.warmup
        share = (
            progress / warmup
            if progress < warmup
            else (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
        )
        self.learning_rate = self.config.fit.learning_rate * max(share, 1e-3)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.config.fit.ema_decay, (1 + step) / (10 + step))  # follow closely at first
        for mean, now in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def tensors(self) -> dict[str, Tensor]:
        moments = {
            f"optimizer.{index}.{name}": torch.as_tensor(value)
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        networks = {"network": self.network, "average": self.average}
        weights = {
            f"{part}.{name}": t for part, net in networks.items() for name, t in net.state_dict().items()
        }
        return {name: tensor.detach().cpu() for name, tensor in (weights | moments).items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.network.load_state_dict(part(tensors, "network"))
        self.average.load_state_dict(part(tensors, "average"))
        states: dict[int, dict[str, Tensor]] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, tensor in part(tensors, "optimizer").items():
            index, _, key = name.partition(".")
            if (
                tensor.ndim
            ):  # in the memory layout of its parameter, as before: the same kernels, the same bits
                tensor = torch.empty_like(parameters[int(index)], device="cpu").copy_(tensor)
            states.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under one prefix, without it."""
    return {
        name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")
    }


def augmented(
    log_mel: Tensor, targets: Tensor, config: AugmentConfig, generator: Generator
) -> tuple[Tensor, Tensor]:
    """What stands between `features` and `classify` in training: another voice, room, noise, and gaps."""
    if config.warp_frequency:
        log_mel = augment.warp_frequency(log_mel, config.warp_frequency, generator)
    if config.tilt_db:
        log_mel = augment.tilt_spectrum(log_mel, config.tilt_db, generator)
    if config.mixup_alpha:
        log_mel, targets = augment.mixup(log_mel, targets, config.mixup_alpha, generator)
    if config.noise_probability:
        low, high = config.noise_snr_db
        log_mel = augment.add_noise(log_mel, config.noise_probability, (low, high), generator)
    log_mel = augment.mask(log_mel, 1, config.frequency_mask, config.n_masks, generator)
    return augment.mask(log_mel, 2, config.time_mask, config.n_masks, generator), targets


class _ValidationSet:
    """The validation clips as the windows a user would get, framed and turned to log-mel once."""

    def __init__(
        self, config: TrainConfig, dataset: PreparedDataset, clips: npt.NDArray[np.int64], network: EmotionNet
    ) -> None:
        windows = {clip: frame(config, dataset.waveform(clip)) for clip in clips.tolist()}
        scored = [clip for clip in windows if windows[clip]]  # a recording shorter than min_seconds has none
        self.labels = np.asarray(dataset.labels)[scored]
        by_length: dict[int, list[tuple[int, npt.NDArray[np.float32]]]] = {}
        for recording, clip in enumerate(scored):
            for window in windows[clip]:
                by_length.setdefault(len(window), []).append((recording, window))
        self.recordings = np.array([r for group in by_length.values() for r, _ in group], dtype=np.int64)
        device = next(network.parameters()).device
        with torch.inference_mode():
            self.log_mels = [
                network.features(torch.from_numpy(np.stack([samples for _, samples in group])).to(device))
                for group in by_length.values()
            ]

    def score(self, network: EmotionNet, device: torch.device) -> tuple[float | None, float | None]:
        """UAR in percent and mean negative log-likelihood, uncalibrated; None without validation speakers."""
        if not len(self.labels):
            return None, None
        with torch.autocast(device.type, torch.bfloat16):
            logits = self._logits(network)
        probabilities = calibrate.pooled(logits, self.recordings, 1.0)
        chosen = probabilities[np.arange(len(self.labels)), self.labels]
        score = 100 * uar(self.labels, probabilities.argmax(axis=1))
        return round(score, 3), round(float(-np.log(np.maximum(chosen, 1e-12)).mean()), 5)

    def temperature(self, network: EmotionNet) -> float:
        """Fitted on these clips; 1 without any."""
        if not len(self.labels):
            return 1.0
        return calibrate.fit_temperature(self._logits(network), self.recordings, self.labels)

    @torch.inference_mode()
    def _logits(self, network: EmotionNet) -> npt.NDArray[np.float64]:
        parts = [network.classify(part).float() for group in self.log_mels for part in torch.split(group, 64)]
        return torch.cat(parts).cpu().double().numpy()


def frame(config: TrainConfig, waveform: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """The windows that the runtime would cut from this recording."""
    window = config.window
    framer = Framer(
        *(round(s * SAMPLE_RATE) for s in (window.seconds, window.hop_seconds, window.min_seconds))
    )
    return [w.samples for w in (*framer.push(waveform), *framer.finish())]


def _derive(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


def _fingerprint(config: TrainConfig, dataset: PreparedDataset, sides: Sides) -> str:
    facts = [config.to_dict(), dataset.key, sides.train.tolist(), sides.validation.tolist()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _keep_freed_memory() -> None:
    """Let glibc keep the pages of freed tensors: an augmented batch then takes 8 ms instead of 100."""
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # another C library: slower, not wrong
            return
        trim_threshold, mmap_max = -1, -4
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)
