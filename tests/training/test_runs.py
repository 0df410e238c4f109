"""Run folders: every training of a protocol, kept, resumed, refused or exported; models that keep evaluation honest."""

import dataclasses
import json
import math
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import standin
from miniature import clips, dataset, halves, recipe

from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import (
    ConfigError,
    CorpusError,
    ModelFormatError,
    ModelNotFoundError,
    SpeakerLeakError,
)
from speech_emotion.evaluation.result import Result, summarise
from speech_emotion.evaluation.score import Answer, Evaluation, check_unseen
from speech_emotion.evaluation.splits import Protocol, protocol
from speech_emotion.files import digest
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import EmotionModel
from speech_emotion.training import runs
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import fit_thresholds
from speech_emotion.training.fit.loop import part
from speech_emotion.training.fit.train import Fitted, build, fit

CLIPS = clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"])
Exported = list[dict[str, Any]]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    """What was asked of `export`, in the place of 7 s of exporting; a stand-in with its metadata is written.

    No enrolled head is learned, which takes seconds too.
    """
    asked: Exported = []

    def remember(
        network: Any,
        config: TrainConfig,
        temperature: float,
        provenance: Any,
        path: Path,
        *,
        head: Any,
        thresholds: Mapping[str, float],
    ) -> EmotionModel:
        asked.append(
            {
                "network": network,
                "config": config,
                "temperature": temperature,
                "provenance": provenance,
                "thresholds": thresholds,
                "head": head,
            }
        )
        metadata = dataclasses.asdict(provenance) | {"name": config.name, "temperature": temperature}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(standin.model_bytes(**metadata | {"metrics": provenance.metrics or {}}))
        return EmotionModel.load(path)

    monkeypatch.setattr(runs, "export", remember)
    monkeypatch.setattr(runs.enrolment, "learn_run", lambda *_: None)
    return asked


def train(
    out: Path, *, config: TrainConfig | None = None, split: Protocol | None = None, **options: Any
) -> Any:
    config, split = config or recipe(), split or halves()
    trainings = runs.plan(config, out, split, options.pop("seeds", [0]), options.pop("folds", None))
    return runs.train(trainings, options.pop("dataset", dataset(CLIPS)), split, **options)


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


def test_without_a_protocol_everybody_is_learned_from() -> None:
    (training,) = runs.plan(recipe(), Path("out"), None, [3], None)
    assert (str(training.folder), training.fold, str(training)) == ("out/seed-3", None, "tiny, seed 3")


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
    names = {p.name for p in folder.iterdir() if p.suffix != ".safetensors"}
    assert names == {"recipe.json", "run.json", "log.jsonl", "checkpoint.json", "model.onnx"}
    assert TrainConfig.from_dict(json.loads((folder / "recipe.json").read_text())) == recipe()
    run, log = json.loads((folder / "run.json").read_text()), checkpoint.load(folder)[1]["log"]
    assert run["corpora"] == ["ravdess"]
    assert run["corpus_hash"] == "0" * 64
    assert run["protocol"] == halves().describe(halves().folds[1])
    assert run["split_hash"] == halves().split_hash
    assert (run["seed"], run["device"], run["threads"]) == (0, "cpu", 1)
    assert run["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in log), abs=0.06)
    assert set(run["versions"]) == {"speech-emotion", "torch", "numpy", "onnxruntime", "python"}
    assert run["trunks"] == []
    assert len(run["validation"]["scores"]) == len(run["validation"]["confidences"]) == 4
    (asked,) = exported
    assert asked["temperature"] == run["temperature"] > 0
    assert asked["thresholds"] == fit_thresholds([run["validation"]])
    provenance = asked["provenance"]
    assert provenance.protocol == run["protocol"]
    assert (provenance.commit, provenance.split_hash) == (run["commit"], run["split_hash"])
    assert provenance.citation == ravdess.SPEECH.citation
    assert provenance.licence == ravdess.SPEECH.licence
    weights = part(checkpoint.load(folder)[0], "average")
    assert all((tensor == weights[name]).all() for name, tensor in asked["network"].state_dict().items())


def test_a_fold_learns_from_its_own_speakers_only(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def watch(config: Any, made: Any, bank: Any, sides: Any, out: Path, **_: Any) -> Fitted:
        speakers = [set(made.speakers[side].tolist()) for side in (sides.train, sides.validation)]
        seen.append((out.name, *speakers))
        checkpoint.save(out, {}, {"log": [], "recipe": config.to_dict(), "fingerprint": ""})
        (out / "log.jsonl").write_text(
            '{"epoch": 1, "loss": 1, "validation_uar": null, "validation_loss": null, "seconds": 1}'
        )
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
    monkeypatch.setattr(runs, "FrameCache", lambda *_: pytest.fail("nothing is left to do"))
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

    def watch(config: TrainConfig, made: Any, bank: Any, sides: Any, out: Path, **options: Any) -> Fitted:
        fitted.append(out)
        return fit(config, made, bank, sides, out, **options)

    monkeypatch.setattr(runs, "locked", meet)
    monkeypatch.setattr(runs, "fit", watch)
    trainings = runs.plan(recipe(), tmp_path / "run", None, [0], None)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda _: runs.train(trainings, dataset(CLIPS), None), range(2)))
    assert fitted == [tmp_path / "run" / "seed-0"]


def test_a_training_killed_before_its_export_is_exported(tmp_path: Path, exported: Exported) -> None:
    train(tmp_path, folds=[0])
    (tmp_path / "seed-0" / "fold-0" / "model.onnx").unlink()
    train(tmp_path, folds=[0], on_epoch=lambda *_: pytest.fail("trained again"))
    assert len(exported) == 2
    assert exported[0]["temperature"] == exported[1]["temperature"]


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
        runs.train([training], dataset(clips([1], ["happy"])), None)


def test_everybody(tmp_path: Path, exported: Exported) -> None:
    trainings = runs.plan(recipe(), tmp_path, None, [0], None)
    runs.train(trainings, dataset(CLIPS), None)
    run = json.loads((tmp_path / "seed-0" / "run.json").read_text())
    assert (run["protocol"], run["split_hash"], run["temperature"]) == (None, None, 1.0)
    assert {epoch["validation_uar"] for epoch in checkpoint.load(tmp_path / "seed-0")[1]["log"]} == {None}


def test_a_run_keeps_the_licence_and_the_citation_of_what_it_began_with(
    tmp_path: Path, exported: Exported
) -> None:
    facts = {
        "name": "trunk",
        "licence": "MIT; CC BY-NC-SA 4.0",
        "citation": "Somebody (2020).",
        "commit": "abc",
    }
    trunk.save(build(recipe()), facts | {"sha256": "0" * 64}, tmp_path / "trunk.safetensors")
    trained = recipe(init=str(tmp_path / "trunk.safetensors"))
    trainings = runs.plan(trained, tmp_path / "run", None, [0], None)
    runs.train(trainings, dataset(CLIPS), None)
    run = json.loads((tmp_path / "run" / "seed-0" / "run.json").read_text())
    assert run["corpora"] == ["ravdess"]
    assert run["trunks"] == [facts]
    provenance = exported[0]["provenance"]
    assert provenance.citation == f"{ravdess.SPEECH.citation} Somebody (2020)."
    licences = [ravdess.SPEECH.licence, "MIT", "CC BY-NC-SA 4.0"]
    assert provenance.licence == "; ".join(dict.fromkeys(licences))


def test_an_enrolled_head_needs_validation_speakers(
    tmp_path: Path, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On validation speakers; a model of everybody takes it after those of a protocol's folds."""
    asked: list[tuple[Path, int, list[Path]]] = []

    def learn(folder: Path, made: Any, sides: Any, like: list[Path], heard: Any) -> object:
        assert checkpoint.exists(folder)
        assert (folder / "run.json").exists()
        assert not (folder / "model.onnx").exists()
        assert heard is None  # a trunk that learns hears nothing as another fold's does
        asked.append((folder, len(sides.validation), like))
        return object()

    monkeypatch.setattr(runs.enrolment, "learn_run", learn)
    train(tmp_path / "halves")
    folds = [tmp_path / "halves" / "seed-0" / f"fold-{k}" for k in (0, 1)]
    assert asked == [(fold, 4, []) for fold in folds]
    asked.clear()
    for name, like in (("alone", None), ("alike", tmp_path / "halves")):
        runs.train(runs.plan(recipe(), tmp_path / name, None, [0], None), dataset(CLIPS), None, like=like)
    assert asked == [(tmp_path / "alike" / "seed-0", 0, folds)]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(28, "No space left on device"), r"\(No space left on device\)\. Free some space"),
        (OSError(30, "Read-only file system"), r"\(Read-only file system\)\. Choose another --out"),
    ],
)
def test_a_full_or_read_only_disk_is_our_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, advice: str
) -> None:
    monkeypatch.setattr(checkpoint, "write_atomically", raising(error))
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


def test_a_model_of_everybody_may_not_be_tested(tmp_path: Path, exported: Exported) -> None:
    (file,) = runs.train(runs.plan(recipe(), tmp_path, None, [0], None), dataset(CLIPS), None)
    with pytest.raises(SpeakerLeakError, match="does not name the speakers that were left out"):
        check_unseen(EmotionModel.load(file).info, halves(), halves().folds[0])


# Export of a run


def test_an_unfinished_run_is_not_exported(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ModelNotFoundError, match="holds no checkpoint"):
        runs.export_run(tmp_path, tmp_path / "model.onnx")
    checkpoint.save(tmp_path, build(recipe()).state_dict(), {"recipe": recipe().to_dict()})
    for content in (None, "[]", "{}", "{", '{"temperature": 0}', json.dumps({**RUN, "temperature": "hot"})):
        if content is not None:
            (tmp_path / "run.json").write_text(content)
        with pytest.raises(ModelFormatError, match=r"not a finished run .* Train it to its end first"):
            runs.export_run(tmp_path, tmp_path / "model.onnx")
    assert not exported


RUN: dict[str, Any] = {
    "corpora": ["ravdess"],
    "protocol": None,
    "split_hash": None,
    "temperature": 1.0,
    "validation": {"scores": [], "confidences": [], "likeliest_temperature": 1.0},
    "trunks": [],
    "commit": None,
}


def a_run(folder: Path, temperature: float) -> Path:
    checkpoint.save(
        folder,
        {f"average.{name}": tensor for name, tensor in build(recipe()).state_dict().items()},
        {"recipe": recipe().to_dict()},
    )
    validation = {**RUN["validation"], "likeliest_temperature": temperature}
    write_run(folder, {**RUN, "temperature": temperature, "validation": validation})
    return folder


def write_run(folder: Path, run: dict[str, Any]) -> None:
    (folder / "run.json").write_text(json.dumps(run | {"sha256": digest(run)}))


def test_temperatures_are_averaged_as_ratios(tmp_path: Path) -> None:
    for fold, temperature in enumerate((0.5, 1.0, 4.0)):
        a_run(tmp_path / "luna5" / f"fold-{fold}", temperature)
    judged = runs.calibration_runs(tmp_path / "luna5")
    assert [run["temperature"] for run in judged] == [0.5, 1.0, 4.0]
    assert runs.mean_temperature(judged) == pytest.approx(2 ** (1 / 3))
    with pytest.raises(ConfigError, match="holds no finished training"):
        runs.calibration_runs(tmp_path / "nothing")
    (tmp_path / "luna5" / "fold-1" / "run.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="fold-1: not a finished run"):
        runs.calibration_runs(tmp_path / "luna5")


def test_a_model_of_everybody_takes_the_likeliest_temperatures() -> None:
    """Each of its folds had a prior for its few speakers; all of them together need none."""
    judged = [
        {"temperature": 1.2, "validation": {"likeliest_temperature": 2.0}},
        {"temperature": 1.1, "validation": {"likeliest_temperature": 0.5}},
    ]
    assert runs.mean_temperature(judged) == pytest.approx(1.0)


def a_result(*, model: str = "tiny", split: str = "luna5") -> Result:
    """Each clip of one emotion an actor answered right by men and wrong by women."""
    divided = protocol(split)
    answers = [
        an_answer(member, fold.index, k) for fold in divided.folds for member in fold.test for k in range(8)
    ]
    evaluation = Evaluation(divided, "ravdess", model, 14_000, 130_000, "abc", 6, tuple(answers))
    return summarise(evaluation, command="speech-emotion evaluate run")


def an_answer(member: str, fold: int, emotion: int) -> Answer:
    speaker = member.split("-")[-1]
    is_man = int(speaker) % 2 == 1
    label, answer = EMOTIONS[emotion], EMOTIONS[emotion if is_man else (emotion + 1) % 8]
    return Answer(
        file=f"{member}-{emotion}.wav",
        speaker=speaker,
        sex="male" if is_man else "female",
        intensity="normal",
        label=label,
        fold=fold,
        seed=0,
        answer=answer,
        abstained="",
        probabilities=tuple(0.93 if name == answer else 0.01 for name in EMOTIONS),
    )


def test_shipping_writes_model_checksum_and_card(tmp_path: Path, exported: Exported) -> None:
    run = a_run(tmp_path / "everybody", 1.0)
    for fold, temperature in enumerate((1.0, 4.0)):
        a_run(tmp_path / "luna5" / f"fold-{fold}", temperature)
    result = a_result().write(tmp_path)
    info = runs.ship(run, tmp_path / "out" / "tiny.onnx", calibration=tmp_path / "luna5", result=result)
    model = EmotionModel.load(tmp_path / "out" / "tiny.onnx")
    assert model.info == info
    assert info.temperature == pytest.approx(2.0)
    assert (tmp_path / "out" / "tiny.sha256").read_text() == f"{info.sha256}  tiny.onnx\n"
    card = (tmp_path / "out" / "tiny.md").read_text()
    assert info.sha256 in card
    assert info.metrics["uar"]["mean"] == pytest.approx(0.5)
    assert info.metrics["per_class"] == dict.fromkeys(EMOTIONS, 0.5)
    assert info.metrics["n_speakers"] == 24
    assert "UAR **50.0 [" in card
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tiny.onnx", "tiny.sha256", "tiny.md"}


@pytest.mark.parametrize("name", ["m.md", "m.sha256", "emo.v1"])
def test_a_model_file_is_called_so(tmp_path: Path, exported: Exported, name: str) -> None:
    with pytest.raises(ConfigError, match=r"a model file ends in \.onnx"):
        runs.ship(a_run(tmp_path / "run", 1.7), tmp_path / name, calibration=None, result=None)
    assert not (tmp_path / name).exists()


def test_what_to_be_like_is_looked_for_before_hours_of_work(tmp_path: Path, exported: Exported) -> None:
    trainings = runs.plan(recipe(), tmp_path / "run", None, [0], None)
    with pytest.raises(ConfigError, match="holds no finished training"):
        runs.train(trainings, dataset(CLIPS), None, like=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_a_seed_is_no_less_than_0() -> None:
    with pytest.raises(ConfigError, match="a seed is a whole number from 0 on"):
        runs.plan(recipe(), Path("run"), None, [-1], None)


def test_without_result_and_calibration_it_ships_as_it_is(tmp_path: Path, exported: Exported) -> None:
    info = runs.ship(a_run(tmp_path / "run", 1.7), tmp_path / "m.onnx", calibration=None, result=None)
    assert (info.temperature, info.metrics) == (1.7, {})
    assert "Not measured" in (tmp_path / "m.md").read_text()


def test_only_its_own_honest_score_goes_into_a_model(tmp_path: Path, exported: Exported) -> None:
    with pytest.raises(ConfigError, match="the score of other, not of tiny"):
        runs.honest_score(a_result(model="other"), "tiny")
    with pytest.raises(ConfigError, match="measured on speakers it had heard"):
        runs.honest_score(a_result(split="random10"), "tiny")
    with pytest.raises(ConfigError, match="the score of other"):
        runs.export_run(a_run(tmp_path / "run", 1.0), tmp_path / "m.onnx", result=a_result(model="other"))
    assert not exported


def test_a_model_that_cannot_be_written_is_our_error(tmp_path: Path, exported: Exported) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        runs.ship(a_run(tmp_path / "run", 1.0), tmp_path / "file" / "m.onnx", calibration=None, result=None)


# The commit


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    answers = {"ls-files": "runs.py", "status": "", "rev-parse": "0123456789ab"}

    def answer(command: list[str], **_: Any) -> Any:
        reply = answers.get(command[3])
        if reply is None:
            raise subprocess.CalledProcessError(128, command)
        return subprocess.CompletedProcess(command, 0, stdout=f"{reply}\n")

    monkeypatch.setattr(subprocess, "run", answer)
    runs.commit.cache_clear()
    yield answers
    runs.commit.cache_clear()


def test_the_commit_of_a_clean_tree(git: dict[str, str]) -> None:
    assert runs.commit() == "0123456789ab"


def test_the_commit_of_a_changed_tree(git: dict[str, str]) -> None:
    git["status"] = " M fit.py"
    assert runs.commit() == "0123456789ab+changes"


def test_outside_of_our_repository_there_is_no_commit(git: dict[str, str]) -> None:
    del git["ls-files"]
    assert runs.commit() is None


def test_a_long_run_names_the_commit_it_started_from(git: dict[str, str]) -> None:
    before = runs.commit()
    git["rev-parse"] = "fedcba987654"
    assert runs.commit() == before


def test_a_corpus_that_does_not_exist_has_no_licence(tmp_path: Path, exported: Exported) -> None:
    folder = a_run(tmp_path / "run", 1.0)
    write_run(folder, {**RUN, "corpora": ["nowhere"]})
    with pytest.raises((ConfigError, CorpusError), match="nowhere"):
        runs.export_run(folder, tmp_path / "m.onnx")


def test_numbers_of_a_run_are_finite(tmp_path: Path, exported: Exported) -> None:
    train(tmp_path, folds=[0])
    run = json.loads((tmp_path / "seed-0" / "fold-0" / "run.json").read_text())
    assert math.isfinite(run["temperature"])
    assert np.isfinite(
        [epoch["loss"] for epoch in checkpoint.load(tmp_path / "seed-0/fold-0")[1]["log"]]
    ).all()
