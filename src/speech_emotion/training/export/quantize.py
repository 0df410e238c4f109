"""Small files. In: float weights. Out: the same weights as 8-bit integers with one scale an output channel.

A network is rounded to what its file can hold before it is compared with that file, calibrated and scored, so the
rounding is part of every number. Matrices and convolutions are rounded, biases and norms are not: they weigh nothing.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

LEVELS: Final = 127  # the largest integer; -128 is not used, so that a weight and its negative round alike
LARGE: Final = 2048  # values: below that a scale costs more than it saves
SCALE: Final = ".scale"


def round_weights(network: nn.Module) -> None:
    """Round the large weights of `network` in place: the n-th output channel to multiples of its own scale."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(rounded(parameter))


def rounded(tensor: Tensor) -> Tensor:
    """What the file holds of `tensor`: rounded if it is large."""
    if not _is_large(tensor):
        return tensor
    integers, scale = _quantized(tensor)
    return integers.float() * scale


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large floats as int8 under their own name, their scales under `name.scale`; the rest as it is."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _is_large(tensor):
            packed[name], packed[name + SCALE] = _quantized(tensor)
        else:
            packed[name] = tensor
    return {name: tensor.contiguous() for name, tensor in packed.items()}


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, rounded."""
    return {
        name: tensor.float() * packed[name + SCALE] if tensor.dtype == torch.int8 else tensor
        for name, tensor in packed.items()
        if not name.endswith(SCALE)
    }


def shrink(graph: onnx.GraphProto) -> None:
    """Store the rounded weights of an exported graph as int8; ONNX Runtime multiplies them out once, on loading."""
    defaults = {value.name for value in graph.input}  # of optional inputs: not weights
    large = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) >= 2
        and np.prod(tensor.dims) >= LARGE
        and tensor.name not in defaults
    ]
    for tensor in large:
        values = numpy_helper.to_array(tensor)
        found = next((q for axis in range(values.ndim) if (q := _on_grid(values, axis))), None)
        if found is None:
            continue
        name = tensor.name
        graph.initializer.remove(tensor)
        integers, scale = found
        graph.initializer.append(numpy_helper.from_array(integers, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        cast = helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
        graph.node.insert(0, cast)


def _is_large(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= LARGE


def _quantized(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """(integers as int8, scale (n_out, 1, …))."""
    axes = tuple(range(1, tensor.ndim))
    scale = tensor.detach().float().abs().amax(dim=axes, keepdim=True).clamp(min=1e-12) / LEVELS
    return torch.round(tensor.detach() / scale).to(torch.int8), scale


def _on_grid(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None:
    """The integers and the scales of `values`, if each slice along `axis` holds multiples of one scale.

    To a thousandth of a step: the exporter may have multiplied a batch normalisation into a convolution since.
    """
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12).astype(np.float32) / LEVELS
    integers = np.round(values / scale)
    if (np.abs(integers * scale - values) > 1e-3 * scale).any():
        return None
    return integers.astype(np.int8), scale.astype(np.float32)
