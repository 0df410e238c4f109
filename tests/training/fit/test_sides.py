"""What the leaky protocols train: the best epoch kept through kills, and copies without their originals."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import clips, dataset, halves, recipe
from speech_emotion.corpora.sealed import digest
from torch import Generator, Tensor

from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.training import runs
from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit import train as fit
from speech_emotion.training.fit.loop import part
from speech_emotion.training.fit.train import Epoch, Fitted, Sides, kept_weights
from speech_emotion.training.networks.frontend import LogMel

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
SIDES = Sides(train=np.arange(12), validation=np.arange(12, 16))
PEEKING = dataclasses.replace(SIDES, keep_best=True)
SCORES = [40.0, 70.0, 55.0, 70.0]  # of the epochs: the second is the best, and the fourth is no better
CONFIG = recipe(fit={"epochs": len(SCORES)})


class Killed(BaseException):
    pass


def train(out: Path, sides: Sides = PEEKING, **options: Any) -> Fitted:
    made = dataset(CLIPS)
    bank = FrameCache(made, LogMel(n_mels=CONFIG.frontend.n_mels), CONFIG.augment)
    return fit.fit(CONFIG, made, bank, sides, out, **options)


@pytest.fixture
def averages(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The averaged weights after each epoch, which score what SCORES says."""
    seen: list[dict[str, Tensor]] = []

    def score(self: Any, network: Any, device: Any) -> tuple[float, float]:
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return SCORES[len(seen) - 1], 1.0

    monkeypatch.setattr(fit._ValidationSet, "score", score)
    return seen


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The best epoch


def test_the_first_best_epoch_is_kept_and_calibrated(
    tmp_path: Path, averages: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[dict[str, Tensor]] = []
    monkeypatch.setattr(fit, "round_weights", lambda network: calibrated.append(network.state_dict()))
    train(tmp_path)
    tensors, _ = checkpoint.load(tmp_path)
    assert equal(kept_weights(tensors), averages[1])
    assert equal(calibrated[0], averages[1])
    assert equal(part(tensors, "average"), averages[3])
    assert not equal(averages[1], averages[3])


def test_otherwise_the_last_epoch_is_kept(tmp_path: Path, averages: list[dict[str, Tensor]]) -> None:
    train(tmp_path, SIDES)
    tensors, _ = checkpoint.load(tmp_path)
    assert part(tensors, "best") == {}
    assert equal(kept_weights(tensors), averages[3])


def test_the_best_epoch_outlives_a_kill(tmp_path: Path, averages: list[dict[str, Tensor]]) -> None:
    def die(epoch: Epoch) -> None:
        if epoch.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, on_epoch=die)
    train(tmp_path)
    assert len(averages) == len(SCORES)
    assert equal(kept_weights(checkpoint.load(tmp_path)[0]), averages[1])


def test_a_run_that_kept_the_last_epoch_does_not_go_on_as_one_that_keeps_the_best(tmp_path: Path) -> None:
    train(tmp_path, SIDES)
    for other in (PEEKING, dataclasses.replace(SIDES, copies=np.array([15]))):
        with pytest.raises(ConfigError, match="holds a run of another recipe, corpus or split"):
            train(tmp_path, other)


def test_an_epoch_is_not_picked_by_nobody(tmp_path: Path) -> None:
    nobody = Sides(np.arange(16), np.zeros(0, np.int64), keep_best=True)
    with pytest.raises(ConfigError, match="nobody to pick the epoch by"):
        train(tmp_path, nobody)


# AugmentedEmbeddings


def test_of_altered_clips_the_original_speed_is_never_drawn() -> None:
    speeds = (0.9, 1.0, 1.1)
    bank = FrameCache(dataset(CLIPS), LogMel(n_mels=32), AugmentConfig(speeds=speeds))
    rows = torch.tensor([0] * 60)
    altered = torch.tensor([True] * 30 + [False] * 30)
    n_frames = min(len(frames) for frames in bank._clips[0][0]) - 5

    def drawn(windows: Tensor) -> set[int]:
        """The speeds whose frames the windows are cut from."""
        places = [frames.unfold(0, n_frames, 1) for frames in bank._clips[0][0]]
        return {k for window in windows for k in range(3) if (places[k] == window).all(dim=(1, 2)).any()}

    windows = bank.windows(rows, n_frames, Generator().manual_seed(0), altered)
    assert drawn(windows[:30]) == {0, 2}
    assert drawn(windows[30:]) == {0, 1, 2}


def test_copies_are_learned_from_as_altered_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, set[bool]] = {}
    windows = FrameCache.windows

    def watch(self: FrameCache, some: Tensor, n: int, generator: Generator, altered: Tensor) -> Tensor:
        for clip, mark in zip(some.tolist(), altered.tolist(), strict=True):
            drawn.setdefault(clip, set()).add(mark)
        return windows(self, some, n, generator, altered)

    monkeypatch.setattr(FrameCache, "windows", watch)
    train(tmp_path, Sides(np.arange(8), np.arange(12, 16), copies=np.arange(8, 12)))
    assert drawn == {clip: {clip >= 8} for clip in range(12)}


# From the protocol to the sides


def by_clip() -> Protocol:
    """One fold over clips: actor 01's tested and copied, actor 02's validate."""
    of = [frozenset(clip.name for clip in CLIPS if clip.speaker == f"{k:02d}") for k in range(1, 5)]
    return Protocol("copied", "ravdess", (Fold(0, of[0], of[1], of[2] | of[3], copies=of[0]),), True)


def sides_of(split: Protocol, **changes: Any) -> Sides:
    (training, *_) = runs.plan(recipe(**changes), Path("out"), split, [0], None)
    return runs._sides(training, dataset(CLIPS), split)


def test_a_fold_says_what_is_learned_from() -> None:
    honest, copied = sides_of(halves()), sides_of(by_clip())
    assert (honest.train.tolist(), honest.validation.tolist()) == (list(range(8, 16)), list(range(4, 8)))
    assert (honest.copies.tolist(), honest.keep_best) == ([], False)
    assert copied.train.tolist() == honest.train.tolist()
    assert (copied.copies.tolist(), copied.keep_best) == ([0, 1, 2, 3], False)


def test_a_peeked_fold_picks_its_epoch_on_whom_it_tests() -> None:
    first, _ = halves().folds
    peeked = dataclasses.replace(first, validation=first.test, peeked=True)
    sides = sides_of(Protocol("peeked", "ravdess", (peeked,)))
    assert (sides.validation.tolist(), sides.keep_best) == ([0, 1, 2, 3], True)


def test_one_speed_makes_no_copies() -> None:
    with pytest.raises(ConfigError, match="tiny, seed 0, fold 0: there are no copies at speed 1 alone"):
        sides_of(by_clip(), augment={"speeds": [1.0]})


def test_the_best_epoch_is_what_is_exported(
    tmp_path: Path, averages: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[dict[str, Tensor]] = []
    monkeypatch.setattr(runs, "export", lambda network, *_, **__: exported.append(network.state_dict()))
    fitted = train(tmp_path)
    run = {
        "corpora": ["ravdess"],
        "protocol": None,
        "split_hash": None,
        "temperature": fitted.temperature,
        "validation": fitted.validation,
        "trunks": [],
        "commit": None,
    }
    runs._write_json(tmp_path / "run.json", run | {"sha256": digest(run)})
    runs.export_run(tmp_path, tmp_path / "model.onnx")
    assert equal(exported[0], averages[1])
