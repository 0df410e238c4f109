"""Two networks in one model: trained as if each were alone, their logits averaged."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from miniature import clips, dataset, halves, recipe

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation import score
from speech_emotion.model import EmotionModel
from speech_emotion.training import runs
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.window_features import window_features
from speech_emotion.training.export.ship import export_run
from speech_emotion.training.fit import enrolment
from speech_emotion.training.fit.checkpoint import final_weights
from speech_emotion.training.networks.build import assemble, build
from speech_emotion.training.networks.pair import EmotionPair

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
AS_SOUND = {"warp_frequency": 0.0, "n_masks": 0}
WEIGHT = 0.3


def alone() -> tuple[TrainConfig, TrainConfig]:
    """A frozen encoder with a linear head, and a smaller network that is trained whole, with its own front end."""
    first = recipe(name="pair", probe={"copies": 2, "crop_seconds": 0.6}, augment=AS_SOUND)
    second = recipe(name="second", frontend={"n_mels": 40, "n_fft": 1024}, network={"channels": [8, 8, 8, 8]})
    return first, second


def pair() -> TrainConfig:
    first, second = alone()
    return dataclasses.replace(first, second=second, second_weight=WEIGHT)


def prepared(folder: Path) -> PreparedDataset:
    """The clips, as if prepared in `folder`, where their copies are kept as well."""
    return dataclasses.replace(dataset(CLIPS), folder=folder / "prepared" / "ravdess")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one fold, trained and not exported."""
    out = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patched:
        do_not_export(patched)
        (trained,) = runs.train(runs.plan(pair(), out, halves(), [0], [0]), prepared(out))
    return trained.parent


@pytest.fixture(scope="module")
def model(run: Path, tmp_path_factory: pytest.TempPathFactory) -> EmotionModel:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_run(run, path)
    return EmotionModel.load(path)


def do_not_export(patched: pytest.MonkeyPatch) -> None:
    """Exporting takes longer than the training."""
    patched.setattr(runs, "export_run", lambda *_: None)


@pytest.fixture(autouse=True)
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_export(monkeypatch)


# The recipe


def test_the_second_recipe_is_a_file_beside_the_first(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("[fit]\nepochs = 3\n")
    (tmp_path / "both.toml").write_text('second = "small.toml"\nsecond_weight = 0.25\n')
    config = TrainConfig.load(tmp_path / "both.toml")
    assert config.second is not None
    assert (config.second.name, config.second.fit.epochs, config.second_weight) == ("small", 3, 0.25)
    assert config.parts == (TrainConfig("both"), config.second)
    (tmp_path / "torn.toml").write_text('second = "none.toml"\n')
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read"):
        TrainConfig.load(tmp_path / "torn.toml")


def test_the_second_recipe_is_what_differs(tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text(
        "[fit]\nepochs = 3\n[network]\nlayers = 4\nwidth = 512\n"
        '[second]\nname = "small"\n[second.network]\nlayers = 2\n'
    )
    config = TrainConfig.load(tmp_path / "both.toml")
    first, second = config.parts
    assert (first.name, first.network.layers, second.name, second.network.layers) == ("both", 4, "small", 2)
    assert (second.fit.epochs, second.network.width, second.second) == (3, 512, None)


def test_a_pair_survives_json_and_toml() -> None:
    assert TrainConfig.from_dict(json.loads(json.dumps(pair().to_dict()))) == pair()


def test_a_seed_is_both_networks() -> None:
    assert [part.fit.seed for part in pair().with_seed(7).parts] == [7, 7]


@pytest.mark.parametrize(
    ("second", "weight", "rule"),
    [
        ({"second": {"name": "third"}}, 0.5, "second: must not have a second of its own"),
        ({"window": {"seconds": 2.0}}, 0.5, r"second: must have the same \[window\]"),
        ({"corpus": "savee"}, 0.5, "second: must learn from the same corpora"),
        ({"fit": {"epochs": 0}}, 0.5, r"second: fit: epochs: must be in \[1, inf\)"),
        ({"fit": {"epoch": 1}}, 0.5, r"second: fit: there is no setting 'epoch'. Did you mean epochs\?"),
        ("other.toml", 0.5, "second: must be a section of settings"),
        ({}, 0.0, r"second_weight: must be in \(0, 1\)"),
        ({}, 1.0, r"second_weight: must be in \(0, 1\)"),
    ],
)
def test_what_cannot_be_a_pair_is_refused(second: Any, weight: float, rule: str) -> None:
    named = {"name": "other"} | second if isinstance(second, dict) else second
    with pytest.raises(ConfigError, match=rule):
        TrainConfig.from_dict({"name": "x", "second": named, "second_weight": weight})


def test_both_networks_of_a_mixture_learn_from_the_same_copies() -> None:
    first, _ = alone()
    without = dataclasses.replace(first.fit, label_smoothing=0.0)
    first = dataclasses.replace(first, mixture={"nemo": 0.5}, fit=without)
    same = dataclasses.replace(first, name="second", mixture={"nemo": 0.1}).to_dict()
    assert TrainConfig.from_dict(first.to_dict() | {"second": same}).is_frozen
    for changed in ({"mixture": {"tess": 0.5}}, {"augment": same["augment"] | {"tilt_db": 5.5}}):
        with pytest.raises(ConfigError, match="of a mixture, the same copies"):
            TrainConfig.from_dict(first.to_dict() | {"second": same | changed})


# The network


@torch.inference_mode()
def test_its_logits_are_the_weighted_mean_of_both() -> None:
    first, second = miniature.lively_network(), build(alone()[1]).eval()
    both = EmotionPair(first, second, weight=WEIGHT).eval()
    waveform = torch.from_numpy(np.stack([miniature.sound(clip) for clip in CLIPS[:3]]))
    of_first, of_second = first(waveform), second(waveform)
    assert (of_first - of_second).abs().max() > 0.1
    torch.testing.assert_close(both(waveform), 0.7 * of_first + 0.3 * of_second)
    embedding, log_mel = both.analyse(waveform)
    assert embedding.shape == (3, both.n_embedding) == (3, first.n_embedding + second.n_embedding)
    torch.testing.assert_close(embedding[:, : first.n_embedding], first.analyse(waveform)[0], rtol=0, atol=0)
    torch.testing.assert_close(log_mel, first.analyse(waveform)[1], rtol=0, atol=0)


# The training


def test_each_learns_as_if_it_were_alone(run: Path, tmp_path: Path) -> None:
    pair_weights = final_weights(run)
    for name, config in zip(("first", "second"), alone(), strict=True):
        runs.train(runs.plan(config, tmp_path / name, halves(), [0], [0]), prepared(tmp_path))
        trained = final_weights(tmp_path / name / "seed-0" / "fold-0")
        assert trained.keys() == final_weights(run / name).keys()
        for key, tensor in final_weights(run / name).items():
            assert torch.equal(tensor, trained[key]), key
        assert {key for key in pair_weights if key.startswith(f"{name}.")} == {f"{name}.{k}" for k in trained}


@pytest.mark.slow
def test_the_model_answers_with_both(run: Path, model: EmotionModel) -> None:
    sounds = np.stack([miniature.sound(clip) for clip in CLIPS[:4]])
    networks = []
    for name, config in zip(("first", "second"), alone(), strict=True):
        network = build(config).eval()
        network.load_state_dict(final_weights(run / name))
        networks.append(network)
    with torch.inference_mode():
        of_first, of_second = (network(torch.from_numpy(sounds)).numpy() for network in networks)
    scores = model.score(sounds)
    np.testing.assert_allclose(
        scores.logits, 0.7 * of_first + 0.3 * of_second, atol=0.02
    )  # rounded to 8 bits
    assert np.abs(of_first - of_second).max() > 0.2
    assert model.info.n_parameters == sum(p.numel() for network in networks for p in network.parameters())
    assert model.info.recipe["second"]["name"] == "second"


@pytest.mark.slow
def test_a_profile_is_of_both_embeddings(run: Path, model: EmotionModel) -> None:
    info = model.info
    both = assemble(pair())
    assert info.enrolment is not None
    assert info.enrolment.n_features == both.n_embedding + 2 * 32
    head = enrolment.read(run)
    assert head is not None
    assert head.weight.shape == (8, both.n_embedding + 2 * 32)


def test_the_run_folder_holds_the_log_of_both(run: Path) -> None:
    for name, n_epochs in (("first", 1), ("second", 2)):
        assert len((run / name / "log.jsonl").read_text().splitlines()) == n_epochs
    (line,) = (json.loads(line) for line in (run / "log.jsonl").read_text().splitlines())
    assert (line["loss"], line["n_epochs"]) == (None, 1)
    assert 0 <= line["validation_uar"] <= 100


def test_folds_of_a_pair_do_not_share_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder of the first network is frozen, but the second network is another one in every fold."""
    analysed: list[Any] = []
    monkeypatch.setattr(
        runs, "window_features", lambda *asked: (analysed.append(asked), window_features(*asked))[1]
    )
    runs.train(runs.plan(pair(), tmp_path, halves(), [0], None), prepared(tmp_path))
    assert len(analysed) == 2


def test_it_shows_that_both_are_together(tmp_path: Path) -> None:
    told: list[str] = []
    config = dataclasses.replace(pair(), name="together")
    runs.train(
        runs.plan(config, tmp_path, halves(), [0], [0]),
        prepared(tmp_path),
        on_epoch=lambda _, epoch: told.append(str(epoch)),
    )
    assert [re.split(":|, validation", line)[0] for line in told] == [
        "first network, epoch 1/1",
        "second network, epoch 1/2",
        "second network, epoch 2/2",
        "both networks",
    ]


def test_a_killed_pair_goes_on_and_ends_alike(run: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(_: str, epoch: Any) -> None:
        if (epoch.epoch, epoch.n_epochs) == (1, 2):
            raise Killed

    plan = runs.plan(pair(), tmp_path, halves(), [0], [0])
    with pytest.raises(Killed):
        runs.train(plan, prepared(tmp_path), on_epoch=kill)
    told: list[int] = []
    runs.train(plan, prepared(tmp_path), on_epoch=lambda _, epoch: told.append(epoch.epoch))
    assert told == [1, 2, 1]  # the head again, what was left of the second network, both
    for name, tensor in final_weights(run).items():
        assert torch.equal(tensor, final_weights(plan[0].folder)[name]), name


def test_another_second_network_in_the_folder_is_refused(tmp_path: Path) -> None:
    plan = runs.plan(pair(), tmp_path, halves(), [0], [0])
    runs.train(plan, prepared(tmp_path))
    for path in plan[0].folder.glob("checkpoint*"):  # killed before both were put together
        path.unlink()
    _, second = alone()
    longer = dataclasses.replace(second, fit=dataclasses.replace(second.fit, epochs=3))
    other = runs.plan(dataclasses.replace(pair(), second=longer), tmp_path, halves(), [0], [0])
    with pytest.raises(ConfigError, match="second: holds a run of another recipe"):
        runs.train(other, prepared(tmp_path), on_epoch=lambda *_: pytest.fail("trained"))


@pytest.mark.slow
def test_seeds_of_a_pair_are_one_recipe(model: EmotionModel) -> None:
    info = model.info
    infos = [[dataclasses.replace(info, recipe=pair().with_seed(seed).to_dict())] for seed in (0, 1)]
    assert infos[1][0].recipe["second"]["fit"]["seed"] == 1
    assert score._seeds(infos) == [0, 1]
    other = dataclasses.replace(info, recipe=alone()[0].with_seed(1).to_dict())
    with pytest.raises(ConfigError, match="different recipes"):
        score._seeds([infos[0], [other]])
