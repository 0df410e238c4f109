"""Checkpoints. In: tensors by name and a JSON state. Out: a folder from which exactly that state comes back.

Tensors are safetensors, the rest is JSON: nothing is ever unpickled. The JSON names the tensor file and its sha256,
carries its own, and is renamed into place last: a kill at any point leaves the old checkpoint or the new one, and
a flipped bit in either file is refused.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from speech_emotion.errors import ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.files import digest, write_atomically

STATE = "checkpoint.json"
NEXT_STEP = "Delete the run folder and train again."


def save(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint, all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"checkpoint-{sha256[:16]}.safetensors"
    write_atomically(folder / name, data)
    body = {"tensors": name, "sha256": sha256, "state": state}
    body["body_sha256"] = digest(body)
    write_atomically(folder / STATE, json.dumps(body, indent=1).encode())
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    return (folder / STATE).exists()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that `save` was given.

    ModelNotFoundError without a checkpoint, ModelFormatError where it is not one of ours, ModelIntegrityError
    where its bytes are not the ones that were written.
    """
    body = _read_body(folder)
    path = folder / body["tensors"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelIntegrityError(f"{path}: missing ({error.strerror}). {NEXT_STEP}") from error
    if hashlib.sha256(data).hexdigest() != body["sha256"]:
        raise ModelIntegrityError(f"{path}: damaged: its sha256 is not {body['sha256']}. {NEXT_STEP}")
    return safetensors.torch.load(data), body["state"]


def _read_body(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        body = json.loads(path.read_bytes())
        expected = body.pop("body_sha256")
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"{folder}: holds no checkpoint. Give the folder of a training run."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFormatError(f"{path}: not a checkpoint of ours ({error!r}). {NEXT_STEP}") from error
    if digest(body) != expected:
        raise ModelIntegrityError(f"{path}: damaged: it does not match its own checksum. {NEXT_STEP}")
    checked: dict[str, Any] = body
    return checked
