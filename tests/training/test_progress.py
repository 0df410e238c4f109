"""What a training shows: one line an epoch with the time that is left, and TensorBoard where asked for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from miniature import halves, recipe

from speech_emotion.errors import ConfigError, MissingExtraError
from speech_emotion.training import progress, runs
from speech_emotion.training.fit import Epoch
from speech_emotion.training.progress import EpochLines, choose_device


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def epoch(number: int, *, uar: float | None = 25.0, seconds: float = 10.0) -> Epoch:
    return Epoch(number, 3, 2.0, uar, None if uar is None else 1.9, 1e-3, seconds)


def trainings() -> list[runs.Training]:
    return runs.plan(recipe(), Path("out"), halves(), [0], None)


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


def test_a_resumed_training_counts_its_own_pace(clock: SimpleNamespace) -> None:
    lines: list[str] = []
    EpochLines(trainings(), lines.append, tensorboard=False)("tiny, seed 0, fold 1", epoch(2, seconds=4000))
    assert lines[0].endswith("; 1 h 06 min left")


def test_tensorboard_gets_what_the_log_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[Any, ...]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((self.folder, name, value, step))

        def flush(self) -> None:
            written.append((self.folder, "flushed"))

    monkeypatch.setattr(progress, "require", lambda *_, **__: SimpleNamespace(SummaryWriter=SummaryWriter))
    show = EpochLines(trainings(), lambda _: None, tensorboard=True)
    show("tiny, seed 0, fold 0", epoch(1))
    show("tiny, seed 0, fold 0", epoch(2, uar=None))
    folder = "out/seed-0/fold-0"
    assert written == [
        (folder, "loss/training", 2.0, 1),
        (folder, "learning rate", 1e-3, 1),
        (folder, "loss/validation", 1.9, 1),
        (folder, "UAR/validation", 25.0, 1),
        (folder, "flushed"),
        (folder, "loss/training", 2.0, 2),
        (folder, "learning rate", 1e-3, 2),
        (folder, "flushed"),
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
