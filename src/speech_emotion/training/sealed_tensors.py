"""Tensors in a sealed file. In: tensors by name, and facts about them. Out: a .safetensors file, or exactly those.

The file's one metadata entry is a sealed JSON (see files.py) of the facts and the digest of the tensors. Nothing is
ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from speech_emotion.files import DamagedFileError, seal_json, unseal_json, write_atomically

ENTRY: Final = "sealed"
DIGEST: Final = "tensors_sha256"


def write_sealed_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `tensors` and `facts`, an object of JSON values. Whole, or not at all; equal content gives equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = seal_json({**facts, DIGEST: _digest(plain)})
    write_atomically(path, safetensors.torch.save(plain, metadata={ENTRY: sealed}))


def read_sealed_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts that were written; OSError or DamagedFileError otherwise."""
    data = path.read_bytes()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        sealed = header["__metadata__"][ENTRY]
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"it holds no sealed tensors: {error!r}") from error
    facts = unseal_json(sealed)
    if facts.pop(DIGEST, None) != _digest(tensors):
        raise DamagedFileError("it is damaged: its tensors do not match their checksum")
    return tensors, facts


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
