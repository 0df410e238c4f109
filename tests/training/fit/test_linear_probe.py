"""A trunk that stays as it is: embeddings made once, and the one head that is likeliest for them."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import clips, dataset, lively_network, recipe, sound
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import speech_emotion
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.training import runs
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.fit import checkpoint, enrolment, linear_probe
from speech_emotion.training.fit import train as fit
from speech_emotion.training.fit.linear_probe import AugmentedEmbeddings, copies, fit_head
from speech_emotion.training.fit.loop import part
from speech_emotion.training.fit.train import Epoch, Fitted, Sides, build
from speech_emotion.training.networks.encoder import EmotionTransformer

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
LABELS = torch.tensor([EMOTIONS.index(clip.label) for clip in CLIPS])
SIDES = Sides(train=np.arange(4, 12), validation=np.arange(12, 16))
N_COPIES, N_EMBEDDING = 3, 32


def config_of(**changes: Any) -> TrainConfig:
    of_probe = {"copies": N_COPIES, "crop_seconds": 0.6} | changes.pop("probe", {})
    as_sound = {"warp_frequency": 0.0, "mixup_alpha": 0.0, "n_masks": 0} | changes.pop("augment", {})
    return recipe(probe=of_probe, augment=as_sound, **changes)


# The head


def embeddings(n: int = 400) -> tuple[Tensor, Tensor]:
    """(n, 32), far from standardised, of labels that their first eight tell in part."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 8, n)
    rows = random.normal(0, 1, (n, N_EMBEDDING))
    rows[np.arange(n), labels] += 1.5
    rows = rows * random.uniform(0.2, 20, N_EMBEDDING) + random.normal(0, 30, N_EMBEDDING)
    return torch.from_numpy(rows).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("penalty", [0.1, 0.01, 0.001])
def test_the_head_is_logistic_regression_over_standardised_embeddings(penalty: float) -> None:
    rows, labels = embeddings()
    network = build(recipe()).eval()
    fit_head(network, rows, labels, penalty, 0.0)
    with torch.inference_mode():
        found = network.head(rows).softmax(dim=1)
    standard = ((rows - rows.mean(dim=0)) / rows.std(dim=0)).numpy()
    theirs = LogisticRegression(C=1 / (2 * len(rows) * penalty), tol=1e-8, max_iter=2000)
    expected = theirs.fit(standard, labels.numpy()).predict_proba(standard)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-3)
    assert expected.max(axis=1).std() > 0.02


def test_the_batch_normalisation_standardises_and_nothing_else() -> None:
    rows, labels = embeddings()
    network = build(recipe()).eval()
    norm, _, linear = network.head
    nn.init.uniform_(norm.weight, 2, 3)  # whatever was there before
    nn.init.uniform_(norm.bias, 2, 3)
    loss = fit_head(network, rows, labels, 0.01, 0.2)
    standard = (rows - rows.mean(dim=0)) / rows.std(dim=0)
    with torch.inference_mode():
        logits = network.head(rows)
        torch.testing.assert_close(norm(rows), standard, rtol=0, atol=1e-3)
        torch.testing.assert_close(logits, linear(standard), rtol=0, atol=1e-3)
        smoothed = nn.functional.cross_entropy(logits, labels, label_smoothing=0.2)
    assert loss == pytest.approx((smoothed + 0.01 * linear.weight.square().sum()).item(), rel=1e-4)


def test_a_heavier_penalty_makes_a_smaller_head() -> None:
    rows, labels = embeddings()
    network = build(recipe()).eval()
    norms = []
    for penalty in (0.001, 0.1, 10.0):
        fit_head(network, rows, labels, penalty, 0.0)
        norms.append(network.head[2].weight.norm().item())
    assert norms[0] > 2 * norms[1] > 4 * norms[2] > 0


# The copies


@pytest.fixture(scope="module")
def made() -> PreparedDataset:
    return dataset(CLIPS)


def start(config: TrainConfig) -> Any:
    network = build(config)
    trunk.start(network, config.init)
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


def test_copies_are_made_once(tmp_path: Path, made: PreparedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of()
    first = copies(config, start(config), made, tmp_path)
    monkeypatch.setattr(linear_probe, "varied", lambda *_: pytest.fail("heard again"))
    second = copies(config, start(config), made, tmp_path)
    assert torch.equal(first.embeddings, second.embeddings)
    assert first.embeddings.shape == (N_COPIES, len(CLIPS), N_EMBEDDING)
    assert first.embeddings.dtype == torch.float16
    assert not torch.equal(first.embeddings[0], first.embeddings[1])


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
    assert torch.equal(first.embeddings, again.embeddings)
    assert path.read_bytes() == whole


def test_what_makes_other_copies_is_another_file(tmp_path: Path, made: PreparedDataset) -> None:
    trunk.save(build(recipe().with_seed(9)), {"name": "origin"}, tmp_path / "trunk.safetensors")
    other_corpus = dataclasses.replace(made, key="2" * 64)
    of = config_of()
    wanted = [
        (of, made),
        (of.with_seed(1), made),
        (config_of(augment={"tilt_db": 2.0}), made),
        (of.with_init(str(tmp_path / "trunk.safetensors")), made),
        (config_of(augment={"telephone_probability": 0.5}), made),
        (config_of(probe={"crop_seconds": 0.7}), made),
        (of, other_corpus),
    ]
    found = [copies(config, start(config), corpus, tmp_path / "copies") for config, corpus in wanted]
    assert len(list((tmp_path / "copies").glob("*.safetensors"))) == len(wanted)
    for other in found[1:6]:
        assert not torch.equal(found[0].embeddings, other.embeddings)


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
    vary = linear_probe.varied

    def looked_for(samples: Any, *rest: Any) -> Any:
        clip = recorded[len(is_altered) % len(CLIPS)]
        starts = np.flatnonzero(clip[: len(clip) - len(samples) + 1] == samples[0])
        is_altered.append(not any(np.array_equal(clip[s : s + len(samples)], samples) for s in starts))
        lengths.append(len(samples))
        return vary(samples, *rest)

    monkeypatch.setattr(linear_probe, "varied", looked_for)
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
    torch.testing.assert_close(found.embeddings[0].float(), expected, rtol=0.05, atol=0.05)  # by way of bf16
    nearest = torch.cdist(found.embeddings[0].float(), expected).argmin(dim=1)
    assert nearest.tolist() == list(range(len(CLIPS)))


# What a fold learns from


def drawn(seed: int = 0) -> AugmentedEmbeddings:
    """Embeddings that nobody heard."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(N_COPIES, len(CLIPS), N_EMBEDDING, generator=random)
    rows[:, torch.arange(len(CLIPS)), LABELS] += 2
    return AugmentedEmbeddings(rows.half())


def fitted(out: Path, bank: AugmentedEmbeddings, sides: Sides = SIDES, **options: Any) -> Fitted:
    return fit.fit(options.pop("config", config_of()), dataset(CLIPS), bank, sides, out, **options)


def head_of(out: Path) -> Tensor:
    return part(checkpoint.load(out)[0], "average")["head.2.weight"]


def changed(bank: AugmentedEmbeddings, where: Tensor) -> AugmentedEmbeddings:
    """Other embeddings `where` (n_copies, n_clips)."""
    return AugmentedEmbeddings(torch.where(where.unsqueeze(2), drawn(1).embeddings, bank.embeddings))


def of_clips(indices: Any) -> Tensor:
    where = torch.zeros(N_COPIES, len(CLIPS), dtype=torch.bool)
    where[:, indices] = True
    return where


def test_a_head_depends_on_its_own_train_clips(tmp_path: Path) -> None:
    bank = drawn()
    fitted(tmp_path / "first", bank)
    others = torch.from_numpy(np.setdiff1d(np.arange(len(CLIPS)), SIDES.train))
    fitted(tmp_path / "same", changed(bank, of_clips(others)))
    assert torch.equal(head_of(tmp_path / "first"), head_of(tmp_path / "same"))
    fitted(tmp_path / "other", changed(bank, of_clips([4])))
    assert not torch.equal(head_of(tmp_path / "first"), head_of(tmp_path / "other"))


def test_rows_and_labels_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, Tensor]] = []
    learn = fit.fit_head

    def watch(network: Any, rows: Tensor, labels: Tensor, *rest: float) -> float:
        seen.append((rows, labels))
        return learn(network, rows, labels, *rest)

    monkeypatch.setattr(fit, "fit_head", watch)
    bank = drawn()
    fitted(tmp_path, bank)
    ((rows, labels),) = seen
    pairs = [(k, c) for k in range(N_COPIES) for c in SIDES.train]
    assert torch.equal(rows, torch.stack([bank.embeddings[k, c] for k, c in pairs]).float())
    assert labels.tolist() == [LABELS[c].item() for _, c in pairs]


def test_a_head_is_one_line_of_the_log_and_a_run_that_can_be_read_again(tmp_path: Path) -> None:
    told: list[Epoch] = []
    first = fitted(tmp_path, drawn(), on_epoch=told.append)
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [epoch.row() for epoch in told] == [line]
    assert (line["epoch"], line["n_epochs"]) == (1, 1)
    assert line["loss"] > 0
    assert 0 <= line["validation_uar"] <= 100
    tensors, state = checkpoint.load(tmp_path)
    assert state["log"] == [line]
    assert fit.kept_weights(tensors).keys() == build(config_of()).state_dict().keys()
    assert fit.resumable(config_of(), dataset(CLIPS), SIDES, tmp_path) is not None
    assert fitted(tmp_path, drawn()) == first
    assert 0.05 <= first.temperature <= 20
    with pytest.raises(ConfigError, match="holds a run of another recipe, corpus or split"):
        fit.resumable(config_of(probe={"penalty": 0.5}), dataset(CLIPS), SIDES, tmp_path)


def test_without_validation_speakers_nothing_is_measured(tmp_path: Path) -> None:
    everybody = Sides(np.arange(16), np.zeros(0, np.int64))
    assert fitted(tmp_path / "run", drawn(), everybody) == Fitted(
        1.0, {"scores": [], "confidences": [], "likeliest_temperature": 1.0}, ()
    )


# Runs

FOLDS = Protocol(
    "folds",
    "ravdess",
    tuple(
        Fold(k, frozenset({test}), frozenset({validation}), frozenset(train))
        for k, (test, validation, train) in enumerate(
            [("01", "02", ("03", "04")), ("03", "04", ("01", "02"))]
        )
    ),
)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A recipe of a transformer that is narrower than it is shipped."""
    monkeypatch.setattr(fit, "EmotionTransformer", functools.partial(EmotionTransformer, width=48))
    monkeypatch.setattr(enrolment, "PENALTIES", (1.0, 0.1))
    return config_of(
        network={"architecture": "transformer", "layers": 1}, frontend={"n_fft": 400, "hop": 160}
    )


def test_folds_and_seeds_share_what_they_can(
    tmp_path: Path, narrow: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AugmentedEmbeddings once a seed; what the trunk hears of the windows once a seed; every fold another head."""
    told: list[tuple[int, int]] = []
    heard: list[int] = []
    hear = enrolment.hear

    def count(network: Any, config: TrainConfig, made: PreparedDataset, indices: Any) -> enrolment.Voices:
        heard.append(len(indices))
        return hear(network, config, made, indices)

    monkeypatch.setattr(enrolment, "hear", count)
    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    made = dataclasses.replace(dataset(CLIPS), folder=tmp_path / "prepared" / "ravdess")
    trainings = runs.plan(narrow, tmp_path / "run", FOLDS, [0, 1], None)
    runs.train(trainings, made, FOLDS, on_copy=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
    assert heard == [len(CLIPS)] * 2
    assert len(list((tmp_path / "prepared").glob("*.safetensors"))) == 2
    heads = [head_of(training.folder) for training in trainings]
    assert len({head.numpy().tobytes() for head in heads}) == 4
    alone = enrolment.learn(_network(trainings[1]), narrow, made, runs._sides(trainings[1], made, FOLDS))
    kept = enrolment.read(trainings[1].folder)
    assert kept is not None
    np.testing.assert_allclose(kept.weight, alone.weight, atol=1e-4)  # as if it had heard them itself


def _network(training: runs.Training) -> Any:
    network = build(training.config)
    network.load_state_dict(fit.kept_weights(checkpoint.load(training.folder)[0]))
    return network.eval()


@pytest.mark.slow
def test_a_run_is_exported_and_answers(tmp_path: Path, narrow: TrainConfig) -> None:
    made = dataclasses.replace(dataset(CLIPS), folder=tmp_path / "prepared" / "ravdess")
    trainings = runs.plan(narrow, tmp_path / "run", FOLDS, [0], [0])
    (path,) = runs.train(trainings, made, FOLDS)
    classifier = speech_emotion.load(path)
    assert classifier.info.recipe["probe"]["copies"] == N_COPIES
    assert classifier.info.enrolment is not None
    run = json.loads((path.parent / "run.json").read_text())
    network = _network(trainings[0])
    waveform = sound(CLIPS[5])
    prediction = classifier.predict(waveform, sample_rate=16_000)
    with torch.inference_mode():
        logits = network(torch.from_numpy(waveform)[None])[0] / run["temperature"]
    assert list(prediction.probabilities.values()) == pytest.approx(logits.softmax(dim=0).tolist(), abs=1e-3)
    head = path.parent / enrolment.FILE
    whole = head.read_bytes()
    head.write_bytes(bytes([*whole[:-100], whole[-100] ^ 1, *whole[-99:]]))
    with pytest.raises(ModelFormatError, match="does not match its own checksum"):
        runs.export_run(path.parent, tmp_path / "again.onnx")
    head.write_bytes(whole)
    (path.parent / "run.json").write_text(json.dumps(run | {"temperature": run["temperature"] + 0.1}))
    with pytest.raises(ModelFormatError, match="does not match its own checksum"):
        runs.export_run(path.parent, tmp_path / "again.onnx")
