"""The training loop. In: a network and a recipe. Out: its weights, and their moving average, epoch by epoch.

One loop for CPU and CUDA: AdamW, linear warm-up and half a cosine, bf16 autocast, channels_last. Everything random is
derived from (seed, epoch).
"""

import copy
import ctypes
import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError
from speech_emotion.training.config import FitConfig, TrainConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.frames import FrameCache, batches
from speech_emotion.training.fit.checkpoint import part
from speech_emotion.training.networks.base import EmotionNetwork, half_precision

MAX_GRADIENT_NORM = 5.0


class Trainer:
    """A network that learns the labels of some clips, its moving average and the optimiser."""

    def __init__(
        self,
        network: EmotionNetwork,
        config: TrainConfig,
        frames: FrameCache,
        clips: Tensor,
        device: torch.device,
    ) -> None:
        self.config, self.frames, self.clips, self.device = config, frames, clips, device
        self.network: EmotionNetwork = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.network, config.fit))
        self.learning_rate = 0.0
        n_samples = round((config.fit.crop_seconds or config.window.seconds) * SAMPLE_RATE)
        self.n_frames = 1 + (n_samples - config.frontend.n_fft) // config.frontend.hop

    def loss(self, clips: Tensor, generator: Generator) -> Tensor:
        """Of one batch of clips (n,): a scalar."""
        log_mel = self.frames.windows(clips, self.n_frames, generator).to(self.device)
        labels = self.frames.labels[clips].to(self.device)
        targets = smooth(labels, len(self.network.labels), self.config.fit.label_smoothing)
        log_mel = augment.augmented(log_mel, self.config.augment, generator)
        with half_precision(self.device.type):
            logits = self.network.classify(log_mel)
        return nn.functional.cross_entropy(logits.float(), targets)

    def run_epoch(self, epoch: int) -> float:
        """Learn from every clip once; returns the mean loss."""
        fit = self.config.fit
        generator = Generator().manual_seed(fit.seed_for(f"epoch {epoch}"))
        torch.manual_seed(fit.seed_for(f"dropout {epoch}"))
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
        loss = self.loss(clips, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return loss.item()

    def _set_learning_rate(self, progress: float) -> None:
        warmup = self.config.fit.warmup
        share = (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2
        if progress < warmup:
            share = progress / warmup
        self.learning_rate = self.config.fit.learning_rate * max(share, 1e-3)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * group["rate"]

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
        """The whole state, for a checkpoint."""
        moments = {
            f"optimizer.{index}.{name}": torch.as_tensor(value)
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        networks = {"network": self.network, "average": self.average}
        weights = {
            f"{prefix}.{name}": t for prefix, net in networks.items() for name, t in net.state_dict().items()
        }
        return {name: tensor.detach().cpu() for name, tensor in (weights | moments).items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors` of another trainer, with the same bits."""
        self.network.load_state_dict(part(tensors, "network"))
        self.average.load_state_dict(part(tensors, "average"))
        states: dict[int, dict[str, Tensor]] = {}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, tensor in part(tensors, "optimizer").items():
            index, _, key = name.partition(".")
            if (
                tensor.ndim
            ):  # in its parameter's memory layout: in another one, other kernels would round differently
                tensor = torch.empty_like(parameters[int(index)], device="cpu").copy_(tensor)
            states.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})


def parameter_groups(network: EmotionNetwork, fit: FitConfig) -> list[dict[str, Any]]:
    """The optimiser's groups: `body_rate` for the layers below the head; weight decay for matrices only."""
    body = {parameter for module in network.body for parameter in module.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        rate = fit.body_rate if parameter in body else 1.0
        groups.setdefault((rate, fit.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [
        {"params": parameters, "rate": rate, "lr": fit.learning_rate * rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def smooth(labels: Tensor, n_labels: int, smoothing: float) -> Tensor:
    """Label indices (batch,) → probabilities (batch, n_labels), `smoothing` of them spread over all labels."""
    return nn.functional.one_hot(labels, n_labels).float() * (1 - smoothing) + smoothing / n_labels


def keep_freed_memory() -> None:
    """Let glibc keep the pages of freed tensors: an augmented batch then takes 8 ms instead of 100."""
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
        except OSError:  # another C library: slower, not wrong
            return
        trim_threshold, mmap_max = -1, -4
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(mmap_max, 0)
