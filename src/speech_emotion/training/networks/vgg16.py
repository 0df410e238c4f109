"""VGG16 for speech. In: waveform (batch, n_samples), 16 kHz. Out: logits (batch, n_labels).

The convolutions are those of an image classifier, so that weights learned on ImageNet can be where training starts.
The image has three channels: the log-mel spectrogram, how fast it changes, and how fast that changes.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import AttentiveStatistics, EmotionNetwork, normalise

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, convolutions)
POOLS = ((2, 2), (2, 2), (2, 2), (2, 1), (2, 1))  # (mel, frame), one after each block
N_HALVINGS = len(POOLS)  # of the mel axis


def delta(x: Tensor) -> Tensor:
    """Slope over time per frame, (…, n_mels, n_frames) → the same shape (Furui 1986): regression over ±2 frames.

    As librosa.feature.delta(x, width=5, mode="nearest"); as differences, so that autocast leaves it in float32.
    """
    x = nn.functional.pad(x, (2, 2), mode="replicate")
    one, two = x[..., 3:-1] - x[..., 1:-3], x[..., 4:] - x[..., :-4]
    return (one + 2 * two) / 10


def convolutions() -> nn.Sequential:
    """Configuration D of Simonyan & Zisserman 2014 (arXiv 1409.1556), named as in torchvision: `features.0.weight`.

    (batch, 3, n_mels, n_frames) → (batch, 512, n_mels // 32, n_frames // 8). The last two pools leave time as it is:
    halved five times, half a second would have no frame left. Fresh weights are He's (2015, arXiv 1502.01852).
    """
    layers: list[nn.Module] = []
    n_in = 3
    for (n_out, n_convolutions), pool in zip(BLOCKS, POOLS, strict=True):
        for _ in range(n_convolutions):
            convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU(inplace=True)]
            n_in = n_out
        layers.append(nn.MaxPool2d(pool))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers)))


class Vgg16(EmotionNetwork):
    """Log-mel and its slopes → VGG16's convolutions → attentive statistics pooling → linear head.

    Needs 32 mel bands (else ConfigError) and 8 frames, 0.17 s as the defaults have it.
    """

    def __init__(
        self, network: NetworkConfig, frontend: FrontendConfig, labels: tuple[str, ...] = EMOTIONS
    ) -> None:
        n_bands, n_channels = frontend.n_mels >> N_HALVINGS, BLOCKS[-1][0]
        if not n_bands:
            raise ConfigError(
                f"VGG16 needs at least 32 mel bands, not {frontend.n_mels}. Raise frontend.n_mels."
            )
        super().__init__(network, frontend, labels)
        self.scale = nn.BatchNorm2d(3, affine=False)
        self.vgg = convolutions()
        self.bands = nn.Conv2d(n_channels, n_channels, (n_bands, 1), groups=n_channels, bias=False)
        nn.init.constant_(self.bands.weight, 1 / n_bands)  # training starts from the mean over the bands
        self.pool = AttentiveStatistics(n_channels)
        self.add_head(2 * n_channels, network.dropout)

    @property
    def body(self) -> list[nn.Module]:
        """The convolutions, and the sum over bands."""
        return [self.vgg, self.bands]

    def image(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → (batch, 3, n_mels, n_frames): log-mel, delta and delta-delta.

        Each channel has mean 0 and deviation 1 over the training data, not by window: how fast a voice changes is part
        of its emotion.
        """
        log_mel = normalise(log_mel)
        slope = delta(log_mel)
        image: Tensor = self.scale(torch.stack([log_mel, slope, delta(slope)], dim=1))
        return image

    def embed(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) → embedding (batch, 1024)."""
        x = self.image(log_mel).contiguous(memory_format=torch.channels_last)
        x = self.bands(self.vgg(x))  # (batch, channel, 1, frame)
        embedding: Tensor = self.pool(x.squeeze(2))
        return embedding


def load_imagenet(network: Vgg16, state: Mapping[str, Tensor]) -> None:
    """Give the convolutions of `network` the weights of a torchvision VGG16; its classifier is not used."""
    ours = network.vgg.state_dict()
    theirs = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    faults = [f"{name} is missing" for name in ours if name not in theirs]
    faults += [f"{name} is not part of VGG16" for name in theirs if name not in ours]
    faults += [
        f"{name} is {tuple(theirs[name].shape)} and must be {tuple(tensor.shape)}"
        for name, tensor in ours.items()
        if name in theirs and theirs[name].shape != tensor.shape
    ]
    if faults:
        raise ModelFormatError(
            f"These are not the weights of VGG16: {'; '.join(faults)}. Take torchvision's vgg16, without batch norm."
        )
    network.vgg.load_state_dict(theirs)
