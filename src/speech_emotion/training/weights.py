"""Initial weights. In: an encoder file, or torchvision's VGG16. Out: a network whose layers below the head have them.

An encoder file is a network without its head: one `.safetensors` with its facts as JSON in the header. Its weights
are 8-bit integers with one scale per output channel (networks/quantize.py), so that it fits into the package.
"""

import hashlib
import http.client
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from speech_emotion.errors import (
    ConfigError,
    ModelError,
    ModelFormatError,
    ModelIntegrityError,
    ModelNotFoundError,
)
from speech_emotion.files import write_atomically
from speech_emotion.training.networks.quantize import pack, unpack
from speech_emotion.training.networks.vgg16 import Vgg16, load_torchvision

ASSETS: Final = Path(__file__).parents[1] / "assets"
ENCODERS: Final = {  # an `init` → an encoder in the package
    "pretrained": ASSETS / "encoder.safetensors",
    "whisper-base": ASSETS / "whisper-base.safetensors",
}
IMAGENET: Final = Path(__file__).parents[3] / "recipes" / "imagenet-vgg16.safetensors"  # not in the package
IMAGENET_SHA256: Final = "f326a5d1da94819b8aed67247c1f852534078891f9c5132274fe3d7ead58f697"
FACTS_KEY: Final = "speech_emotion_trunk"
NEXT_STEP: Final = "For one in the package, use --init pretrained or --init whisper-base."
TORCHVISION_URL: Final = "https://download.pytorch.org/models/vgg16-397923af.pth"  # 553 433 881 bytes
TORCHVISION_SHA256: Final = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
TORCHVISION_FACTS: Final = {
    "name": "VGG16 of torchvision, ImageNet",
    "licence": "BSD 3-Clause (torchvision)",
    "citation": "Simonyan & Zisserman (2014). Very deep convolutional networks. arXiv 1409.1556.",
}


def initialise(network: nn.Module, init: str) -> dict[str, Any]:
    """Give the layers below the head of `network` the weights that a recipe's `init` names; returns their facts.

    `init` is "fresh" (nothing happens), one of ENCODERS, "imagenet" (the encoder file of VGG16 beside the recipes) or
    the path of an encoder file; for VGG16 also "torchvision", or the path of torchvision's .pth. ConfigError: these are
    the weights of another network.
    """
    if init == "fresh":
        return {}
    path = _imagenet() if init == "imagenet" else ENCODERS.get(init, Path(init))
    if init == "torchvision" or path.suffix == ".pth":
        if not isinstance(network, Vgg16):
            raise ConfigError(
                'Only VGG16 has weights of torchvision. Use a recipe with network.architecture = "vgg16".'
            )
        load_torchvision(network, torchvision_state(None if init == "torchvision" else path))
        return dict(TORCHVISION_FACTS)
    tensors, facts = load_encoder(path)
    given, wanted = ({(name, t.shape) for name, t in some.items()} for some in (tensors, below_head(network)))
    if different := sorted((name, tuple(shape)) for name, shape in given ^ wanted):
        raise ConfigError(
            f"{path}: the weights of another network ({different[0]}). Give the recipe's [network] and [frontend] "
            "the settings of the encoder, or use --init fresh."
        )
    network.load_state_dict(tensors, strict=False)
    return facts


def below_head(network: nn.Module) -> dict[str, Tensor]:
    """The weights of `network` without those of its head."""
    return {name: t for name, t in network.state_dict().items() if not name.startswith("head.")}


# Encoder files


def save_encoder(network: nn.Module, facts: Mapping[str, Any], path: Path) -> None:
    """Write `network` without its head, and `facts` about it."""
    header = {FACTS_KEY: json.dumps(facts, sort_keys=True, ensure_ascii=False)}
    write_atomically(path, safetensors.torch.save(pack(below_head(network)), metadata=header))


def load_encoder(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the facts of an encoder file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = {**json.loads((file.metadata() or {})[FACTS_KEY])}
            return unpack({name: file.get_tensor(name) for name in file.keys()}), facts  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: there is no such encoder file. {NEXT_STEP}") from error
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ModelFormatError(f"{path}: not an encoder file ({error}). {NEXT_STEP}") from error


# VGG16


def _imagenet() -> Path:
    """The encoder file of VGG16; it is verified, as a clone of the repository may hold something else in its place."""
    try:
        sha256 = hashlib.sha256(IMAGENET.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelNotFoundError(
            f"{IMAGENET}: cannot be read ({error.strerror}). It is in the repository beside the recipes, not in the "
            "package: give its path, --init recipes/imagenet-vgg16.safetensors, or use --init torchvision."
        ) from error
    if sha256 != IMAGENET_SHA256:
        raise ModelIntegrityError(
            f"{IMAGENET} is not what was published: its sha256 is {sha256} and must be {IMAGENET_SHA256}. "
            "Check it out again."
        )
    return IMAGENET


def torchvision_state(path: Path | None = None) -> dict[str, Tensor]:
    """Torchvision's VGG16 for ImageNet: names (`features.0.weight`, …) → weights on the CPU.

    Without `path`, its `.pth` is downloaded once and kept where torch.hub keeps it. A `.pth` is a pickle: it is only
    read if its sha256 is the published one, and then only tensors are loaded.
    """
    path = path or _downloaded()
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 != TORCHVISION_SHA256:
                raise ModelIntegrityError(
                    f"{path} is not what was published: its sha256 is {sha256}, that of {TORCHVISION_URL} is "
                    f"{TORCHVISION_SHA256}. Delete it and download it again."
                )
            file.seek(0)
            state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
            return state
    except OSError as error:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({error.strerror or error}). Give the file of {TORCHVISION_URL}, or leave it out."
        ) from error


def _downloaded() -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_URL.rpartition("/")[2]
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        show = sys.stderr.isatty()
        torch.hub.download_url_to_file(
            TORCHVISION_URL, str(path), hash_prefix=TORCHVISION_SHA256, progress=show
        )
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise ModelError(
            f"{TORCHVISION_URL} cannot be downloaded: {error}. Nothing was kept. Try again later, or download it by "
            f"hand to {path}."
        ) from error
    return path
