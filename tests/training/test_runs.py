"""Run folders: every training of a protocol, kept, resumed, refused or exported; models that keep evaluation honest."""

import dataclasses
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from miniature import clips, dataset, halves, recipe

from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import (
    ConfigError,
    SpeakerLeakError,
)
from speech_emotion.evaluation.score import check_unseen
from speech_emotion.evaluation.splits import Protocol, protocol, undivided
from speech_emotion.labels import in_order
from speech_emotion.model import EmotionModel
from speech_emotion.training import runs, sealed_tensors
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.mixture import Mixture
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import Calibration, fit_thresholds
from speech_emotion.training.fit.job import Fitted, Job
from speech_emotion.training.fit.train import fit
from speech_emotion.training.networks.build import build
from speech_emotion.training.weights import save_encoder

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
Exported = list[Any]


@pytest.fixture
def exported(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """Without an enrolled head too, which takes seconds as well."""
    monkeypatch.setattr(runs, "_enrol", lambda *_: None)
    return exported


def train(
    out: Path, *, config: TrainConfig | None = None, split: Protocol | None = None, **options: Any
) -> Any:
    config, split = config or recipe(), split or halves()
    trainings = runs.plan(config, out, split, options.pop("seeds", [0]), options.pop("folds", None))
    return runs.train(trainings, options.pop("dataset", dataset(CLIPS)), **options)


# Planning


def test_a_plan_is_every_fold_of_every_seed() -> None:
    trainings = runs.plan(recipe(), Path("out"), protocol("luna5"), [0, 7], None)
    assert [str(t.folder) for t in trainings] == [f"out/seed-{s}/fold-{f}" for s in (0, 7) for f in range(5)]
    assert [t.config.fit.seed for t in trainings] == [0] * 5 + [7] * 5
    assert [t.fold for t in trainings[:5]] == list(protocol("luna5").folds)
    assert str(trainings[8]) == "tiny, seed 7, fold 3"


def test_some_folds_can_be_chosen() -> None:
    trainings = runs.plan(recipe(), Path("out"), protocol("luna5"), [1], [4, 2])
    assert [t.folder.name for t in trainings] == ["fold-2", "fold-4"]
    with pytest.raises(ConfigError, match=r"luna5 has folds 0 to 4, got \[2, 5\]"):
        runs.plan(recipe(), Path("out"), protocol("luna5"), [1], [2, 5])


def test_without_a_protocol_all_speakers_are_learned_from() -> None:
    (training,) = runs.plan(recipe(), Path("out"), None, [3], None)
    assert (str(training.folder), training.fold, str(training)) == ("out/seed-3", None, "tiny, seed 3")


PROBE = {
    "probe": {"copies": 1, "crop_seconds": 0.6},
    "augment": {"warp_frequency": 0.0, "n_masks": 0},
    "fit": {"label_smoothing": 0.0},
}


def test_loco_leaves_out_each_corpus_and_with_it_those_of_the_same_people() -> None:
    mixture = {"nemo": 1, "ravdess-song": 0.5, "plain": 1}
    config = recipe(**PROBE, mixture=mixture, unlabelled={"plain": ["calm"]})
    trainings = runs.plan(config, Path("out"), undivided("ravdess", "loco"), [0, 7], None)
    assert [(str(one.folder), one.left_out) for one in trainings] == [
        ("out/seed-0/without-ravdess", ("ravdess", "ravdess-song")),
        ("out/seed-0/without-nemo", ("nemo",)),
        ("out/seed-7/without-ravdess", ("ravdess", "ravdess-song")),
        ("out/seed-7/without-nemo", ("nemo",)),
    ]
    assert str(trainings[2]) == "tiny, seed 7, without ravdess and ravdess-song"


@pytest.mark.parametrize("mixture", [{}, {"ravdess-song": 1}])
def test_loco_needs_other_people_to_learn_from(mixture: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"needs a \[mixture\] with other speakers"):
        runs.plan(recipe(**PROBE, mixture=mixture), Path("out"), undivided("ravdess", "loco"), [0], None)


def test_loco_has_no_folds() -> None:
    config = recipe(**PROBE, mixture={"nemo": 1})
    with pytest.raises(ConfigError, match="loco has no folds"):
        runs.plan(config, Path("out"), undivided("ravdess", "loco"), [0], [1])


def test_an_architecture_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be one of cnn, transformer, vgg16, got 'lstm'"):
        runs.plan(recipe(network={"architecture": "lstm"}), Path("out"), None, [0], None)


def test_a_protocol_of_another_corpus_is_refused() -> None:
    with pytest.raises(ConfigError, match="savee4 divides savee; the recipe trains on ravdess"):
        runs.plan(recipe(), Path("out"), protocol("savee4"), [0], None)


# Training


def test_a_run_folder_holds_all_that_went_in_and_came_out(tmp_path: Path, exported: Exported) -> None:
    told: list[str] = []
    files = train(
        tmp_path, folds=[1], on_epoch=lambda training, epoch: told.append(f"{training}: {epoch.epoch}")
    )
    folder = tmp_path / "seed-0" / "fold-1"
    assert files == [folder / "model.onnx"]
    assert told == ["tiny, seed 0, fold 1: 1", "tiny, seed 0, fold 1: 2"]
    names = {p.name for p in folder.iterdir()}
    assert names == {"recipe.json", "run.json", "log.jsonl", "checkpoint.safetensors", "model.onnx"}
    assert TrainConfig.from_dict(json.loads((folder / "recipe.json").read_text())) == recipe()
    run, log = json.loads((folder / "run.json").read_text()), checkpoint.load(folder)[1]["log"]
    assert run["corpora"] == ["ravdess"]
    assert run["corpus_hash"] == "0" * 64
    assert run["protocol"] == halves().describe(halves().folds[1])
    assert run["split_hash"] == halves().split_hash
    assert (run["seed"], run["device"], run["threads"]) == (0, "cpu", 1)
    assert run["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in log), abs=0.06)
    assert set(run["versions"]) == {"speech-emotion", "torch", "numpy", "onnxruntime", "python"}
    assert run["initial_weights"] == []
    assert len(run["validation"]["scores"]) == len(run["validation"]["confidences"]) == 4
    (asked,) = exported
    assert asked.calibration == Calibration(run["temperature"], fit_thresholds([run["validation"]]))
    provenance = asked.provenance
    assert provenance.protocol == run["protocol"]
    assert (provenance.commit, provenance.split_hash) == (run["commit"], run["split_hash"])
    assert provenance.citation == ravdess.SPEECH.citation
    assert provenance.licence == ravdess.SPEECH.licence
    weights = checkpoint.final_weights(folder)
    assert all((tensor == weights[name]).all() for name, tensor in asked.network.state_dict().items())


def test_a_fold_learns_from_its_own_speakers_only(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watch(job: Job, _: Any) -> Fitted:
        speakers = [
            set(job.dataset.speakers[side].tolist()) for side in (job.sides.train, job.sides.validation)
        ]
        seen.append((job.folder.name, *speakers))
        job.save({}, [{"seconds": 1}])
        return Fitted(1.0, {"scores": [], "confidences": []}, ())

    monkeypatch.setattr(runs, "fit", watch)
    monkeypatch.setattr(runs, "export_run", lambda *_, **__: None)
    train(tmp_path)
    assert seen == [("fold-0", {"03", "04"}, {"02"}), ("fold-1", {"03", "04"}, {"01"})]


def test_finished_trainings_are_kept_and_a_killed_one_goes_on(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(training: str, epoch: Any) -> None:
        if training.endswith("fold 1"):
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, on_epoch=kill)
    first = {p: p.read_bytes() for p in (tmp_path / "seed-0" / "fold-0").iterdir()}
    assert len(exported) == 1
    told: list[str] = []
    train(tmp_path, on_epoch=lambda training, epoch: told.append(f"{training}: {epoch.epoch}"))
    assert told == ["tiny, seed 0, fold 1: 2"]
    assert len(exported) == 2
    assert {p: p.read_bytes() for p in first} == first
    monkeypatch.setattr(runs, "materials", lambda *_: pytest.fail("nothing is left to do"))
    assert train(tmp_path) == [tmp_path / "seed-0" / f"fold-{k}" / "model.onnx" for k in (0, 1)]


def test_two_trainings_of_one_folder_wait_for_each_other(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Path] = []
    both_are_here = Barrier(2)
    locked = runs.locked

    def meet(folder: Path) -> Any:
        both_are_here.wait()
        return locked(folder)

    def watch(job: Job, learned_from: Any) -> Fitted:
        fitted.append(job.folder)
        return fit(job, learned_from)

    monkeypatch.setattr(runs, "locked", meet)
    monkeypatch.setattr(runs, "fit", watch)
    trainings = runs.plan(recipe(), tmp_path / "run", None, [0], None)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _: runs.train(trainings, dataset(CLIPS)), range(2)))
    assert fitted == [tmp_path / "run" / "seed-0"]


def test_a_training_killed_before_its_export_is_exported(tmp_path: Path, exported: Exported) -> None:
    train(tmp_path, folds=[0])
    (tmp_path / "seed-0" / "fold-0" / "model.onnx").unlink()
    train(tmp_path, folds=[0], on_epoch=lambda *_: pytest.fail("trained again"))
    assert len(exported) == 2
    assert exported[0].calibration == exported[1].calibration


@pytest.mark.parametrize("finished", [True, False])
def test_another_recipe_in_the_same_folder_is_refused(
    tmp_path: Path, exported: Exported, finished: bool
) -> None:
    """Also where the training had finished: its model would be taken for the new recipe's."""
    train(tmp_path, folds=[1])
    if not finished:
        (tmp_path / "seed-0" / "fold-1" / "model.onnx").unlink()
    with pytest.raises(ConfigError, match=r"fold-1: holds a run of another recipe.*Choose another --out"):
        train(tmp_path, config=recipe(fit={"epochs": 3}))
    assert not (tmp_path / "seed-0" / "fold-0").exists()


def test_speakers_who_are_not_there_are_missed(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"too few clips of the speakers that tiny, seed 0, fold 0 learns from"
    ):
        train(tmp_path, dataset=dataset(clips([1, 2])))
    (training,) = runs.plan(recipe(), tmp_path, None, [0], None)
    with pytest.raises(ConfigError, match="too few clips"):
        runs.train([training], dataset(clips([1], ["happy"])))


def test_all_speakers(tmp_path: Path, exported: Exported) -> None:
    trainings = runs.plan(recipe(), tmp_path, None, [0], None)
    runs.train(trainings, dataset(CLIPS))
    run = json.loads((tmp_path / "seed-0" / "run.json").read_text())
    assert (run["protocol"], run["split_hash"], run["temperature"]) == (None, None, 1.0)
    assert {epoch["validation_uar"] for epoch in checkpoint.load(tmp_path / "seed-0")[1]["log"]} == {None}


def test_a_run_keeps_the_licence_and_the_citation_of_what_it_began_with(
    tmp_path: Path, exported: Exported
) -> None:
    facts = {
        "name": "encoder",
        "licence": "MIT; CC BY-NC-SA 4.0",
        "citation": "Author (2020).",
        "commit": "abc",
    }
    save_encoder(build(recipe()), facts | {"sha256": "0" * 64}, tmp_path / "encoder.safetensors")
    trained = recipe(init=str(tmp_path / "encoder.safetensors"))
    trainings = runs.plan(trained, tmp_path / "run", None, [0], None)
    runs.train(trainings, dataset(CLIPS))
    run = json.loads((tmp_path / "run" / "seed-0" / "run.json").read_text())
    assert run["corpora"] == ["ravdess"]
    assert run["initial_weights"] == [facts]
    provenance = exported[0].provenance
    assert provenance.citation == f"{ravdess.SPEECH.citation} Author (2020)."
    licences = [ravdess.SPEECH.licence, "MIT", "CC BY-NC-SA 4.0"]
    assert provenance.licence == "; ".join(dict.fromkeys(licences))


def test_an_enrolled_head_needs_validation_speakers_or_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[tuple[Path, int, int]] = []
    learn = runs.enrolment.learn

    def watch(network: Any, job: Job, features: Any, augmented: Any, references: Any) -> Any:
        assert (job.folder / "run.json").exists()
        assert not (job.folder / "model.onnx").exists()
        assert len(features.labels) == len(CLIPS)
        assert augmented is None  # of one corpus
        learned.append((job.folder, len(job.sides.validation), len(references)))
        return learn(network, job, features, augmented, references)

    monkeypatch.setattr(runs.enrolment, "learn", watch)
    monkeypatch.setattr(runs.enrolment, "PENALTIES", (1.0,))
    monkeypatch.setattr(runs, "export_run", lambda *_: None)
    train(tmp_path / "halves")
    assert learned == [(tmp_path / "halves" / "seed-0" / f"fold-{k}", 4, 0) for k in (0, 1)]
    learned.clear()
    for name, references in (("alone", None), ("alike", tmp_path / "halves")):
        trainings = runs.plan(recipe(), tmp_path / name, None, [0], None)
        runs.train(trainings, dataset(CLIPS), references=references)
    assert learned == [(tmp_path / "alike" / "seed-0", 0, 2)]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), r"\(No space left on device\)\. Free some space"),
        (
            OSError(30, "Read-only file system"),
            r"\(Read-only file system\)\. Choose a path that can be written",
        ),
    ],
)
def test_a_full_or_read_only_disk_is_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, advice: str
) -> None:
    monkeypatch.setattr(sealed_tensors, "write_atomically", raising(error))
    with pytest.raises(ConfigError, match=advice):
        train(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        train(tmp_path / "out")


def test_a_reader_who_went_away_is_not_the_disk_s_fault(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError):
        train(tmp_path, on_epoch=raising(BrokenPipeError()))


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


# Models that keep evaluation honest


def test_a_fold_s_model_is_tested_on_its_own_test_speakers_alone(tmp_path: Path, exported: Exported) -> None:
    (file,) = train(tmp_path, folds=[0])
    info, split = EmotionModel.load(file).info, halves()
    check_unseen(info, split, split.folds[0])
    with pytest.raises(SpeakerLeakError, match="the model learned from 02, who are tested"):
        check_unseen(info, split, split.folds[1])
    with pytest.raises(SpeakerLeakError, match="trained for halves, fold 0"):
        check_unseen(info, protocol("loso24"), protocol("loso24").folds[0])


def test_under_loco_a_model_learns_from_the_other_corpora_alone(tmp_path: Path, exported: Exported) -> None:
    of = {"ravdess": ["calm", "happy"], "nemo": ["happy", "angry"], "tess": ["happy", "sad"]}
    parts = []
    for name, emotions in of.items():
        part = dataset(clips(range(1, 11), emotions), corpus=name)
        facts = {"folder": tmp_path / "prepared" / name, "licence": f"licence of {name}"}
        labels = np.array([emotions.index(clip.label) for clip in part.clips])
        parts.append(dataclasses.replace(part, label_names=tuple(emotions), labels=labels, **facts))
    config, split = recipe(**PROBE, mixture={"nemo": 1, "tess": 1}), undivided("ravdess", "loco")
    trainings = runs.plan(config, tmp_path / "run", split, [0], None)
    copied: list[int] = []
    files = runs.train(trainings, Mixture(tuple(parts)), on_copy=lambda done, _: copied.append(done))
    assert copied == [1] * 3  # once per corpus, whatever was left out
    for file, left_out in zip(files, of, strict=True):
        info, learned = EmotionModel.load(file).info, [name for name in of if name != left_out]
        run = json.loads((file.parent / "run.json").read_text())
        assert file.parent.name == f"without-{left_out}"
        assert (run["left_out"], run["corpora"]) == ([left_out], learned)
        assert run["licence"] == "; ".join(f"licence of {name}" for name in learned)
        assert len(run["validation"]["scores"]) == 20 + 10  # of the second corpus happy alone can be compared
        assert info.corpora == tuple(learned)
        assert info.protocol == {"name": "loco", "leaky": False, "left_out": [left_out]}
        labels = in_order(label for name in learned for label in of[name])
        assert checkpoint.load(file.parent)[1]["labels"] == list(labels)
        check_unseen(info, undivided(left_out, "loco"), undivided(left_out, "loco").folds[0])
        for other in learned:
            with pytest.raises(SpeakerLeakError, match="does not name the speakers that were left out"):
                check_unseen(info, undivided(other, "loco"), undivided(other, "loco").folds[0])


def test_a_label_that_no_corpus_has_cannot_be_exclusive(tmp_path: Path) -> None:
    config = recipe(**PROBE, mixture={"nemo": 1}, exclusive=["calm", "clam"])
    trainings = runs.plan(config, tmp_path, None, [0], None)
    made = Mixture((dataset(CLIPS), dataset(CLIPS, corpus="nemo")))
    with pytest.raises(ConfigError, match=r"exclusive: no corpus has the label clam\."):
        runs.train(trainings, made)


def test_a_model_of_all_speakers_may_not_be_tested(tmp_path: Path, exported: Exported) -> None:
    (file,) = runs.train(runs.plan(recipe(), tmp_path, None, [0], None), dataset(CLIPS))
    with pytest.raises(SpeakerLeakError, match="does not name the speakers that were left out"):
        check_unseen(EmotionModel.load(file).info, halves(), halves().folds[0])


def test_numbers_of_a_run_are_finite(tmp_path: Path, exported: Exported) -> None:
    train(tmp_path, folds=[0])
    run = json.loads((tmp_path / "seed-0" / "fold-0" / "run.json").read_text())
    assert math.isfinite(run["temperature"])
    assert np.isfinite(
        [epoch["loss"] for epoch in checkpoint.load(tmp_path / "seed-0/fold-0")[1]["log"]]
    ).all()


def test_references_are_looked_for_before_hours_of_work(tmp_path: Path, exported: Exported) -> None:
    trainings = runs.plan(recipe(), tmp_path / "run", None, [0], None)
    with pytest.raises(ConfigError, match="holds no finished training"):
        runs.train(trainings, dataset(CLIPS), references=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_a_seed_is_no_less_than_0() -> None:
    with pytest.raises(ConfigError, match="a seed is a whole number from 0 on"):
        runs.plan(recipe(), Path("run"), None, [-1], None)
