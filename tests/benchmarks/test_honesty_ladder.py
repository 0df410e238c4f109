"""The dishonest rungs, trained for real on a miniature corpus: the two sides, and the speakers of each choice."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import exporting
import miniature
import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe
from torch import Tensor

import speech_emotion
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.result import read_result
from speech_emotion.evaluation.score import read_answers
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.data.waveform_augment import at_speed
from speech_emotion.training.fit import fine_tune
from speech_emotion.training.fit.checkpoint import final_weights
from speech_emotion.training.fit.job import Job, Sides
from speech_emotion.training.fit.train import fit
from speech_emotion.training.fit.validation import ValidationSet

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "honesty_ladder.py"
_spec = importlib.util.spec_from_file_location("honesty_ladder", PATH)
assert _spec
assert _spec.loader
honesty_ladder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(honesty_ladder)

PEEKED, COPIES = "luna5-peeked", "random10-copies"
CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
SIDES = Sides(train=np.arange(12), validation=np.arange(12, 16))
AS_SOUND = {"warp_frequency": 0.0, "n_masks": 0}
RECIPE = """
[window]
seconds = 1.0
hop_seconds = 0.5
[frontend]
n_mels = 32
[network]
channels = [8, 8, 16, 16]
[augment]
speeds = [0.9, 1.0]
[fit]
epochs = 3
batch_size = 8
ema_decay = 0.5
learning_rate = 0.005
"""


# Sides


@pytest.mark.parametrize("name", [PEEKED, COPIES])
def test_the_sides_are_those_of_the_recorded_results(name: str) -> None:
    split = splits.recorded(name)
    described = [honesty_ladder.described(split, fold) for fold in split.folds]
    sides = [{key: fold[key] for key in fold.keys() - {"name", "corpus", "leaky"}} for fold in described]
    assert splits.hash_of(sides) == split.split_hash
    assert all(fold["leaky"] for fold in described)


def test_luna5_peeked_validates_on_the_test_speakers() -> None:
    split, all_speakers = splits.recorded(PEEKED), clips(range(1, 25), ["calm"])
    sides = honesty_ladder.sides_of(split, split.folds[0], all_speakers)
    assert [all_speakers[k].speaker for k in sides.validation] == ["02", "05", "14", "15", "16"]
    learned_from = {all_speakers[k].speaker for k in sides.train}
    assert learned_from == split.folds[0].train
    assert not learned_from & split.folds[0].test


def test_random10_copies_learns_from_copies_of_the_test_clips_and_not_from_the_clips() -> None:
    split, some = splits.recorded(COPIES), clips(range(1, 25))
    fold = split.folds[0]
    sides = honesty_ladder.sides_of(split, fold, some)
    originals, copies = sides.train[sides.train < len(some)], sides.train[sides.train >= len(some)]
    assert {some[k].name for k in originals} == fold.train & {clip.name for clip in some}
    assert {some[k - len(some)].name for k in copies} == fold.test & {clip.name for clip in some}
    assert {some[k].name for k in sides.validation} == fold.validation & {clip.name for clip in some}
    assert len(copies) > 0


def test_each_clip_is_followed_by_a_copy_at_another_speed() -> None:
    made = dataset(CLIPS)
    doubled = honesty_ladder.with_copies(made, (0.9, 1.0, 1.1))
    assert len(doubled) == 32
    assert doubled.key != made.key
    for k in range(16):
        np.testing.assert_array_equal(doubled.waveform(k), made.waveform(k))
        expected = at_speed(made.waveform(k), (0.9, 1.1)[k % 2])
        np.testing.assert_allclose(doubled.waveform(16 + k), expected, rtol=0, atol=1e-4)
        assert (doubled.labels[16 + k], doubled.speakers[16 + k]) == (made.labels[k], made.speakers[k])
        assert doubled.clips[16 + k] == made.clips[k]
    with pytest.raises(SystemExit, match=r"no speed but 1 in augment\.speeds"):
        honesty_ladder.with_copies(made, (1.0,))


# Peeking


def scores_are(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[dict[str, Tensor]]:
    """The weights that are scored, each of which gets the next of `scores`."""
    seen: list[dict[str, Tensor]] = []
    latest: dict[str, Tensor] = {}
    really = ValidationSet.logits

    def logits(self: Any, network: Any, **how: Any) -> Any:
        latest.clear()
        latest.update({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return really(self, network, **how)

    def score(self: Any, logits: Any) -> tuple[float, float]:
        seen.append(latest.copy())
        return scores[len(seen) - 1], 1.0

    monkeypatch.setattr(ValidationSet, "logits", logits)
    monkeypatch.setattr(ValidationSet, "score", score)
    return seen


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_first_best_epoch_is_what_fit_ends_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = scores_are(monkeypatch, [40.0, 70.0, 55.0, 70.0])
    config, made = recipe(fit={"epochs": 4}), dataset(CLIPS)
    job, frames = Job(config, made, SIDES, tmp_path), [FrameCache(config, made)]
    honesty_ladder.peek(job, frames)
    calibrated: list[dict[str, Tensor]] = []
    monkeypatch.setattr(fine_tune, "round_weights", lambda network: calibrated.append(network.state_dict()))
    fit(job, frames)
    assert len(seen) == 4
    assert equal(calibrated[0], seen[1])
    assert equal(final_weights(tmp_path), seen[1])
    assert not equal(seen[1], seen[3])


def test_the_best_penalty_of_five_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_are(monkeypatch, [40.0, 55.0, 50.0, 70.0, 70.0])
    config = recipe(probe={"copies": 3, "crop_seconds": 0.6, "penalty": 0.2}, augment=AS_SOUND)
    embeddings = AugmentedEmbeddings(
        (torch.randn(3, len(CLIPS), 32, generator=torch.Generator().manual_seed(0)).half(),)
    )
    chosen = honesty_ladder.peek(Job(config, dataset(CLIPS), SIDES, tmp_path), [embeddings])
    assert chosen.config == replace(config, probe=replace(config.probe, penalty=0.2 * 3.0))


def test_of_a_pair_each_network_is_chosen_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = scores_are(monkeypatch, [40.0, 70.0, 55.0, 60.0, 50.0, 45.0, 40.0, *[0.0] * 2])
    first = recipe(name="pair", probe={"copies": 3, "crop_seconds": 0.6}, augment=AS_SOUND)
    config, made = replace(first, second=recipe(name="cnn")), dataset(CLIPS)
    embeddings = AugmentedEmbeddings(
        (torch.randn(3, len(CLIPS), 32, generator=torch.Generator().manual_seed(0)).half(),)
    )
    material = [embeddings, FrameCache(recipe(), made)]
    chosen = honesty_ladder.peek(Job(config, made, SIDES, tmp_path), material)
    assert chosen.config == replace(config, probe=replace(config.probe, penalty=0.01 * 0.3))
    fit(chosen, material)
    assert equal(final_weights(tmp_path / "second"), seen[5])


# The whole line


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_corpus(tmp_path_factory.mktemp("ravdess"), clips(range(1, 25)))


def run(name: str, corpus: Path, folder: Path, text: str = RECIPE) -> Path:
    (folder / "tiny.toml").write_text(text)
    words = [name, folder / "tiny.toml", "--corpus", corpus, "--fold", 0]
    words += ["--out", folder / "runs", "--results", folder / "results"]
    honesty_ladder.main([str(word) for word in words])
    return folder / "runs" / name / "seed-0" / "fold-0"


@pytest.mark.slow
def test_a_peeked_model_scores_what_was_selected_on(corpus: Path, tmp_path: Path) -> None:
    trained = run(PEEKED, corpus, tmp_path)
    result = read_result(tmp_path / "results" / f"ravdess-{PEEKED}-tiny.json")
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    info = speech_emotion.load(trained / "model.onnx").info
    assert info.protocol["test"] == info.protocol["validation"] == ["02", "05", "14", "15", "16"]
    assert (info.split_hash, result.leaky) == (result.split_hash, True)
    assert result.command.startswith(f"python benchmarks/honesty_ladder.py {PEEKED} ")
    answers = read_answers(tmp_path / "results" / f"ravdess-{PEEKED}-tiny.csv")
    best = max(line["validation_uar"] for line in log)
    assert 100 * result.uar_answered.mean == pytest.approx(best, abs=2.6)  # one clip of 40
    assert {answer.speaker for answer in answers} == set(info.protocol["test"])


@pytest.mark.slow
def test_copies_of_test_clips_are_learned_from(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(honesty_ladder, "export", exporting.stand_in([]))
    trained = run(COPIES, corpus, tmp_path)
    result = read_result(tmp_path / "results" / f"ravdess-{COPIES}-tiny.json")
    info = speech_emotion.load(trained / "model.onnx").info
    assert info.protocol["copies"] == info.protocol["test"]
    assert str(result.split) == (
        "random10-copies (LEAKY: same speakers in train and test, altered copies of test clips in train)"
    )
    names = {Path(a.file).stem for a in read_answers(tmp_path / "results" / f"ravdess-{COPIES}-tiny.csv")}
    assert names == {clip.name for clip in clips(range(1, 25))} & set(info.protocol["test"])
    with pytest.raises(SystemExit):
        run(COPIES, corpus, tmp_path)
