"""What a training shows: one line an epoch with the time that is left, and TensorBoard where asked for."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from miniature import halves, recipe

from speech_emotion.errors import ConfigError, MissingExtraError
from speech_emotion.training import progress, runs
from speech_emotion.training.fit.train import Epoch
from speech_emotion.training.progress import EpochLines, choose_device


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def epoch(number: int, *, uar: float | None = 25.0, seconds: float = 10.0) -> Epoch:
    return Epoch(number, 3, 2.0, uar, None if uar is None else 1.9, 1e-3, seconds)


def trainings() -> list[runs.Training]:
    return runs.plan(recipe(fit={"epochs": 3}), Path("out"), halves(), [0], None)


def test_a_line_an_epoch_with_what_is_left_of_all_trainings(clock: SimpleNamespace) -> None:
    lines: list[str] = []
    show = EpochLines(trainings(), lines.append, tensorboard=False)
    for fold in (0, 1):
        for number in (1, 2, 3):
            clock.seconds += 10
            show(f"tiny, seed 0, fold {fold}", epoch(number))
    assert lines[0] == (
        "tiny, seed 0, fold 0: epoch 1/3: loss 2.000, validation UAR 25.0 %, 10.0 s; 0 min 50 s left"
    )
    assert [line.rpartition("; ")[2] for line in lines] == [
        f"0 min {seconds:02d} s left" for seconds in (50, 40, 30, 20, 10, 0)
    ]


def of_a_pair() -> list[runs.Training]:
    head = recipe(
        probe={"copies": 2, "crop_seconds": 0.6},
        augment={"warp_frequency": 0.0, "mixup_alpha": 0.0, "n_masks": 0},
    )
    return runs.plan(
        dataclasses.replace(head, second=recipe(), second_weight=0.3), Path("out"), halves(), [0], None
    )


def test_both_networks_of_a_pair_are_left_and_named(clock: SimpleNamespace) -> None:
    """Two epochs of the second network, one step for the head and one to put them together: in both folds."""
    assert recipe().fit.epochs == 2
    lines: list[str] = []
    show = EpochLines(of_a_pair(), lines.append, tensorboard=False)
    head = dataclasses.replace(epoch(1), n_epochs=1, network="first")
    cnn = dataclasses.replace(epoch(1), n_epochs=2, network="second")
    together = dataclasses.replace(epoch(1), n_epochs=1, loss=None)
    for fold in (0, 1):
        for one in (head, cnn, dataclasses.replace(cnn, epoch=2), together):
            clock.seconds += 10
            show(f"tiny, seed 0, fold {fold}", one)
    assert lines[1].startswith("tiny, seed 0, fold 0: second network, epoch 1/2: loss 2.000, ")
    assert lines[3].startswith("tiny, seed 0, fold 0: both networks, validation UAR 25.0 %")
    assert [line.rpartition("; ")[2] for line in lines] == [
        f"{seconds // 60} min {seconds % 60:02d} s left" for seconds in range(70, -1, -10)
    ]


def test_a_resumed_training_counts_its_own_pace(clock: SimpleNamespace) -> None:
    lines: list[str] = []
    EpochLines(trainings(), lines.append, tensorboard=False)("tiny, seed 0, fold 1", epoch(2, seconds=4000))
    assert lines[0].endswith("; 1 h 06 min left")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What a SummaryWriter is told, with its folder."""
    written: list[tuple[Any, ...]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((self.folder, name, value, step))

        def flush(self) -> None:
            written.append((self.folder, "flushed"))

    monkeypatch.setattr(progress, "require", lambda *_, **__: SimpleNamespace(SummaryWriter=SummaryWriter))
    return written


def test_tensorboard_gets_what_the_log_gets(events: list[tuple[Any, ...]]) -> None:
    show = EpochLines(trainings(), lambda _: None, tensorboard=True)
    show("tiny, seed 0, fold 0", epoch(1))
    show("tiny, seed 0, fold 0", epoch(2, uar=None))
    folder = "out/seed-0/fold-0"
    assert events == [
        (folder, "loss/training", 2.0, 1),
        (folder, "learning rate", 1e-3, 1),
        (folder, "loss/validation", 1.9, 1),
        (folder, "UAR/validation", 25.0, 1),
        (folder, "flushed"),
        (folder, "loss/training", 2.0, 2),
        (folder, "learning rate", 1e-3, 2),
        (folder, "flushed"),
    ]


def test_tensorboard_shows_the_networks_of_a_pair_as_two_runs(events: list[tuple[Any, ...]]) -> None:
    show = EpochLines(of_a_pair(), lambda _: None, tensorboard=True)
    for one in (
        dataclasses.replace(epoch(1), n_epochs=1, network="first"),
        dataclasses.replace(epoch(1), n_epochs=2, network="second"),
        dataclasses.replace(epoch(1), n_epochs=1, loss=None),
    ):
        show("tiny, seed 0, fold 0", one)
    assert [event[0] for event in events if event[1:] == ("loss/training", 2.0, 1)] == [
        "out/seed-0/fold-0/first",
        "out/seed-0/fold-0/second",
    ]


def test_tensorboard_that_is_not_installed_is_missed_before_the_first_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match="tensorboard"):
        EpochLines(trainings(), lambda _: None, tensorboard=True)


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert choose_device("auto") == ("cuda" if gpu else "cpu")
    assert choose_device("cpu") == "cpu"
    if gpu:
        assert choose_device("cuda") == "cuda"
    else:
        with pytest.raises(ConfigError, match="this torch finds no GPU"):
            choose_device("cuda")
    with pytest.raises(ConfigError, match="must be auto, cpu or cuda, got 'tpu'"):
        choose_device("tpu")
