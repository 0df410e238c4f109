"""Features of windows: of those that the runtime scores, kept beside the dataset, and for one network alone."""

import dataclasses
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch
from miniature import clips, recipe

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data import window_features as module
from speech_emotion.training.data.mixture import Mixture
from speech_emotion.training.data.window_features import voice_features, window_features
from speech_emotion.training.networks.build import build

CLIPS = clips([1, 2], ["calm", "happy", "angry"])
N_FEATURES = 2 * 16 + 2 * 32


def prepared(folder: Path, corpus: str = "ravdess", seconds: float = 1.0) -> PreparedDataset:
    """As if prepared in `folder`, beside which features are kept."""
    made = miniature.dataset(
        CLIPS, waveforms=[miniature.sound(clip, seconds) for clip in CLIPS], corpus=corpus
    )
    return dataclasses.replace(made, folder=folder / corpus, key=corpus)


def frozen(**changes: Any) -> TrainConfig:
    return recipe(
        probe={"copies": 1, "crop_seconds": 0.6}, augment={"warp_frequency": 0.0, "n_masks": 0}, **changes
    )


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The corpora whose features were computed, and not read."""
    found: list[str] = []
    rows = module._rows

    def watch(network: Any, window: Any, part: PreparedDataset, *clips: Any, **options: Any) -> Any:
        found.append(part.corpus)
        return rows(network, window, part, *clips, **options)

    monkeypatch.setattr(module, "_rows", watch)
    return found


# What they are


def test_features_are_the_embedding_and_the_levels() -> None:
    random = np.random.default_rng(0)
    log_mel, embedding = random.normal(-5, 2, (2, 3, 40)), random.normal(0, 1, (2, 4))
    features = voice_features(torch.tensor(embedding), torch.tensor(log_mel)).numpy()
    expected = np.concatenate([embedding, log_mel.mean(axis=2), log_mel.std(axis=2)], axis=1)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_they_are_of_the_windows_that_the_runtime_scores(tmp_path: Path) -> None:
    network, long = miniature.lively_network(), prepared(tmp_path, seconds=1.7)
    voices = window_features(network, recipe(), long).of(np.array([1, 0]))
    assert voices.clip.tolist() == [1, 1, 1, 0, 0, 0]  # windows at 0, 0.5 and 0.7 s
    assert voices.features.shape == (6, N_FEATURES)
    assert voices.labels.tolist() == [long.labels[1], long.labels[0]]
    assert voices.is_neutral.tolist() == [False, True]  # calm is
    assert voices.seconds.tolist() == pytest.approx([1.7, 1.7])
    last = torch.from_numpy(long.waveform(0)[None, -16_000:])
    with torch.inference_mode():
        embedding = network.embed(network.features(last))[0]
    np.testing.assert_allclose(voices.features[2, :32], embedding, atol=1e-5)


def test_rows_of_a_mixture_are_those_of_its_corpora(tmp_path: Path) -> None:
    network, parts = miniature.lively_network(), (prepared(tmp_path, seconds=1.7), prepared(tmp_path, "nemo"))
    joined = window_features(network, frozen(), Mixture(parts))
    first, second = (window_features(network, frozen(), part) for part in parts)
    np.testing.assert_array_equal(joined.features, np.concatenate([first.features, second.features]))
    assert joined.clip.tolist() == [*first.clip, *(len(CLIPS) + second.clip)]
    assert joined.speakers.tolist() == [f"ravdess:{c.speaker}" for c in CLIPS] + [
        f"nemo:{c.speaker}" for c in CLIPS
    ]
    assert len(list(tmp_path.glob("*-windows-*.safetensors"))) == 2  # one for each corpus


def test_of_further_corpora_some_clips_stand_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[str]
) -> None:
    monkeypatch.setattr(module, "MAX_CLIPS", 3)
    network, parts = miniature.lively_network(), (prepared(tmp_path), prepared(tmp_path, "nemo"))
    joined = window_features(network, frozen(), Mixture(parts))
    assert joined.clip.tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 11]
    whole = window_features(network, frozen(), parts[1])  # alone it is the first corpus
    np.testing.assert_array_equal(joined.features[6:], whole.features[[0, 2, 5]])
    assert computed == ["ravdess", "nemo", "nemo"]
    assert len(joined.labels) == len(joined.seconds) == 12


def test_they_are_the_same_bytes_whatever_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = miniature.prepared(tmp_path, CLIPS)
    monkeypatch.setattr(module, "CLIPS_PER_TASK", 2)
    found = []
    for workers in (1, 2):
        monkeypatch.setattr(module, "processes_for", lambda *_, n=workers: n)
        found.append(module._rows(miniature.lively_network(), recipe().window, made, np.arange(6), half=True))
    (alone, clips_alone), (spread, clips_spread) = found
    assert alone.tobytes() == spread.tobytes()
    assert clips_alone.tolist() == clips_spread.tolist() == list(range(6))


# How they are kept


def test_those_of_a_frozen_network_are_computed_once(tmp_path: Path, computed: list[str]) -> None:
    network, made = miniature.lively_network(), prepared(tmp_path)
    first = window_features(network, frozen(), made)
    with torch.no_grad():
        network.head[2].weight.mul_(2)  # the head is no part of them
    second = window_features(network, frozen(name="other", fit={"label_smoothing": 0.3}), made)
    assert computed == ["ravdess"]
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.clip, second.clip)


def test_those_of_a_network_that_learns_are_not_kept(tmp_path: Path, computed: list[str]) -> None:
    for _ in range(2):
        window_features(miniature.lively_network(), recipe(), prepared(tmp_path))
    assert computed == ["ravdess"] * 2
    assert not list(tmp_path.iterdir())


def test_another_network_window_or_corpus_is_another_file(tmp_path: Path, computed: list[str]) -> None:
    network, made, of = miniature.lively_network(), prepared(tmp_path, seconds=1.7), frozen()
    wanted = [
        (network, of, made),
        (build(of.with_seed(3)).eval(), of, made),
        (network, frozen(window={"hop_seconds": 0.25}), made),
        (network, of, dataclasses.replace(made, key="other")),
    ]
    found = [window_features(*one) for one in wanted]
    assert len(computed) == len(list(tmp_path.glob("ravdess-windows-*.safetensors"))) == len(wanted)
    assert not np.array_equal(found[0].features[:, :32], found[1].features[:, :32])
    assert len(found[2].features) > len(found[0].features)


def test_damaged_features_are_computed_again(tmp_path: Path, computed: list[str]) -> None:
    network, made = miniature.lively_network(), prepared(tmp_path)
    first = window_features(network, frozen(), made)
    (path,) = tmp_path.glob("*.safetensors")
    whole = path.read_bytes()
    for damaged in (whole[:500], bytes([*whole[:-100], whole[-100] ^ 1, *whole[-99:]])):
        path.write_bytes(damaged)
        again = window_features(network, frozen(), made)
        np.testing.assert_array_equal(again.features, first.features)
        assert path.read_bytes() == whole
    assert len(computed) == 3
