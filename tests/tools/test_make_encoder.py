"""The encoder in the package, made from a published one: every weight is found, and no other file is read."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from miniature import recipe
from onnx import helper, numpy_helper

from speech_emotion.errors import ModelIntegrityError, ModelNotFoundError
from speech_emotion.training.networks.quantize import pack, unpack
from speech_emotion.training.weights import load_encoder

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import make_encoder
import smart_turn

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
WIDTH, N_MELS = 384, 80
RANDOM = np.random.default_rng(0)


class Encoder:
    """A Whisper encoder of two layers as Smart Turn stores it: quantised weights, nameless matrices, true biases."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.expected: dict[str, Floats] = {}
        self._n = 0
        self._convolution("conv1", "convolutions.0", N_MELS)
        self._convolution("conv2", "convolutions.2", WIDTH)
        self._constant("inner.encoder.embed_positions.weight", self._floats(20, WIDTH))
        for layer in range(2):
            self._layer(layer)
        self._vector("inner.encoder.layer_norm.weight")
        self._product(self._floats(WIDTH, 256))  # what Smart Turn has above the encoder
        self._constant("inner.fc.bias", self._floats(256))

    def _layer(self, layer: int) -> None:
        theirs, ours = f"inner.encoder.layers.{layer}", f"encoder.layers.{layer}"
        attention = (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"))
        for norm, name in (("self_attn_layer_norm", "attention_norm"), ("final_layer_norm", "feed_norm")):
            for part in ("weight", "bias"):
                self.expected[f"{ours}.{name}.{part}"] = self._vector(f"{theirs}.{norm}.{part}")
        for their, our in attention:
            self._linear(f"{theirs}.self_attn.{their}", f"{ours}.{our}", WIDTH, WIDTH, bias=our != "key")
        self._linear(f"{theirs}.fc1", f"{ours}.widen", WIDTH, 4 * WIDTH, noted=True)
        self._linear(f"{theirs}.fc2", f"{ours}.narrow", 4 * WIDTH, WIDTH)

    def _linear(
        self, theirs: str, ours: str, n_in: int, n_out: int, *, bias: bool = True, noted: bool = False
    ) -> None:
        """x @ weight, and for most + bias, after quantisation where it is `noted`."""
        scale = RANDOM.uniform(1e-3, 2e-3, n_out).astype(np.float32)
        zero = RANDOM.integers(-3, 4, n_out).astype(np.int8)
        integers = RANDOM.integers(-100, 100, (n_in, n_out)).astype(np.int8)
        weight = (integers.astype(np.float32) - zero) * scale
        self.expected[f"{ours}.weight"] = weight.T
        product = self._product_of(self._dequantized(integers, scale, zero, axis=1))
        if noted:
            product = self._node("QuantizeLinear", product, self._constant(None, np.float32(0.1)))
            product = self._node("DequantizeLinear", product, self.initializers[-1].name)
        if bias:
            self.expected[f"{ours}.bias"] = self._floats(n_out)
            self._node("Add", self._constant(f"{theirs}.bias", self.expected[f"{ours}.bias"]), product)

    def _convolution(self, theirs: str, ours: str, n_in: int) -> None:
        scale, zero = np.float32(0.01), np.int8(2)
        integers = RANDOM.integers(-100, 100, (WIDTH, n_in, 3)).astype(np.int8)
        bias = self._floats(WIDTH)
        self.expected[f"encoder.{ours}.weight"] = (integers.astype(np.float32) - zero) * scale
        self.expected[f"encoder.{ours}.bias"] = bias
        weight = self._dequantized(integers, scale, zero, axis=0)
        self._node("Conv", "x", weight, self._constant(f"inner.encoder.{theirs}.bias", bias))

    def _dequantized(self, integers: Any, scale: Any, zero: Any, *, axis: int) -> str:
        names = [self._constant(None, value) for value in (integers, scale, zero)]
        return self._node("DequantizeLinear", *names, axis=axis)

    def _product(self, weight: Floats) -> None:
        self._product_of(self._constant(None, weight))

    def _product_of(self, weight: str) -> str:
        return self._node("MatMul", "x", weight)

    def _vector(self, name: str) -> Floats:
        values = self._floats(WIDTH)
        self._constant(name, values)
        return values

    def _floats(self, *shape: int) -> Floats:
        return RANDOM.normal(0, 1, shape).astype(np.float32)

    def _constant(self, name: str | None, value: Any) -> str:
        name = name or self._new("constant")
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = self._new(kind)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _new(self, kind: str) -> str:
        self._n += 1
        return f"{kind}_{self._n}"

    def serialized(self) -> bytes:
        graph = helper.make_graph(self.nodes, "encoder", [], [], self.initializers)
        return helper.make_model(graph).SerializeToString()


ENCODER = Encoder()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "smart-turn.onnx"
    path.write_bytes(ENCODER.serialized())
    return path


@pytest.fixture
def verified(source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(smart_turn, "SHA256", sha256)
    return source


def test_every_weight_of_the_encoder_is_found_under_our_name(verified: Path) -> None:
    weights, facts = smart_turn.decode(verified)
    assert weights.keys() == ENCODER.expected.keys()
    for name, expected in ENCODER.expected.items():
        np.testing.assert_array_equal(weights[name].numpy(), expected, err_msg=name)
    assert facts["licence"] == "MIT (Whisper), BSD 2-Clause (Smart Turn)"
    assert facts["sha256"] == smart_turn.SHA256
    assert "2212.04356" in facts["citation"]
    json.dumps(facts)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_the_encoder_has_as_many_layers_as_the_recipe(verified: Path, tmp_path: Path, n_layers: int) -> None:
    config = recipe(
        network={"architecture": "transformer", "layers": n_layers}, frontend={"n_mels": N_MELS, "n_fft": 400}
    )
    make_encoder.make(config, verified, tmp_path / "encoder.safetensors")
    weights, facts = load_encoder(tmp_path / "encoder.safetensors")
    assert facts["name"] == "whisper-tiny encoder, Smart Turn v3.2"
    assert max(int(name.split(".")[2]) for name in weights if ".layers." in name) == n_layers - 1
    decoded = unpack(pack(smart_turn.decode(verified)[0]))
    for name, tensor in weights.items():
        np.testing.assert_array_equal(tensor.numpy(), decoded[name].numpy(), err_msg=name)


def test_another_onnx_file_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelIntegrityError, match=r"not smart-turn-v3\.2-cpu\.onnx: its sha256 is not 2bb026"
    ):
        smart_turn.decode(source)
    with pytest.raises(
        ModelNotFoundError, match=r"none\.onnx: cannot be read \(No such file.*pipecat-ai==1\.14\.0"
    ):
        smart_turn.decode(tmp_path / "none.onnx")
