"""Weights as 8-bit integers. In: float weights. Out: the same weights, rounded, with one scale per output channel.

A network is rounded before it is compared with its file, calibrated and scored, so the rounding is part of every
number. Matrices and convolutions are rounded; biases and norms are small and are not.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

LEVELS: Final = 127  # the largest integer; -128 is not used, so that a weight and its negative round alike
LARGE: Final = 2048  # values: below that a scale costs more than it saves
SCALE: Final = ".scale"


def round_weights(network: nn.Module) -> None:
    """Round the large weights of `network` in place: the n-th output channel to multiples of its own scale."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(rounded(parameter))


def rounded(tensor: Tensor) -> Tensor:
    """The values that a file holds of `tensor`: rounded if it is large."""
    if not _is_large(tensor):
        return tensor
    integers, scale = _quantized(tensor)
    return integers.float() * scale


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large floats as int8 under their own name, their scales under `name.scale`; the rest unchanged."""
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _is_large(tensor):
            packed[name], packed[name + SCALE] = _quantized(tensor)
        else:
            packed[name] = tensor
    return {name: tensor.contiguous() for name, tensor in packed.items()}


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rounded tensors that `pack` was given."""
    return {
        name: tensor.float() * packed[name + SCALE] if tensor.dtype == torch.int8 else tensor
        for name, tensor in packed.items()
        if not name.endswith(SCALE)
    }


def _is_large(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= LARGE


def _quantized(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """(integers as int8, scale (n_out, 1, …))."""
    axes = tuple(range(1, tensor.ndim))
    scale = tensor.detach().float().abs().amax(dim=axes, keepdim=True).clamp(min=1e-12) / LEVELS
    return torch.round(tensor.detach() / scale).to(torch.int8), scale
