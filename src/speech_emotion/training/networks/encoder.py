"""The first layers of a speech recogniser's encoder. In: waveform (batch, n_samples), 16 kHz. Out: logits.

The encoder is that of Whisper (Radford et al. 2022, arXiv 2212.04356), cut off after a few layers: the late ones
represent the words, the early ones how they are spoken.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import EmotionNetwork, moments

HEAD_WIDTH = 64  # of every Whisper
LN_10 = math.log(10)
MEAN_LEVEL = 0.9  # log10 of the mean mel power of speech of unit variance, which the encoder was trained on


def normalise(log_mel: Tensor) -> Tensor:
    """As in the training of the encoder, but by the window's own level, so that gain changes nothing.

    Natural log-mel (batch, n_mels, n_frames) → the same shape, about -1 to 1; 80 dB below the peak is the floor.
    """
    top = log_mel.amax(dim=(1, 2), keepdim=True)
    power = torch.exp(log_mel - top).mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)
    log10 = (log_mel - top - torch.log(power)) / LN_10 + MEAN_LEVEL
    peak = MEAN_LEVEL - torch.log(power) / LN_10
    return (torch.maximum(log10, peak - 8) + 4) / 4


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each after a normalisation and beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n_heads = width // HEAD_WIDTH
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frame, width) → the same shape."""
        y = self.attention_norm(x)
        query, key, value = (self._split(project(y)) for project in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[3]), dim=3)
        x = x + self.out((weights @ value).transpose(1, 2).flatten(2))
        fed: Tensor = self.narrow(functional.gelu(self.widen(self.feed_norm(x))))
        return x + fed

    def _split(self, x: Tensor) -> Tensor:
        """(batch, frame, width) → (batch, head, frame, width / head)."""
        heads: Tensor = x.unflatten(2, (self.n_heads, -1))  # type: ignore[no-untyped-call]
        return heads.transpose(1, 2)


class SpeechEncoder(nn.Module):
    """Two convolutions, positions, and transformer layers."""

    def __init__(self, n_mels: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.width = width
        self.convolutions = nn.Sequential(
            nn.Conv1d(n_mels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.layers = nn.ModuleList(EncoderLayer(width) for _ in range(n_layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised log-mel (batch, n_mels, n_frames) → each layer's output (batch, ⌈n_frames / 2⌉, width)."""
        x = self.convolutions(x).transpose(1, 2)
        x = x + sinusoids(torch.arange(x.shape[1], device=x.device), self.width)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return outputs


def sinusoids(position: Tensor, width: int) -> Tensor:
    """Whisper's fixed encoding of positions (n,) → (n, width): sines, then cosines, of geometrically spaced rates."""
    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2, device=position.device))
    phases = position[:, None] * rates
    return torch.cat([phases.sin(), phases.cos()], dim=1)


class Transformer(EmotionNetwork):
    """Log-mel → speech encoder → moments over time of the pooled layers → linear head.

    The embedding holds mean and deviation of each of these layers, `n_levels` values, then skewness and trend.
    """

    def __init__(
        self, network: NetworkConfig, frontend: FrontendConfig, labels: tuple[str, ...] = EMOTIONS
    ) -> None:
        super().__init__(network, frontend, labels)
        self.n_pooled = network.pooled_layers or network.layers
        self.n_levels = 2 * network.width * self.n_pooled
        self.encoder = SpeechEncoder(frontend.n_mels, network.width, network.layers)
        self.add_head(2 * self.n_levels, network.dropout)

    @property
    def body(self) -> list[nn.Module]:
        """The encoder."""
        return [self.encoder]

    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, 4 · width · pooled layers)."""
        pooled = self.encoder(normalise(log_mel))[-self.n_pooled :]
        levels, shapes = zip(*(moments(frames.float()) for frames in pooled), strict=True)
        return torch.cat([*levels, *shapes], dim=1)
