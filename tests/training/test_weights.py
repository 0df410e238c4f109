"""Where weights start from: what is saved comes back rounded, and what is no trunk of this network is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from miniature import recipe
from onnx import helper, numpy_helper
from torch import Tensor, nn

from speech_emotion.errors import ConfigError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export.quantize import round_weights
from speech_emotion.training.fit.train import build
from speech_emotion.training.networks.encoder import EmotionTransformer
from speech_emotion.training.networks.vgg16 import Vgg16

FACTS = {"name": "made here", "licence": "frei für alle", "validation_uar": 31.25}
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def network(seed: int = 0, **settings: Any) -> nn.Module:
    return build(recipe(network=settings).with_seed(seed))


def saved(folder: Path) -> Path:
    trunk.save(network(), FACTS, folder / "trunk.safetensors")
    return folder / "trunk.safetensors"


def of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# Trunk files


def test_a_trunk_comes_back_as_a_rounded_network_without_its_head(tmp_path: Path) -> None:
    original = network()
    weights, facts = trunk.load(saved(tmp_path))
    assert facts == FACTS
    round_weights(original)
    expected = {name: t for name, t in original.state_dict().items() if not name.startswith("head.")}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert weights["stem.1.num_batches_tracked"].dtype == torch.int64
    assert not torch.equal(weights["trunk.3.body.3.weight"], network().state_dict()["trunk.3.body.3.weight"])


def test_a_start_gives_all_but_the_head(tmp_path: Path) -> None:
    given, started = network(), network(seed=5)
    before = of(started)
    assert trunk.start(started, str(saved(tmp_path))) == FACTS
    round_weights(given)
    for name, tensor in started.state_dict().items():
        expected = before[name] if name.startswith("head.") else given.state_dict()[name]
        assert torch.equal(tensor, expected), name
    assert not torch.equal(before["stem.0.weight"], started.state_dict()["stem.0.weight"])


def test_fresh_is_what_was_drawn() -> None:
    started = network()
    before = of(started)
    assert trunk.start(started, "fresh") == {}
    assert all(torch.equal(tensor, before[name]) for name, tensor in started.state_dict().items())


def test_pretrained_is_the_trunk_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trunk.SHIPPED.parent.name == "assets"
    assert trunk.SHIPPED.parent.is_dir()
    monkeypatch.setattr(trunk, "SHIPPED", saved(tmp_path))
    started = network(seed=5)
    assert trunk.start(started, "pretrained") == FACTS
    assert torch.equal(started.state_dict()["stem.0.weight"], network().state_dict()["stem.0.weight"])


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"channels": [8, 8, 16, 24]}, "('bands.0.weight', (16, 1, 2, 1))"),
        ({"architecture": "transformer", "layers": 1}, "('bands.0.weight', (16, 1, 2, 1))"),
        ({"channels": [16, 8, 16, 16]}, "('stem.0.weight', (8, 1, 5, 5))"),
    ],
)
def test_the_trunk_of_another_network_is_refused(
    tmp_path: Path, other: dict[str, Any], difference: str
) -> None:
    path, model = saved(tmp_path), network(**other)
    before = of(model)
    with pytest.raises(ConfigError) as refused:
        trunk.start(model, str(path))
    said = str(refused.value)
    assert said.startswith(f"{path}: the trunk of another network ({difference}). Give ")
    assert "start with --init fresh" in said
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_trunk_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none\.safetensors: there is no such trunk\. The one"):
        trunk.load(tmp_path / "none.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"pretrian: there is no such trunk"):
        trunk.start(network(), str(tmp_path / "pretrian"))


def foreign(metadata: dict[str, str] | None) -> bytes:
    return safetensors.torch.save({"x": torch.zeros(3)}, metadata=metadata)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: data[:50],
        lambda _: b"",
        lambda _: b"not a trunk at all",
        lambda _: foreign(None),
        lambda _: foreign({"format": "pt"}),
        lambda _: foreign({trunk.FACTS_KEY: "{"}),
        lambda _: foreign({trunk.FACTS_KEY: "3"}),
        lambda data: data.replace(b"trunk.3.body.3.weight.scale", b"trunk.3.body.3.weight.scala"),
        lambda data: data.replace(b'"I8"', b'"X8"'),
    ],
    ids=[
        "cut",
        "beheaded",
        "empty",
        "text",
        "bare",
        "another's",
        "torn facts",
        "no facts",
        "no scale",
        "type",
    ],
)
def test_what_is_no_trunk_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        ModelFormatError, match=r"trunk\.safetensors: not a trunk \(.*The one in the package is"
    ):
        trunk.load(path)


def test_a_folder_is_no_trunk(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="not a trunk"):
        trunk.load(tmp_path)


def test_the_trunk_in_the_package_is_that_of_the_compact_recipe() -> None:
    config = TrainConfig.load(Path(__file__).parents[2] / "recipes" / "ravdess-compact.toml")
    started = build(config)
    before = of(started)
    facts = trunk.start(started, config.init)
    assert facts["sha256"] == trunk.SMART_TURN_SHA256
    for name, tensor in started.state_dict().items():
        assert tensor.isfinite().all(), name
        if name.startswith("head."):
            assert torch.equal(tensor, before[name]), name
        elif tensor.ndim > 1:
            assert not torch.equal(tensor, before[name]), name


# Smart Turn

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
def smart_turn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "smart-turn.onnx"
    path.write_bytes(ENCODER.serialized())
    return path


@pytest.fixture
def smart_turn(smart_turn_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sha256 = hashlib.sha256(smart_turn_file.read_bytes()).hexdigest()
    monkeypatch.setattr(trunk, "SMART_TURN_SHA256", sha256)
    return smart_turn_file


def test_every_weight_of_the_encoder_is_found_under_our_name(smart_turn: Path) -> None:
    weights, facts = trunk.smart_turn(smart_turn)
    assert weights.keys() == ENCODER.expected.keys()
    for name, expected in ENCODER.expected.items():
        np.testing.assert_array_equal(weights[name].numpy(), expected, err_msg=name)
    assert facts["licence"] == "MIT (Whisper), BSD 2-Clause (Smart Turn)"
    assert facts["sha256"] == trunk.SMART_TURN_SHA256
    assert "2212.04356" in facts["citation"]
    json.dumps(facts)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_transformer_starts_from_as_many_layers_as_it_has(smart_turn: Path, n_layers: int) -> None:
    started = EmotionTransformer(layers=n_layers)
    before = of(started)
    facts = trunk.start(started, str(smart_turn))
    assert facts["name"] == "whisper-tiny encoder, Smart Turn v3.2"
    for name, tensor in started.state_dict().items():
        if name.startswith("encoder."):
            np.testing.assert_array_equal(tensor.numpy(), ENCODER.expected[name], err_msg=name)
        else:
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("settings", [{"layers": 3}, {"layers": 1, "n_mels": 64}])
def test_an_encoder_that_does_not_fit_is_refused(smart_turn: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"smart-turn\.onnx: the trunk of another network \(.*encoder\."):
        trunk.start(EmotionTransformer(**settings), str(smart_turn))


def test_a_network_without_an_encoder_cannot_start_from_one(smart_turn: Path) -> None:
    with pytest.raises(ConfigError, match="the trunk of another network"):
        trunk.start(network(), str(smart_turn))


def test_another_onnx_file_is_refused(smart_turn_file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelIntegrityError, match=r"not smart-turn-v3\.2-cpu\.onnx: its sha256 is not 2bb026"
    ):
        trunk.smart_turn(smart_turn_file)
    with pytest.raises(
        ModelNotFoundError, match=r"none\.onnx: cannot be read \(No such file.*pipecat-ai==1\.14\.0"
    ):
        trunk.start(EmotionTransformer(layers=1), str(tmp_path / "none.onnx"))


# ImageNet


def test_only_vgg16_starts_from_imagenet() -> None:
    with pytest.raises(ConfigError, match='architecture = "vgg16"'):
        trunk.start(network(), "imagenet")


def test_vgg16_starts_from_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path | None] = []
    started = Vgg16()
    bands = started.bands.weight.clone()
    given = {name: torch.full_like(t, 0.5) for name, t in started.vgg.state_dict().items()}
    monkeypatch.setattr(trunk, "imagenet_state", lambda path: paths.append(path) or given)
    facts = trunk.start(started, "imagenet")
    assert facts["licence"] == "BSD 3-Clause (torchvision)"
    assert all((tensor == 0.5).all() for tensor in started.vgg.state_dict().values())
    assert torch.equal(started.bands.weight, bands)
    assert trunk.start(started, "mine.pth") == facts
    assert paths == [None, Path("mine.pth")]
