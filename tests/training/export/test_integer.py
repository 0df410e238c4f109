"""Products of integers: what they compute, that rows do not touch each other, and that a sealed model stays one."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from speech_emotion.audio import load
from speech_emotion.errors import ParityError
from speech_emotion.model import EmotionModel
from speech_emotion.training.export import integer
from speech_emotion.training.export import onnx as exporter
from speech_emotion.training.export.integer import integer_products
from speech_emotion.training.export.onnx import export
from speech_emotion.training.export.quantize import shrink
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import LEVELS

ROOT = Path(__file__).resolve().parents[3]
ASSETS = ROOT / "src/speech_emotion/assets"
N_IN, N_OUT = 96, 40
RNG = np.random.default_rng(0)
WEIGHTS = RNG.integers(-LEVELS, LEVELS + 1, (N_IN, N_OUT)).astype(np.float32)
WEIGHTS[0] = LEVELS  # every column has its largest integer
SCALES = RNG.uniform(0.001, 0.1, N_OUT).astype(np.float32)


def graph() -> onnx.ModelProto:
    """x (batch, row, N_IN) → y (batch, row, N_OUT), the weights stored as int8."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", "row", N_IN])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", "row", N_OUT])],
            [numpy_helper.from_array(WEIGHTS * SCALES, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    shrink(model.graph)
    return model


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": x.astype(np.float32)})[0]
    return found


@pytest.fixture(scope="module")
def product() -> onnx.ModelProto:
    model = graph()
    assert integer_products(model.graph) == 1
    return model


def test_the_graph_multiplies_integers_and_widens_no_weights(product: onnx.ModelProto) -> None:
    kinds = [node.op_type for node in product.graph.node]
    assert "MatMulInteger" in kinds
    assert "MatMul" not in kinds
    assert not any("w" in node.output for node in product.graph.node)


def test_what_lies_on_the_steps_is_exact(product: onnx.ModelProto) -> None:
    steps = RNG.integers(-integer.LEVELS, integer.LEVELS + 1, (2, 7, N_IN))
    steps[..., 0] = integer.LEVELS
    sizes = np.array([1e-6, 0.01, 0.3, 1, 5, 1e3, 1e6])[:, np.newaxis]
    exact = steps.astype(np.float64) @ (WEIGHTS.astype(np.float64) * SCALES) * sizes
    np.testing.assert_allclose(
        run(product, steps * sizes), exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max(axis=-1).min()
    )


def test_a_row_errs_by_half_a_step_of_its_own(product: onnx.ModelProto) -> None:
    x = RNG.standard_normal((1, 50, N_IN)) * np.logspace(-3, 3, 50)[:, np.newaxis]
    half = np.abs(x).max(axis=2, keepdims=True) / integer.LEVELS / 2
    bound = half * np.abs(WEIGHTS * SCALES).sum(axis=0)
    errors = np.abs(run(product, x) - x @ (WEIGHTS * SCALES))
    assert (errors <= bound).all()
    assert errors.max() > 0  # it does round


def test_a_row_alone_equals_the_row_in_a_batch(product: onnx.ModelProto) -> None:
    x = RNG.standard_normal((3, 5, N_IN)) * np.array([1, 100, 0.01])[:, np.newaxis, np.newaxis]
    together = run(product, x)
    for index in range(3):
        np.testing.assert_array_equal(run(product, x[index : index + 1])[0], together[index])


def test_silence_is_zero(product: onnx.ModelProto) -> None:
    assert not run(product, np.zeros((1, 2, N_IN))).any()


def test_two_products_fit_into_sixteen_bits() -> None:
    assert 2 * (integer.ZERO + integer.LEVELS) * LEVELS < 2**15


def test_a_graph_without_stored_matrices_is_left_as_it_is() -> None:
    model = graph()
    del model.graph.initializer[:]
    before = model.SerializeToString()
    assert integer_products(model.graph) == 0
    assert model.SerializeToString() == before


def test_products_that_change_the_answers_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps, −1 to 1, are too few."""
    recipe = miniature.recipe(
        network={"architecture": "transformer", "layers": 1, "width": 64}, frontend={"n_fft": 400, "hop": 160}
    )
    network = build(recipe).eval()
    given = (network, recipe, miniature.CALIBRATION, miniature.PROVENANCE)
    with torch.no_grad():
        network.head[-1].weight.mul_(20)
    graphs: list[onnx.ModelProto] = []  # one, which takes long
    made_for = exporter._to_onnx

    def once(*network_and_facts: Any) -> onnx.ModelProto:
        graphs.extend([] if graphs else [made_for(*network_and_facts)])
        return copy.deepcopy(graphs[0])

    monkeypatch.setattr(exporter, "_to_onnx", once)
    export(*given, tmp_path / "good.onnx")
    assert b"MatMulInteger" in (tmp_path / "good.onnx").read_bytes()
    monkeypatch.setattr(integer, "LEVELS", 1)
    with pytest.raises(ParityError, match=r"in probability; at most 0\.2 is allowed\. Nothing was written"):
        export(*given, tmp_path / "bad.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["good.onnx"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("integer_products", ROOT / "tools/integer_products.py")
    assert spec
    assert spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    data = (ASSETS / "compact.onnx").read_bytes()
    path = tmp_path_factory.mktemp("integer") / "compact.onnx"
    path.write_bytes(tool.convert(data))
    assert tool.convert(data) == path.read_bytes()
    return path


@pytest.mark.parametrize("voice", ["fast", "lively", "low"])
def test_a_sealed_model_answers_nearly_the_same(converted: Path, voice: str) -> None:
    window = load(ASSETS / f"demo-{voice}.flac").samples[np.newaxis]
    ours, theirs = (EmotionModel.load(model).score(window) for model in (converted, "compact"))
    assert ours.probabilities.argmax() == theirs.probabilities.argmax()
    difference = np.abs(ours.probabilities - theirs.probabilities).max()
    assert 0 < difference < 0.1
