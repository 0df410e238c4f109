"""What every method of fitting shares. In: a recipe, clips and a folder. Out: epochs, a log and a checkpoint there."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from speech_emotion.errors import ConfigError
from speech_emotion.files import digest, write_atomically
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.mixture import Dataset, Mixture, Shares
from speech_emotion.training.fit import checkpoint

PAIR: Final = ("first", "second")  # folders of the two networks of a pair, within that of their run
LOG: Final = "log.jsonl"


@dataclass(frozen=True)
class Epoch:
    """One line of the log. UAR in percent; None without validation speakers. No loss where a pair was joined.

    `network` is the part of a pair that learned, "first" or "second"; its own log leaves it out.
    """

    epoch: int
    n_epochs: int
    loss: float | None
    validation_uar: float | None
    validation_loss: float | None
    learning_rate: float
    seconds: float
    network: str = ""

    def row(self) -> dict[str, Any]:
        """For the log."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "network"}

    def __str__(self) -> str:
        validation = "" if self.validation_uar is None else f", validation UAR {self.validation_uar:.1f} %"
        if self.loss is None:
            return f"both networks{validation}, {self.seconds:.1f} s"
        network = f"{self.network} network, " if self.network else ""
        return f"{network}epoch {self.epoch}/{self.n_epochs}: loss {self.loss:.3f}{validation}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Sides:
    """Indices of the clips to learn from and to validate on, (n,) each; `validation` may be empty."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """What is known of a trained network: its calibration, and facts about the weights that it started from."""

    temperature: float
    validation: dict[str, Any]
    initial_weights: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Job:
    """One training: what it learns from, the folder that it is kept in, and a function to call with each epoch."""

    config: TrainConfig
    dataset: Dataset
    sides: Sides
    folder: Path
    device: str = "cpu"
    on_epoch: Callable[[Epoch], None] = lambda _: None

    @property
    def parts(self) -> list["Job"]:
        """One job per network: itself, or the two of a pair, each in a folder of its own."""
        if not self.config.second:
            return [self]
        return [self._part(name, config) for name, config in zip(PAIR, self.config.parts, strict=True)]

    def _part(self, name: str, config: TrainConfig) -> "Job":
        def on_epoch(epoch: Epoch) -> None:
            self.on_epoch(dataclasses.replace(epoch, network=name))

        return dataclasses.replace(self, config=config, folder=self.folder / name, on_epoch=on_epoch)

    @property
    def shares(self) -> Shares | None:
        """How much each clip of a mixture of corpora counts; None for one corpus."""
        if not isinstance(self.dataset, Mixture):
            return None
        return Shares.of(self.dataset, self.sides.train, self.config)

    @property
    def fingerprint(self) -> str:
        """Equal for jobs that may go on from each other's checkpoints."""
        sides = (self.sides.train.tolist(), self.sides.validation.tolist())
        return digest([self.config.to_dict(), self.dataset.key, *sides])

    def resume(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        """The tensors and the log of the checkpoint in the folder; empty without one. ConfigError: of another run."""
        if not checkpoint.exists(self.folder):
            return {}, []
        tensors, state = checkpoint.load(self.folder)
        if state.get("fingerprint") != self.fingerprint:
            raise ConfigError(
                f"{self.folder}: holds a run of another recipe, corpus or split. Choose another --out."
            )
        return tensors, state["log"]

    def save(self, tensors: dict[str, Tensor], log: list[dict[str, Any]]) -> None:
        """Write the log, then the checkpoint: a kill between the two repeats the last epoch."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / LOG, "".join(json.dumps(row) + "\n" for row in log).encode())
        recipe, labels = self.config.to_dict(), list(self.dataset.label_names)
        state = {"fingerprint": self.fingerprint, "recipe": recipe, "labels": labels, "log": log}
        checkpoint.save(self.folder, tensors, state)
