"""The speech encoder in the package, from a published one. In: smart-turn-v3.2-cpu.onnx. Out: trunk.safetensors.

    python tools/make_trunk.py smart-turn-v3.2-cpu.onnx [--recipe recipes/ravdess-encoder.toml] [--out FILE]

The first layers, as many as the recipe has; verified by sha256, as 8-bit integers.
"""

import argparse
from pathlib import Path

from speech_emotion.provenance import commit
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.fit.train import build


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the trunk that trainings start from.")
    parser.add_argument("source", help="smart-turn-v3.2-cpu.onnx")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/ravdess-encoder.toml"))
    parser.add_argument("--out", type=Path, default=trunk.SHIPPED)
    arguments = parser.parse_args()
    network = build(TrainConfig.load(arguments.recipe))
    facts = trunk.start(network, arguments.source)
    trunk.save(network, {**facts, "commit": commit()}, arguments.out)


if __name__ == "__main__":
    main()
