"""Weights as 8-bit integers: how far they move, that they move once, and that a graph may hold them."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Generator, Tensor, nn

from speech_emotion.training.export.quantize import shrink
from speech_emotion.training.networks.quantize import LARGE, LEVELS, pack, round_weights, unpack

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Net(nn.Module):
    """(batch, 16, n) → (batch, n // 2, 40): convolution, then two matrices; rows of very different size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.widen, self.narrow = (
            nn.Conv1d(16, 48, 3, stride=2),
            nn.Linear(48, 160),
            nn.Linear(160, 40),
        )
        self.small = nn.Linear(40, 40)
        generator = Generator().manual_seed(0)
        for parameter in self.parameters():
            size = torch.logspace(-2, 0, len(parameter)).reshape(-1, *[1] * (parameter.ndim - 1))
            parameter.data = torch.randn(parameter.shape, generator=generator) * size * 0.2


def of(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def rounded() -> Net:
    network = Net()
    round_weights(network)
    return network


LARGE_ONES = ("conv.weight", "widen.weight", "narrow.weight")


# Rounding


def test_each_weight_moves_by_at_most_half_a_step_of_its_own_channel() -> None:
    before, after = of(Net()), of(rounded())
    for name in LARGE_ONES:
        rows, moved = before[name].flatten(1), after[name].flatten(1)
        step = rows.abs().amax(dim=1, keepdim=True) / LEVELS
        assert ((moved - rows).abs() <= step * 0.50001).all()
        assert ((moved - rows).abs().amax(dim=1) > 0.4 * step[:, 0]).all()  # and it does move
        multiples = moved / step
        torch.testing.assert_close(multiples, multiples.round(), rtol=0, atol=1e-3)
        assert multiples.abs().amax(dim=1).round().eq(LEVELS).all()


def test_what_is_small_or_no_matrix_stays() -> None:
    before, after = of(Net()), of(rounded())
    assert before["small.weight"].numel() < LARGE < before["conv.weight"].numel()
    for name in before.keys() - LARGE_ONES:
        assert torch.equal(before[name], after[name])
    vector = nn.ParameterList([nn.Parameter(torch.randn(2 * LARGE))])
    kept = vector[0].detach().clone()
    round_weights(vector)
    assert torch.equal(vector[0], kept)


def test_a_weight_and_its_negative_round_alike() -> None:
    network, mirrored = Net(), Net()
    with torch.no_grad():
        for parameter in mirrored.parameters():
            parameter.neg_()
    round_weights(network)
    round_weights(mirrored)
    assert torch.equal(network.widen.weight, -mirrored.widen.weight)


def test_what_is_rounded_stays_as_it_is() -> None:
    network = rounded()
    before = of(network)
    round_weights(network)
    assert all(torch.equal(before[name], tensor) for name, tensor in of(network).items())


def test_a_channel_of_zeros_stays_zero() -> None:
    network = Net()
    with torch.no_grad():
        network.widen.weight[3] = 0
    round_weights(network)
    assert network.widen.weight[3].eq(0).all()
    assert network.widen.weight.isfinite().all()


# Files


def test_what_is_unpacked_is_what_was_rounded_bit_for_bit() -> None:
    packed = pack(Net().state_dict())
    assert {name for name, tensor in packed.items() if tensor.dtype == torch.int8} == set(LARGE_ONES)
    assert packed["conv.weight.scale"].shape == (48, 1, 1)
    assert packed["conv.weight"].shape == (48, 16, 3)
    unpacked, expected = unpack(packed), of(rounded())
    assert unpacked.keys() == expected.keys()
    assert all(torch.equal(unpacked[name], tensor) for name, tensor in expected.items())


def test_integers_are_not_taken_for_weights() -> None:
    counts = torch.arange(2 * LARGE).reshape(2, -1)
    assert torch.equal(unpack(pack({"n": counts}))["n"], counts)


# Graphs


def graph_of(weights: Mapping[str, Tensor]) -> onnx.ModelProto:
    """`Net` as an exporter writes it: matrices are multiplied from the right."""
    constants = {
        "conv.weight": weights["conv.weight"],
        "conv.bias": weights["conv.bias"],
        "widen.weight": weights["widen.weight"].T,
        "widen.bias": weights["widen.bias"],
        "narrow.weight": weights["narrow.weight"].T,
        "small.weight": weights["small.weight"].T,
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], strides=[2]),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["t", "widen.weight"], ["w"]),
        helper.make_node("Add", ["w", "widen.bias"], ["b"]),
        helper.make_node("Tanh", ["b"], ["h"]),
        helper.make_node("MatMul", ["h", "narrow.weight"], ["n"]),
        helper.make_node("MatMul", ["n", "small.weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 16, "n"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", "m", 40])],
        [numpy_helper.from_array(t.detach().numpy().copy(), name) for name, t in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def answer(model: onnx.ModelProto) -> FloatArray:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(0, 1, (3, 16, 50)).astype(np.float32)
    (y,) = session.run(None, {"x": x})
    return np.asarray(y)


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def test_a_shrunk_graph_answers_alike_and_is_a_quarter_as_large() -> None:
    model = graph_of(rounded().state_dict())
    expected, size = answer(model), len(model.SerializeToString())
    shrink(model.graph)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(answer(model), expected, rtol=0, atol=1e-6)
    found = kinds(model)
    for name in LARGE_ONES:
        assert found[f"{name}.int8"] == onnx.TensorProto.INT8
        assert name not in found
    large = sum(Net().get_parameter(name).numel() for name in LARGE_ONES)
    saved = size - len(model.SerializeToString())
    assert saved == pytest.approx(3 * large, rel=0.1)  # a byte in the place of four


def test_small_tensors_of_a_graph_stay_floats() -> None:
    model = graph_of(rounded().state_dict())
    shrink(model.graph)
    found = kinds(model)
    assert all(found[name] == onnx.TensorProto.FLOAT for name in ("small.weight", "widen.bias", "conv.bias"))


def test_weights_that_are_not_on_a_grid_are_left_alone() -> None:
    model = graph_of(Net().state_dict())
    before = model.SerializeToString()
    shrink(model.graph)
    assert model.SerializeToString() == before


def test_one_weight_off_the_grid_is_enough() -> None:
    weights = of(rounded())
    weights["widen.weight"][80, 5] += 0.3 * weights["widen.weight"][80].abs().max() / LEVELS
    model = graph_of(weights)
    shrink(model.graph)
    found = kinds(model)
    assert found["widen.weight"] == onnx.TensorProto.FLOAT
    assert found["narrow.weight.int8"] == onnx.TensorProto.INT8


def test_a_long_vector_of_a_graph_stays_as_it_is() -> None:
    """Every value of a vector is a channel: a scale for each would make the file larger."""
    model = graph_of(rounded().state_dict())
    vector = np.full(2 * LARGE, 0.75, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(vector, "vector"))
    shrink(model.graph)
    assert kinds(model)["vector"] == onnx.TensorProto.FLOAT
