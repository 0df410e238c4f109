"""Flip bits of the model file, one at a time: is every one refused before a session exists?

    python benchmarks/model_bit_flips.py [--model FILE] [--flips 10000] [--seed 0] \
        [--out results/benchmarks/model-bit-flips.json]

In: a sealed .onnx. Out: how many single-bit flips, spread evenly over the file, were refused, and with what.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from speech_emotion.errors import ModelError
from speech_emotion.model import verify
from speech_emotion.provenance import commit
from speech_emotion.shipped import MODELS

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Flip bits of the model file, one at a time.")
    parser.add_argument("--model", type=Path, default=MODELS[0].path)
    parser.add_argument("--flips", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "model-bit-flips.json")
    arguments = parser.parse_args()
    data = bytearray(arguments.model.read_bytes())
    verify(bytes(data))
    outcomes = Counter(outcome(data, int(bit)) for bit in chosen_bits(8 * len(data), arguments))
    report = {
        "model": arguments.model.name,
        "size_bytes": len(data),
        "flips": outcomes.total(),
        "refused": outcomes.total() - outcomes["accepted"],
        "outcomes": dict(outcomes),
        "command": " ".join(["python", "benchmarks/model_bit_flips.py", *sys.argv[1:]]),
        "commit": commit(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['refused']} of {report['flips']} flips refused: {report['outcomes']}")
    sys.exit(0 if report["refused"] == report["flips"] else 1)


def chosen_bits(n_bits: int, arguments: argparse.Namespace) -> np.ndarray:
    """Different bits, drawn by the seed."""
    return np.random.default_rng(arguments.seed).choice(n_bits, min(arguments.flips, n_bits), replace=False)


def outcome(data: bytearray, bit: int) -> str:
    """The code of the refusal of `data` with one bit flipped, or "accepted". `data` is as before afterwards."""
    data[bit // 8] ^= 1 << bit % 8
    try:
        verify(bytes(data))
    except ModelError as error:
        return error.code
    else:
        return "accepted"
    finally:
        data[bit // 8] ^= 1 << bit % 8


if __name__ == "__main__":
    main()
