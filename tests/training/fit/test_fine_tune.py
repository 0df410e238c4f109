"""Fine-tuning: it learns, it keeps what it says it keeps, and a kill changes nothing."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import killed
import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe

import speech_emotion
from speech_emotion.errors import ConfigError
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit import checkpoint, loop
from speech_emotion.training.fit.checkpoint import part
from speech_emotion.training.fit.job import Epoch, Fitted, Job, Sides
from speech_emotion.training.fit.loop import Trainer, smooth
from speech_emotion.training.fit.train import fit, materials
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import save_encoder

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
SIDES = Sides(train=np.arange(12), validation=np.arange(12, 16))


def train(config: TrainConfig, out: Path, sides: Sides = SIDES, **options: Any) -> Fitted:
    made = options.pop("dataset", dataset(CLIPS))
    return fit(Job(config, made, sides, out, **options), materials(config, made))


def trainer(config: TrainConfig) -> Trainer:
    frames = FrameCache(config, dataset(CLIPS))
    return Trainer(build(config), config, frames, torch.from_numpy(SIDES.train), torch.device("cpu"))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_it_learns_what_there_is_to_learn(tmp_path: Path) -> None:
    made = dataset(clips([1, 2, 3, 4, 5, 6], ["neutral", "sad", "surprised"]))
    config = recipe(network={"dropout": 0.0}, fit={"epochs": 40, "batch_size": 4})
    train(config, tmp_path, Sides(np.arange(12), np.arange(12, 18)), dataset=made)
    log = log_of(tmp_path)
    assert log[0]["loss"] > 1.8
    assert log[-1]["loss"] < 1.6
    assert log[-1]["validation_uar"] > 60  # chance is 33
    assert log[-1]["validation_loss"] < 0.9  # chance is log 3 = 1.10


def test_the_log_says_what_happened(tmp_path: Path) -> None:
    config, told = recipe(fit={"epochs": 3}), []
    fitted = train(config, tmp_path, on_epoch=told.append)
    log = log_of(tmp_path)
    assert [epoch.row() for epoch in told] == log
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert {row["n_epochs"] for row in log} == {3}
    assert all(0 <= row["validation_uar"] <= 100 and row["seconds"] >= 0 for row in log)
    assert 0.05 <= fitted.temperature <= 20
    tensors, state = checkpoint.load(tmp_path)
    assert state["log"] == log
    assert TrainConfig.from_dict(state["recipe"]) == config
    assert part(tensors, "network").keys() == part(tensors, "average").keys()
    assert part(tensors, "network").keys() == build(config).state_dict().keys()


def test_without_validation_speakers_nothing_is_measured(tmp_path: Path) -> None:
    fitted = train(recipe(), tmp_path, Sides(np.arange(16), np.zeros(0, np.int64)))
    assert fitted == Fitted(1.0, {"scores": [], "confidences": [], "likeliest_temperature": 1.0}, ())
    assert {row["validation_uar"] for row in log_of(tmp_path)} == {None}
    assert {row["validation_loss"] for row in log_of(tmp_path)} == {None}


def test_an_epoch_is_one_line() -> None:
    epoch = Epoch(3, 60, 1.23456, 45.678, 1.5, 1e-3, 7.25)
    assert str(epoch) == "epoch 3/60: loss 1.235, validation UAR 45.7 %, 7.2 s"
    unmeasured = dataclasses.replace(epoch, validation_uar=None, validation_loss=None)
    assert str(unmeasured) == "epoch 3/60: loss 1.235, 7.2 s"


def test_seed_and_recipe_make_the_weights(tmp_path: Path) -> None:
    for name, config in (("a", recipe()), ("b", recipe()), ("c", recipe().with_seed(1))):
        torch.manual_seed(len(name) + ord(name))  # whatever was drawn before
        train(config, tmp_path / name)
    a, b, c = (checkpoint.load(tmp_path / name)[0] for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["average.stem.0.weight"], c["average.stem.0.weight"])


# Killed and resumed


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_training_killed_with_sigkill_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    """Two steps per epoch, two files per epoch: the log and the checkpoint."""
    points = ["step:2", "half:1", "half:2", "after:2", "step:2", "before:2", "after:2", "after:1"]
    command = [sys.executable, killed.__file__, str(tmp_path / "killed"), *points]
    paths = [str(Path(killed.__file__).parent), str(Path(speech_emotion.__file__).parents[1])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.stdout.split() == [word for point in points for word in (point, "-9")] + ["end", "0"], (
        ended.stderr
    )
    fitted = killed.train(tmp_path / "whole")
    whole, killed_one = (checkpoint.load(tmp_path / name) for name in ("whole", "killed"))
    assert all(torch.equal(tensor, killed_one[0][name]) for name, tensor in whole[0].items())
    assert whole[0].keys() == killed_one[0].keys()
    assert timeless(whole[1]) == timeless(killed_one[1])
    assert [list(row) for row in log_of(tmp_path / "killed")] == [list(row) for row in whole[1]["log"]]
    assert len(whole[1]["log"]) == 3
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
    assert killed.train(tmp_path / "killed") == fitted


def timeless(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "log": [{**row, "seconds": 0} for row in state["log"]]}


@pytest.mark.parametrize("other", ["recipe", "seed", "corpus", "split"])
def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path: Path, other: str) -> None:
    train(recipe(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    config = {"recipe": recipe(fit={"epochs": 3}), "seed": recipe().with_seed(1)}.get(other, recipe())
    made = dataclasses.replace(dataset(CLIPS), key="2" * 64) if other == "corpus" else dataset(CLIPS)
    sides = Sides(SIDES.validation, SIDES.train) if other == "split" else SIDES
    with pytest.raises(ConfigError, match="holds a run of another recipe, corpus or split"):
        train(config, tmp_path, sides, dataset=made)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    fitted = train(recipe(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train(recipe(), tmp_path, on_epoch=lambda _: pytest.fail("trained again")) == fitted
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Parts of the loop


def test_targets_are_smoothed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def watch(*asked: Any) -> torch.Tensor:
        seen.append(smooth(*asked))
        return seen[-1]

    monkeypatch.setattr(loop, "smooth", watch)
    trainer(recipe(fit={"label_smoothing": 0.2})).run_epoch(0)
    (targets,) = seen  # 12 clips are one batch of 8
    assert targets.shape == (8, 8)
    assert targets.sum(dim=1).tolist() == pytest.approx([1.0] * 8)
    assert sorted(set(targets.flatten().tolist())) == pytest.approx([0.2 / 8, 0.8 + 0.2 / 8])


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_kept(tmp_path: Path) -> None:
    config = recipe(fit={"learning_rate": 1e30, "epochs": 10, "warmup": 0.0})
    with pytest.raises(
        ConfigError, match=r"The loss became (nan|inf) in epoch \d+\. Lower fit.learning_rate"
    ):
        train(config, tmp_path)
    assert all(math.isfinite(row["loss"]) for row in (log_of(tmp_path) if any(tmp_path.iterdir()) else []))


def test_a_crop_is_what_is_learned_from_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Size] = []

    def watch(log_mel: torch.Tensor, *_: Any) -> torch.Tensor:
        seen.append(log_mel.shape)
        return log_mel

    monkeypatch.setattr(augment, "augmented", watch)
    for crop in (0.0, 0.5):
        trainer(recipe(fit={"crop_seconds": crop})).run_epoch(0)
    assert seen == [(8, 32, 1 + (16_000 - 512) // 320), (8, 32, 1 + (8_000 - 512) // 320)]


def test_a_run_starts_from_its_initial_weights(tmp_path: Path) -> None:
    origin = build(recipe().with_seed(9))
    save_encoder(origin, {"name": "origin"}, tmp_path / "encoder.safetensors")
    rates = {"learning_rate": 1e-12, "weight_decay": 0.0}
    config = recipe(init=str(tmp_path / "encoder.safetensors"), fit=rates)
    assert train(config, tmp_path / "run").initial_weights == ({"name": "origin"},)
    trained = checkpoint.final_weights(tmp_path / "run")
    torch.testing.assert_close(trained["stem.0.weight"], origin.stem[0].weight.detach())
    torch.testing.assert_close(trained["head.2.weight"], build(config).head[2].weight.detach())
