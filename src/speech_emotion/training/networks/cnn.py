"""The networks. In: waveform (batch, n_samples), 16 kHz. Out: logits (batch, n_labels).

What is trained whole splits its work at `features` | `classify`: augmentation stands between the two, in training only.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from speech_emotion.training.networks.frontend import LogMel

STRIDES = ((1, 1), (2, 2), (2, 1), (2, 2))  # (mel, frame) of the four blocks
DYNAMIC_RANGE = 18.4  # natural-log power below a window's peak that is kept: 80 dB


def normalise(log_mel: Tensor) -> Tensor:
    """Each window by itself to mean 0 and deviation 1, so that the level of a recording does not matter.

    (batch, n_mels, n_frames) → the same shape. Cells more than 80 dB below the window's loudest are raised to that.
    """
    # Below the peak: exactly 0 in silence, which then stays silent.
    below_peak = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
    log_mel = below_peak.clamp(min=-DYNAMIC_RANGE)
    centred = log_mel - _mean(log_mel)
    return centred / (_mean(centred.square()) + 1e-5).sqrt()


def _mean(x: Tensor) -> Tensor:
    """Over bands and frames, an axis at a time: ONNX Runtime sums in one row, and over both axes loses two digits."""
    return x.mean(dim=2, keepdim=True).mean(dim=1, keepdim=True)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all of them (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, squeeze-excitation, and a shortcut (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            SqueezeExcitation(n_out),
        )
        self.shortcut = nn.Sequential()
        if (n_in, stride) != (n_out, (1, 1)):
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True),
                nn.Conv2d(n_in, n_out, 1, bias=False),
                nn.BatchNorm2d(n_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class AttentiveStatistics(nn.Module):
    """Weighted mean and deviation over time (Okabe et al. 2018, arXiv 1803.10963): (batch, c, t) → (batch, 2c)."""

    def __init__(self, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.Tanh(), nn.Conv1d(hidden, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        weights = torch.softmax(self.attention(x).float(), dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * (x - mean.unsqueeze(2)).square()).sum(dim=2)
        return torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)


class EmotionNetwork(nn.Module, ABC):
    """What all networks share: `listen` → `logits`, which are affine in the embedding once training has ended."""

    n_embedding: int

    @abstractmethod
    def listen(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n_samples) → embedding (batch, n_embedding), log-mel (batch, n_mels, n_frames)."""

    @abstractmethod
    def logits(self, embedding: Tensor) -> Tensor:
        """(batch, n_embedding) → logits (batch, n_labels)."""

    def forward(self, waveform: Tensor) -> Tensor:
        return self.logits(self.listen(waveform)[0])


class SpectralNetwork(EmotionNetwork):
    """With one front end: `features` | `embed` → `head`. A subclass sets both modules and says how to embed."""

    frontend: LogMel
    head: nn.Sequential

    @abstractmethod
    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, n_embedding)."""

    def features(self, waveform: Tensor) -> Tensor:
        """(batch, n_samples) → log-mel (batch, n_mels, n_frames)."""
        log_mel: Tensor = self.frontend(waveform)
        return log_mel

    def classify(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → logits (batch, n_labels)."""
        return self.logits(self.embed(log_mel))

    def logits(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.head(embedding)
        return logits

    def listen(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        log_mel = self.features(waveform)
        return self.embed(log_mel), log_mel


class EmotionNet(SpectralNetwork):
    """Log-mel → residual CNN → attentive statistics pooling → linear head."""

    def __init__(
        self,
        *,
        n_labels: int = 8,
        channels: tuple[int, ...] = (32, 64, 96, 160),
        dropout: float = 0.3,
        n_mels: int = 64,
        n_fft: int = 512,
        hop: int = 320,
        fmin_hz: float = 50.0,
    ) -> None:
        super().__init__()
        self.frontend = LogMel(n_mels=n_mels, n_fft=n_fft, hop=hop, fmin_hz=fmin_hz)
        first = channels[0]
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        n_in = first
        for n_out, stride in zip(channels, STRIDES, strict=True):
            blocks.append(ResidualBlock(n_in, n_out, stride=stride))
            n_in = n_out
        self.trunk = nn.Sequential(*blocks)
        n_bands = -(-n_mels // 16)  # the stem and three blocks halve the mel axis
        self.bands = nn.Sequential(  # one learned weight a channel and frequency band
            nn.Conv2d(n_in, n_in, (n_bands, 1), groups=n_in, bias=False),
            nn.BatchNorm2d(n_in),
            nn.ReLU(inplace=True),
        )
        self.pool = AttentiveStatistics(n_in)
        self.n_embedding = 2 * n_in
        self.head = nn.Sequential(
            nn.BatchNorm1d(2 * n_in), nn.Dropout(dropout), nn.Linear(2 * n_in, n_labels)
        )

    @property
    def stages(self) -> list[nn.Module]:
        """The trunk in the order of the signal, as layer-wise learning rates go by."""
        return [self.stem, *self.trunk, self.bands]

    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, 2 · channels[-1])."""
        x = normalise(log_mel).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        x = self.bands(self.trunk(self.stem(x)))  # (batch, channel, 1, frame)
        embedding: Tensor = self.pool(x.squeeze(2))
        return embedding


class EmotionPair(EmotionNetwork):
    """Two networks, trained apart, that hear the same window: its logits are the weighted mean of theirs.

    A logarithmic opinion pool (Genest & Zidek 1986, Statistical Science 1(1)): up to a constant, the weighted mean of
    the log-probabilities. `weight` is the second network's share of 1.
    """

    def __init__(self, first: SpectralNetwork, second: SpectralNetwork, *, weight: float) -> None:
        super().__init__()
        self.first, self.second, self.weight = first, second, weight
        self.n_embedding = first.n_embedding + second.n_embedding

    def listen(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n_samples) → both embeddings side by side (batch, n_embedding), the first network's log-mel."""
        embedding, log_mel = self.first.listen(waveform)
        return torch.cat([embedding, self.second.listen(waveform)[0]], dim=1), log_mel

    def logits(self, embedding: Tensor) -> Tensor:
        """(batch, n_embedding) → logits (batch, n_labels)."""
        n = self.first.n_embedding
        of_first, of_second = self.first.logits(embedding[:, :n]), self.second.logits(embedding[:, n:])
        return (1 - self.weight) * of_first + self.weight * of_second
