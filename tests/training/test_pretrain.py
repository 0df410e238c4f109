"""Pre-training: corpora that disagree teach one trunk, each through a head of its own."""

import dataclasses
import errno
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from speech_emotion import cli, corpora
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import PretrainConfig
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.train import Sides, build, fit
from speech_emotion.training.networks.frontend import LogMel
from speech_emotion.training.pretrain import _PreTrainer, pretrain

NEMO, EMOGATOR = ("surprised", "calm"), ("neutral", "angry", "happy")


def corpus(name: str, speakers: Sequence[int], categories: tuple[str, ...]) -> PreparedDataset:
    return miniature.dataset(miniature.clips(speakers, categories), corpus=name, categories=categories)


def is_set_aside(name: str, speaker: int) -> bool:
    return int.from_bytes(hashlib.sha256(f"{name} {speaker:02d}".encode()).digest(), "big") % 12 == 0


def speakers_of(name: str) -> list[int]:
    """Four to learn from and the first one to be set aside."""
    numbers = range(1, 100)
    heard = [number for number in numbers if not is_set_aside(name, number)][:4]
    return [*heard, next(number for number in numbers if is_set_aside(name, number))]


DATASETS = {
    "nemo": corpus("nemo", speakers_of("nemo"), NEMO),
    "emogator": corpus("emogator", speakers_of("emogator"), EMOGATOR),
}


def recipe(**changes: Any) -> PretrainConfig:
    shared = {field.name for field in dataclasses.fields(PretrainConfig)}
    settings = {name: v for name, v in miniature.recipe(**changes).to_dict().items() if name in shared}
    return PretrainConfig.from_dict(settings | {"corpora": ["nemo", "emogator"]})


def trainer(config: PretrainConfig | None = None) -> _PreTrainer:
    return _PreTrainer(config or recipe(), DATASETS, torch.device("cpu"))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_it_learns_from_corpora_that_share_no_category(tmp_path: Path) -> None:
    plain = {"speeds": [1.0], "warp_frequency": 0.0, "tilt_db": 0.0, "noise_probability": 0.0}
    config = recipe(
        fit={"epochs": 16, "batch_size": 10, "learning_rate": 2e-2, "label_smoothing": 0.0},
        network={"dropout": 0.0},
        augment=plain,
    )
    told = []
    path = pretrain(config, DATASETS, tmp_path, commit="abc", on_epoch=told.append)
    log = log_of(tmp_path)
    assert path == tmp_path / "trunk.safetensors"
    assert [epoch.row() for epoch in told] == log
    assert [row["epoch"] for row in log] == list(range(1, 17))
    assert log[0]["loss"] > 0.8  # chance is 0.4 · log 2 + 0.6 · log 3 = 0.94
    assert np.mean([row["loss"] for row in log[-4:]]) < 0.65
    assert log[-1]["validation_uar"] > 55  # chance is (50 + 33.3) / 2 = 42
    assert {row["validation_loss"] for row in log} == {None}


# Who hears whom


def test_each_clip_is_judged_by_the_head_of_its_own_corpus() -> None:
    """Neither the other head nor the other corpus's labels take part."""
    loop = trainer(recipe(network={"dropout": 0.0}, fit={"label_smoothing": 0.0}))
    assert {name: head[1].out_features for name, head in loop.network.heads.items()} == {
        "nemo": 2,
        "emogator": 3,
    }
    of_nemo = torch.nonzero(loop.corpus == 0)[:, 0][:4]
    loop.loss(of_nemo, Generator().manual_seed(0)).backward()
    assert loop.network.heads["nemo"][1].weight.grad.abs().sum() > 0
    assert loop.network.heads["emogator"][1].weight.grad is None
    assert loop.network.network.stem[0].weight.grad.abs().sum() > 0


def test_the_loss_is_the_mean_over_the_clips_of_all_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = trainer(recipe(fit={"label_smoothing": 0.0}))
    rows = torch.tensor([0, 9, 10, 11, 24])  # nemo has 10 clips, emogator 15
    asked: list[Tensor] = []

    def answers(_: Any, __: Any, clips: Tensor) -> list[tuple[Tensor, Tensor]]:
        asked.append(clips)
        return [
            (torch.zeros(2, 2), torch.tensor([0, 1])),
            (torch.zeros(3, 3), torch.tensor([0, 1, 2])),
        ]

    monkeypatch.setattr(loop, "_answers", answers)
    loss = loop.loss(rows, Generator().manual_seed(0))
    assert loss.item() == pytest.approx((2 * np.log(2) + 3 * np.log(3)) / 5)
    assert asked[0].tolist() == rows.tolist()


def test_answers_stand_beside_the_labels_of_their_own_clips() -> None:
    loop = trainer()
    rows = torch.tensor([24, 0, 10, 1])
    log_mel = torch.randn(4, 32, 48)
    with torch.inference_mode():
        nemo, emogator = loop._answers(loop.average, log_mel, rows)
        embedding = loop.average.network.embed(log_mel)
        expected = loop.average.heads["emogator"](embedding[[0, 2]])
    assert nemo[1].tolist() == DATASETS["nemo"].labels[[0, 1]].tolist()
    assert emogator[1].tolist() == DATASETS["emogator"].labels[[14, 0]].tolist()
    assert (nemo[0].shape, emogator[0].shape) == ((2, 2), (2, 3))
    torch.testing.assert_close(emogator[0], expected, rtol=0.05, atol=0.05)  # bf16 on the way


def test_windows_are_those_of_the_clip_in_its_own_corpus() -> None:
    loop = trainer(recipe(augment={"speeds": [1.0]}))
    (window,) = loop._windows(torch.tensor([12]), Generator().manual_seed(0))
    frontend = LogMel(n_mels=32)
    whole = frontend(torch.from_numpy(DATASETS["emogator"].waveform(2)).unsqueeze(0))[0]
    torch.testing.assert_close(window, whole[:, : window.shape[1]], rtol=0, atol=1e-4)


def test_speakers_who_are_set_aside_are_never_learned_from() -> None:
    loop = trainer(recipe(fit={"batch_size": 4}))
    for name, corpus_rows in (("nemo", range(10)), ("emogator", range(10, 25))):
        speakers = DATASETS[name].speakers
        aside = {row for row in corpus_rows if is_set_aside(name, int(speakers[row - corpus_rows[0]]))}
        assert aside == set(loop.aside.tolist()) & set(corpus_rows)
        assert len(aside) == len(DATASETS[name].categories)
    drawn = {
        row
        for epoch in range(6)
        for batch in loop.batches(Generator().manual_seed(epoch))
        for row in batch.tolist()
    }
    assert drawn == set(range(25)) - set(loop.aside.tolist())


def test_the_score_is_the_mean_of_the_corpora(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of one, a third of the other: 66.7 %, however many clips each has."""
    loop = trainer()

    def answers(_: Any, __: Any, rows: Tensor) -> list[tuple[Tensor, Tensor]]:
        (name,) = {loop.names[index] for index in loop.corpus[rows].tolist()}
        labels = loop.banks[loop.names.index(name)].labels[loop.clip[rows]]
        said = labels if name == "nemo" else torch.ones_like(labels)
        return [(torch.nn.functional.one_hot(said, 3).float(), labels)]

    monkeypatch.setattr(loop, "_answers", answers)
    assert loop.validate() == pytest.approx(100 * (1 + 1 / 3) / 2, abs=1e-3)


def test_where_nobody_is_set_aside_nothing_is_measured(tmp_path: Path) -> None:
    datasets = {name: corpus(name, speakers_of(name)[:4], made.categories) for name, made in DATASETS.items()}
    pretrain(recipe(fit={"epochs": 1}), datasets, tmp_path, commit=None)
    (row,) = log_of(tmp_path)
    assert row["validation_uar"] is None
    assert trunk.load(tmp_path / "trunk.safetensors")[1]["validation_uar"] is None


# Interrupted, repeated, refused


class Killed(BaseException):
    pass


def test_an_interrupted_pre_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    config = recipe(fit={"epochs": 3, "trunk_rate": 0.5, "stage_decay": 0.5})

    def kill(epoch: Any) -> None:
        if epoch.epoch < 3:
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            pretrain(config, DATASETS, tmp_path / "killed", commit="abc", on_epoch=kill)
        assert not (tmp_path / "killed" / "trunk.safetensors").exists()
    killed = pretrain(config, DATASETS, tmp_path / "killed", commit="abc")
    whole = pretrain(config, DATASETS, tmp_path / "whole", commit="abc")
    assert killed.read_bytes() == whole.read_bytes()
    one, other = checkpoint.load(tmp_path / "killed")[0], checkpoint.load(tmp_path / "whole")[0]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    told: list[Any] = []
    again = pretrain(config, DATASETS, tmp_path / "whole", commit="abc", on_epoch=told.append)
    assert (told, again.read_bytes()) == ([], killed.read_bytes())


@pytest.mark.parametrize("other", ["recipe", "corpus"])
def test_a_folder_of_another_pre_training_is_refused_and_left_alone(tmp_path: Path, other: str) -> None:
    config = recipe(fit={"epochs": 1})
    pretrain(config, DATASETS, tmp_path, commit=None)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    datasets = dict(DATASETS)
    if other == "recipe":
        config = config.with_seed(1)
    else:
        datasets["nemo"] = dataclasses.replace(DATASETS["nemo"], key="2" * 64)
    with pytest.raises(ConfigError, match=r"holds a run of another recipe or other corpora\. Choose another"):
        pretrain(config, datasets, tmp_path, commit=None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("names", [["nemo"], ["nemo", "emogator", "savee"], ["nemo", "savee"]])
def test_corpora_that_are_not_the_recipe_s_are_refused(tmp_path: Path, names: list[str]) -> None:
    datasets = dict.fromkeys(names, DATASETS["nemo"])
    with pytest.raises(ConfigError, match=rf"tiny learns from nemo, emogator; got {', '.join(names)}"):
        pretrain(recipe(), datasets, tmp_path / "out", commit=None)
    assert not (tmp_path / "out").exists()


# The trunk


def test_a_trunk_says_where_it_comes_from(tmp_path: Path) -> None:
    origin = {"name": "an encoder", "licence": "MIT", "citation": "Somebody (2020)."}
    trunk.save(build(miniature.recipe()), origin, tmp_path / "origin.safetensors")
    config = recipe(init=str(tmp_path / "origin.safetensors"), fit={"epochs": 1})
    _, facts = trunk.load(pretrain(config, DATASETS, tmp_path / "out", commit="abc123"))
    nemo, emogator = corpora.get("nemo"), corpora.get("emogator")
    assert facts["licence"] == "; ".join(dict.fromkeys(["MIT", nemo.licence, emogator.licence]))
    assert facts["citation"] == f"Somebody (2020). {nemo.citation} {emogator.citation}"
    assert facts["began_with"] == origin
    assert facts["corpora"] == ["nemo", "emogator"]
    assert facts["corpus_hashes"] == {"nemo": "0" * 64, "emogator": "0" * 64}
    assert facts["n_clips"] == {"nemo": 10, "emogator": 15}
    assert facts["validation_uar"] == log_of(tmp_path / "out")[-1]["validation_uar"]
    assert PretrainConfig.from_dict(facts["recipe"]) == config
    assert (facts["name"], facts["commit"]) == ("tiny", "abc123")


def test_it_begins_with_the_weights_of_its_recipe(tmp_path: Path) -> None:
    origin = build(miniature.recipe().with_seed(9))
    trunk.save(origin, {"name": "origin"}, tmp_path / "origin.safetensors")
    loop = trainer(recipe(init=str(tmp_path / "origin.safetensors")))
    assert torch.equal(loop.network.network.stem[0].weight, origin.stem[0].weight)
    assert loop.began_with == {"name": "origin"}
    assert trainer().began_with == {}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"network": {"architecture": "transformer", "layers": 1}, "frontend": {"n_mels": 16, "hop": 640}},
    ],
    ids=["cnn", "transformer"],
)
def test_fine_tuning_starts_from_the_trunk(tmp_path: Path, settings: dict[str, Any]) -> None:
    options = {"fit": {"epochs": 1, "warmup": 0.5, "learning_rate": 1e-6}, **settings}
    path = pretrain(recipe(**options), DATASETS, tmp_path / "pretrained", commit=None)
    config = miniature.recipe(**options, init=str(path), name="fine")
    heard = miniature.dataset(miniature.clips([1, 2], ["calm", "angry"]))
    frontend = LogMel(**dataclasses.asdict(config.frontend))
    bank = FrameCache(heard, frontend, config.augment)
    fitted = fit(config, heard, bank, Sides(np.arange(4), np.zeros(0, np.int64)), tmp_path / "fine")
    weights, facts = trunk.load(path)
    assert fitted.trunks == (facts,)
    tensors, _ = checkpoint.load(tmp_path / "fine")
    for name, weight in weights.items():
        if weight.is_floating_point() and "running" not in name:
            torch.testing.assert_close(tensors[f"network.{name}"], weight, rtol=0, atol=1e-5)


def test_a_full_disk_is_an_error_with_a_next_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_space(*_: Any, **__: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli, "_prepared", lambda *_: None)
    monkeypatch.setattr("speech_emotion.training.pretrain.pretrain", no_space)
    recipe = Path(__file__).parents[2] / "recipes" / "pretrain.toml"
    with pytest.raises(ConfigError, match=r"runs: cannot be written \(No space left.*Free some space"):
        cli.pretrain(recipe, ["nemo=corpus"], out=tmp_path / "runs", device="cpu")
