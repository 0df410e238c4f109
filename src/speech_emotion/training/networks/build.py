"""From a recipe to its network. A new architecture is one file in this folder and one line in NETWORKS."""

from collections.abc import Sequence
from typing import Final

import torch

from speech_emotion.errors import ConfigError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.networks.base import EmotionNetwork
from speech_emotion.training.networks.cnn import Cnn
from speech_emotion.training.networks.encoder import Transformer
from speech_emotion.training.networks.pair import EmotionPair, Network
from speech_emotion.training.networks.vgg16 import Vgg16

NETWORKS: Final[dict[str, type[EmotionNetwork]]] = {"cnn": Cnn, "transformer": Transformer, "vgg16": Vgg16}


def architecture(config: TrainConfig) -> type[EmotionNetwork]:
    """The class of a recipe's network; ConfigError if there is no such architecture."""
    name = config.network.architecture
    if name not in NETWORKS:
        raise ConfigError(
            f"{config.name}: network.architecture must be one of {', '.join(NETWORKS)}, got {name!r}."
        )
    return NETWORKS[name]


def build(config: TrainConfig, labels: tuple[str, ...] = EMOTIONS) -> EmotionNetwork:
    """The first network of a recipe, with weights drawn from its seed."""
    torch.manual_seed(config.fit.seed_for("weights"))
    network = architecture(config)(config.network, config.frontend, labels)
    if config.probe.specialist_penalty:
        network.add_specialist()
    return network


def assemble(config: TrainConfig, labels: tuple[str, ...] = EMOTIONS) -> Network:
    """The network that a run of this recipe ends with: one, or a pair. Its weights are not trained yet."""
    return joined(config, [build(part, labels) for part in config.parts])


def joined(config: TrainConfig, networks: Sequence[EmotionNetwork]) -> Network:
    """The one or two networks of a recipe as one."""
    first, *others = networks
    return EmotionPair(first, *others, weight=config.second_weight) if others else first
