"""Several corpora as one dataset: nothing is lost, nobody is mixed up, and every corpus counts as it should."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from miniature import clips, dataset, halves, recipe

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.labels import EMOTIONS, UNLABELLED
from speech_emotion.training import runs
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture, Shares, parts_of
from speech_emotion.training.fit.train import materials
from speech_emotion.training.networks.build import build

QUIET = np.zeros(800, np.float32)
HAPPY, ANGRY, CALM = (EMOTIONS.index(label) for label in ("happy", "angry", "calm"))


def part(corpus: str, actors: list[int], *labels: str) -> PreparedDataset:
    """One clip per actor and label."""
    some = clips(actors, labels)
    sounds = [np.full(800 + 10 * i, (i + 1) / 100, np.float32) for i in range(len(some))]
    return dataset(some, waveforms=sounds, corpus=corpus)


def two() -> Mixture:
    """20 speakers of three labels, and ten with two, one of which is said twice."""
    second = part("nemo", list(range(1, 11)), "angry", "sad")
    few = part("nemo", [1, 2], "neutral")
    second = dataset(
        [*second.clips, *few.clips], waveforms=[QUIET + (i + 1) / 50 for i in range(22)], corpus="nemo"
    )
    return Mixture((part("ravdess", list(range(1, 21)), "calm", "happy", "angry"), second))


def test_the_clips_of_all_corpora_stand_one_after_the_other() -> None:
    mixture = two()
    first, second = parts_of(mixture)
    assert len(mixture) == len(mixture.clips) == len(first) + len(second) == 82
    for index, (own, i) in {0: (first, 0), 59: (first, 59), 60: (second, 0), 81: (second, 21)}.items():
        np.testing.assert_array_equal(mixture.waveform(index), own.waveform(i))
        assert mixture.seconds(index) == own.seconds(i)
        assert mixture.label_names[mixture.labels[index]] == mixture.clips[index].label == own.clips[i].label


def test_labels_are_numbered_in_the_order_of_the_emotions_and_others_follow() -> None:
    own = dataset(clips([1], ["happy", "angry"]), corpus="mine")
    own = dataclasses.replace(own, label_names=("bored", "happy", "angry"), labels=np.array([0, 2]))
    mixture = Mixture((part("ravdess", [1], "angry"), own))
    assert mixture.label_names == (*EMOTIONS, "bored")
    assert mixture.labels.tolist() == [ANGRY, 8, ANGRY]


def test_a_speaker_is_one_of_a_corpus_and_the_singers_are_the_actors() -> None:
    mixture = Mixture(tuple(part(name, [1], "angry") for name in ("ravdess", "ravdess-song", "nemo")))
    assert mixture.speakers.tolist() == ["ravdess:01", "ravdess:01", "nemo:01"]


def test_facts_are_joined_and_each_is_said_once() -> None:
    other = dataclasses.replace(part("nemo", [1], "angry"), licence="MIT", citation="B (2020).", key="2")
    first = dataclasses.replace(other, licence="CC0", citation="A (2010).", corpus="savee")
    mixture = Mixture((first, other, other))
    assert (mixture.licence, mixture.citation) == ("CC0; MIT", "A (2010). B (2020).")
    changed = Mixture((first, other, dataclasses.replace(other, key="3", corpus_hash="4")))
    assert mixture.key != changed.key
    assert mixture.corpus_hash != changed.corpus_hash


# How much a clip counts


def weighted(*exclusive: str, **mixture: float) -> TrainConfig:
    return dataclasses.replace(recipe(), mixture=mixture, exclusive=exclusive)


def test_a_corpus_counts_by_its_weight_and_its_labels_equally() -> None:
    mixture = two()
    train = np.setdiff1d(np.arange(80), [0, 3, 6])  # three calm clips are held out
    shares = Shares.of(mixture, train, weighted(nemo=0.5))
    weight = shares.weight.numpy()
    assert weight[:60].sum() == pytest.approx(1)
    assert weight[60:].sum() == pytest.approx(0.5)
    for label in (CALM, HAPPY, ANGRY):
        assert weight[:60][mixture.labels[:60] == label].sum() == pytest.approx(1 / 3)
    assert weight[60:][mixture.labels[60:] == ANGRY].sum() == pytest.approx(0.25)
    assert not weight[[0, 3, 6, 80, 81]].any()


def test_a_clip_says_nothing_about_labels_that_its_corpus_has_seldom_or_never() -> None:
    allowed = Shares.of(two(), np.arange(80), weighted()).allowed
    assert {EMOTIONS[i] for i in allowed[0].nonzero().flatten()} == {"calm", "happy", "angry"}
    assert {EMOTIONS[i] for i in allowed[70].nonzero().flatten()} == {"angry", "sad"}
    exclusive = Shares.of(two(), np.arange(80), weighted("calm")).allowed
    assert {EMOTIONS[i] for i in exclusive[70].nonzero().flatten()} == {"angry", "sad", "calm"}


def test_the_main_corpus_is_the_one_that_is_divided_and_its_singers() -> None:
    parts = [part(name, [1] * 10, "angry") for name in ("ravdess", "ravdess-song", "nemo")]
    mixture = Mixture(tuple(parts))
    shares = Shares.of(mixture, np.arange(len(mixture)), weighted(nemo=2.0)).rows(torch.arange(len(mixture)))
    assert shares.is_main.tolist() == (mixture.corpus_of < 2).tolist()
    assert shares.of_main.weight.sum() == pytest.approx(1)
    assert not shares.of_main.weight[~shares.is_main].any()
    assert shares.whether_main.spoken.int().argmax(dim=1).tolist() == shares.is_main.int().tolist()
    assert shares.whether_main.weight[shares.is_main].sum() == pytest.approx(0.5)
    assert shares.whether_main.weight.sum() == pytest.approx(1)
    without = shares[~shares.is_main]
    assert without.of_main is without


def test_rows_of_a_clip_divide_its_share() -> None:
    spoken, allowed = torch.eye(3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool).tril()
    is_main = torch.tensor([False, True, False])
    rows = Shares(torch.tensor([0.5, 0.25, 0.75]), spoken, allowed, is_main).rows(torch.tensor([2, 1, 2]))
    assert rows.is_main.tolist() == [False, True, False]
    assert rows.weight.tolist() == pytest.approx([0.375, 0.25, 0.375])
    assert rows.spoken.int().tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert rows.allowed.int().tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]


def test_the_loss_of_a_row_is_among_its_allowed_labels_and_one_of_several_may_be_spoken() -> None:
    spoken = torch.tensor([[True, False, False], [False, True, True]])
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    logits = torch.tensor([[2.0, 1.0, 9.0], [0.0, 0.0, 0.0]])
    loss = Shares(torch.tensor([0.75, 0.25]), spoken, allowed, torch.ones(2, dtype=torch.bool)).loss(logits)
    assert float(loss) == pytest.approx(0.75 * np.log1p(np.exp(-1)) + 0.25 * np.log(3 / 2))


# Corpora without labels


def plain(n_clips: int) -> PreparedDataset:
    some = clips([1], ["neutral"] * n_clips)
    made = dataset(some, waveforms=[QUIET] * n_clips, corpus="plain")
    return dataclasses.replace(made, label_names=(UNLABELLED,), labels=np.zeros(n_clips, np.int64))


def test_a_clip_without_a_label_is_one_of_those_that_the_recipe_names() -> None:
    mixture = Mixture((*two().parts, plain(12)), {"plain": ("calm", "sad")})
    assert mixture.label_names == two().label_names
    assert mixture.labels[-12:].tolist() == [mixture.label_names.index("calm")] * 12
    shares = Shares.of(mixture, np.arange(len(mixture)), weighted())
    assert [mixture.label_names[i] for i in shares.spoken[-1].nonzero().flatten()] == ["calm", "sad"]
    assert shares.allowed[-12:].all()
    assert shares.weight[-12:].numpy() == pytest.approx(1 / 12)
    assert shares.spoken[:-12].sum(dim=1).tolist() == [1] * (len(mixture) - 12)


@pytest.mark.parametrize(
    ("unlabelled", "message"),
    [
        ({}, r"plain has no labels. Add a column label .* or name it in the recipe's \[mixture\]"),
        (
            {"plain": ("calm",), "nemo": ("calm",)},
            r"nemo has labels of its own. Leave it out of .*\[unlabelled\]",
        ),
        ({"plain": ("calm", "bored")}, "plain may be bored, which is no label of ravdess, nemo"),
    ],
)
def test_the_recipe_must_say_it_of_these_corpora_alone(
    unlabelled: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture((*two().parts, plain(12)), unlabelled)


def test_where_a_corpus_is_left_out_they_are_what_the_others_have_labels_for() -> None:
    first, second = two().parts
    own = ("neutral", "sad", "angry")
    labels = np.array([own.index(clip.label) for clip in second.clips])
    second = dataclasses.replace(second, label_names=own, labels=labels)
    may_be = {"plain": ("sad", "calm"), "singing": ("calm",)}
    mixture = Mixture((first, second, plain(12), dataclasses.replace(plain(3), corpus="singing")), may_be)
    first_left_out = mixture.without(["ravdess"])  # nobody else is calm
    assert [part.corpus for part in first_left_out.parts] == ["nemo", "plain"]
    assert first_left_out.unlabelled["plain"] == ("sad",)
    assert first_left_out.label_names == own
    assert first_left_out.labels[-1] == own.index("sad")
    whole = mixture.without([])
    assert (whole.parts, whole.unlabelled) == (mixture.parts, mixture.unlabelled)


# Who is learned from


def sides_of(mixture: Mixture, **changes: Any) -> Any:
    config = recipe(
        probe={"copies": 1, "crop_seconds": 0.6}, augment={"warp_frequency": 0.0, "n_masks": 0}, **changes
    )
    training = runs.plan(config, Path("out"), halves(), [0], [0])[0]
    return training.sides(mixture)


def test_a_protocol_divides_the_first_corpus_and_all_of_the_others_are_learned_from() -> None:
    sides = sides_of(two())
    clips_of = two().clips
    assert {clips_of[i].speaker for i in sides.train if i < 60} == {"03", "04"}
    assert [i for i in sides.train if i >= 60] == list(range(60, 80))  # not the two neutral clips
    assert {(clips_of[i].speaker, i < 60) for i in sides.validation} == {("02", True)}


def test_who_is_held_out_is_not_learned_from_where_they_sing() -> None:
    singers = part("ravdess-song", [1, 2, 3, 4] * 10, "angry")
    mixture = Mixture((part("ravdess", list(range(1, 21)), "angry"), singers))
    sides = sides_of(mixture)
    learned = {(mixture.clips[i].speaker, i >= 20) for i in sides.train}
    assert learned == {(actor, sings) for actor in ("03", "04") for sings in (False, True)}
    assert set(sides.validation.tolist()) == {1}


def test_the_embeddings_of_a_corpus_are_kept_for_every_mixture(tmp_path: Path) -> None:
    config = recipe(
        probe={"copies": 2, "mixture_copies": 1, "crop_seconds": 0.6},
        augment={"warp_frequency": 0.0, "n_masks": 0},
        fit={"label_smoothing": 0.0},
        mixture={"nemo": 1},
    )
    parts = [
        dataclasses.replace(dataset(clips([actor], ["happy", "sad"]), corpus=name), folder=tmp_path / name)
        for actor, name in ((1, "ravdess"), (2, "nemo"))
    ]
    told: list[SimpleNamespace] = []
    alone = [
        AugmentedEmbeddings.of(config, build(config), one, lambda *_: told.append(SimpleNamespace()))
        for one in parts
    ]
    assert len(told) == 2 + 1
    (joined,) = materials(config, Mixture(tuple(parts)), lambda *_: pytest.fail("computed again"))
    assert isinstance(joined, AugmentedEmbeddings)
    for one, found in zip(alone, joined.parts, strict=True):
        assert torch.equal(found, one.parts[0])
    rows, of_clip = joined.rows(np.array([1, 2, 3]))
    assert of_clip.tolist() == [1, 1, 2, 3]
    assert torch.equal(rows[1:3], torch.stack([joined.parts[0][1, 1], joined.parts[1][0, 0]]).float())
    assert joined.rows(np.array([1, 2, 3]), n_copies=1)[1].tolist() == [1, 2, 3]
