"""VGG16 for speech. In: waveform (batch, n_samples), 16 kHz. Out: logits (batch, n_labels).

The convolutions are those of an image classifier (configuration D of Simonyan & Zisserman 2014, arXiv 1409.1556), with
the weights that it learned on ImageNet. The log-mel spectrogram is shown to it as a picture: blue is the level, green
how fast it changes, red how fast that changes.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import DYNAMIC_RANGE, EmotionNetwork, moments

BLOCKS: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, convolutions)
BLUE: Final = 103.939  # the mean of the blue channel of ImageNet, from 0 to 255
SLOPE_GAIN, CURVATURE_GAIN = 6.0, 20.0  # give green and red the deviation that blue has in speech
BANDS: Final = 4  # of the mel axis, each with moments of its own
UNIT: Final = 100.0  # the size of activations
TORCHVISION_BLUE: Final = 0.406 * 255
TORCHVISION_DEVIATION: Final = (0.229, 0.224, 0.225)  # of red, green and blue, from 0 to 1


def delta(x: Tensor) -> Tensor:
    """Slope over time per frame, (…, n_mels, n_frames) → the same shape (Furui 1986): regression over ±2 frames.

    As librosa.feature.delta(x, width=5, mode="nearest"); as differences, so that autocast leaves it in float32.
    """
    x = nn.functional.pad(x, (2, 2), mode="replicate")
    one, two = x[..., 3:-1] - x[..., 1:-3], x[..., 4:] - x[..., :-4]
    return (one + 2 * two) / 10


def convolutions(n_blocks: int) -> nn.Sequential:
    """The first blocks of VGG16, named as in torchvision: `features.0.weight`.

    (batch, 3, n_mels, n_frames) → (batch, channels, n_mels / 2ⁿ, n_frames / 2ⁿ), n = n_blocks - 1: the last block is
    not followed by a pool. Fresh weights are He's (2015, arXiv 1502.01852).
    """
    layers: list[nn.Module] = []
    n_in = 3
    for n_out, n_convolutions in BLOCKS[:n_blocks]:
        for _ in range(n_convolutions):
            convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU(inplace=True)]
            n_in = n_out
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers[:-1])))


class Vgg16(EmotionNetwork):
    """Log-mel and its slopes → the first `layers` blocks of VGG16 → moments of the last `pooled_layers` → linear head.

    Of every pooled block, the embedding holds mean, deviation, skewness and trend over time of each channel in each of
    four bands of the mel axis.
    """

    blue: Tensor

    def __init__(
        self, network: NetworkConfig, frontend: FrontendConfig, labels: tuple[str, ...] = EMOTIONS
    ) -> None:
        n_blocks = network.layers
        if n_blocks > len(BLOCKS):
            raise ConfigError(f"VGG16 has five blocks, not {n_blocks}. Lower network.layers.")
        step = BANDS << (n_blocks - 1)
        if frontend.n_mels % step:
            raise ConfigError(
                f"VGG16 of {n_blocks} blocks divides the mel bands by {step}, which {frontend.n_mels} cannot be. "
                "Change frontend.n_mels."
            )
        super().__init__(network, frontend, labels)
        self.n_pooled = network.pooled_layers or n_blocks
        self.register_buffer("blue", torch.tensor(BLUE))
        self.vgg = convolutions(n_blocks)
        n_channels = sum(channels for channels, _ in BLOCKS[:n_blocks][-self.n_pooled :])
        self.add_head(4 * BANDS * n_channels, network.dropout)

    @property
    def body(self) -> list[nn.Module]:
        """The convolutions."""
        return [self.vgg]

    def picture(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → (batch, 3, n_mels, n_frames): blue, green, red, without their means.

        The level is 255 at the window's peak and 0 from 80 dB below it, so the level of a recording does not matter.
        """
        below_peak = log_mel - log_mel.amax(dim=(1, 2), keepdim=True)
        level = (below_peak + DYNAMIC_RANGE).clamp(min=0) * (255 / DYNAMIC_RANGE)
        slope = delta(level)
        return torch.stack([level - self.blue, SLOPE_GAIN * slope, CURVATURE_GAIN * delta(slope)], dim=1)

    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, 16 · channels of the pooled blocks)."""
        x = self.picture(log_mel).contiguous(memory_format=torch.channels_last)
        pooled = [_moments(block) for block in self._blocks(x)[-self.n_pooled :]]
        return torch.cat(pooled, dim=1)

    def _blocks(self, x: Tensor) -> list[Tensor]:
        """What each block ends with, before the pool."""
        outputs = []
        for layer in self.vgg.features:  # type: ignore[union-attr]
            if isinstance(layer, nn.MaxPool2d):
                outputs.append(x)
            x = layer(x)
        return [*outputs, x]


def _moments(block: Tensor) -> Tensor:
    """(batch, channel, mel, frame) → (batch, 4 · BANDS · channel)."""
    bands = block.float().unflatten(2, (BANDS, -1)).mean(dim=3)  # type: ignore[no-untyped-call]
    frames = bands.flatten(1, 2).transpose(1, 2) / UNIT
    return torch.cat(moments(frames), dim=1)


def load_torchvision(network: Vgg16, state: Mapping[str, Tensor]) -> None:
    """Give the convolutions of `network` the weights of a torchvision VGG16, as far as it has them.

    Torchvision's pictures are red, green, blue, from 0 to 1, and divided by a deviation.
    """
    ours = network.vgg.state_dict()
    theirs = {name: tensor for name, tensor in state.items() if name in ours}
    faults = [f"{name} is missing" for name in ours if name not in theirs]
    faults += [
        f"{name} is {tuple(theirs[name].shape)} and must be {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tensor.shape
    ]
    if faults:
        raise ModelFormatError(
            f"These are not the weights of VGG16: {'; '.join(faults)}. Take torchvision's vgg16, without batch norm."
        )
    deviation = 255 * torch.tensor(TORCHVISION_DEVIATION)[:, None, None]
    theirs["features.0.weight"] = (theirs["features.0.weight"] / deviation).flip(1)
    network.vgg.load_state_dict(theirs)
    network.blue.fill_(TORCHVISION_BLUE)
