"""The whole line on a miniature corpus, as a user types it: train, export, predict, evaluate."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import miniature
import pytest

import speech_emotion
from speech_emotion.evaluation.result import read_result
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS

pytestmark = pytest.mark.slow

RECIPE = """
[window]
seconds = 1.0
hop_seconds = 0.5
[frontend]
n_mels = 32
[network]
channels = [8, 8, 16, 16]
[augment]
speeds = [1.0]
[fit]
epochs = 2
batch_size = 8
"""
EMOTION = ("neutral", "happy", "surprised")


class Line(NamedTuple):
    folder: Path
    said: dict[str, subprocess.CompletedProcess[str]]


def speech_emotion_says(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "speech_emotion", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"},
    )


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """Every command once, in its own process; what each said. Under serab: one fold, so one model."""
    folder = tmp_path_factory.mktemp("line")
    miniature.write_corpus(folder / "corpus", miniature.clips(range(1, 25), EMOTION))
    (folder / "tiny.toml").write_text(RECIPE)
    corpus = ("--corpus", "ravdess=corpus", "--protocol", "serab")
    facts = ("--calibration", "runs/tiny/serab", "--result", "results/ravdess-serab-tiny.json")
    clip = "corpus/03-01-01-01-01-01-04.wav"
    commands = {
        "train": ("train", "tiny.toml", *corpus),
        "again": ("train", "tiny.toml", *corpus),
        "evaluate": ("evaluate", "runs/tiny/serab", *corpus),
        "export": ("export", "runs/tiny/serab/seed-0/fold-0", "--out", "mine/model.onnx", *facts),
        "predict": ("predict", clip, "--model", "mine/model.onnx", "--json"),
        "leak": ("evaluate", "mine/model.onnx", "--corpus", "ravdess=corpus", "--protocol", "luna5"),
    }
    return Line(folder, {name: speech_emotion_says(folder, *words) for name, words in commands.items()})


@pytest.mark.parametrize("command", ["train", "again", "evaluate", "export", "predict"])
def test_every_command_succeeds(line: Line, command: str) -> None:
    assert line.said[command].returncode == 0, line.said[command].stderr
    assert "Warning" not in line.said[command].stderr
    assert "Traceback" not in line.said[command].stderr


def test_training_tells_its_epochs_and_what_to_do_next(line: Line) -> None:
    first, second, model = line.said["train"].stdout.splitlines()
    assert first.startswith("tiny, seed 0, fold 0: epoch 1/2: loss 2.")
    assert second.startswith("tiny, seed 0, fold 0: epoch 2/2: loss ")
    assert second.endswith("; 0 min 00 s left")
    assert model == "runs/tiny/serab/seed-0/fold-0/model.onnx"
    assert line.said["train"].stderr.splitlines()[-1] == (
        "Next: speech-emotion evaluate runs/tiny/serab --corpus ravdess=corpus --protocol serab"
    )


def test_trained_again_there_is_nothing_to_do(line: Line) -> None:
    assert line.said["again"].stdout == "runs/tiny/serab/seed-0/fold-0/model.onnx\n"


def test_the_run_learned_from_its_own_side_of_the_split(line: Line) -> None:
    run = json.loads((line.folder / "runs/tiny/serab/seed-0/fold-0/run.json").read_text())
    (fold,) = protocol("serab").folds
    assert set(run["protocol"]["train"]) == fold.train
    assert run["split_hash"] == protocol("serab").split_hash


def test_the_held_out_clips_were_scored(line: Line) -> None:
    result = read_result(line.folder / "results/ravdess-serab-tiny.json")
    assert (result.n_clips, result.n_speakers) == (15, 5)
    assert 0 <= result.uar.mean <= 1
    assert set(result.per_actor) == protocol("serab").folds[0].test
    assert "tiny on ravdess" in line.said["evaluate"].stdout


def test_the_exported_model_says_what_it_is_and_how_well_it_did(line: Line) -> None:
    info = speech_emotion.load(line.folder / "mine/model.onnx").info
    result = read_result(line.folder / "results/ravdess-serab-tiny.json")
    run = json.loads((line.folder / "runs/tiny/serab/seed-0/fold-0/run.json").read_text())
    assert info.metrics["uar"]["mean"] == result.uar.mean
    assert info.temperature == pytest.approx(run["validation"]["likeliest_temperature"])
    assert info.protocol == run["protocol"]
    assert (line.folder / "mine/model.sha256").read_text() == f"{info.sha256}  model.onnx\n"
    card = (line.folder / "mine/model.md").read_text()
    assert f"UAR **{100 * result.uar.mean:.1f} [" in card
    assert "14 speakers (serab, fold 0)" in card
    assert line.said["export"].stdout.endswith(f"sha256 {info.sha256}\n")


def test_it_answers(line: Line) -> None:
    said = line.said["predict"].stdout
    assert all(emotion in said for emotion in EMOTIONS)
    clip = line.folder / "corpus/03-01-01-01-01-01-04.wav"
    prediction = speech_emotion.load(line.folder / "mine/model.onnx").predict(clip)
    assert prediction.label is not None
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.to_dict()["label"] == json.loads(said)[0]["label"]


def test_speakers_it_learned_from_cannot_test_it(line: Line) -> None:
    assert line.said["leak"].returncode == 1
    assert "(speaker_leak)" in line.said["leak"].stderr
    assert "are tested" in line.said["leak"].stderr
