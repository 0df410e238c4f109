"""Small ONNX files. In: a graph whose weights are rounded (networks/quantize.py). Out: the same, stored as int8."""

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from speech_emotion.training.networks.quantize import LARGE, LEVELS


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
