"""What a training starts from. In: a trunk file, or a published speech encoder. Out: a network's first weights.

A trunk is a network without its head: one `.safetensors` with its facts as JSON in the header. Its weights are kept
as 8-bit integers with one scale an output channel (quantize.py), so that it is small enough to travel in the package.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import safetensors
import safetensors.torch
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from speech_emotion.errors import ConfigError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.files import write_atomically
from speech_emotion.training.export.quantize import pack, unpack
from speech_emotion.training.imagenet import imagenet_state
from speech_emotion.training.networks.vgg16 import Vgg16, load_imagenet

SHIPPED: Final = Path(__file__).parents[1] / "assets" / "encoder.safetensors"
FACTS_KEY: Final = "speech_emotion_trunk"
HEAD: Final = "head."
NEXT_STEP: Final = "The one in the package is --init pretrained."

# The whisper-tiny encoder (Radford et al. 2022, MIT) as Smart Turn v3.2 (Daily 2025, BSD 2-Clause) taught it to hear
# from the prosody whether a speaker has finished. 8-bit, with its scales.
SMART_TURN_SHA256: Final = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
_SMART_TURN_NAMES: Final = {
    "conv1": "convolutions.0",
    "conv2": "convolutions.2",
    "self_attn_layer_norm": "attention_norm",
    "self_attn.q_proj": "query",
    "self_attn.k_proj": "key",
    "self_attn.v_proj": "value",
    "self_attn.out_proj": "out",
    "final_layer_norm": "feed_norm",
    "fc1": "widen",
    "fc2": "narrow",
}


def save(network: nn.Module, facts: Mapping[str, Any], path: Path) -> None:
    """Write `network` without its head, and what it is, all or nothing."""
    tensors = {name: t for name, t in network.state_dict().items() if not name.startswith(HEAD)}
    header = {FACTS_KEY: json.dumps(facts, sort_keys=True, ensure_ascii=False)}
    write_atomically(path, safetensors.torch.save(pack(tensors), metadata=header))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the facts of a trunk file."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = {**json.loads((file.metadata() or {})[FACTS_KEY])}
            return unpack({name: file.get_tensor(name) for name in file.keys()}), facts  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: there is no such trunk. {NEXT_STEP}") from error
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ModelFormatError(f"{path}: not a trunk ({error}). {NEXT_STEP}") from error


def start(network: nn.Module, source: str) -> dict[str, Any]:
    """Give `network` the weights of `source` and return its facts.

    `source` is "fresh" (nothing happens), "pretrained" (the trunk in the package), or a path: a trunk, or the .onnx
    of Smart Turn. For VGG16 it may be "imagenet", or a path to torchvision's .pth. The head stays as it was drawn.
    Raises ConfigError where the weights are those of another network.
    """
    if source == "fresh":
        return {}
    path = SHIPPED if source == "pretrained" else Path(source)
    if source == "imagenet" or path.suffix == ".pth":
        return _start_from_imagenet(network, None if source == "imagenet" else path)
    tensors, facts = smart_turn(path) if path.suffix == ".onnx" else load(path)
    own = {name: t for name, t in network.state_dict().items() if not name.startswith(HEAD)}
    if path.suffix == ".onnx":  # the encoder alone, and more layers of it than may be wanted
        own = {name: t for name, t in own.items() if name.startswith("encoder.")}
        tensors = {name: t for name, t in tensors.items() if name in own or not own}
    given, wanted = ({(name, tuple(t.shape)) for name, t in some.items()} for some in (tensors, own))
    if different := sorted(given ^ wanted):
        raise ConfigError(
            f"{path}: the trunk of another network ({different[0]}). Give the recipe's [network] and [frontend] "
            "the settings of the trunk, or start with --init fresh."
        )
    network.load_state_dict(tensors, strict=False)
    return facts


def _start_from_imagenet(network: nn.Module, path: Path | None) -> dict[str, Any]:
    if not isinstance(network, Vgg16):
        raise ConfigError(
            'Only VGG16 starts from ImageNet. Use a recipe with network.architecture = "vgg16".'
        )
    load_imagenet(network, imagenet_state(path))
    return {
        "name": "VGG16 of torchvision, ImageNet",
        "licence": "BSD 3-Clause (torchvision)",
        "citation": "Simonyan & Zisserman (2014). Very deep convolutional networks. arXiv 1409.1556.",
    }


def smart_turn(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The encoder's weights from the file smart-turn-v3.2-cpu.onnx, verified by its sha256, under our names."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({error.strerror}). It is part of pipecat-ai 1.14.0: "
            "pip download --no-deps pipecat-ai==1.14.0, then unzip the .onnx from the wheel."
        ) from error
    if hashlib.sha256(data).hexdigest() != SMART_TURN_SHA256:
        raise ModelIntegrityError(
            f"{path}: not smart-turn-v3.2-cpu.onnx: its sha256 is not {SMART_TURN_SHA256}. Fetch it again."
        )
    facts = {
        "name": "whisper-tiny encoder, Smart Turn v3.2",
        "licence": "MIT (Whisper), BSD 2-Clause (Smart Turn)",
        "citation": "Radford et al. (2022). Robust speech recognition via large-scale weak supervision. "
        "arXiv 2212.04356. Daily (2025). Smart Turn v3.2.",
        "sha256": SMART_TURN_SHA256,
    }
    return _encoder_weights(onnx.load_from_string(data).graph), facts


def _encoder_weights(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Biases and norms by their own names; a matrix by the bias it is added to, the keys' by being left over."""
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            values[node.output[0]] = _dequantized(node, values)
    found = {
        name.removeprefix("inner."): v for name, v in values.items() if name.startswith("inner.encoder.")
    }
    products = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in values]
    for node in graph.node:
        if node.op_type == "Conv":
            name = "conv1" if values[node.input[1]].shape[1] == 80 else "conv2"
            found |= {
                f"encoder.{name}.{part}": values[node.input[i]] for i, part in ((1, "weight"), (2, "bias"))
            }
        biases = [n for n in node.input if n.startswith("inner.encoder.layers") and n.endswith(".bias")]
        if node.op_type == "Add" and biases:
            product = made_by[next(n for n in node.input if n not in biases)]
            while product.op_type in ("DequantizeLinear", "QuantizeLinear"):
                product = made_by[product.input[0]]
            name = biases[0].removeprefix("inner.").removesuffix("bias") + "weight"
            found[name] = values[product.input[1]].T
            products.remove(product)
    keys = [n for n in products if values[n.input[1]].shape == (384, 384)]
    for layer, node in enumerate(keys):
        found[f"encoder.layers.{layer}.self_attn.k_proj.weight"] = values[node.input[1]].T
    return {
        _our_name(name): torch.from_numpy(np.array(value, dtype=np.float32))
        for name, value in found.items()
        if name.endswith((".weight", ".bias"))
        and not name.startswith(("encoder.embed", "encoder.layer_norm"))
    }


def _dequantized(node: onnx.NodeProto, values: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """Integers → (integer − zero point) · scale, per channel along the node's axis."""
    integers, scale, zero = (values[name].astype(np.float32) for name in node.input)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        shape = [-1 if i == axis % integers.ndim else 1 for i in range(integers.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((integers - zero) * scale, dtype=np.float32)


def _our_name(name: str) -> str:
    for theirs, ours in _SMART_TURN_NAMES.items():
        name = name.replace(f".{theirs}.", f".{ours}.")
    return name
