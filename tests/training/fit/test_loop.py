"""The steps: who learns how fast, what an average follows, and what a checkpoint brings back."""

import copy
import ctypes
import math
import sys
from typing import Any

import pytest
import torch
from miniature import recipe
from torch import Generator, Tensor, nn

from speech_emotion.errors import ConfigError
from speech_emotion.training.config import FitConfig, TrainConfig
from speech_emotion.training.fit import loop as module
from speech_emotion.training.fit.checkpoint import part
from speech_emotion.training.fit.loop import Trainer, keep_freed_memory, parameter_groups, smooth
from speech_emotion.training.networks.build import build

CLIPS = torch.arange(12)
LOG_MELS = torch.randn(12, 32, 24, generator=Generator().manual_seed(0))


class Loop(Trainer):
    """Learns to say 3 to noise."""

    def loss(self, clips: Tensor, generator: Generator) -> Tensor:
        targets = torch.full((len(clips),), 3)
        return nn.functional.cross_entropy(self.network.classify(LOG_MELS[clips]), targets)


def loop(config: TrainConfig | None = None) -> Loop:
    config = config or recipe()
    no_frames: Any = None
    return Loop(build(config), config, no_frames, CLIPS, torch.device("cpu"))


class Stack(nn.Module):
    """A body of three layers, a norm above it and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.middle, self.above = nn.Conv1d(2, 2, 3), nn.Linear(2, 2), nn.Linear(2, 2)
        self.norm, self.head = nn.LayerNorm(2), nn.Linear(2, 3)

    @property
    def body(self) -> list[nn.Module]:
        return [self.below, self.middle, self.above]


# Learning rates


def test_the_body_learns_at_its_own_rate_and_only_matrices_decay() -> None:
    network = Stack()
    fit = FitConfig(learning_rate=2e-3, body_rate=0.1, weight_decay=0.03)
    groups = parameter_groups(network, fit)
    names = {parameter: name for name, parameter in network.named_parameters()}
    found = {
        names[parameter]: (group["rate"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    expected = {
        "below.weight": (0.1, 0.03),
        "below.bias": (0.1, 0.0),
        "middle.weight": (0.1, 0.03),
        "middle.bias": (0.1, 0.0),
        "above.weight": (0.1, 0.03),
        "above.bias": (0.1, 0.0),
        "norm.weight": (1.0, 0.0),
        "norm.bias": (1.0, 0.0),
        "head.weight": (1.0, 0.03),
        "head.bias": (1.0, 0.0),
    }
    assert {name: pytest.approx(values) for name, values in found.items()} == expected
    assert sum(len(group["params"]) for group in groups) == len(expected)
    assert all(group["lr"] == pytest.approx(2e-3 * group["rate"]) for group in groups)


@pytest.mark.parametrize("architecture", ["cnn", "transformer"])
def test_every_parameter_of_our_networks_is_learned_once(architecture: str) -> None:
    config = recipe(network={"architecture": architecture, "layers": 1}, fit={"body_rate": 0.2})
    network = build(config)
    groups = parameter_groups(network, config.fit)
    learned = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(learned) == len(set(learned))
    assert set(learned) == {id(parameter) for parameter in network.parameters()}
    rates = {group["rate"] for group in groups}
    assert rates == {1.0, 0.2}
    head = {id(parameter) for parameter in network.head.parameters()}
    assert head <= {id(p) for group in groups if group["rate"] == 1.0 for p in group["params"]}


def test_one_rate_for_all_is_two_groups() -> None:
    started = loop(recipe(fit={"weight_decay": 0.05}))
    decayed, others = started.optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in others["params"]} == {1}
    assert min(p.ndim for p in decayed["params"]) == 2
    assert len(decayed["params"]) + len(others["params"]) == len(list(started.network.parameters()))


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    started = loop(recipe(fit={"learning_rate": 1.0, "warmup": 0.2, "body_rate": 0.25}))

    def at(progress: float) -> float:
        started._set_learning_rate(progress)
        for group in started.optimizer.param_groups:
            assert group["lr"] == started.learning_rate * group["rate"]
        assert {group["rate"] for group in started.optimizer.param_groups} == {0.25, 1.0}
        return started.learning_rate

    assert at(0.0) == 1e-3
    assert at(0.1) == pytest.approx(0.5)
    assert at(0.2) == 1.0
    assert at(0.6) == pytest.approx(0.5)
    assert at(0.4) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert at(1.0) == 1e-3


def test_a_slow_body_moves_less_than_its_head() -> None:
    """A step of Adam is as long as its rate: nearly the same in every weight."""
    started = loop(recipe(fit={"body_rate": 0.01, "weight_decay": 0.0, "warmup": 0.0}))
    before = copy.deepcopy(started.network.state_dict())
    started.run_epoch(0)
    moved = {
        name: (weight - before[name]).abs().max().item()
        for name, weight in started.network.named_parameters()
    }
    rate = started.config.fit.learning_rate
    assert moved["stem.0.weight"] == pytest.approx(0.01 * rate, rel=0.1)
    assert moved["head.2.weight"] == pytest.approx(rate, rel=0.1)


# Epochs


def test_an_epoch_draws_its_own_order_and_counts_its_steps_from_the_first_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = loop(recipe(fit={"batch_size": 4}))
    seen: list[tuple[int, float, list[int]]] = []
    clips_of: list[list[int]] = []
    monkeypatch.setattr(started, "_step", lambda clips, _: clips_of.append(clips.tolist()) or 1.0)
    monkeypatch.setattr(
        started, "_update_average", lambda step: seen.append((step, started.learning_rate, clips_of[-1]))
    )
    for epoch in (0, 1, 1):
        started.run_epoch(epoch)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert seen[3:6] == seen[6:9]
    assert [clips for _, _, clips in seen[:3]] != [clips for _, _, clips in seen[3:6]]
    assert sorted(clip for _, _, clips in seen[:3] for clip in clips) == CLIPS.tolist()


def test_the_loss_is_the_mean_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    started, losses = loop(recipe(fit={"batch_size": 4})), iter([1.0, 2.0, 6.0])
    monkeypatch.setattr(started, "_step", lambda *_: next(losses))
    assert started.run_epoch(0) == pytest.approx(3.0)


def test_the_loss_falls() -> None:
    started = loop(recipe(fit={"batch_size": 4, "epochs": 12, "warmup": 0.0, "learning_rate": 2e-2}))
    losses = [started.run_epoch(epoch) for epoch in range(12)]
    assert losses[0] > 1.5  # chance is log 8 = 2.08
    assert losses[-1] < 0.7


def test_a_loss_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    started = loop()
    monkeypatch.setattr(started, "_step", lambda *_: math.nan)
    with pytest.raises(ConfigError, match=r"The loss became nan in epoch 3\. Lower fit\.learning_rate"):
        started.run_epoch(2)


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    started = loop()
    monkeypatch.setattr(started, "loss", lambda *_: 1e6 * started.network.head[2].weight.sum())
    started._step(CLIPS, Generator())
    norms = [p.grad.norm() for p in started.network.parameters() if p.grad is not None]
    assert torch.stack(norms).norm().item() == pytest.approx(module.MAX_GRADIENT_NORM, rel=1e-3)


def test_the_average_follows_closely_at_first_and_then_at_its_decay() -> None:
    started = loop(recipe(fit={"ema_decay": 0.9}))
    weight, mean = (dict(n.named_parameters())["stem.0.weight"] for n in (started.network, started.average))
    with torch.no_grad():
        mean.zero_()
        weight.fill_(1.0)
    started._update_average(0)
    assert mean.unique().item() == pytest.approx(0.9)  # decay (1 + 0) / (10 + 0)
    started._update_average(1000)
    assert mean.unique().item() == pytest.approx(0.91)
    started.network.stem[1].num_batches_tracked.fill_(5)
    started._update_average(1000)
    assert started.average.stem[1].num_batches_tracked == 5


# What a checkpoint brings back


def test_a_restored_training_goes_on_with_the_same_bits() -> None:
    config = recipe(fit={"batch_size": 4, "body_rate": 0.3})
    whole, first = loop(config), loop(config)
    whole.run_epoch(0)
    first.run_epoch(0)
    resumed = loop(config)
    resumed.restore({name: tensor.contiguous() for name, tensor in first.tensors().items()})
    assert whole.run_epoch(1) == resumed.run_epoch(1)
    one, other = whole.tensors(), resumed.tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_moments_come_back_in_the_layout_of_their_parameters() -> None:
    """Elsewhere other kernels would run, and round differently."""
    first, second = loop(), loop()
    first.run_epoch(0)
    second.restore({name: tensor.contiguous() for name, tensor in first.tensors().items()})
    for state, kept in zip(
        first.optimizer.state_dict()["state"].values(),
        second.optimizer.state_dict()["state"].values(),
        strict=True,
    ):
        for name in ("exp_avg", "exp_avg_sq"):
            assert state[name].stride() == kept[name].stride()
            assert torch.equal(state[name], kept[name])
        assert state["step"] == kept["step"] == 1


# Small parts


def test_smoothed_targets() -> None:
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])
    torch.testing.assert_close(smooth(torch.tensor([2, 0]), 4, 0.2), expected)
    assert torch.equal(smooth(torch.tensor([1]), 3, 0.0), torch.tensor([[0.0, 1.0, 0.0]]))


def test_a_part_is_what_stands_under_its_prefix() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    tensors = {"network.head.0": one, "network2.head": two, "average.network.x": two}
    assert part(tensors, "network") == {"head.0": one}


@pytest.mark.parametrize("libc", [OSError("no libc.so.6"), None])
def test_the_allocator_is_told_where_there_is_one_to_tell(
    libc: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    class Libc:
        def mallopt(self, parameter: int, value: int) -> None:
            told.append((parameter, value))

    def load(name: str) -> Libc:
        if libc:
            raise libc
        return Libc()

    monkeypatch.setattr(ctypes, "CDLL", load)
    keep_freed_memory()
    assert len(told) == (0 if libc or sys.platform != "linux" else 2)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("another system was asked"))
    keep_freed_memory()
