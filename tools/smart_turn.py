"""Decode the speech encoder of Smart Turn. In: smart-turn-v3.2-cpu.onnx, verified by its sha256. Out: its weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from speech_emotion.errors import ModelIntegrityError, ModelNotFoundError

# The whisper-tiny encoder (Radford et al. 2022, MIT) as fine-tuned in Smart Turn v3.2 (Daily 2025, BSD
# 2-Clause) to tell from the prosody whether a speaker has finished. 8-bit, with its scales.
SHA256: Final = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
_NAMES: Final = {
    "conv1": "convolutions.0",
    "conv2": "convolutions.2",
    "self_attn_layer_norm": "attention_norm",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "out",
    "final_layer_norm": "feed_norm",
    "fc1": "widen",
    "fc2": "narrow",
}


def decode(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The encoder's weights under our names, and facts about them; `path` is smart-turn-v3.2-cpu.onnx."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({error.strerror}). It is part of pipecat-ai 1.14.0: "
            "pip download --no-deps pipecat-ai==1.14.0, then unzip the .onnx from the wheel."
        ) from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ModelIntegrityError(
            f"{path}: not smart-turn-v3.2-cpu.onnx: its sha256 is not {SHA256}. Fetch it again."
        )
    facts = {
        "name": "whisper-tiny encoder, Smart Turn v3.2",
        "licence": "MIT (Whisper), BSD 2-Clause (Smart Turn)",
        "citation": "Radford et al. (2022). Robust speech recognition via large-scale weak supervision. "
        "arXiv 2212.04356. Daily (2025). Smart Turn v3.2.",
        "sha256": SHA256,
    }
    return _encoder_weights(onnx.load_from_string(data).graph), facts


def _encoder_weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Biases and norms by their own names; a matrix by the bias it is added to, the keys' by being left over."""
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            values[node.output[0]] = _dequantized(node, values)
    found = {
        name.removeprefix("inner."): v for name, v in values.items() if name.startswith("inner.encoder.")
    }
    products = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in values]
    for node in graph.node:
        if node.op_type == "Conv":
            name = "conv1" if values[node.input[1]].shape[1] == 80 else "conv2"
            found |= {
                f"encoder.{name}.{part}": values[node.input[i]] for i, part in ((1, "weight"), (2, "bias"))
            }
        biases = [n for n in node.input if n.startswith("inner.encoder.layers") and n.endswith(".bias")]
        if node.op_type == "Add" and biases:
            product = made_by[next(n for n in node.input if n not in biases)]
            while product.op_type in ("DequantizeLinear", "QuantizeLinear"):
                product = made_by[product.input[0]]
            name = biases[0].removeprefix("inner.").removesuffix("bias") + "weight"
            found[name] = values[product.input[1]].T
            products.remove(product)
    keys = [n for n in products if values[n.input[1]].shape == (384, 384)]
    for layer, node in enumerate(keys):
        found[f"encoder.layers.{layer}.self_attn.k_proj.weight"] = values[node.input[1]].T
    return {
        _our_name(name): torch.from_numpy(np.array(value, dtype=np.float32))
        for name, value in found.items()
        if name.endswith((".weight", ".bias"))
        and not name.startswith(("encoder.embed", "encoder.layer_norm"))
    }


def _dequantized(node: onnx.NodeProto, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Integers → (integer − zero point) · scale, per channel along the node's axis."""
    integers, scale, zero = (values[name].astype(np.float32) for name in node.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        shape = [-1 if i == axis % integers.ndim else 1 for i in range(integers.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((integers - zero) * scale, dtype=np.float32)


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name
