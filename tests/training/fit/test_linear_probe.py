"""Linear probing: the best head for given embeddings, and runs that share what they can."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature import clips, dataset, recipe, sound
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import speech_emotion
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.labels import EMOTIONS, UNLABELLED
from speech_emotion.training import runs
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Mixture, Shares
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.export.ship import export_run
from speech_emotion.training.fit import checkpoint, cross_fit, enrolment, linear_probe
from speech_emotion.training.fit.checkpoint import final_weights
from speech_emotion.training.fit.job import Epoch, Fitted, Job, Sides
from speech_emotion.training.fit.linear_probe import fit_head, fit_heads
from speech_emotion.training.fit.logistic import fit_logistic
from speech_emotion.training.fit.train import fit
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.pair import EmotionPair

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
LABELS = torch.tensor([EMOTIONS.index(clip.label) for clip in CLIPS])
SIDES = Sides(train=np.arange(4, 12), validation=np.arange(12, 16))
N_COPIES, N_EMBEDDING = 3, 32


def config_of(**changes: Any) -> TrainConfig:
    of_probe = {"copies": N_COPIES, "crop_seconds": 0.6} | changes.pop("probe", {})
    as_sound = {"warp_frequency": 0.0, "n_masks": 0} | changes.pop("augment", {})
    return recipe(probe=of_probe, augment=as_sound, **changes)


def probe_of(penalty: float, label_smoothing: float = 0.0) -> TrainConfig:
    return config_of(probe={"penalty": penalty}, fit={"label_smoothing": label_smoothing})


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
    fit_head(network, rows, labels, probe_of(penalty))
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
    loss = fit_head(network, rows, labels, probe_of(0.01, 0.2))
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
        fit_head(network, rows, labels, probe_of(penalty))
        norms.append(network.head[2].weight.norm().item())
    assert norms[0] > 2 * norms[1] > 4 * norms[2] > 0


# What a fold learns from


def drawn(seed: int = 0) -> AugmentedEmbeddings:
    """Embeddings of no sound."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(N_COPIES, len(CLIPS), N_EMBEDDING, generator=random)
    rows[:, torch.arange(len(CLIPS)), LABELS] += 2
    return AugmentedEmbeddings((rows.half(),))


def fitted(out: Path, bank: AugmentedEmbeddings, sides: Sides = SIDES, **options: Any) -> Fitted:
    return fit(Job(config_of(), dataset(CLIPS), sides, out, **options), [bank])


def head_of(out: Path) -> Tensor:
    return final_weights(out)["head.2.weight"]


def changed(bank: AugmentedEmbeddings, where: Tensor) -> AugmentedEmbeddings:
    """Other embeddings `where` (n_copies, n_clips)."""
    return AugmentedEmbeddings((torch.where(where.unsqueeze(2), drawn(1).parts[0], bank.parts[0]),))


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
    learn = linear_probe.fit_head

    def watch(network: Any, rows: Tensor, labels: Tensor, config: TrainConfig, shares: None) -> float:
        seen.append((rows, labels))
        return learn(network, rows, labels, config, shares)

    monkeypatch.setattr(linear_probe, "fit_head", watch)
    bank = drawn()
    fitted(tmp_path, bank)
    ((rows, labels),) = seen
    pairs = [(k, c) for k in range(N_COPIES) for c in SIDES.train]
    assert torch.equal(rows, torch.stack([bank.parts[0][k, c] for k, c in pairs]).float())
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
    assert checkpoint.part(tensors, "average").keys() == build(config_of()).state_dict().keys()
    assert Job(config_of(), dataset(CLIPS), SIDES, tmp_path).resume()[1] == [line]
    assert fitted(tmp_path, drawn()) == first
    assert 0.05 <= first.temperature <= 20
    with pytest.raises(ConfigError, match="holds a run of another recipe, corpus or split"):
        Job(config_of(probe={"penalty": 0.5}), dataset(CLIPS), SIDES, tmp_path).resume()


def test_without_validation_speakers_nothing_is_measured(tmp_path: Path) -> None:
    all_speakers = Sides(np.arange(16), np.zeros(0, np.int64))
    assert fitted(tmp_path / "run", drawn(), all_speakers) == Fitted(
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
    """A recipe of a transformer that is narrower than the shipped one."""
    monkeypatch.setattr(enrolment, "PENALTIES", (1.0, 0.1))
    return config_of(
        network={"architecture": "transformer", "layers": 1, "width": 64}, frontend={"n_fft": 400, "hop": 160}
    )


def test_folds_and_seeds_share_what_they_can(
    tmp_path: Path, narrow: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings and window features are computed once per seed; every fold has another head."""
    told: list[tuple[int, int]] = []
    analysed: list[int] = []

    def count(network: Any, config: TrainConfig, made: Any) -> WindowFeatures:
        analysed.append(len(made))
        return window_features(network, config, made)

    monkeypatch.setattr(runs, "window_features", count)
    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    made = dataclasses.replace(dataset(CLIPS), folder=tmp_path / "prepared" / "ravdess")
    trainings = runs.plan(narrow, tmp_path / "run", FOLDS, [0, 1], None)
    runs.train(trainings, made, on_copy=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
    assert analysed == [len(CLIPS)] * 2
    for kind in ("embeddings", "windows"):
        assert len(list((tmp_path / "prepared").glob(f"ravdess-{kind}-*.safetensors"))) == 2
    heads = [head_of(training.folder) for training in trainings]
    assert len({head.numpy().tobytes() for head in heads}) == 4
    network, config = checkpoint.load_network(trainings[1].folder)
    job = Job(config, made, trainings[1].sides(made), trainings[1].folder)
    alone = enrolment.learn(network, job, window_features(network, config, made))
    kept = enrolment.read(trainings[1].folder)
    assert kept is not None
    np.testing.assert_allclose(kept.weight, alone.weight, atol=1e-4)  # as if it had computed them itself


def test_a_run_is_exported_whole_or_refused(tmp_path: Path, narrow: TrainConfig, exported: list[Any]) -> None:
    made = dataclasses.replace(dataset(CLIPS), folder=tmp_path / "prepared" / "ravdess")
    trainings = runs.plan(narrow, tmp_path / "run", FOLDS, [0], [0])
    (path,) = runs.train(trainings, made)
    (asked,) = exported
    run = json.loads((path.parent / "run.json").read_text())
    assert asked.config.probe.copies == N_COPIES
    assert asked.head is not None
    assert asked.calibration.temperature == run["temperature"]
    network, _ = checkpoint.load_network(path.parent)
    waveform = torch.from_numpy(sound(CLIPS[5]))[None]
    with torch.inference_mode():
        torch.testing.assert_close(asked.network.eval()(waveform), network.eval()(waveform))
    head = path.parent / enrolment.FILE
    whole = head.read_bytes()
    head.write_bytes(bytes([*whole[:-100], whole[-100] ^ 1, *whole[-99:]]))
    with pytest.raises(ModelFormatError, match="do not match their checksum"):
        export_run(path.parent, tmp_path / "again.onnx")
    head.write_bytes(whole)
    (path.parent / "run.json").write_text(json.dumps(run | {"temperature": run["temperature"] + 0.1}))
    with pytest.raises(ModelFormatError, match="does not match its own checksum"):
        export_run(path.parent, tmp_path / "again.onnx")


# Several corpora


def experts(penalty: float, specialist_penalty: float) -> TrainConfig:
    config = probe_of(penalty)
    probe = dataclasses.replace(config.probe, specialist_penalty=specialist_penalty)
    return dataclasses.replace(config, probe=probe)


def test_a_specialist_counts_where_it_sounds_like_its_corpus() -> None:
    """What a feature says in the main corpus it denies in the other; further features tell the two apart."""
    rows = torch.randn(400, N_EMBEDDING, generator=torch.Generator().manual_seed(0))
    is_main = torch.arange(400) < 200
    labels = ((rows[:, 0] > 0) == is_main).long()
    rows[:, 1:] += torch.where(is_main, 4.0, -4.0)[:, None]
    spoken, allowed = torch.eye(8, dtype=torch.bool)[labels], torch.ones(400, 8, dtype=torch.bool)
    shares = Shares(torch.ones(400) / 400, spoken, allowed, is_main)
    right = []
    for specialist_penalty in (0.0, 0.01):
        config = experts(0.01, specialist_penalty)
        network = build(config).eval()
        fit_head(network, rows, labels, config, shares)
        right.append((network.logits(rows).argmax(dim=1) == labels).float())
    assert right[0].mean() < 0.7
    assert right[1][is_main].mean() > 0.95
    assert right[1][~is_main].mean() > 0.3  # the specialist would deny all of them
    odds = network.head[2].gate(network.head[0](rows))[:, 0] + linear_probe.GATE_PRIOR
    assert odds[is_main].min() > 1
    assert odds[~is_main].max() < -1


def test_without_the_main_corpus_a_specialist_is_as_the_others_are() -> None:
    rows, labels = embeddings(200)
    spoken, allowed = torch.eye(8, dtype=torch.bool)[labels], torch.ones(200, 8, dtype=torch.bool)
    shares = Shares(torch.ones(200) / 200, spoken, allowed, torch.zeros(200, dtype=torch.bool))
    config = experts(0.01, 0.01)
    network, plain = build(config).eval(), build(probe_of(0.01)).eval()
    fit_head(network, rows, labels, config, shares)
    fit_head(plain, rows, labels, probe_of(0.01), shares)
    with torch.inference_mode():
        torch.testing.assert_close(network.head(rows), plain.head(rows), rtol=0, atol=2e-2)


def test_rows_count_by_their_shares() -> None:
    """A row of weight 2 is two rows; standardisation and solution are those of the repeated rows."""
    rows, labels = embeddings(200)
    weight = 1 + (torch.arange(200) % 3 == 0).float()
    spoken, allowed = torch.eye(8, dtype=torch.bool)[labels], torch.ones(200, 8, dtype=torch.bool)
    shares = Shares(weight / weight.sum(), spoken, allowed, torch.ones(200, dtype=torch.bool))
    repeated = torch.arange(200).repeat_interleave(weight.long())
    found, expected = build(recipe()).eval(), build(recipe()).eval()
    fit_head(found, rows, labels, probe_of(0.01, 0.0), shares)
    fit_head(expected, rows[repeated], labels[repeated], probe_of(0.01, 0.0))
    with torch.inference_mode():
        torch.testing.assert_close(found.head(rows), expected.head(rows), rtol=0, atol=2e-2)


def test_a_row_says_nothing_about_labels_of_other_corpora() -> None:
    """Two corpora with labels of their own: each half of the head is the solution for its corpus alone."""
    rows = torch.cat([torch.eye(4), torch.eye(4)])
    targets = torch.tensor([0, 1, 0, 1, 2, 3, 3, 2])
    allowed = torch.zeros(8, 4, dtype=torch.bool)
    allowed[:4, :2] = allowed[4:, 2:] = True
    start = (torch.zeros(4, 4), torch.zeros(4))
    spoken, is_main = torch.eye(4, dtype=torch.bool)[targets], torch.ones(8, dtype=torch.bool)
    shares = Shares(torch.full((8,), 1 / 8), spoken, allowed, is_main)
    weight, bias, loss = fit_logistic(rows, shares, start, 0.01)
    half = (torch.zeros(2, 4), torch.zeros(2))
    first, first_bias, first_loss = fit_logistic(rows[:4], targets[:4], half, 0.02)
    second, second_bias, second_loss = fit_logistic(rows[4:], targets[4:] - 2, half, 0.02)
    torch.testing.assert_close(weight, torch.cat([first, second]), rtol=0, atol=1e-3)
    torch.testing.assert_close(bias, torch.cat([first_bias, second_bias]), rtol=0, atol=1e-3)
    assert loss == pytest.approx((first_loss + second_loss) / 2, abs=1e-5)


@pytest.mark.parametrize("specialist_penalty", [0.0, 0.03])
def test_heads_that_are_found_together_are_those_found_one_by_one(specialist_penalty: float) -> None:
    rows, labels = embeddings(200)
    spoken, allowed = torch.eye(8, dtype=torch.bool)[labels], torch.ones(200, 8, dtype=torch.bool)
    weights = [torch.ones(200) / 200, (torch.arange(200) % 2) / 100, (torch.arange(200) < 80) / 80]
    shares = [Shares(weight, spoken, allowed, torch.arange(200) % 4 < 2) for weight in weights]
    config = experts(0.01, specialist_penalty)
    alone, together = ([build(config).eval() for _ in shares] for _ in range(2))
    for network, own in zip(alone, shares, strict=True):
        fit_head(network, rows, labels, config, own)
    fit_heads(together, rows, shares, config)
    with torch.inference_mode():
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(other.head(rows), one.head(rows), rtol=0, atol=2e-2)
        assert (alone[0].head(rows) - alone[1].head(rows)).abs().max() > 0.5


def many(folder: Path, narrow: TrainConfig) -> tuple[runs.Training, Mixture]:
    """A training of two corpora and one without labels, which is calm or happy."""
    parts = (
        dataset(clips(list(range(1, 11)) * 4, ["calm", "happy"])),
        dataset(NEMO, corpus="nemo"),
        dataset(clips(range(1, 11), ["calm"]), corpus="plain"),
    )
    placed = [dataclasses.replace(part, folder=folder / "prepared" / part.corpus) for part in parts]
    placed[2] = dataclasses.replace(placed[2], label_names=(UNLABELLED,), labels=np.zeros(10, np.int64))
    fit_config, unlabelled = (
        dataclasses.replace(narrow.fit, label_smoothing=0.0),
        {"plain": ("calm", "happy")},
    )
    config = dataclasses.replace(
        narrow, mixture={"nemo": 2.0, "plain": 0.5}, unlabelled=unlabelled, fit=fit_config
    )
    (training,) = runs.plan(config, folder / "run", FOLDS, [0], [0])
    return training, Mixture(tuple(placed), unlabelled)


NEMO = clips(range(11, 21), ["happy", "angry"])


def test_a_run_of_several_corpora_names_all(
    tmp_path: Path, narrow: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    training, made = many(tmp_path, narrow)
    runs.train([training], made)
    run = json.loads((training.folder / "run.json").read_text())
    assert run["corpora"] == ["ravdess", "nemo", "plain"]
    recipe_of_run = json.loads((training.folder / "recipe.json").read_text())
    assert recipe_of_run["mixture"] == {"nemo": 2.0, "plain": 0.5}
    assert recipe_of_run["unlabelled"] == {"plain": ["calm", "happy"]}
    assert enrolment.read(training.folder) is not None
    network, _ = checkpoint.load_network(training.folder)
    answers = {
        EMOTIONS[int(network(torch.from_numpy(sound(clip))[None])[0].argmax())] for clip in NEMO
    }  # learned, although only nemo is ever angry
    assert "angry" in answers


def test_a_mixture_is_calibrated_on_what_heads_did_not_hear(
    tmp_path: Path, narrow: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on validation speakers: of two people of the RAVDESS and happy nEMO, which alone can be compared."""
    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    training, made = many(tmp_path, narrow)
    runs.train([training], made)
    run = json.loads((training.folder / "run.json").read_text())
    assert len(run["validation"]["scores"]) == 2 * 4 * 2 + 10
    assert run["temperature"] == run["validation"]["likeliest_temperature"]
    head = cross_fit.read(training.folder)
    assert head is not None
    assert head.weight.shape == (checkpoint.load_network(training.folder)[0].n_embedding,)


def test_a_mixture_that_was_killed_before_its_calibration_is_calibrated(
    tmp_path: Path, narrow: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    training, made = many(tmp_path, narrow)
    with monkeypatch.context() as patched:
        patched.setattr(cross_fit, "calibrate", kill)
        with pytest.raises(Killed):
            runs.train([training], made)
    assert checkpoint.exists(training.folder)
    with pytest.raises(ModelFormatError, match="not a finished run"):
        export_run(training.folder, tmp_path / "early.onnx")
    runs.train([training], made)
    assert cross_fit.read(training.folder) is not None


@pytest.mark.slow
def test_a_mixture_is_exported_and_answers(tmp_path: Path, narrow: TrainConfig) -> None:
    """By a pair of networks with specialists."""
    training, made = many(tmp_path, narrow)
    probe = dataclasses.replace(narrow.probe, penalty=1.0, specialist_penalty=0.5)
    first = dataclasses.replace(training.config, probe=probe)
    wide = dataclasses.replace(first, name="wide", network=dataclasses.replace(narrow.network, width=128))
    training = dataclasses.replace(training, config=dataclasses.replace(first, second=wide))
    (path,) = runs.train([training], made)
    classifier, head = speech_emotion.load(path), cross_fit.read(training.folder)
    assert head is not None
    assert classifier.info.corpora == ("ravdess", "nemo", "plain")
    assert classifier.info.thresholds.keys() == {"not_sure", "set"}
    network, _ = checkpoint.load_network(training.folder)
    assert isinstance(network, EmotionPair)
    for clip in NEMO[:2]:
        waveform = sound(clip)
        with torch.inference_mode():
            embedding, _ = network.analyse(torch.from_numpy(waveform)[None])
            expected = (network.logits(embedding) / head(embedding)).softmax(dim=1)[0].tolist()
        answer = classifier.predict(waveform, sample_rate=16_000)
        # The file multiplies integers, the network does not.
        assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-2)
