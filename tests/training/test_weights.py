"""Where weights start from: what is saved comes back rounded, and weights of another network are refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from miniature import recipe
from torch import Tensor, nn

from speech_emotion.errors import ConfigError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.training import weights as module
from speech_emotion.training.config import FrontendConfig, NetworkConfig, TrainConfig
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import round_weights
from speech_emotion.training.networks.vgg16 import Vgg16
from speech_emotion.training.weights import ENCODERS, FACTS_KEY, initialise, load_encoder, save_encoder

FACTS = {"name": "made here", "licence": "frei für alle", "validation_uar": 31.25}


def network(seed: int = 0, **settings: Any) -> nn.Module:
    return build(recipe(network=settings).with_seed(seed))


def saved(folder: Path) -> Path:
    save_encoder(network(), FACTS, folder / "encoder.safetensors")
    return folder / "encoder.safetensors"


def of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# Encoder files


def test_an_encoder_comes_back_as_a_rounded_network_without_its_head(tmp_path: Path) -> None:
    original = network()
    weights, facts = load_encoder(saved(tmp_path))
    assert facts == FACTS
    round_weights(original)
    expected = {name: t for name, t in original.state_dict().items() if not name.startswith("head.")}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert weights["stem.1.num_batches_tracked"].dtype == torch.int64
    assert not torch.equal(
        weights["blocks.3.body.3.weight"], network().state_dict()["blocks.3.body.3.weight"]
    )


def test_initial_weights_are_all_but_the_head(tmp_path: Path) -> None:
    given, started = network(), network(seed=5)
    before = of(started)
    assert initialise(started, str(saved(tmp_path))) == FACTS
    round_weights(given)
    for name, tensor in started.state_dict().items():
        expected = before[name] if name.startswith("head.") else given.state_dict()[name]
        assert torch.equal(tensor, expected), name
    assert not torch.equal(before["stem.0.weight"], started.state_dict()["stem.0.weight"])


def test_fresh_is_what_was_drawn() -> None:
    started = network()
    before = of(started)
    assert initialise(started, "fresh") == {}
    assert all(torch.equal(tensor, before[name]) for name, tensor in started.state_dict().items())


def test_pretrained_is_an_encoder_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(path.parent.name == "assets" and path.is_file() for path in ENCODERS.values())
    monkeypatch.setitem(ENCODERS, "pretrained", saved(tmp_path))
    started = network(seed=5)
    assert initialise(started, "pretrained") == FACTS
    assert torch.equal(started.state_dict()["stem.0.weight"], network().state_dict()["stem.0.weight"])


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"channels": [8, 8, 16, 24]}, "('bands.0.weight', (16, 1, 2, 1))"),
        ({"architecture": "transformer", "layers": 1}, "('bands.0.weight', (16, 1, 2, 1))"),
        ({"channels": [16, 8, 16, 16]}, "('blocks.0.body.0.weight', (8, 8, 3, 3))"),
    ],
)
def test_the_encoder_of_another_network_is_refused(
    tmp_path: Path, other: dict[str, Any], difference: str
) -> None:
    path, model = saved(tmp_path), network(**other)
    before = of(model)
    with pytest.raises(ConfigError) as refused:
        initialise(model, str(path))
    said = str(refused.value)
    assert said.startswith(f"{path}: the weights of another network ({difference}). Give ")
    assert "use --init fresh" in said
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_encoder_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"none\.safetensors: there is no such encoder file\. For"):
        load_encoder(tmp_path / "none.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"pretrian: there is no such encoder file"):
        initialise(network(), str(tmp_path / "pretrian"))


def foreign(metadata: dict[str, str] | None) -> bytes:
    return safetensors.torch.save({"x": torch.zeros(3)}, metadata=metadata)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: data[:50],
        lambda _: b"",
        lambda _: b"not an encoder file at all",
        lambda _: foreign(None),
        lambda _: foreign({"format": "pt"}),
        lambda _: foreign({FACTS_KEY: "{"}),
        lambda _: foreign({FACTS_KEY: "3"}),
        lambda data: data.replace(b"blocks.3.body.3.weight.scale", b"blocks.3.body.3.weight.scala"),
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
def test_what_is_no_encoder_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        ModelFormatError, match=r"encoder\.safetensors: not an encoder file \(.*For one in the package"
    ):
        load_encoder(path)


def test_a_folder_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="not an encoder file"):
        load_encoder(tmp_path)


def test_the_encoder_in_the_package_is_that_of_the_compact_recipe() -> None:
    config = TrainConfig.load(Path(__file__).parents[2] / "recipes" / "ravdess-compact.toml")
    started = build(config)
    before = of(started)
    facts = initialise(started, config.init)
    assert facts["name"] == "whisper-tiny encoder, Smart Turn v3.2"
    for name, tensor in started.state_dict().items():
        assert tensor.isfinite().all(), name
        if name.startswith("head."):
            assert torch.equal(tensor, before[name]), name
        elif tensor.ndim > 1:
            assert not torch.equal(tensor, before[name]), name


# VGG16


def test_only_vgg16_has_weights_of_torchvision() -> None:
    with pytest.raises(ConfigError, match='architecture = "vgg16"'):
        initialise(network(), "torchvision")


def test_vgg16_starts_from_torchvisions_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path | None] = []
    started = Vgg16(NetworkConfig(), FrontendConfig())
    given = {name: torch.full_like(t, 0.5) for name, t in started.vgg.state_dict().items()}
    monkeypatch.setattr(module, "torchvision_state", lambda path: paths.append(path) or given)
    facts = initialise(started, "torchvision")
    assert facts["licence"] == "BSD 3-Clause (torchvision)"
    assert (started.vgg.state_dict()["features.2.weight"] == 0.5).all()
    assert initialise(started, "mine.pth") == facts
    assert paths == [None, Path("mine.pth")]


def test_imagenet_is_the_file_beside_the_recipes() -> None:
    config = TrainConfig.load(Path(__file__).parents[2] / "recipes" / "ravdess-vgg16.toml")
    started = build(config)
    facts = initialise(started, config.init)
    assert facts["name"] == "VGG16, ImageNet"
    assert facts["licence"].startswith("CC BY 4.0")
    first = started.get_submodule("vgg.features.0").weight[0, 0, 0]
    torch.testing.assert_close(first, torch.tensor([0.42947057, 0.373467, -0.06136011]))  # as published
    with pytest.raises(ConfigError, match="the weights of another network"):
        initialise(network(), config.init)


def test_imagenet_is_that_file_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "imagenet-vgg16.safetensors"
    monkeypatch.setattr(module, "IMAGENET", path)
    with pytest.raises(ModelNotFoundError, match=r"beside the recipes, not in the package: give its path"):
        initialise(network(), "imagenet")
    save_encoder(network(), FACTS, path)
    with pytest.raises(ModelIntegrityError, match=r"is not what was published.*Check it out again"):
        initialise(network(), "imagenet")
    monkeypatch.setattr(module, "IMAGENET_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert initialise(network(), "imagenet") == FACTS
