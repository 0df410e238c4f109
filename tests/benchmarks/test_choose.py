"""The trials behind recipes/standard.toml, on miniature corpora: who is scored, by which heads, and how."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speech_emotion.corpora import Clip
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.evaluation import splits
from speech_emotion.labels import EMOTIONS, UNLABELLED, in_order
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.mixture import Mixture

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "real_voices" / "choose.py"
_spec = importlib.util.spec_from_file_location("choose", PATH)
assert _spec
assert _spec.loader
choose: Any = importlib.util.module_from_spec(_spec)
sys.modules["choose"] = choose  # its data classes look for their module
_spec.loader.exec_module(choose)

MIXTURE = {"ravdess-song": 0.05, "nemo": 0.17, "plain-speech": 0.5}


def recipe() -> TrainConfig:
    """The shipped recipe, with fewer corpora."""
    shipped = TrainConfig.load(choose.RECIPE)
    assert shipped.second is not None
    return replace(shipped, mixture=MIXTURE, second=replace(shipped.second, mixture=MIXTURE))


RECIPE = recipe()
FOUR = ("neutral", "happy", "sad", "angry")
LABELS = {
    "ravdess": EMOTIONS,
    "ravdess-song": EMOTIONS[:6],
    "nemo": FOUR,
    "plain-speech": (UNLABELLED,),
    "ased": FOUR,
    "aesdd": FOUR[1:],
    "uem-es": FOUR,
    "urdu": FOUR,
}


def corpus(name: str) -> PreparedDataset:
    """Every speaker with every label, without sound."""
    n_speakers = 24 if name.startswith("ravdess") else 20
    clips = [Clip("", label, f"{n + 1:02d}", "unknown") for n in range(n_speakers) for label in LABELS[name]]
    names = in_order(LABELS[name])
    return PreparedDataset(
        folder=Path(),
        corpus=name,
        corpus_hash="",
        key="",
        clips=clips,
        licence="",
        citation="",
        label_names=names,
        labels=np.array([names.index(clip.label) for clip in clips]),
        speakers=np.array([clip.speaker for clip in clips]),
        offsets=np.zeros(len(clips) + 1, np.int64),
        scales=np.ones(len(clips), np.float32),
        waveforms=np.zeros(0, np.int16),
    )


def separable(labels: Any) -> torch.Tensor:
    """Rows that say what is spoken, in some noise."""
    noise = torch.randn(len(labels), 12, generator=torch.Generator().manual_seed(0))
    return noise + 10 * torch.nn.functional.one_hot(torch.from_numpy(labels), 12)


def windows(labels: Any) -> Any:
    """Two windows of every clip."""
    twice = np.repeat(np.arange(len(labels)), 2)
    return choose.Windows(separable(labels[twice]), twice, labels)


@pytest.fixture(scope="module")
def material() -> Any:
    names = ("ravdess", *RECIPE.mixture)
    mixture = Mixture(tuple(corpus(name) for name in names), RECIPE.unlabelled)
    clip = torch.arange(len(mixture)).repeat(2)
    copy = torch.arange(2).repeat_interleave(len(mixture))
    far = {}
    for name in choose.FAR:
        part = corpus(name)
        far[name] = windows(np.array([EMOTIONS.index(part.label_names[label]) for label in part.labels]))
    rows = separable(mixture.labels[clip])
    return choose.Material(mixture, rows, clip, copy, windows(mixture.labels), far)


def test_every_trial_changes_one_setting_of_the_recipe() -> None:
    recipe = TrainConfig.load(choose.RECIPE)
    trials = choose.trials(recipe)
    for name, config in trials.items():
        changed = {
            key
            for ours, theirs in zip(recipe.parts, config.parts, strict=True)
            for key, value in vars(ours).items()
            if value != getattr(theirs, key)
        }
        changed |= {"second_weight"} if config.second_weight != recipe.second_weight else set()
        assert len(changed) <= (name != "the recipe"), name
    assert set(recipe.mixture) - set(trials["without plain speech"].mixture) == {"plain-speech"}
    assert trials["plain speech counts twice"].mixture["plain-speech"] == 2 * recipe.mixture["plain-speech"]


def test_nobody_is_scored_by_a_head_that_learned_from_them(
    material: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[Any] = []
    scored: list[Any] = []

    def head(told: Any, config: TrainConfig, left_out: Any) -> Any:
        learned.append(set(np.flatnonzero(~left_out)))
        return [(torch.zeros(8, 12), torch.zeros(8))]

    given = choose.Pair.logits

    def seen(pair: Any, config: Any, left_out: Any, name: Any, chosen: Any = None) -> Any:
        if chosen is not None:
            scored.append(set(np.flatnonzero(chosen)))
            assert not scored[-1] & set(np.flatnonzero(~left_out))
        return given(pair, config, left_out, name, chosen)

    monkeypatch.setattr(choose.Material, "head", head)
    monkeypatch.setattr(choose.Pair, "logits", seen)
    choose.tried(choose.Pair([material, material]), RECIPE)
    assert learned
    *folds, plain = scored
    for fold, clips in zip(splits.protocol("luna5").folds, folds, strict=True):
        assert set(material.mixture.speakers[list(clips)]) == {f"ravdess:{name}" for name in fold.validation}
    assert plain == set(np.flatnonzero(material.asked))
    assert len(plain) == 10


def test_a_head_learns_from_as_many_copies_as_the_recipe_says(
    material: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def fit(rows: Any, shares: Any, penalty: float) -> Any:
        seen.append((len(rows), float(shares.weight.sum())))
        return torch.zeros(8, 12), torch.zeros(8), 0.0

    monkeypatch.setattr(choose, "fit_layer", fit)
    probe = replace(RECIPE.probe, copies=2, mixture_copies=1, specialist_penalty=0.0)
    one = replace(RECIPE, probe=probe)
    nobody = np.zeros(len(material.mixture), bool)
    material.head(one, nobody)
    material.head(replace(one, mixture={"nemo": 1.0}), nobody)
    material.head(one, material.of("ravdess"))
    others = 24 * 6 + 20 * 4 + 20
    assert [n for n, _ in seen] == [2 * 24 * 8 + others, 2 * 24 * 8 + 20 * 4, others]
    assert [total for _, total in seen] == pytest.approx([1, 1, 1])


def test_a_trial_without_a_specialist_has_one_layer(material: Any) -> None:
    nobody = np.zeros(len(material.mixture), bool)
    plain = replace(RECIPE, probe=replace(RECIPE.probe, specialist_penalty=0.0))
    assert [len(material.head(config, nobody)) for config in (RECIPE, plain)] == [3, 1]


def test_scores_of_known_answers() -> None:
    labels = np.repeat([EMOTIONS.index(name) for name in FOUR], 5)
    answers = labels.copy()
    answers[:5] = EMOTIONS.index("calm")
    found = choose.of_corpus(np.eye(8)[answers], labels)
    expected = {"four": 75, "all eight": 75, "neutral": 0, "ece": 25, "called calm": 25}
    assert found == pytest.approx(expected | {"four": 100})  # of the four, neutral comes first among equals
    without_neutral = choose.of_corpus(np.eye(8)[labels[5:]], labels[5:])
    assert (without_neutral["four"], without_neutral["neutral"]) == (100, None)


def test_the_windows_of_a_clip_are_one_answer_and_unknown_labels_none() -> None:
    three = choose.Windows(torch.zeros(4, 1), np.array([5, 5, 7, 9]), np.array([*[0] * 5, 2, 0, 3, 0, -1]))
    logits = np.log([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])
    probabilities, labels = three.probabilities(logits)
    np.testing.assert_allclose(probabilities, [[0.7, 0.3], [0.2, 0.8]])
    assert labels.tolist() == [2, 3]


def test_components_keep_what_varies() -> None:
    rows = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) @ torch.eye(3, 20) * 5 + 2
    components = choose.Components.of(rows, torch.full((400,), 1 / 400))
    assert components.kept == pytest.approx(1, abs=1e-3)
    found = components(rows)
    assert found.mean(dim=0).abs().max() < 0.1
    assert float(found.square().sum(dim=1).mean()) == pytest.approx(3, rel=0.05)


def test_the_whole_line(material: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "materials_of", lambda *_: ([material, material], [0.9, 0.9]))
    monkeypatch.setattr(choose.TrainConfig, "load", lambda path: RECIPE)
    monkeypatch.setattr(choose, "trials", lambda recipe: {"the recipe": recipe})
    choose.main(["DATA", "--out", str(tmp_path / "out.json")])
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["command"].startswith("python benchmarks/real_voices/choose.py")
    found = document["trials"]["the recipe"]
    assert {name for name in document["trials"] if "prior" in name} == {
        f"the prior of the gate is {prior}" for prior in choose.GATE_PRIORS
    }
    names = ("mean all eight", "mean validation", "plain: neutral or calm")
    assert [found[name] for name in names] == [100, 100, 100]
