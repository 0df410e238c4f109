"""Progress of a run. In: epochs as they end. Out: one line each, with the remaining time."""

import time
from collections.abc import Callable, Sequence

import torch

from speech_emotion.errors import ConfigError
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.fit.job import PAIR, Epoch
from speech_emotion.training.runs import Training


class EpochLines:
    """A callback for `runs.train` that writes a line per epoch."""

    def __init__(self, trainings: Sequence[Training], write: Callable[[str], None]) -> None:
        self._write = write
        self._remaining = [
            (str(training), network, n_epochs)
            for training in trainings
            for network, n_epochs in _n_epochs(training.config).items()
        ]
        self._started: float | None = None
        self._n_done = 0

    def __call__(self, training: str, epoch: Epoch) -> None:
        now = time.monotonic()
        self._started = self._started if self._started is not None else now - epoch.seconds
        self._n_done += 1
        while self._remaining[0][:2] != (training, epoch.network):  # finished in an earlier call
            del self._remaining[0]
        n_left = sum(n_epochs for *_, n_epochs in self._remaining) - epoch.epoch
        seconds_left = (now - self._started) / self._n_done * n_left
        self._write(f"{training}: {epoch}; {_duration(seconds_left)} left")


def _n_epochs(config: TrainConfig) -> dict[str, int]:
    """Of each network of a training. A linear head is one epoch, and so is joining a pair."""
    each = [1 if part.probe.copies else part.fit.epochs for part in config.parts]
    return {**dict(zip(PAIR, each, strict=True)), "": 1} if config.second else {"": each[0]}


def choose_device(name: str) -> str:
    """The device for --device: `auto` is cuda if there is a GPU. ConfigError if there is no such device."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device must be auto, cpu or cuda, got {name!r}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this torch finds no GPU. Use --device cpu.")
    return name


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
