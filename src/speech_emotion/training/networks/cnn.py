"""A residual CNN on log-mel windows. In: waveform (batch, n_samples), 16 kHz. Out: logits (batch, n_labels)."""

import torch
from torch import Tensor, nn

from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import AttentiveStatistics, EmotionNetwork, normalise

STRIDES = ((1, 1), (2, 2), (2, 1), (2, 2))  # (mel, frame) of the four blocks


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all of them (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // reduction, 1)
        self.excite = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, mel, frame) → the same shape."""
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
            # An odd last row or column is averaged by itself, as with ceil_mode, whose shapes mislead torch.export in a
            # graph with another pool on the same frames.
            self.shortcut = nn.Sequential(
                nn.Sequential(
                    nn.ReplicationPad2d((0, stride[1] - 1, 0, stride[0] - 1)), nn.AvgPool2d(stride)
                ),
                nn.Conv2d(n_in, n_out, 1, bias=False),
                nn.BatchNorm2d(n_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, mel, frame) → (batch, n_out, mel / stride, frame / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Cnn(EmotionNetwork):
    """Log-mel → residual CNN → attentive statistics pooling → linear head."""

    def __init__(
        self, network: NetworkConfig, frontend: FrontendConfig, labels: tuple[str, ...] = EMOTIONS
    ) -> None:
        super().__init__(network, frontend, labels)
        first, last = network.channels[0], network.channels[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        sizes = zip((first, *network.channels), network.channels, STRIDES, strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(*size) for size in sizes))
        n_bands = -(-frontend.n_mels // 16)  # the stem and three blocks halve the mel axis
        self.bands = nn.Sequential(  # one learned weight per channel and frequency band
            nn.Conv2d(last, last, (n_bands, 1), groups=last, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(inplace=True),
        )
        self.pool = AttentiveStatistics(last)
        self.add_head(2 * last, network.dropout)

    @property
    def body(self) -> list[nn.Module]:
        """The convolutions."""
        return [self.stem, self.blocks, self.bands]

    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, 2 · channels[-1])."""
        x = normalise(log_mel).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        x = self.bands(self.blocks(self.stem(x)))  # (batch, channel, 1, frame)
        embedding: Tensor = self.pool(x.squeeze(2))
        return embedding
