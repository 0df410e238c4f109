"""The loop: it learns, it keeps what it says it keeps, and a kill changes nothing."""

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
from miniature import clips, dataset, recipe, sound

from speech_emotion.errors import ConfigError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.export.quantize import round_weights
from speech_emotion.training.fit import calibration, checkpoint
from speech_emotion.training.fit import train as fit
from speech_emotion.training.fit.loop import part
from speech_emotion.training.fit.train import Epoch, Fitted, Sides, build, frame
from speech_emotion.training.networks.frontend import LogMel

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
SIDES = Sides(train=np.arange(12), validation=np.arange(12, 16))


def train(config: TrainConfig, out: Path, sides: Sides = SIDES, **options: Any) -> Fitted:
    made = options.pop("dataset", dataset(CLIPS))
    bank = FrameCache(made, LogMel(n_mels=config.frontend.n_mels), config.augment)
    return fit.fit(config, made, bank, sides, out, **options)


def trainer(config: TrainConfig) -> fit._FineTuner:
    bank = FrameCache(dataset(CLIPS), LogMel(n_mels=config.frontend.n_mels), config.augment)
    return fit._FineTuner(config, bank, torch.from_numpy(SIDES.train), torch.device("cpu"))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns_what_there_is_to_learn(tmp_path: Path) -> None:
    heard = dataset(clips([1, 2, 3, 4, 5, 6], ["neutral", "sad", "surprised"]))
    config = recipe(
        augment={"mixup_alpha": 0.0}, network={"dropout": 0.0}, fit={"epochs": 40, "batch_size": 4}
    )
    train(config, tmp_path, Sides(np.arange(12), np.arange(12, 18)), dataset=heard)
    log = log_of(tmp_path)
    assert log[0]["loss"] > 1.8
    assert log[-1]["loss"] < 1.35
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
def test_killed_with_sigkill_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Two steps an epoch, three files an epoch: the log, the tensors, their JSON."""
    points = ["step:2", "half:1", "half:2", "half:3", "after:3", "step:2", "before:3", "after:3", "after:2"]
    command = [sys.executable, killed.__file__, str(tmp_path / "killed"), *points]
    path = str(Path(killed.__file__).parent)
    ended = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    )
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

    def watch(log_mel: torch.Tensor, targets: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(targets)
        return log_mel, targets

    monkeypatch.setattr(augment, "augmented", watch)
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

    def watch(log_mel: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(log_mel.shape)
        return log_mel, rest[0]

    monkeypatch.setattr(augment, "augmented", watch)
    for crop in (0.0, 0.5):
        trainer(recipe(fit={"crop_seconds": crop})).run_epoch(0)
    assert seen == [(8, 32, 1 + (16_000 - 512) // 320), (8, 32, 1 + (8_000 - 512) // 320)]


def test_a_run_starts_from_its_trunk(tmp_path: Path) -> None:
    origin = build(recipe().with_seed(9))
    trunk.save(origin, {"name": "origin"}, tmp_path / "trunk.safetensors")
    config = recipe(init=str(tmp_path / "trunk.safetensors"))
    started = trainer(config)
    assert started.trunk == {"name": "origin"}
    assert torch.equal(started.network.stem[0].weight, origin.stem[0].weight)
    assert torch.equal(started.network.head[2].weight, build(config).head[2].weight)
    assert train(config, tmp_path / "run").trunks == ({"name": "origin"},)


# Validation


def test_validation_windows_are_those_of_the_runtime() -> None:
    waveform = np.concatenate([sound(CLIPS[0])] * 3)[:40_000]  # 2.5 s in windows of 1 s every 0.5 s
    windows = frame(recipe(), waveform)
    assert [len(window) for window in windows] == [16_000] * 4
    np.testing.assert_array_equal(windows[1], waveform[8_000:24_000])
    np.testing.assert_array_equal(windows[3], waveform[24_000:40_000])
    assert [len(window) for window in frame(recipe(), waveform[:9_000])] == [9_000]
    assert not frame(recipe(), waveform[:7_000])


def test_validation_scores_recordings_not_windows() -> None:
    """Recordings of several windows and lengths; one too short for an answer is left out."""
    long, short = np.tile(sound(CLIPS[1]), 2), sound(CLIPS[0])[:10_000]
    made = dataset(CLIPS[:4], waveforms=[short, long, sound(CLIPS[2])[:4_000], sound(CLIPS[3])])
    network = build(recipe()).eval()
    validation = fit._ValidationSet(recipe(), made, np.array([1, 2, 0, 3]), network)
    assert validation.labels.tolist() == [EMOTIONS.index(CLIPS[k].label) for k in (1, 0, 3)]
    assert sorted(validation.recordings.tolist()) == [0, 0, 0, 1, 2]
    assert {x.shape for x in validation.waveforms} == {(4, 16_000), (1, 10_000)}
    uar, loss = validation.score(network, torch.device("cpu"))
    assert uar is not None
    assert loss is not None
    expected = []
    with torch.inference_mode():
        for clip in (1, 0, 3):
            windows = [torch.from_numpy(w.copy()).unsqueeze(0) for w in frame(recipe(), made.waveform(clip))]
            expected.append(torch.cat([torch.softmax(network(w), 1) for w in windows]).mean(dim=0))
    p = torch.stack(expected)[range(3), validation.labels.tolist()]
    assert loss == pytest.approx(-p.log().mean().item(), abs=0.02)  # bf16 on the way
    hits = torch.stack(expected).argmax(dim=1).numpy() == validation.labels
    assert uar == pytest.approx(100 * hits.mean(), abs=0.1)


def test_what_calibrates_is_measured_on_the_weights_that_are_shipped(tmp_path: Path) -> None:
    """Rounded to 8 bits, in float32, and with the prior of their few speakers."""
    settings = {"epochs": 10, "learning_rate": 2e-2, "ema_decay": 0.5, "label_smoothing": 0.0}
    clips = SIDES.train[:8]  # of two speakers, whom it knows
    fitted = train(recipe(fit=settings), tmp_path, Sides(SIDES.train, clips))
    network = build(recipe())
    network.load_state_dict(part(checkpoint.load(tmp_path)[0], "average"))
    round_weights(network)
    made = dataset(CLIPS)
    labels = made.labels[clips]
    rows = torch.from_numpy(np.stack([made.waveform(clip) for clip in clips]))
    with torch.inference_mode():
        logits = network.eval()(rows).double().numpy()
    recordings = np.arange(8)
    assert fitted.temperature == pytest.approx(
        calibration.fit_temperature(logits, recordings, labels, n_speakers=2), rel=1e-3
    )
    likeliest = calibration.fit_temperature(logits, recordings, labels)
    assert fitted.validation["likeliest_temperature"] == pytest.approx(likeliest, rel=1e-3)
    assert fitted.temperature != pytest.approx(likeliest, rel=1e-2)
    expected = calibration.softmax(logits / fitted.temperature)
    np.testing.assert_allclose(fitted.validation["confidences"], expected.max(axis=1), atol=1e-4)
    np.testing.assert_allclose(fitted.validation["scores"], 1 - expected[range(8), labels], atol=1e-4)
