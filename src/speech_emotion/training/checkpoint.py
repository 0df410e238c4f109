"""Checkpoints. In: tensors by name and a JSON state. Out: a folder from which exactly that state comes back.

Tensors are safetensors, the rest is JSON: nothing is ever unpickled. The JSON names the tensor file and its sha256
and is renamed into place last, so a kill at any point leaves the old checkpoint or the new one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from speech_emotion.corpora.sealed import write_whole
from speech_emotion.errors import ModelFormatError, ModelIntegrityError, ModelNotFoundError

STATE = "checkpoint.json"


def save(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint, all or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"checkpoint-{digest[:16]}.safetensors"
    write_whole(folder / name, data)
    body = {"tensors": name, "sha256": digest, "state": state}
    write_whole(folder / STATE, json.dumps(body, indent=1, sort_keys=True).encode())
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def exists(folder: Path) -> bool:
    return (folder / STATE).exists()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that `save` was given.

    ModelNotFoundError without a checkpoint, ModelFormatError where its JSON is none, ModelIntegrityError where the
    tensors are not the ones that were written.
    """
    try:
        body = json.loads((folder / STATE).read_text(encoding="utf-8"))
        name, digest, state = str(body["tensors"]), str(body["sha256"]), dict(body["state"])
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"{folder}: holds no checkpoint. Give the folder of a training run."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFormatError(
            f"{folder / STATE}: not a checkpoint of ours ({error}). Delete the run folder and train again."
        ) from error
    try:
        data = (folder / Path(name).name).read_bytes()
    except OSError as error:
        raise ModelIntegrityError(
            f"{folder / name}: missing ({error.strerror}). Train this run again."
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ModelIntegrityError(
            f"{folder / name}: damaged: its sha256 is not {digest}. Train this run again."
        )
    return safetensors.torch.load(data), state
