"""Products of 8-bit integers. In: a graph with int8 weights (quantize.py). Out: the same graph, multiplying integers.

`shrink` stores weights as int8, and ONNX Runtime widens them to float32 before it multiplies. Here what enters a
product is rounded as well, so that the integer units of a processor do the work. Each row is rounded by itself, with a
scale of its own: a window alone and a window in a batch have the same answer. The answers are not those of the float
graph, so a file made this way counts only with an evaluation of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

LEVELS: Final = (
    63  # ±63 times ±127: the sum of two products fits into 16 bits, which processors without VNNI need
)
ZERO: Final = LEVELS + 1  # the uint8 that stands for 0
SMALLEST: Final = 1e-12  # of the largest value in a row, so that silence can be divided by it


def integer_products(graph: onnx.GraphProto) -> int:
    """Multiply as integers wherever a matrix is stored as int8 with a scale per column.

    Returns:
        How many products there were.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    products = set(_products(graph, constants))
    widened = {node.input[1] for node in graph.node if node.output[0] in products}
    nodes: list[onnx.NodeProto] = []
    rounded: set[str] = set()
    for node in graph.node:
        if node.output[0] not in products:
            nodes.append(node)
            continue
        rows, weight = node.input
        if rows not in rounded:
            rounded.add(rows)
            nodes += _round_rows(rows)
        nodes += _multiply(node, rows, weight)
    unused = widened | {f"{weight}.float" for weight in widened}
    del graph.node[:]
    graph.node.extend(node for node in nodes if not unused.intersection(node.output))
    graph.initializer.extend(_constants() if products else [])
    return len(products)


def _products(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> Iterator[str]:
    """The output of each product with a stored matrix (n_in, n_out) that has a scale for each of its columns."""
    for node in graph.node:
        if node.op_type != "MatMul" or f"{node.input[1]}.int8" not in constants:
            continue
        stored, scale = (constants[f"{node.input[1]}.{kind}"] for kind in ("int8", "scale"))
        if list(scale.dims) == [1, *stored.dims[1:]] and len(stored.dims) == 2:
            yield node.output[0]


def _constants() -> list[onnx.TensorProto]:
    values: dict[str, npt.NDArray[Any]] = {
        "integer.last_axis": np.array([-1], np.int64),
        "integer.smallest": np.array(SMALLEST, np.float32),
        "integer.levels": np.array(LEVELS, np.float32),
        "integer.step": np.array(1 / LEVELS, np.float32),
        "integer.half": np.array(ZERO + 0.5, np.float32),  # a cast cuts off
        "integer.zero": np.array(ZERO, np.uint8),
    }
    return [numpy_helper.from_array(value, name) for name, value in values.items()]


def _round_rows(rows: str) -> list[onnx.NodeProto]:
    """`rows` (…, n_in) → `rows.uint8`, and `rows.scale` (…, 1), the value of one of its steps."""
    return [
        _node("Abs", [rows], f"{rows}.magnitude"),
        _node("ReduceMax", [f"{rows}.magnitude", "integer.last_axis"], f"{rows}.largest", keepdims=1),
        _node("Max", [f"{rows}.largest", "integer.smallest"], f"{rows}.peak"),
        _node("Mul", [f"{rows}.peak", "integer.step"], f"{rows}.scale"),
        _node("Div", ["integer.levels", f"{rows}.peak"], f"{rows}.inverse"),
        _node("Mul", [rows, f"{rows}.inverse"], f"{rows}.steps"),
        _node("Add", [f"{rows}.steps", "integer.half"], f"{rows}.shifted"),
        _node("Cast", [f"{rows}.shifted"], f"{rows}.uint8", to=onnx.TensorProto.UINT8),
    ]


def _multiply(node: onnx.NodeProto, rows: str, weight: str) -> list[onnx.NodeProto]:
    """The product of `rows` and `weight`, under the name of `node` and with its output."""
    product = node.output[0]
    return [
        helper.make_node(
            "MatMulInteger",
            [f"{rows}.uint8", f"{weight}.int8", "integer.zero"],
            [f"{product}.int32"],
            name=node.name,
        ),
        _node("Cast", [f"{product}.int32"], f"{product}.float", to=onnx.TensorProto.FLOAT),
        _node("Mul", [f"{product}.float", f"{weight}.scale"], f"{product}.of_columns"),
        _node("Mul", [f"{product}.of_columns", f"{rows}.scale"], product),
    ]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{output}.{kind}", **attributes)
