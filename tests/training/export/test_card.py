"""The model card: every number on it is the one it was given."""

from typing import Any

import pytest
import standin

from speech_emotion import model_info
from speech_emotion.evaluation.splits import protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import ModelInfo
from speech_emotion.training.export.card import model_card

RECALLS = {label: round(0.11 * (k + 1), 4) for k, label in enumerate(EMOTIONS)}
METRICS = {
    "corpus": "ravdess",
    "protocol": "luna5",
    "leaky": False,
    "n_clips": 1440,
    "n_speakers": 24,
    "seeds": [0],
    "command": "speech-emotion evaluate runs/cnn",
    "commit": "abc",
    "uar": {"mean": 0.6234, "sd": None, "ci95": [0.5811, 0.6677]},
    "accuracy": {"mean": 0.6311, "sd": None, "ci95": [0.59, 0.67]},
    "ece": {"mean": 0.0456, "sd": None, "ci95": [0.03, 0.07]},
    "per_class": dict(sorted(RECALLS.items())),
}


def info(**metadata: Any) -> ModelInfo:
    import json

    text = json.dumps(standin.METADATA | metadata)
    return model_info.parse(text, size_bytes=2_712_345, sha256="5eal" * 16)


def card(**metadata: Any) -> str:
    return model_card(info(**metadata))


def row(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return line.removeprefix(f"| {name} | ").removesuffix(" |")


def test_the_file_is_described() -> None:
    text = card(
        name="cnn",
        n_parameters=642_324,
        corpora=["ravdess", "nemo"],
        temperature=1.23456,
        commit="0123456789ab",
        recipe={"name": "cnn", "recipes_tried": 6, "fit": {"seed": 3}},
    )
    assert text.startswith("# Model card: cnn\n")
    assert row(text, "parameters, size") == "642,324; 2.71 MB"
    assert row(text, "sha256") == f"`{'5eal' * 16}`"
    assert row(text, "input") == "mono waveform, 16000 Hz, windows of 3 s every 1 s"
    assert row(text, "trained on") == "ravdess, nemo, every speaker"
    assert row(text, "recipe") == "cnn, seed 3; chosen among 6 recipes without looking at test speakers"
    assert row(text, "temperature") == "1.235"
    assert row(text, "commit") == "0123456789ab"
    assert row(text, "licence of the weights") == standin.METADATA["licence"]
    assert row(text, "please cite") == standin.METADATA["citation"]
    assert [word.split()[-1] for word in row(text, "emotions, in the order of the outputs").split(", ")] == [
        *EMOTIONS
    ]


def test_what_is_not_known_is_not_claimed() -> None:
    text = card(recipe={"name": "x"}, commit=None)
    assert row(text, "recipe") == "x, seed 0; no other recipe tried"
    assert row(text, "commit") == "unknown"
    assert "Not measured." in text
    assert "UAR" not in text


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({}, "random"),
        ({"init": "fresh"}, "random"),
        (
            {"init": "whisper-base"},
            "an encoder in the package; its licence and citation are among those below",
        ),
        ({"init": "imagenet"}, "VGG16 as ImageNet taught it; its licence and citation are among those below"),
        ({"init": "torchvision"}, "torchvision's ImageNet weights"),
        ({"init": "/runs/mine.safetensors"}, "`mine.safetensors`"),
        (
            {"init": "pretrained", "probe": {"copies": 0}},
            "an encoder in the package; its licence and citation are among those below",
        ),
        (
            {"init": "pretrained", "probe": {"copies": 16}},
            "an encoder in the package; its licence and citation are among those below. "
            "Frozen, with a linear head",
        ),
    ],
)
def test_initial_weights(recipe: dict[str, Any], said: str) -> None:
    assert row(card(recipe=recipe), "initial weights") == said
    pair = recipe | {"second": {"name": "small"}, "second_weight": 0.3}
    said_of_second = ". The second network, small, has 30 % of the logits: random"
    assert row(card(recipe=pair), "initial weights") == said + said_of_second


def test_a_model_of_several_corpora_has_no_single_temperature() -> None:
    assert row(card(temperature=1.23456, recipe={"mixture": {}}), "temperature") == "1.235"
    text = row(card(temperature=1.23456, recipe={"mixture": {"nemo": 1.0}}), "temperature")
    assert text == "one for each window, from its embedding; a single one for all would be 1.235"


def test_thresholds() -> None:
    assert row(card(), "thresholds").startswith("none: ")
    text = card(thresholds={"not_sure": 0.3456, "set": 0.9})
    assert row(text, "thresholds") == (
        "no label (not sure) below 0.346; emotion set: the best, and all from 0.100 on; "
        "no speech detection: only silence is refused"
    )
    assert row(card(thresholds={"set": 1.0}), "thresholds").startswith(
        "emotion set: the best, and all from 0.000 on;"
    )
    assert row(card(thresholds={"set": 1.0, "speech": 0.4567}), "thresholds").endswith(
        "on; no answer (no speech) below 0.457 of its own output `speech`"
    )


def test_enrolment() -> None:
    assert row(card(), "enrolment") == "none"
    text = row(card(enrolment=standin.ENROLMENT), "enrolment")
    assert "`profile` (2, 16)" in text
    assert text.endswith("over 10 s of speech or more; UAR +5.0 points on validation speakers")
    assert row(card(enrolment=standin.ENROLMENT | {"gain": None}), "enrolment").endswith(
        "; gain not measured"
    )


def test_a_fold_s_model_names_its_speakers() -> None:
    split = protocol("luna5")
    assert row(card(protocol=split.describe(split.folds[2])), "trained on") == (
        "synthetic, 17 speakers (luna5, fold 2)"
    )
    leaky = protocol("random10")
    assert row(card(protocol=leaky.describe(leaky.folds[0])), "trained on") == (
        "synthetic, 1152 members of a LEAKY split (random10, fold 0)"
    )
    many = card(corpora=["ravdess", "nemo", "ravdess-song"], protocol=split.describe(split.folds[2]))
    assert row(many, "trained on") == (
        "ravdess, 17 speakers (luna5, fold 2); also nemo, ravdess-song, everybody but held-out speakers"
    )


def test_the_score_has_its_support() -> None:
    text = card(metrics=METRICS)
    assert "- UAR **62.3 [58.1, 66.8] %** (chance is 12.5 %)" in text
    assert "- accuracy 63.1 [59.0, 67.0] %" in text
    assert "- expected calibration error 4.6 [3.0, 7.0] %" in text
    assert "1440 clips of 24 speakers" in text
    assert "luna5, 1 seed," in text
    assert "Made by `speech-emotion evaluate runs/cnn`." in text
    assert [row(text, label) for label in EMOTIONS] == [f"{100 * recall:.1f}" for recall in RECALLS.values()]
    places = [text.index(f"| {label} |") for label in EMOTIONS]
    assert places == sorted(places)


@pytest.mark.parametrize(("seeds", "said"), [([0, 1, 2], "mean of 3 seeds"), ([5], "1 seed")])
def test_several_seeds_are_a_mean(seeds: list[int], said: str) -> None:
    assert said in card(metrics=METRICS | {"seeds": seeds})


def test_its_limits_and_the_law_are_on_it() -> None:
    assert "does not\nread what a person feels" in card()
    assert "Art. 5(1)(f)" in card()
    assert "Art. 50(3)" in card()
