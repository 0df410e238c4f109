"""What a training shows: one line an epoch with the time that is left."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from miniature import halves, recipe

from speech_emotion.errors import ConfigError
from speech_emotion.training import progress, runs
from speech_emotion.training.fit.job import Epoch
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
    show = EpochLines(trainings(), lines.append)
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
        augment={"warp_frequency": 0.0, "n_masks": 0},
    )
    return runs.plan(
        dataclasses.replace(head, second=recipe(), second_weight=0.3), Path("out"), halves(), [0], None
    )


def test_both_networks_of_a_pair_are_left_and_named(clock: SimpleNamespace) -> None:
    """Two epochs of the second network, one step for the head and one to put them together: in both folds."""
    assert recipe().fit.epochs == 2
    lines: list[str] = []
    show = EpochLines(of_a_pair(), lines.append)
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
    EpochLines(trainings(), lines.append)("tiny, seed 0, fold 1", epoch(2, seconds=4000))
    assert lines[0].endswith("; 1 h 06 min left")


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
