"""The speech encoder in the package, from a published one. In: smart-turn-v3.2-cpu.onnx. Out: encoder.safetensors.

    python tools/make_encoder.py smart-turn-v3.2-cpu.onnx [--recipe recipes/ravdess-encoder.toml] [--out FILE]

It keeps the first layers, as many as the recipe has, as 8-bit integers.
"""

import argparse
from pathlib import Path

from smart_turn import decode

from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import SHIPPED, save_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the encoder that trainings start from.")
    parser.add_argument("source", type=Path, help="smart-turn-v3.2-cpu.onnx")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/ravdess-encoder.toml"))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    make(TrainConfig.load(arguments.recipe), arguments.source, arguments.out)


def make(config: TrainConfig, source: Path, out: Path) -> None:
    """Write the layers of `source` that the network of `config` has."""
    network = build(config)
    weights, facts = decode(source)
    own = {name: weights[name] for name in network.state_dict() if name.startswith("encoder.")}
    network.load_state_dict(own, strict=False)
    save_encoder(network, {**facts, "commit": commit()}, out)


if __name__ == "__main__":
    main()
