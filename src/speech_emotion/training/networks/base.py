"""What all architectures share. In: waveform (batch, n_samples), 16 kHz. Out: logits (batch, n_labels)."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.frontend import LogMel

DYNAMIC_RANGE = 18.4  # natural-log power below a window's peak that is kept: 80 dB


def half_precision(device: str) -> torch.autocast:
    """Arithmetic in bf16 where the device has it. Other CPUs would emulate it, six times slower than float32."""
    return torch.autocast(device, torch.bfloat16, enabled=device != "cpu" or _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """oneDNN also says yes on x86 with AVX-512 alone, where it emulates bf16."""
    has = torch.cpu.get_capabilities()
    emulates = has["architecture"] == "x86_64" and not (has["avx512_bf16"] or has["amx_bf16"])
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not emulates


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread: the same bytes on every machine of a kind, and as many processes as cores."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


class EmotionNetwork(nn.Module, ABC):
    """Waveform → `features` → `embed` → `logits`; augmentation takes place between the first two, in training only.

    An architecture is a subclass whose constructor takes two sections of the recipe and the labels and
    ends with `add_head`.
    """

    n_embedding: int
    head: nn.Sequential

    def __init__(
        self,
        network: NetworkConfig,  # noqa: ARG002
        frontend: FrontendConfig,
        labels: tuple[str, ...] = EMOTIONS,
    ) -> None:
        super().__init__()
        self.labels = labels  # in the order of the logits
        self.frontend_config = frontend
        self.frontend = LogMel(**dataclasses.asdict(frontend))

    def add_head(self, n_embedding: int, dropout: float) -> None:
        """A standardising norm, dropout and a linear layer: affine in the embedding in evaluation."""
        self.n_embedding = n_embedding
        self.head = nn.Sequential(
            nn.BatchNorm1d(n_embedding), nn.Dropout(dropout), nn.Linear(n_embedding, len(self.labels))
        )

    def add_specialist(self) -> None:
        """In place of the linear layer of the head, two and a gate."""
        self.head[2] = Experts(self.n_embedding, len(self.labels))

    @property
    @abstractmethod
    def body(self) -> list[nn.Module]:
        """The layers whose initial weights may be learned ones, for a learning rate of their own."""

    @abstractmethod
    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, n_embedding)."""

    @property
    def standard(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (n_embedding,) each, by which the head standardises an embedding."""
        norm: Any = self.head[0]
        return norm.running_mean, (norm.running_var + norm.eps).sqrt()

    def features(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → log-mel (batch, n_mels, n_frames)."""
        log_mel: Tensor = self.frontend(waveform)
        return log_mel

    def logits(self, embedding: Tensor) -> Tensor:
        """(batch, n_embedding) → logits (batch, n_labels)."""
        logits: Tensor = self.head(embedding)
        return logits

    def classify(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → logits (batch, n_labels)."""
        return self.logits(self.embed(log_mel))

    def analyse(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n_samples) → embedding (batch, n_embedding), log-mel (batch, n_mels, n_frames)."""
        log_mel = self.features(waveform)
        return self.embed(log_mel), log_mel

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → logits (batch, n_labels)."""
        return self.classify(self.features(waveform))


class Experts(nn.Module):
    """Two linear layers, and a gate between them (mixture of experts: Jacobs et al. 1991, Neural Computation 3(1)).

    The special one is of one corpus, the general one of all; the gate says how much an embedding is like the former.
    """

    def __init__(self, n_embedding: int, n_labels: int) -> None:
        super().__init__()
        self.general, self.special = (nn.Linear(n_embedding, n_labels) for _ in range(2))
        self.gate = nn.Linear(n_embedding, 1)

    def forward(self, standard: Tensor) -> Tensor:
        """(batch, n_embedding) → logits (batch, n_labels)."""
        general, special = self.general(standard), self.special(standard)
        logits: Tensor = general + torch.sigmoid(self.gate(standard)) * (special - general)
        return logits


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by attention (Okabe et al. 2018, arXiv 1803.10963)."""

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, frame) → (batch, 2 · channel)."""
        x = x.float()
        weights = torch.softmax(self.attention(x).float(), dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * (x - mean.unsqueeze(2)).square()).sum(dim=2)
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


def moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, frame, width) → mean and deviation, skewness and trend over time: (batch, 2 · width) each.

    The trend is the covariance with time, which has mean 0 and deviation 1 over the frames: what rises, what falls.
    """
    n_frames = frames.shape[1]
    ones = torch.ones(1, n_frames, device=frames.device, dtype=frames.dtype)

    def over_time(values: Tensor) -> Tensor:
        """The mean, as a product: ONNX Runtime takes ten times as long to add along the middle axis."""
        return torch.matmul(ones, values).squeeze(1) / n_frames

    mean = over_time(frames)
    centred = frames - mean.unsqueeze(1)
    deviation = (over_time(centred.square()) + 1e-5).sqrt()
    skewness = over_time(centred.square() * centred) / (deviation.square() * deviation)
    time = torch.arange(n_frames, device=frames.device, dtype=frames.dtype) - (n_frames - 1) / 2
    time = time / (time.square().mean() + 1e-5).sqrt()
    trend = over_time(centred * time[:, None])
    return torch.cat([mean, deviation], dim=1), torch.cat([skewness, trend], dim=1)


def normalise(log_mel: Tensor) -> Tensor:
    """Each window by itself to mean 0 and deviation 1, so that the level of a recording does not matter.

    (batch, n_mels, n_frames) → the same shape. Values more than 80 dB below the window's peak are raised to that.
    """
    # Below the peak: exactly 0 in silence, which then stays silent.
    below_peak = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
    log_mel = below_peak.clamp(min=-DYNAMIC_RANGE)
    centred = log_mel - _mean(log_mel)
    return centred / (_mean(centred.square()) + 1e-5).sqrt()


def _mean(x: Tensor) -> Tensor:
    """Over bands and frames, an axis at a time: ONNX Runtime sums in one row, and over both axes loses two digits."""
    return x.mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)
