"""Embeddings of augmented clips: computed once, the same again, and computed anew when anything else is asked for."""

import dataclasses
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from miniature import clips, dataset, lively_network, recipe
from torch import nn

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data import embeddings as module
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import initialise, save_encoder

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
N_COPIES, N_EMBEDDING = 3, 32


def config_of(**changes: Any) -> TrainConfig:
    of_probe = {"copies": N_COPIES, "crop_seconds": 0.6} | changes.pop("probe", {})
    as_sound = {"warp_frequency": 0.0, "n_masks": 0} | changes.pop("augment", {})
    return recipe(probe=of_probe, augment=as_sound, **changes)


def copies(
    config: TrainConfig, network: Any, made: PreparedDataset, folder: Path, progress: Any = None
) -> Any:
    """The embeddings of `made`, as if it were prepared in `folder`."""
    beside = dataclasses.replace(made, folder=folder / "ravdess")
    return AugmentedEmbeddings.of(config, network, beside, progress or (lambda *_: None))


@pytest.fixture(scope="module")
def made() -> PreparedDataset:
    return dataset(CLIPS)


def start(config: TrainConfig) -> Any:
    network = build(config)
    initialise(network, config.init)
    return network


def test_copies_are_the_same_bytes_again(tmp_path: Path, made: PreparedDataset) -> None:
    told: list[tuple[int, int]] = []
    for name in ("one", "other"):
        torch.manual_seed(len(name))  # whatever was drawn before
        copies(config_of(), start(config_of()), made, tmp_path / name, lambda *done: told.append(done))
    (one,), (other,) = ((tmp_path / name).glob("*.safetensors") for name in ("one", "other"))
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    assert one.name.startswith("ravdess-embeddings-")
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_copies_are_the_same_bytes_whatever_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, config, found = miniature.prepared(tmp_path, CLIPS), config_of(), []
    for workers in (1, 2):
        monkeypatch.setattr(module, "processes_for", lambda *_, n=workers: n)
        AugmentedEmbeddings.of(config, start(config), made, lambda *_: None)
        (path,) = tmp_path.glob("ravdess-embeddings-*")
        found.append(path.read_bytes())
        path.unlink()
    assert found[0] == found[1]


def test_copies_are_made_once(tmp_path: Path, made: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    first = copies(config, start(config), made, tmp_path)
    (whole,) = tmp_path.glob("*.safetensors")
    left_over = whole.with_stem(f"{whole.stem}-copy-1")  # left by a killed run
    left_over.touch()
    monkeypatch.setattr(module, "augmented", lambda *_: pytest.fail("embedded again"))
    second = copies(config, start(config), made, tmp_path)
    assert torch.equal(first.parts[0], second.parts[0])
    assert not left_over.exists()
    assert first.parts[0].shape == (N_COPIES, len(CLIPS), N_EMBEDDING)
    assert first.parts[0].dtype == torch.float16
    assert not torch.equal(first.parts[0][0], first.parts[0][1])


def test_an_interrupted_run_goes_on_with_the_copy_it_was_at(tmp_path: Path, made: PreparedDataset) -> None:
    whole = copies(config_of(), start(config_of()), made, tmp_path / "whole")
    told: list[tuple[int, int]] = []

    def until_two(*done: int) -> None:
        told.append(done)
        if done[0] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copies(config_of(), start(config_of()), made, tmp_path / "torn", until_two)
    first, second = sorted((tmp_path / "torn").glob("*-copy-*.safetensors"))
    second.write_bytes(second.read_bytes()[:-1])  # which is made again
    again = copies(config_of(), start(config_of()), made, tmp_path / "torn", lambda *done: told.append(done))
    assert torch.equal(again.parts[0], whole.parts[0])
    assert told == [(1, 3), (2, 3), (2, 3), (3, 3)]
    assert not first.exists()
    names = [{path.name for path in (tmp_path / name).glob("*.safetensors")} for name in ("whole", "torn")]
    assert names[0] == names[1]


@pytest.mark.parametrize("damage", ["a flipped bit", "cut"])
def test_damaged_copies_are_made_again(tmp_path: Path, made: PreparedDataset, damage: str) -> None:
    config = config_of()
    first = copies(config, start(config), made, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    whole = bytearray(path.read_bytes())
    damaged = (
        bytes([*whole[:-100], whole[-100] ^ 1, *whole[-99:]]) if damage == "a flipped bit" else whole[:5000]
    )
    path.write_bytes(damaged)
    again = copies(config, start(config), made, tmp_path)
    assert torch.equal(first.parts[0], again.parts[0])
    assert path.read_bytes() == whole


def test_what_makes_other_copies_is_another_file(tmp_path: Path, made: PreparedDataset) -> None:
    save_encoder(build(recipe().with_seed(9)), {"name": "origin"}, tmp_path / "encoder.safetensors")
    other_corpus = dataclasses.replace(made, key="2" * 64)
    of = config_of()
    wanted = [
        (of, made),
        (of.with_seed(1), made),
        (config_of(augment={"tilt_db": 2.0}), made),
        (of.with_init(str(tmp_path / "encoder.safetensors")), made),
        (config_of(augment={"telephone_probability": 0.5}), made),
        (config_of(probe={"crop_seconds": 0.7}), made),
        (of, other_corpus),
    ]
    found = [copies(config, start(config), corpus, tmp_path / "kept") for config, corpus in wanted]
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == len(wanted)
    for other in found[1:6]:
        assert not torch.equal(found[0].parts[0], other.parts[0])


def test_the_head_is_no_part_of_the_copies(tmp_path: Path, made: PreparedDataset) -> None:
    network = start(config_of())
    for value in (0.5, 1.5):
        nn.init.constant_(network.head[2].weight, value)
        copies(config_of(), network, made, tmp_path)
    copies(config_of(fit={"label_smoothing": 0.3}), network, made, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_a_copy_is_cut_from_a_clip_at_one_of_the_speeds(
    tmp_path: Path, made: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cut is looked for in the clip as it was recorded."""
    config = config_of(augment={"speeds": [0.9, 1.0, 1.1]})
    recorded = [made.waveform(k) for k in range(len(CLIPS))]
    is_altered: list[bool] = []
    lengths: list[int] = []
    vary = module.augmented

    def looked_for(samples: Any, *rest: Any) -> Any:
        clip = recorded[len(is_altered) % len(CLIPS)]
        starts = np.flatnonzero(clip[: len(clip) - len(samples) + 1] == samples[0])
        is_altered.append(not any(np.array_equal(clip[s : s + len(samples)], samples) for s in starts))
        lengths.append(len(samples))
        return vary(samples, *rest)

    monkeypatch.setattr(module, "augmented", looked_for)
    copies(config, start(config), made, tmp_path)
    assert 0.4 < np.mean(is_altered) < 0.9  # two speeds of three
    assert 9_600 <= min(lengths) < max(lengths) <= 16_000
    assert len(set(lengths)) <= 2 * N_COPIES  # one a copy, but for clips that are shorter


def test_a_copy_unlike_its_clip_in_nothing_is_the_clip_as_it_is_scored(
    tmp_path: Path, made: PreparedDataset
) -> None:
    """Of a window's length, at speed 1, with nothing added: rows stay with their clips."""
    nothing = {"speeds": [1.0], "tilt_db": 0.0, "noise_probability": 0.0}
    config = config_of(augment=nothing, probe={"copies": 1, "crop_seconds": 1.0})
    network = lively_network()
    found = copies(config, network, made, tmp_path)
    with torch.inference_mode():
        windows = torch.from_numpy(np.stack([made.waveform(k) for k in range(len(CLIPS))]))
        expected = network.embed(network.features(windows))
    torch.testing.assert_close(found.parts[0][0].float(), expected, rtol=0.05, atol=0.05)  # by way of bf16
    nearest = torch.cdist(found.parts[0][0].float(), expected).argmin(dim=1)
    assert nearest.tolist() == list(range(len(CLIPS)))
