"""Enrolled heads: fitted with profiles as they come in use, kept in run folders, exported beside the plain head."""

import dataclasses
import itertools
from pathlib import Path

import miniature
import numpy as np
import pytest
import torch

import speech_emotion
from speech_emotion import profile as speaker_profile
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, ModelFormatError, ParityError
from speech_emotion.labels import UNLABELLED
from speech_emotion.model import EmotionModel
from speech_emotion.profile import shrunk
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.export.onnx import _Shipped, check_parity, export
from speech_emotion.training.fit import enrolment
from speech_emotion.training.fit.calibration import Calibration, softmax
from speech_emotion.training.fit.enrolment import EnrolledHead, fit_head, learn, read
from speech_emotion.training.fit.job import Job, Sides
from speech_emotion.training.networks.cnn import Cnn

CLIPS = miniature.clips(range(1, 5))  # of four actors, eight emotions each
N_FEATURES = 2 * 16 + 2 * 32


@pytest.fixture(scope="module")
def dataset() -> PreparedDataset:
    return miniature.dataset(CLIPS)


@pytest.fixture(scope="module")
def network() -> Cnn:
    return miniature.lively_network()


@pytest.fixture(scope="module")
def features(network: Cnn, dataset: PreparedDataset) -> WindowFeatures:
    return window_features(network, miniature.recipe(), dataset)


def job(dataset: PreparedDataset, sides: Sides) -> Job:
    return Job(miniature.recipe(), dataset, sides, Path())


@pytest.fixture(scope="module")
def head(network: Cnn, dataset: PreparedDataset, features: WindowFeatures) -> EnrolledHead:
    return learn(network, job(dataset, Sides(np.arange(24), np.arange(24, 32))), features)


# Profiles


def voices_of(n_clips: int = 80, n_features: int = 3) -> WindowFeatures:
    """Two speakers far apart; every clip 5 s long in two windows; the emotion is the second feature."""
    random = np.random.default_rng(1)
    labels, speakers = np.arange(n_clips) % 8, np.arange(n_clips) // (n_clips // 2)
    clip = np.repeat(np.arange(n_clips), 2)
    features = random.normal(0, 0.1, (2 * n_clips, n_features))
    features += 20.0 * speakers[clip, None]
    features[:, 1] += labels[clip]
    names = np.array(["left", "right"])[speakers]
    seconds = np.full(n_clips, 5.0, np.float32)
    return WindowFeatures(features.astype(np.float32), clip, seconds, labels, names, labels < 2)


def test_profiles_are_of_half_a_minute_of_one_speaker_and_at_odd_draws_of_neutral_speech() -> None:
    voices = voices_of()
    drawn = list(enrolment.profiles(voices, voices.features, range(4), seed=3))
    assert len(drawn) == 8
    for (windows, profile), draw in zip(drawn, itertools.cycle(range(4))):
        assert len(windows) == 80
        own = voices.features[windows]
        share = (
            1 - profile[1, 0] ** 2
        ) / 0.99  # 8 to 26 windows of 4 to 13 clips, against the 10 of the prior
        mean = profile[0] / share
        assert mean[0] == pytest.approx(own[:, 0].mean(), abs=0.3)
        is_neutral = mean[1] - own[:, 0].mean() < 1  # labels 0 and 1 only
        assert is_neutral == bool(draw % 2)
        assert 8 / 18 - 0.01 < share < 26 / 36 + 0.01
    again = list(enrolment.profiles(voices, voices.features, range(4), seed=3))
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(drawn, again, strict=True))
    other = list(enrolment.profiles(voices, voices.features, range(4), seed=4))
    assert not np.array_equal(drawn[0][1], other[0][1])


def test_a_speaker_without_neutral_speech_enrols_with_what_there_is() -> None:
    voices = voices_of()
    loud = dataclasses.replace(voices, is_neutral=np.zeros(len(voices.labels), bool))
    ((_, profile), *_) = enrolment.profiles(loud, loud.features, [1], seed=3)
    share = (1 - profile[1, 0] ** 2) / 0.99
    assert profile[0, 1] / share > 2


def test_the_population_is_the_mean_over_speakers_and_the_deviation_within_them() -> None:
    mean, deviation = enrolment.population(voices_of())
    np.testing.assert_allclose(mean, [10, 13.5, 10], atol=0.1)
    np.testing.assert_allclose(deviation, [0.1, np.arange(8).std(), 0.1], rtol=0.15)


# The fit


def test_the_fit_finds_what_separates_and_stays_near_its_start() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 8, 400)
    rows = random.normal(0, 0.5, (400, 9)).astype(np.float32)
    rows[np.arange(400), labels] += 3
    start = (np.zeros((8, 9), np.float32), np.zeros(8, np.float32))
    weight, bias = fit_head(rows, labels, start, penalty=0.001)
    assert ((rows @ weight.T + bias).argmax(axis=1) == labels).mean() > 0.99
    assert np.abs(weight[:, 8]).max() < 0.2 < 0.5 < np.diagonal(weight).min()  # the last says nothing
    held, _ = fit_head(rows, labels, (start[0] + 1, start[1]), penalty=1e4)
    np.testing.assert_allclose(held, np.ones((8, 9)), atol=1e-3)


def test_a_speaker_s_offset_is_taken_away() -> None:
    """Without profiles the second feature of one speaker says nothing about the other's emotions."""
    voices = voices_of()
    mean, deviation = enrolment.population(voices)
    standard = (voices.features - mean) / deviation
    rows, windows = enrolment.relative(voices, standard, [0, 2], seed=0)
    assert rows.shape == (2 * 160, 3)
    speakers = voices.speakers[voices.clip[windows]]
    left, right = (rows[speakers == side, 1] for side in ("left", "right"))
    apart = np.ptp([standard[voices.speakers[voices.clip] == side, 1].mean() for side in ("left", "right")])
    assert abs(left.mean() - right.mean()) < 0.6 * apart  # so far as so little speech is believed
    assert mean[1] / deviation[1] > 5


def test_the_start_is_the_network_s_own_head(network: Cnn, features: WindowFeatures) -> None:
    voices = features.of(np.arange(6))
    mean, deviation = enrolment.population(voices)
    weight, bias = enrolment._plain_head(network, (mean, deviation))
    with torch.inference_mode():
        logits = network.head(torch.from_numpy(voices.features[:, :32])).numpy()
    standard = (voices.features - mean) / deviation
    np.testing.assert_allclose(standard @ weight.T + bias, logits, atol=1e-3)
    assert not weight[:, 32:].any()


def test_a_head_is_chosen_on_validation_speakers(head: EnrolledHead) -> None:
    assert head.weight.shape == (8, N_FEATURES)
    assert (head.bias.shape, head.mean.shape, head.deviation.shape) == ((8,), (N_FEATURES,), (N_FEATURES,))
    assert head.penalty in enrolment.PENALTIES
    assert 0.05 <= head.temperature <= 20
    assert head.gain > 0.1  # of a network that learned nothing: all that it knows is in this head


def test_without_validation_speakers_it_is_fitted_like_its_references(
    network: Cnn, dataset: PreparedDataset, features: WindowFeatures, head: EnrolledHead
) -> None:
    all_speakers = job(dataset, Sides(np.arange(32), np.zeros(0, np.int64)))
    hotter = dataclasses.replace(
        head, temperature=4 * head.temperature, penalty=0.25 * head.penalty, gain=0.0
    )
    made = learn(network, all_speakers, features, references=[head, hotter])
    assert made.temperature == pytest.approx(2 * head.temperature)
    assert made.penalty == pytest.approx(0.5 * head.penalty)
    assert made.gain == pytest.approx(head.gain / 2, abs=1e-4)
    with pytest.raises(ConfigError, match="Give the run folder of a protocol"):
        learn(network, all_speakers, features)


def test_it_learns_from_the_clips_that_were_analysed(
    network: Cnn, dataset: PreparedDataset, features: WindowFeatures
) -> None:
    """Of a large corpus that are not all."""
    is_kept = ~np.isin(features.clip, [3, 9, 17])
    some = dataclasses.replace(features, features=features.features[is_kept], clip=features.clip[is_kept])
    sides = Sides(np.arange(24), np.arange(24, 32))
    found = learn(network, job(dataset, sides), some)
    expected = learn(
        network, job(dataset, Sides(np.setdiff1d(sides.train, [3, 9, 17]), sides.validation)), features
    )
    np.testing.assert_array_equal(found.weight, expected.weight)
    assert (found.penalty, found.temperature, found.gain) == (
        expected.penalty,
        expected.temperature,
        expected.gain,
    )


# How it is kept


def test_it_comes_back_from_its_run_folder(head: EnrolledHead, tmp_path: Path) -> None:
    assert read(tmp_path) is None
    head.write(tmp_path)
    again = read(tmp_path)
    assert again is not None
    for field in dataclasses.fields(EnrolledHead):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(head, field.name))


def test_a_damaged_head_is_refused(head: EnrolledHead, tmp_path: Path) -> None:
    head.write(tmp_path)
    data = (tmp_path / enrolment.FILE).read_bytes()
    for damaged in (b"", data[:100], data.replace(b"penalty", b"penulty")):
        (tmp_path / enrolment.FILE).write_bytes(damaged)
        with pytest.raises(ModelFormatError, match="not an enrolled head"):
            read(tmp_path)


# The exported file


@pytest.fixture(scope="module")
def path(network: Cnn, head: EnrolledHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("enrolled") / "tiny.onnx"
    calibration = Calibration(miniature.TEMPERATURE, {"not_sure": 0.2, "set": 0.9})
    export(network, miniature.recipe(), calibration, miniature.PROVENANCE, path, head=head)
    return path


def test_the_file_says_how_it_enrols(path: Path, head: EnrolledHead) -> None:
    info = EmotionModel.load(path).info
    assert info.enrolment is not None
    assert (info.enrolment.n_features, info.enrolment.min_seconds) == (N_FEATURES, 10.0)
    assert (info.enrolment.prior_windows, info.enrolment.gain) == (10.0, head.gain)
    assert info.thresholds == {"not_sure": 0.2, "set": 0.9}


def test_without_a_profile_it_is_the_plain_model(path: Path, network: Cnn) -> None:
    model, windows = EmotionModel.load(path), np.stack([miniature.sound(clip) for clip in CLIPS])
    with torch.inference_mode():
        plain = softmax(network(torch.from_numpy(windows)).numpy() / miniature.TEMPERATURE)
    scores, zeros = model.score(windows), np.zeros((2, N_FEATURES), np.float32)
    for one, other in zip(scores, model.score(windows, zeros), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(scores.probabilities, plain, atol=1e-5)


def test_with_a_profile_it_is_the_enrolled_head(path: Path, network: Cnn, head: EnrolledHead) -> None:
    model, windows = EmotionModel.load(path), np.stack([miniature.sound(clip) for clip in CLIPS[:8]])
    voice = model.score(windows).voice
    profile = shrunk(voice.mean(axis=0), voice.var(axis=0), len(voice), 10.0)
    logits = (voice - profile[0]) / profile[1] @ head.weight.T + head.bias
    powers = np.exp(logits / head.temperature)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.score(windows, profile).probabilities, expected, atol=1e-4)
    assert np.abs(model.score(windows).probabilities - expected).max() > 0.1


def test_a_person_is_enrolled_and_answered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is plausible for a voice was measured on networks that learned from voices.
    monkeypatch.setattr(speaker_profile, "_is_plausible", lambda mean, deviation: True)
    classifier = speech_emotion.load(path)
    speech = np.concatenate([miniature.sound(clip, 2.0) for clip in CLIPS[:8]])
    profile = classifier.enrol(speech, sample_rate=16_000)
    assert len(profile.mean) == N_FEATURES
    answers = [
        classifier.predict(miniature.sound(clip), sample_rate=16_000, profile=profile) for clip in CLIPS[:8]
    ]
    assert all(answer.emotions for answer in answers if answer.probabilities)
    plain = [classifier.predict(miniature.sound(clip), sample_rate=16_000) for clip in CLIPS[:8]]
    assert answers != plain


def test_the_enrolled_graph_agrees_with_its_network(path: Path, network: Cnn, head: EnrolledHead) -> None:
    model = EmotionModel.load(path)
    check_parity(_Shipped(network, miniature.CALIBRATION, head=head).eval(), model, miniature.recipe())
    slope = 1 + np.linspace(0, 0.01, 8, dtype=np.float32)[:, None]
    other = dataclasses.replace(head, weight=head.weight * slope)
    with pytest.raises(ParityError):
        check_parity(_Shipped(network, miniature.CALIBRATION, head=other).eval(), model, miniature.recipe())


# Of a mixture


def test_copies_are_relative_to_their_speaker_and_once_more_to_their_neutral_speech() -> None:
    parts = (
        miniature.dataset(miniature.clips([1, 2])),
        miniature.dataset(miniature.clips([1]) * 2, corpus="nemo"),
        dataclasses.replace(
            miniature.dataset(CLIPS, corpus="plain"),
            label_names=(UNLABELLED,),
            labels=np.zeros(len(CLIPS), np.int64),
        ),
    )
    made = Mixture(parts, {"plain": ("neutral",)})
    random = np.random.default_rng(0)
    tensors = [
        torch.from_numpy(random.normal(i, 1, (2, len(part), 3))).half() for i, part in enumerate(parts)
    ]
    units = (np.full(5, 0.5, np.float32), np.full(5, 2.0, np.float32))
    copies = np.concatenate([t.float().numpy() for t in tensors], axis=1)
    rows, clips = enrolment.relative_copies(
        AugmentedEmbeddings(tuple(tensors)), made, np.arange(len(made)), units
    )
    polish = np.arange(
        16, 32
    )  # eight emotions twice: four clips are neutral or calm, enough for a second profile
    assert sorted(clips) == sorted([*np.repeat(np.arange(16), 2), *np.repeat(polish, 4)])
    quiet = polish[made.labels[polish] < 2]
    expected = []
    for own, enrolled in (
        (np.arange(8), np.arange(8)),
        (np.arange(8, 16), np.arange(8, 16)),
        (polish, polish),
        (polish, quiet),
    ):
        voices = ((copies[:, enrolled] - 0.5) / 2).reshape(-1, 3)
        mean, deviation = shrunk(voices.mean(axis=0), voices.var(axis=0), len(enrolled), 10.0)
        expected.append((((copies[:, own] - 0.5) / 2 - mean) / deviation).reshape(-1, 3))
    wanted = np.concatenate(expected)
    np.testing.assert_allclose(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)], rtol=1e-3, atol=1e-4)


def test_the_head_of_a_mixture_finds_what_tells_labels_apart_within_speakers(tmp_path: Path) -> None:
    """Every speaker has an offset of their own, larger than what the emotion does."""
    parts = tuple(miniature.dataset(CLIPS, corpus=name) for name in ("ravdess", "nemo"))
    made = Mixture(parts, {})
    network = miniature.lively_network()
    n = network.n_embedding
    speakers = np.unique(made.speakers, return_inverse=True)[1]
    offsets = np.random.default_rng(0).normal(0, 50, (speakers.max() + 1, n))
    embeddings = (offsets[speakers] + 5 * np.eye(n)[made.labels]).astype(np.float32)
    augmented = AugmentedEmbeddings(tuple(torch.from_numpy(embeddings)[None].split(len(CLIPS), dim=1)))
    features = np.pad(embeddings, ((0, 0), (0, 2 * 32)))
    clips = np.arange(len(made))
    seconds = np.full(len(made), 5.0, np.float32)
    data = WindowFeatures(features, clips, seconds, made.labels, made.speakers, made.labels < 2)
    config = dataclasses.replace(miniature.recipe(), mixture={"nemo": 0.01})
    train, validation = clips[speakers > 0], clips[speakers == 0]
    head = learn(network, Job(config, made, Sides(train, validation), tmp_path), data, augmented)
    voice = (features[validation] - head.mean) / head.deviation
    profile = voice.mean(axis=0), voice.std(axis=0) + 1e-3
    answers = ((voice - profile[0]) / profile[1] @ head.weight.T + head.bias).argmax(axis=1)
    assert (answers == made.labels[validation]).all()
    assert not head.weight[:, n:].any()
    assert (head.share, head.penalty) == (enrolment.SHARE_OF_A_MIXTURE, enrolment.PENALTY_OF_A_MIXTURE)
