"""Calibration of a mixture: by heads that did not hear what they score, low where they are right, high elsewhere."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe
from torch import Tensor

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ModelFormatError
from speech_emotion.labels import UNLABELLED
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import IMPOSSIBLE, Mixture
from speech_emotion.training.data.window_features import WindowFeatures
from speech_emotion.training.fit import calibration, cross_fit
from speech_emotion.training.fit.cross_fit import TemperatureHead
from speech_emotion.training.fit.job import Job, Sides
from speech_emotion.training.fit.train import fit
from speech_emotion.training.networks.build import build

N_EMBEDDING, N_LEVELS = 32, 4


def part(corpus: str, n_speakers: int, *labels: str, n_takes: int = 5) -> PreparedDataset:
    """Every speaker says every label `n_takes` times."""
    some = clips(list(range(1, n_speakers + 1)) * n_takes, labels or ("neutral",))
    made = dataset(some, waveforms=[np.zeros(800, np.float32)] * len(some), corpus=corpus)
    if labels:
        return made
    return dataclasses.replace(made, label_names=(UNLABELLED,), labels=np.zeros(len(some), np.int64))


def mixture(*parts: PreparedDataset, may_be: tuple[str, ...] = ("happy", "angry")) -> Mixture:
    unlabelled = {one.corpus: may_be for one in parts if one.label_names == (UNLABELLED,)}
    return Mixture(parts, unlabelled)


def many() -> Mixture:
    """Speech and song of the same people, two further corpora, and one without labels; only tess has sad."""
    return mixture(
        part("ravdess", 7, "happy", "angry"),
        part("tess", 3, "happy", "sad"),
        part("ravdess-song", 3, "happy", "angry"),
        part("nemo", 2, "happy", "angry"),
        part("plain", 2),
    )


def config_of(made: Mixture) -> TrainConfig:
    return recipe(
        probe={"copies": 1, "crop_seconds": 0.6},
        augment={"warp_frequency": 0.0, "n_masks": 0},
        fit={"label_smoothing": 0.0},
        corpus=made.parts[0].corpus,
        mixture={one.corpus: 1.0 for one in made.parts[1:]},
    )


def job_of(made: Mixture, folder: Path = Path(), *, held_out: Any = ()) -> Job:
    """Learns from all clips but `held_out`, as far as their labels are known."""
    train = np.setdiff1d(np.arange(len(made)), held_out)
    train = train[made.known[made.corpus_of, made.labels][train]]
    return Job(config_of(made), made, Sides(train, np.zeros(0, np.int64)), folder)


def features_of(made: Mixture, embeddings: Tensor, n_windows: int = 1) -> WindowFeatures:
    """Windows with the embedding of their clip, and levels that nothing looks at."""
    clip = np.repeat(np.arange(len(made)), n_windows)
    features = np.concatenate([embeddings.numpy()[clip], np.full((len(clip), N_LEVELS), 1e6)], axis=1)
    seconds, labels = np.ones(len(made), np.float32), np.asarray(made.labels)
    return WindowFeatures(
        features.astype(np.float32), clip, seconds, labels, made.speakers, np.zeros(len(made), bool)
    )


# Who scores whom


class Witness:
    """In place of a head: it knows the clips that it learned from, and answers on the number of a clip."""

    n_embedding = N_EMBEDDING
    rows: list[
        tuple[set[int], set[int]]
    ]  # of every witness: the clips that it learned from, and those it scored

    def __init__(self, n_labels: int, learned: Any, rows: list[tuple[set[int], set[int]]]) -> None:
        self.n_labels, self.learned, self.rows = n_labels, set(learned.tolist()), rows

    def logits(self, embeddings: Tensor) -> Tensor:
        self.rows.append((self.learned, set(embeddings[:, 0].int().tolist())))
        return torch.zeros(len(embeddings), self.n_labels)


def witnessed(made: Mixture, monkeypatch: pytest.MonkeyPatch, held_out: Any = ()) -> tuple[Any, Any]:
    """What `_scored` finds with witnesses, and what each of them learned and scored."""
    rows: list[tuple[set[int], set[int]]] = []
    monkeypatch.setattr(
        cross_fit,
        "_heads_of",
        lambda _, of, learned, __: [Witness(len(of.label_names), clips, rows) for clips in learned],
    )
    numbers = torch.arange(len(made)).float().unsqueeze(1).repeat(1, N_EMBEDDING)
    nothing: Any = None
    job = job_of(made, held_out=held_out)
    return cross_fit._scored(job, made, [nothing], features_of(made, numbers, 2)), rows


def names_of(made: Mixture, some: set[int]) -> set[str]:
    """The corpora of clips; speech and song of the RAVDESS have one name."""
    return {made.speakers[clip].partition(":")[0] for clip in some}


def test_nobody_and_no_corpus_is_scored_by_a_head_that_learned_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = many()
    held_out = np.flatnonzero(made.speakers == "ravdess:07")
    scored, rows = witnessed(made, monkeypatch, held_out)
    assert len(rows) == 5 + 2  # fifths of the six actors, nemo, tess
    for learned, asked in rows:
        assert not {*made.speakers[[*learned]]} & {*made.speakers[[*asked]]}
        assert names_of(made, asked) == {"ravdess"} or not names_of(made, asked) & names_of(made, learned)
        assert not {*held_out.tolist()} & (learned | asked)
        assert "plain" in names_of(made, learned)
    asked_once = sorted(clip for _, asked in rows for clip in asked)
    is_sad = made.labels == made.label_names.index("sad")
    expected = np.flatnonzero(~is_sad & made.is_labelled[made.corpus_of])
    assert asked_once == np.setdiff1d(expected, held_out).tolist()
    assert scored.windows.tolist() == [
        window for _, asked in rows for clip in sorted(asked) for window in (2 * clip, 2 * clip + 1)
    ]


def test_a_label_that_only_the_left_out_corpus_has_takes_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    made = many()
    scored, _ = witnessed(made, monkeypatch)
    corpus, sad = made.corpus_of[scored.windows // 2], made.label_names.index("sad")
    is_tess = corpus == 1
    assert is_tess.sum() == 2 * 15  # happy alone can be compared
    assert (scored.logits[is_tess, sad] == IMPOSSIBLE).all()
    assert (scored.logits[~is_tess, sad] == 0).all()


def test_a_label_that_only_recordings_without_labels_may_have_is_an_answer_and_no_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model will give that answer, but no clip says whether it is right."""
    main, plain = part("ravdess", 2, "happy", "angry", "calm"), part("plain", 2)
    made = mixture(main, plain, may_be=("neutral",))
    scored, _ = witnessed(made, monkeypatch)
    assert (scored.logits[:, [made.label_names.index(label) for label in ("neutral", "calm")]] == 0).all()
    assert len(scored.windows) == 2 * 30
    alone = mixture(part("ravdess", 1, "happy", "neutral", n_takes=10), plain, may_be=("neutral",))
    assert not len(witnessed(alone, monkeypatch)[0].windows)


def test_corpora_that_share_their_speakers_are_left_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the main corpus is another one."""
    made = mixture(
        part("nemo", 2, "happy", "angry"),
        part("ravdess", 3, "happy", "angry"),
        part("ravdess-song", 3, "happy", "angry"),
    )
    _, rows = witnessed(made, monkeypatch)
    assert [names_of(made, learned) for learned, _ in rows] == [{"nemo", "ravdess"}] * 2 + [{"nemo"}]
    assert len(rows[-1][1]) == 60


def test_the_main_corpus_is_the_first_with_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the divided corpus is left out, the first of the others may have none."""
    made = mixture(part("plain", 2), part("nemo", 2, "happy", "angry"), part("tess", 2, "sad", "angry"))
    scored, rows = witnessed(made, monkeypatch)
    assert [names_of(made, asked) for _, asked in rows] == [{"nemo"}, {"nemo"}, {"tess"}]
    of_nemo = made.corpus_of[scored.windows // 2] == 1
    assert scored.weight[of_nemo].sum() == pytest.approx(0.5)


def test_a_main_corpus_of_one_speaker_is_scored_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixture(part("ravdess", 1, "happy", "angry", n_takes=10), part("nemo", 2, "happy", "angry"))
    _, rows = witnessed(made, monkeypatch)
    assert [names_of(made, learned) for learned, _ in rows] == [{"nemo"}, {"ravdess"}]


# How much a window counts


def test_half_of_the_weight_is_the_main_corpus_s_and_the_others_share_the_rest_evenly() -> None:
    made = many()
    windows = np.concatenate([np.repeat(np.arange(70), 3), np.arange(70, 100), [100, 130, 130, 149]])
    weight = cross_fit._weights(made, windows)
    of = made.corpus_of[windows]
    sums = np.bincount(of, weight)
    assert sums.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert weight[of == 0] == pytest.approx(1 / 2 / 70 / 3)
    assert weight[of == 3].tolist() == pytest.approx(
        [1 / 24, 1 / 24, 1 / 12]
    )  # a clip of two windows, one of one
    alone = cross_fit._weights(made, np.arange(70, 110))
    assert np.bincount(made.corpus_of[70:110], alone).tolist() == pytest.approx([0, 1 / 2, 1 / 2])


# The temperature


def near_and_far(n: int = 400) -> tuple[Any, cross_fit._Scored, WindowFeatures]:
    """Windows on two sides. Answers are as sure on both, nearly always right on the first, often wrong on the other."""
    random = np.random.default_rng(0)
    side = np.repeat([1.0, -1.0], n // 2)
    embeddings = random.normal(5, 0.3, (n, N_EMBEDDING)) + side[:, None]
    labels = random.integers(0, 8, n)
    is_right = random.uniform(size=n) < np.where(side > 0, 0.97, 0.3)
    logits = random.normal(0, 0.3, (n, 8))
    logits[np.arange(n), np.where(is_right, labels, (labels + 3) % 8)] += 4
    facts = (np.ones(n, np.float32), labels, np.full(n, "x"), np.zeros(n, bool))
    data = WindowFeatures(embeddings.astype(np.float32), np.arange(n), *facts)
    network = build(recipe()).eval()
    norm: Any = network.head[0]
    norm.running_mean.fill_(float(embeddings.mean()))
    norm.running_var.fill_(float(embeddings.var()))
    return network, cross_fit._Scored(np.arange(n), logits, np.full(n, 1 / n)), data


def test_temperatures_are_low_where_heads_are_right_and_high_where_they_are_wrong() -> None:
    network, scored, data = near_and_far()
    head = cross_fit._fit_temperature(network, scored, data)
    temperature = head(torch.from_numpy(data.features)).double().numpy()
    near, far = temperature[:200], temperature[200:]
    assert near.max() < 1.2 < 1.5 < far.min()
    one = calibration.fit_temperature(scored.logits, data.clip, data.labels)
    assert near.mean() < one < far.mean()

    def surprise(divisor: Any) -> float:
        probabilities = calibration.softmax(scored.logits / divisor)
        return float(-np.log(probabilities[np.arange(400), data.labels]).mean())

    assert surprise(temperature) < surprise(one) - 0.1


def test_a_temperature_stays_within_its_bounds() -> None:
    head = TemperatureHead(torch.tensor([1.0, 0.0]), 0.5)
    given = torch.tensor([[0.25, 9.0], [-50.0, 0.0], [50.0, 0.0]])
    assert head(given)[:, 0].tolist() == pytest.approx([np.exp(0.75), np.exp(-1), np.exp(3)])


def test_it_comes_back_from_its_run_folder(tmp_path: Path) -> None:
    assert cross_fit.read(tmp_path) is None
    head = TemperatureHead(torch.tensor([0.25, -1.5]), 0.1)
    head.write(tmp_path)
    again = cross_fit.read(tmp_path)
    assert again is not None
    assert (again.weight.tolist(), again.bias) == ([0.25, -1.5], 0.1)
    whole = (tmp_path / cross_fit.FILE).read_bytes()
    for damaged in (b"", whole[:50], whole.replace(b"bias", b"bios"), bytes([*whole[:-1], whole[-1] ^ 1])):
        (tmp_path / cross_fit.FILE).write_bytes(damaged)
        with pytest.raises(ModelFormatError, match=r"not a temperature head .* Delete the run folder"):
            cross_fit.read(tmp_path)


# All together


def calibrated(made: Mixture, embeddings: Tensor, folder: Path) -> tuple[TemperatureHead, float, Any]:
    job, augmented = job_of(made, folder), AugmentedEmbeddings((embeddings[None].half(),))
    fit(job, [augmented])
    return cross_fit.calibrate(job, made, [augmented], features_of(made, embeddings))


def spoken(made: Mixture, misleading: str = "") -> Tensor:
    """Embeddings that tell the labels apart; those of one corpus stand apart, and sound like any of its labels."""
    random = np.random.default_rng(0)
    rows = random.normal(0, 0.3, (len(made), N_EMBEDDING))
    for index, one in enumerate(made.parts):
        own, labels = made.corpus_of == index, made.labels[made.corpus_of == index]
        heard = random.permutation(labels) if one.corpus == misleading else labels
        rows[own, heard] += 1
        rows[own, 8:] += 1.0 if one.corpus == misleading else -1.0
    return torch.from_numpy(rows).float()


def test_a_corpus_on_which_heads_fail_gets_high_temperatures(tmp_path: Path) -> None:
    made = mixture(
        *(part(name, 5, "happy", "angry", n_takes=4) for name in ("ravdess", "nemo", "tess")),
        part("plain", 2),
    )
    rows = spoken(made, misleading="tess")
    head, temperature, evidence = calibrated(made, rows, tmp_path)
    known, failed = (head(rows[made.corpus_of == index]).mean().item() for index in (0, 2))
    assert failed > 2 * known
    assert temperature < 1  # of the main corpus, where heads are right and not sure enough
    assert evidence["likeliest_temperature"] == temperature
    assert len(evidence["scores"]) == len(evidence["confidences"]) == 3 * 40
    assert np.mean(evidence["scores"][:40]) < 0.3 < 0.4 < np.mean(evidence["scores"][80:])


def test_evidence_is_balanced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many recordings of the main corpus as of all others together, spread over all of its clips."""
    monkeypatch.setattr(cross_fit, "N_EVIDENCE", 20)
    made = many()
    *_, evidence = calibrated(made, spoken(made), tmp_path)
    assert len(evidence["scores"]) == 20 + 3 * (20 // 3)
    parts = list(cross_fit._balanced(made, np.arange(70, 150)))
    assert [np.unique(made.corpus_of[some]).tolist() for some in parts] == [[1], [2], [3]]
    assert [len(some) for some in parts] == [6, 6, 6]
    assert (parts[1].min(), parts[1].max()) == (100, 129)


def test_where_nobody_can_be_left_out_nothing_is_calibrated(tmp_path: Path) -> None:
    """One person, who speaks and sings."""
    made = mixture(*(part(name, 1, "happy", "angry", n_takes=10) for name in ("ravdess", "ravdess-song")))
    head, temperature, evidence = calibrated(made, spoken(made), tmp_path)
    assert head(spoken(made)).unique().tolist() == [1.0]
    assert temperature == 1
    assert evidence == {"scores": [], "confidences": [], "likeliest_temperature": 1.0}
