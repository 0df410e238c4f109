"""Recipes: read in full, or refused with the setting named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from speech_emotion import corpora
from speech_emotion.errors import ConfigError
from speech_emotion.training.config import FitConfig, TrainConfig

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))


def test_a_recipe_is_a_difference_to_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[fit]\nepochs = 3\nlearning_rate = 1\n[augment]\nspeeds = [1.0]\n")
    config = TrainConfig.load(path)
    default = TrainConfig("mine")
    assert config == dataclasses.replace(
        default,
        fit=dataclasses.replace(default.fit, epochs=3, learning_rate=1.0),
        augment=dataclasses.replace(default.augment, speeds=(1.0,)),
    )
    assert isinstance(config.fit.learning_rate, float)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_our_recipes_load(path: Path) -> None:
    config = TrainConfig.load(path)
    assert {config.corpus, *config.mixture} - config.unlabelled.keys() <= set(corpora.names())
    assert config.name in path.stem
    assert config.recipes_tried >= 1


def test_there_are_recipes() -> None:
    assert RECIPES


def test_the_open_recipe_is_the_network_of_the_standard_one() -> None:
    ours, standard = (TrainConfig.load(FOLDER / f"{name}.toml") for name in ("open", "standard"))
    for part in ("init", "window", "frontend", "network", "augment"):
        assert getattr(ours, part) == getattr(standard, part)


def test_a_mixture_comes_back_from_its_run_folder() -> None:
    config = TrainConfig.load(FOLDER / "standard.toml")
    assert config.unlabelled == {"plain-speech": ("neutral", "calm")}
    assert config.exclusive == ("calm",)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_compact_recipe_is_the_encoder_and_the_cnn() -> None:
    compact = TrainConfig.load(FOLDER / "ravdess-compact.toml")
    encoder = TrainConfig.load(FOLDER / "ravdess-encoder.toml")
    own = {"name": compact.name, "recipes_tried": compact.recipes_tried}
    assert compact.parts == (
        dataclasses.replace(encoder, **own),
        TrainConfig.load(FOLDER / "ravdess-cnn.toml"),
    )


def test_another_start_is_another_recipe_and_nothing_else() -> None:
    config = TrainConfig("x")
    assert config.init == "fresh"
    assert config.with_init("encoder.safetensors") == dataclasses.replace(config, init="encoder.safetensors")


def test_the_resolved_recipe_survives_json() -> None:
    config = TrainConfig.load(RECIPES[0]).with_seed(7)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.fit.seed == 7


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"epoch": 3}, "there is no setting 'epoch'. Choose from: name, init"),
        ({"fits": {}}, "there is no setting 'fits'. Did you mean fit?"),
        ({"fit": {"epoch": 3}}, "fit: there is no setting 'epoch'. Did you mean epochs?"),
        (
            {"augment": {"noise_prob": 1}},
            "augment: there is no setting 'noise_prob'. Did you mean noise_prob",
        ),
        ({"fit": 3}, "fit: must be a section of settings, got 3"),
        ({"fit": {"epochs": 2.5}}, "epochs: must be int, got 2.5"),
        ({"fit": {"epochs": True}}, "epochs: must be int, got True"),
        ({"fit": {"learning_rate": "fast"}}, "learning_rate: must be float, got 'fast'"),
        ({"fit": {"learning_rate": True}}, "learning_rate: must be float, got True"),
        ({"fit": {"learning_rate": float("nan")}}, "learning_rate: must be a finite number, got nan"),
        ({"network": {"channels": 32}}, "channels: must be a list, got 32"),
        ({"network": {"channels": [8, 8, 8, "8"]}}, "channels: must be int, got '8'"),
        ({"name": 3}, "name: must be str, got 3"),
        ({"mixture": ["nemo"]}, "mixture: must be a section of settings, got ['nemo']"),
        ({"mixture": {"nemo": "much"}}, "mixture: nemo: must be float, got 'much'"),
        ({"mixture": {"nemo": 0}}, "mixture: nemo: must be in (0, inf), got 0.0"),
        ({"mixture": {"nemo": 1}}, "mixture: needs probe.copies"),
        ({"unlabelled": {"nemo": ["calm"]}}, "unlabelled: names corpora of mixture"),
        (
            {
                "mixture": {"nemo": 1},
                "unlabelled": {"nemo": []},
                "probe": {"copies": 1},
                "augment": {"warp_frequency": 0, "n_masks": 0},
                "fit": {"label_smoothing": 0},
            },
            "unlabelled: at least one label for each",
        ),
        ({"exclusive": ["calm"]}, "exclusive: needs a [mixture]"),
        ({"probe": {"mixture_copies": 2}}, "probe: mixture_copies needs a [mixture]"),
        ({"exclusive": "calm"}, "exclusive: must be a list, got 'calm'"),
        ({"network": {"layers": 2, "pooled_layers": 3}}, "network: pooled_layers ≤ layers"),
        ({"mixture": {"ravdess": 1}}, "mixture: names other corpora than corpus"),
    ],
)
def test_what_does_not_exist_or_has_another_type_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainConfig.from_dict({"name": "x"} | settings, where="x.toml")
    assert str(refused.value).startswith("x.toml: ")
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("section", "settings", "rule"),
    [
        ("window", {"min_seconds": 0.0}, "window: min_seconds: must be in (0, inf), got 0.0"),
        ("window", {"min_seconds": 4.0}, "min_seconds ≤ seconds"),
        ("window", {"hop_seconds": 0.0}, "window: hop_seconds: must be in (0, inf)"),
        ("window", {"hop_seconds": 3.5}, "hop_seconds ≤ seconds"),
        ("window", {"min_seconds": 0.03}, "min_seconds must hold n_fft samples"),
        ("frontend", {"hop": 0}, "frontend: hop: must be in (0, inf)"),
        ("frontend", {"n_mels": -1}, "frontend: n_mels: must be in (0, inf)"),
        ("frontend", {"n_fft": 513}, "n_fft must be even"),
        ("frontend", {"n_fft": 16_384}, "min_seconds must hold n_fft samples"),
        ("frontend", {"fmin_hz": -1.0}, "frontend: fmin_hz: must be in [0, 8000)"),
        ("frontend", {"fmin_hz": 8000.0}, "frontend: fmin_hz: must be in [0, 8000)"),
        ("network", {"width": 100}, "network: width: a multiple of 64"),
        ("network", {"layers": 0}, "network: layers: must be in [1, inf)"),
        ("network", {"channels": [8, 8, 8]}, "channels: four multiples of 8"),
        ("network", {"channels": [8, 8, 8, 12]}, "channels: four multiples of 8"),
        ("network", {"channels": [8, 8, 8, 0]}, "network: channels: must be in (0, inf), got 0"),
        ("network", {"dropout": 1.0}, "network: dropout: must be in [0, 1)"),
        ("augment", {"speeds": [0.9, 1.1]}, "1.0 must be among the speeds"),
        ("augment", {"speeds": []}, "1.0 must be among the speeds"),
        ("augment", {"speeds": [1.0, 2.5]}, "augment: speeds: must be in [0.5, 2]"),
        ("augment", {"warp_frequency": 1.0}, "augment: warp_frequency: must be in [0, 1)"),
        ("augment", {"noise_probability": 1.1}, "augment: noise_probability: must be in [0, 1]"),
        ("augment", {"telephone_probability": -0.1}, "augment: telephone_probability: must be in [0, 1]"),
        (
            "augment",
            {"telephone_probability": 0.6, "room_probability": 0.5},
            "telephone_probability and room_probability together ≤ 1",
        ),
        ("augment", {"noise_snr_db": [5.0]}, "noise_snr_db is two numbers"),
        ("augment", {"noise_snr_db": [20.0, 5.0]}, "low and high"),
        ("augment", {"tilt_db": -1.0}, "augment: tilt_db: must be in [0, inf)"),
        ("augment", {"frequency_mask": -1}, "augment: frequency_mask: must be in [0, inf)"),
        ("augment", {"time_mask": -1}, "augment: time_mask: must be in [0, inf)"),
        ("augment", {"n_masks": -1}, "augment: n_masks: must be in [0, inf)"),
        ("fit", {"epochs": 0}, "fit: epochs: must be in [1, inf)"),
        ("fit", {"batch_size": 1}, "fit: batch_size: must be in [2, inf)"),
        ("fit", {"learning_rate": 0.0}, "fit: learning_rate: must be in (0, inf)"),
        ("fit", {"body_rate": 1.1}, "fit: body_rate: must be in [0, 1]"),
        ("fit", {"body_rate": -0.1}, "fit: body_rate: must be in [0, 1]"),
        ("fit", {"crop_seconds": 3.1}, "crop_seconds ≤ window.seconds"),
        ("fit", {"crop_seconds": -1.0}, "fit: crop_seconds: must be in [0, inf)"),
        ("fit", {"weight_decay": -0.1}, "fit: weight_decay: must be in [0, inf)"),
        ("fit", {"warmup": 1.0}, "fit: warmup: must be in [0, 1)"),
        ("fit", {"label_smoothing": -0.1}, "fit: label_smoothing: must be in [0, 1)"),
        ("fit", {"ema_decay": 1.0}, "fit: ema_decay: must be in [0, 1)"),
        ("probe", {"copies": -1}, "probe: copies: must be in [0, inf)"),
        ("probe", {"penalty": -0.1}, "probe: penalty: must be in [0, inf)"),
        ("probe", {"copies": 1, "crop_seconds": 0.4}, "min_seconds ≤ crop_seconds ≤ window.seconds"),
        ("probe", {"copies": 1, "crop_seconds": 3.1}, "min_seconds ≤ crop_seconds ≤ window.seconds"),
    ],
)
def test_what_cannot_be_trained_is_refused(section: str, settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainConfig.from_dict({"name": "x", section: settings})
    assert rule in str(refused.value)


def test_without_copies_their_length_does_not_matter() -> None:
    config = TrainConfig.from_dict({"name": "x", "window": {"seconds": 1.0}, "probe": {"crop_seconds": 2.5}})
    assert config.probe.copies == 0


@pytest.mark.parametrize("settings", [{"name": "a/b"}, {"name": ""}, {"name": ".."}, {"recipes_tried": 0}])
def test_a_name_is_a_file_name_and_a_recipe_was_tried(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        TrainConfig.from_dict({"name": "x"} | settings)


def test_a_recipe_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="name"):
        TrainConfig.from_dict({})


def test_a_recipe_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file"):
        TrainConfig.load(tmp_path / "none.toml")
    (tmp_path / "torn.toml").write_text("[fit\n")
    with pytest.raises(ConfigError, match=r"torn\.toml: not valid TOML"):
        TrainConfig.load(tmp_path / "torn.toml")
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 100_000}")
    with pytest.raises(ConfigError, match=r"deep\.toml: not valid TOML"):
        TrainConfig.load(tmp_path / "deep.toml")
    (tmp_path / "long.toml").write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ConfigError, match=r"long\.toml: .*larger than"):
        TrainConfig.load(tmp_path / "long.toml")
    with pytest.raises(ConfigError, match=r"cannot be read .it is a pipe or a device"):
        TrainConfig.load("/dev/zero")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin\.toml: not valid TOML"):
        TrainConfig.load(tmp_path / "latin.toml")


def test_seeds_depend_on_the_seed_and_the_purpose() -> None:
    seeds = {FitConfig(seed=seed).seed_for(purpose) for seed in (0, 1) for purpose in ("weights", "epoch 0")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**56 for seed in seeds)
    assert FitConfig().seed_for("weights") == 8_315_746_752_612_573  # of sha256("0 weights")
