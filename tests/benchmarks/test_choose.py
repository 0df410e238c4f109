"""The trials behind recipes/standard.toml, on a miniature cache: who is scored, by which heads, and how."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speech_emotion.evaluation import splits
from speech_emotion.labels import EMOTIONS, UNLABELLED
from speech_emotion.training.config import TrainConfig

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "real_voices" / "choose.py"
_spec = importlib.util.spec_from_file_location("choose", PATH)
assert _spec
assert _spec.loader
choose: Any = importlib.util.module_from_spec(_spec)
sys.modules["choose"] = choose  # its data classes look for their module
_spec.loader.exec_module(choose)

RECIPE = replace(
    TrainConfig.load(choose.RECIPE), mixture={"ravdess-song": 0.05, "nemo": 0.17, "plain-speech": 0.5}
)
FOUR = ("neutral", "happy", "sad", "angry")
LABELS = {
    "ravdess": EMOTIONS,
    "ravdess-song": EMOTIONS[:6],
    "nemo": FOUR,
    "ased": FOUR,
    "aesdd": FOUR[1:],
    "uem-es": FOUR,
    "urdu": FOUR,
}


def rows() -> list[Any]:
    found = [
        choose.Row(corpus, "", f"{speaker:02d}", label)
        for corpus, labels in LABELS.items()
        for speaker in range(1, 25 if corpus.startswith("ravdess") else 11)
        for label in labels
    ]
    return found + [choose.Row(choose.PLAIN, "", f"{speaker:02d}", UNLABELLED) for speaker in range(1, 21)]


def separable(mixture: Any) -> torch.Tensor:
    """Rows that say what is spoken, in some noise."""
    noise = torch.randn(len(mixture), 12, generator=torch.Generator().manual_seed(0))
    spoken = torch.nn.functional.one_hot(torch.from_numpy(mixture.labels), 12)
    return 0.1 * noise + spoken


@pytest.fixture(scope="module")
def material() -> Any:
    mixture = choose.mixture_of(rows(), RECIPE)
    return choose.Material(mixture, separable(mixture))


def test_every_trial_changes_one_setting_of_the_recipe() -> None:
    recipe = TrainConfig.load(choose.RECIPE)
    trials = choose.trials(recipe)
    for name, config in trials.items():
        kept = {key: value for key, value in vars(config).items() if value == getattr(recipe, key)}
        assert len(vars(recipe)) - len(kept) == (name != "the recipe"), name
    mixture = trials["the RAVDESS counts 4"].mixture
    assert (mixture["nemo"], mixture["ravdess-song"], mixture["plain-speech"]) == (0.25, 0.075, 0.75)
    assert set(recipe.mixture) - set(trials["without plain speech"].mixture) == {"plain-speech"}


class Learned(choose.Material):  # type: ignore[misc]
    """Its heads answer 1 for clips of the people who were learned from, and 0 for all others."""

    def logits(self, config: TrainConfig, left_out: Any) -> Any:
        clips = choose.learned_from(self.mixture, config)
        speakers = self.mixture.speakers
        heard = np.isin(speakers, speakers[clips[~left_out[clips]]])
        return np.repeat(heard[:, None], len(EMOTIONS), axis=1).astype(float)


def test_nobody_is_scored_by_a_head_that_learned_from_them(material: Any) -> None:
    told = Learned(material.mixture, material.rows)
    logits = choose.unheard(told, RECIPE)
    validation = [actor for fold in splits.protocol("luna5").folds for actor in fold.validation]
    scored = material.of("ased", "aesdd", "uem-es", "urdu") | material.asked
    scored |= material.of("ravdess") & material.by(validation)
    assert (len(validation), material.asked.sum()) == (10, 10)
    np.testing.assert_array_equal(~np.isnan(logits).all(axis=1), scored)
    assert not logits[scored].any()
    every = choose.with_left_out_corpora(told, RECIPE, logits)
    np.testing.assert_array_equal(~np.isnan(every).all(axis=1), scored | material.of("nemo"))
    assert not every[material.of("nemo")].any()


def test_scores_of_known_answers(material: Any) -> None:
    probabilities = np.eye(8)[material.mixture.labels]
    probabilities[material.asked] = np.eye(8)[EMOTIONS.index("calm")]
    urdu = np.flatnonzero(material.of("urdu"))
    probabilities[urdu] = np.eye(8)[EMOTIONS.index("calm")]
    angry = np.flatnonzero(material.asked)[:2]
    probabilities[angry] = np.full(8, 0.01) + 0.92 * np.eye(8)[EMOTIONS.index("angry")]
    found = choose.scores(material, probabilities)
    assert found["plain: neutral or calm"] == pytest.approx(80)
    assert found["plain: angry > 0.8"] == pytest.approx(20)
    assert (found["mean all eight"], found["mean ece"], found["ravdess: ece"]) == pytest.approx((75, 25, 0))
    assert found["mean neutral"] == pytest.approx(200 / 3)  # aesdd has none
    assert found["by corpus"]["aesdd"]["neutral"] is None
    assert found["by corpus"]["urdu"] == pytest.approx(
        {
            "four": 25,
            "all eight": 0,
            "neutral": 0,
            "ece": 100,
            "right": 0,
            "confidence": 100,
            "called calm": 100,
        }
    )


def sure_of_itself(material: Any) -> Any:
    """Logits that are always right on the RAVDESS and half of the time elsewhere, equally sure."""
    answers = material.mixture.labels.copy()
    elsewhere = np.flatnonzero(~material.of("ravdess"))
    answers[elsewhere[::2]] = (answers[elsewhere[::2]] + 3) % 8
    return 6.0 * np.eye(8)[answers]


def confidence(probabilities: Any, clips: Any) -> float:
    return float(probabilities[clips].max(axis=1).mean())


def test_one_temperature_is_for_all_and_one_per_window_tells_corpora_apart(material: Any) -> None:
    is_home = torch.from_numpy(material.of("ravdess"))
    told = choose.Material(material.mixture, torch.stack([is_home, ~is_home], dim=1).float())
    logits, home, far = sure_of_itself(material), material.of("ravdess"), material.of("urdu")
    ways = choose.Way(1.0), choose.Way(0.0), choose.Way(0.5, 0.01), choose.Way(0.5, 100.0)
    sure, unsure, per_window, drawn = (choose.calibrated(told, RECIPE, logits, way) for way in ways)
    assert confidence(sure, far) == pytest.approx(confidence(sure, home))
    assert confidence(sure, far) > 0.99
    assert [confidence(unsure, clips) for clips in (far, home)] == pytest.approx([0.5, 0.5], abs=0.02)
    assert confidence(per_window, far) < 0.6 < 0.95 < confidence(per_window, home)
    assert confidence(drawn, home) - confidence(drawn, far) < 0.01


def test_a_bias_takes_back_what_every_corpus_answers_too_often(material: Any) -> None:
    logits = 2.0 * np.eye(8)[material.mixture.labels]
    logits[:, EMOTIONS.index("calm")] += 2.5
    home = material.of("ravdess")
    plain, biased = (
        choose.calibrated(material, RECIPE, logits, choose.Way(0.5, 1.0, has_bias=has))
        for has in (False, True)
    )
    truth = material.mixture.labels[home]
    assert (plain[home].argmax(axis=1) == truth).mean() == pytest.approx(1 / 8)
    assert (biased[home].argmax(axis=1) == truth).mean() == 1


def test_the_whole_line(material: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = material.rows.half().numpy()[:, None].repeat(4, axis=1)
    for number, part in enumerate(np.array_split(layers, 3)):
        np.save(tmp_path / f"embeddings-{number}.npy", part)
    monkeypatch.setattr(choose, "rows_of", lambda data: rows())
    monkeypatch.setattr(choose, "N_COMPONENTS", 12)
    monkeypatch.setattr(choose.TrainConfig, "load", lambda path: RECIPE)
    monkeypatch.setattr(choose, "trials", lambda recipe: {"the recipe": recipe})
    choose.main(["DATA", "--cache", str(tmp_path), "--out", str(tmp_path / "out.json")])
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["command"].startswith("python benchmarks/real_voices/choose.py")
    assert document["kept"] > 0.99
    found = document["trials"]["the recipe"]
    assert (found["mean all eight"], found["validation"]["mean"], found["plain: neutral or calm"]) == (
        100,
        100,
        100,
    )
    assert document["calibration"].keys() == choose.WAYS.keys()
