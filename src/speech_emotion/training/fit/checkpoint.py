"""Checkpoints. In: tensors by name and a JSON state. Out: one sealed file, from which exactly that comes back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from speech_emotion.errors import ModelFormatError, ModelNotFoundError
from speech_emotion.files import DamagedFileError
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.networks.build import assemble
from speech_emotion.training.networks.pair import Network
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

FILE: Final = "checkpoint.safetensors"


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the folder's checkpoint, all or nothing."""
    write_sealed_tensors(folder / FILE, tensors, state)


def exists(folder: Path) -> bool:
    """Whether the folder holds a checkpoint."""
    return (folder / FILE).exists()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that `save` was given; ModelError if there are none or they are damaged."""
    try:
        return read_sealed_tensors(folder / FILE)
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"{folder}: holds no checkpoint. Give the folder of a training run."
        ) from error
    except (OSError, DamagedFileError) as error:
        raise ModelFormatError(
            f"{folder / FILE}: cannot be used ({error}). Delete the run folder and train again."
        ) from error


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under one prefix, without it."""
    return {
        name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")
    }


def final_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a finished run that are exported: the averaged ones."""
    return part(load(folder)[0], "average")


def load_network(folder: Path) -> tuple[Network, TrainConfig]:
    """The trained network of a finished run, for evaluation, and its recipe."""
    tensors, state = load(folder)
    config = TrainConfig.from_dict(state["recipe"], where=str(folder))
    try:
        network = assemble(config, tuple(state["labels"]))
        network.load_state_dict(part(tensors, "average"))
    except (RuntimeError, KeyError) as error:  # other shapes or names, or no labels
        raise ModelFormatError(
            f"{folder}: trained by another version of speech-emotion, with another network. Train it again."
        ) from error
    return network.eval(), config
