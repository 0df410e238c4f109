"""Score what we ship. In: exported models and a corpus. Out: one Answer per held-out clip and seed.

Every fold's `model.onnx` answers its held-out clips through the public API, after its own metadata has proved that it
learned from none of those speakers. Every number of a result is computed from this table of answers alone.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import speech_emotion
from speech_emotion.corpora import Clip, Corpus, same_speakers
from speech_emotion.errors import ConfigError, CorpusError, ModelNotFoundError, SpeakerLeakError
from speech_emotion.evaluation.splits import LOCO, Fold, Protocol, folder_without, protocol_of
from speech_emotion.files import write_atomically
from speech_emotion.labels import UNLABELLED, in_order
from speech_emotion.model import ModelInfo
from speech_emotion.parallel import in_parallel, processes_for
from speech_emotion.prediction import Prediction
from speech_emotion.text import guard, unguard

DECIMALS: Final = 4  # of a probability in the table
CLIPS_PER_TASK: Final = 64
MIN_CLIPS: Final = 500  # of a process

T = TypeVar("T")
Progress = Callable[[int, int], None]  # clips scored so far, clips to score


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one model to one clip: a row of the table."""

    file: str
    speaker: str
    sex: str
    intensity: str  # "" where the corpus has none
    label: str
    fold: int
    seed: int
    answer: str  # "" where it abstained
    abstained: str  # "" or the reason
    probabilities: tuple[float, ...]  # in the order of the labels; empty where nothing could be scored
    emotions: tuple[str, ...] = ()  # the emotion set, the most probable first; empty without probabilities


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Every answer of one model (of one recipe, trained once a seed and fold) under one protocol."""

    protocol: Protocol
    corpus: Corpus
    labels: tuple[str, ...]  # of the clips and of the models
    model: str
    parameters: int
    size_bytes: int
    commit: str | None
    recipes_tried: int | None
    answers: tuple[Answer, ...]
    scored: str = "the exported .onnx, through the public API"


@dataclass(frozen=True, slots=True)
class HeldOutClip:
    """A clip of a tested speaker and the model that answers it."""

    clip: Clip
    model: Path
    fold: int
    seed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is scored: the facts of the evaluation, without answers, and every clip with its model."""

    facts: Evaluation
    folder: Path  # the corpus
    clips: tuple[HeldOutClip, ...]  # by seed, then by fold


def score_protocol(
    runs: Sequence[str | os.PathLike[str]],
    corpus: Corpus,
    folder: str | os.PathLike[str],
    protocol_name: str,
    *,
    progress: Progress | None = None,
) -> Evaluation:
    """Score the models of `make_plan`, which see the recordings as a user's."""
    plan = make_plan(runs, corpus, folder, protocol_name)
    answers: list[Answer] = []
    by_model = [list(clips) for _, clips in groupby(plan.clips, key=lambda held_out: held_out.model)]
    tasks = [
        clips[start : start + CLIPS_PER_TASK]
        for clips in by_model
        for start in range(0, len(clips), CLIPS_PER_TASK)
    ]
    function = partial(_answers, plan.folder, plan.facts.labels)
    for found in in_parallel(function, tasks, processes_for(len(plan.clips), MIN_CLIPS)):
        answers += found
        if progress:
            progress(len(answers), len(plan.clips))
    answers.sort(key=lambda answer: (answer.seed, answer.fold, answer.file))
    return replace(plan.facts, answers=tuple(answers))


def _answers(folder: Path, labels: tuple[str, ...], clips: Sequence[HeldOutClip]) -> list[Answer]:
    """The answers to clips of one model."""
    classifier = speech_emotion.load(clips[0].model)
    return [answer_of(one, classifier.predict(folder / one.clip.path), labels) for one in clips]


def make_plan(
    runs: Sequence[str | os.PathLike[str]], corpus: Corpus, folder: str | os.PathLike[str], protocol_name: str
) -> Plan:
    """Find the models and the clips that they are tested on, before any clip is read.

    Args:
        runs: Run folders (`fold-0/model.onnx` …, or `seed-0/fold-0/model.onnx` …) or one .onnx file. Several seeds, as
            subfolders or as run folders, are trainings of one recipe. Under `loco` a folder is called `without-nemo`.
        corpus: The corpus that is divided.
        folder: Where the corpus lies.
        protocol_name: A split of the corpus: see `splits.protocol_of`.

    Raises:
        SpeakerLeakError: A model may have learned from a speaker that it would be tested on.
        ConfigError: The models are of different recipes, or two trainings have one seed.
        ModelNotFoundError: A fold has no model.
        CorpusError: A tested speaker has no clip.
    """
    split = protocol_of(corpus, protocol_name)
    if UNLABELLED in corpus.label_names:
        raise CorpusError(f"{corpus.name} has no labels to compare with. Add a column label to its table.")
    held_out = _held_out_clips(split, corpus, folder)
    trainings = [training for run in runs for training in _find_models(Path(run), split)]
    infos = [[_trusted_info(path, split, fold) for path, fold in training] for training in trainings]
    seeds = _seeds(infos)
    every = [info for training in infos for info in training]
    facts = Evaluation(
        protocol=split,
        corpus=corpus,
        labels=in_order({*corpus.label_names, *(label for info in every for label in info.labels)}),
        model=file_name(_one({info.name for info in every}, "models")),
        parameters=_one({info.n_parameters for info in every}, "parameter counts"),
        size_bytes=max(info.size_bytes for info in every),
        commit=", ".join(sorted({info.commit for info in every if info.commit})) or None,
        recipes_tried=every[0].recipe.get("recipes_tried"),
        answers=(),
    )
    clips = (
        HeldOutClip(clip, path, fold.index, seed)
        for seed, training in zip(seeds, trainings, strict=True)
        for path, fold in training
        for clip in held_out[fold.index]
    )
    return Plan(facts, Path(folder), tuple(clips))


def check_unseen(info: ModelInfo, split: Protocol, fold: Fold) -> None:
    """Raise SpeakerLeakError unless the model's metadata proves that it learned from no tested speaker."""
    if not same_speakers(split.corpus).intersection(info.corpora):
        return
    where = f"{info.name} under {split.name}, fold {fold.index}"
    advice = f"Train and evaluate a run folder with: --protocol {split.name}."
    if split.divides_nothing:
        advice = f"Give a model that learned from other corpora than {split.corpus}."
    if info.protocol is None or not {"train", "validation"} <= info.protocol.keys():
        raise SpeakerLeakError(
            f"{where}: the model learned from {', '.join(info.corpora)} and does not name the speakers that were "
            f"left out, so {split.corpus} cannot test it. {advice}"
        )
    if (divided := info.protocol.get("corpus", split.corpus)) not in same_speakers(split.corpus):
        raise SpeakerLeakError(
            f"{where}: the model learned from all of {split.corpus}; only {divided} was divided. {advice}"
        )
    learned_from = {*info.protocol["train"], *info.protocol["validation"]}
    if seen := sorted(fold.test & learned_from):
        raise SpeakerLeakError(f"{where}: the model learned from {', '.join(seen)}, who are tested. {advice}")
    trained = (info.protocol.get("name"), info.protocol.get("fold"), info.split_hash)
    if trained != (split.name, fold.index, split.split_hash):
        raise SpeakerLeakError(
            f"{where}: trained for {trained[0]}, fold {trained[1]} of split {str(trained[2])[:12]}, "
            f"not for fold {fold.index} of split {split.split_hash[:12]}. {advice}"
        )


def write_answers(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write the table as CSV, one column per probability; what a spreadsheet would run as a formula is quoted."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_TEXT_COLUMNS, "emotions", *evaluation.labels])
    for answer in evaluation.answers:
        texts = (guard(str(getattr(answer, column))) for column in _TEXT_COLUMNS)
        table.writerow(
            [*texts, " ".join(answer.emotions), *(answer.probabilities or [""] * len(evaluation.labels))]
        )
    write_atomically(Path(path), text.getvalue().encode("utf-8", "surrogateescape"))


def read_answers(path: str | os.PathLike[str]) -> tuple[Answer, ...]:
    """The table that `write_answers` wrote."""
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        labels = (rows.fieldnames or ())[len(_TEXT_COLUMNS) + 1 :]
        return tuple(_read_row(row, labels) for row in rows)


_TEXT_COLUMNS: Final = ("file", "speaker", "sex", "intensity", "label", "fold", "seed", "answer", "abstained")


def _read_row(row: Mapping[str, str], labels: Sequence[str]) -> Answer:
    texts: dict[str, Any] = {column: unguard(row[column]) for column in _TEXT_COLUMNS}
    numbers = {"fold": int(texts["fold"]), "seed": int(texts["seed"])}
    probabilities = tuple(float(row[label]) for label in labels if row[label])
    emotions = tuple(row["emotions"].split())
    if texts["label"] not in labels:
        raise ValueError(f"label {texts['label']!r}")
    if probabilities and not (len(probabilities) == len(labels) and all(0 <= p <= 1 for p in probabilities)):
        raise ValueError(f"probabilities {probabilities}")
    return Answer(**texts | numbers, probabilities=probabilities, emotions=emotions)


def _held_out_clips(split: Protocol, corpus: Corpus, folder: str | os.PathLike[str]) -> list[list[Clip]]:
    """For each fold its test clips; every member of the protocol must be there."""
    clips = corpus.scan(folder)
    held_out = []
    for fold in split.folds:
        tested = [clips[index] for index in split.indices(clips, fold.test)]
        if missing := fold.test - {split.member(clip) for clip in tested}:
            raise CorpusError(
                f"{folder}: {split.name} tests {', '.join(sorted(missing)[:5])}, who have no clip. "
                f"Look with: speech-emotion corpora check {split.corpus} FOLDER"
            )
        held_out.append(tested)
    return held_out


def _find_models(run: Path, split: Protocol) -> list[list[tuple[Path, Fold]]]:
    """For each training the model file of each fold; under a leaky protocol some folds may be missing."""
    if run.is_file():
        return [[(run, fold) for fold in split.folds]]
    roots = sorted(run.glob("seed-*"), key=lambda path: (len(path.name), path.name)) or [run]
    folds = [(f"{_folder_of(split, fold)}/model.onnx", fold) for fold in split.folds]
    trainings = [[(root / name, fold) for name, fold in folds] for root in roots]
    if split.leaky:
        trainings = [[pair for pair in training if pair[0].is_file()] or training for training in trainings]
    wanted = [path for training in trainings for path, _ in training]
    missing = [path for path in wanted if not path.is_file()]
    if missing == wanted:
        needed = " to ".join(dict.fromkeys(f"seed-0/{name}" for name, _ in (folds[0], folds[-1])))
        raise ModelNotFoundError(
            f"{run} holds no trained model: {split.name} needs {needed} in it, "
            f"as made by: speech-emotion train RECIPE --protocol {split.name} --out {run}"
        )
    if missing:
        raise ModelNotFoundError(
            f"{missing[0]} is missing: {split.name} needs the models of {len(split.folds)} folds. "
            "Name a run folder that was trained to its end under this protocol."
        )
    return trainings


def _folder_of(split: Protocol, fold: Fold) -> str:
    return folder_without(split.corpus) if split.name == LOCO else f"fold-{fold.index}"


def _trusted_info(path: Path, split: Protocol, fold: Fold) -> ModelInfo:
    info = speech_emotion.load(path).info
    check_unseen(info, split, fold)
    return info


def _seeds(infos: Sequence[Sequence[ModelInfo]]) -> list[int]:
    """The seed of each training, where all are one recipe and no two the same training."""
    first = _without_seed(infos[0][0].recipe)
    if any(_without_seed(info.recipe) != first for training in infos for info in training):
        raise ConfigError("These models were trained with different recipes. Evaluate one recipe at a time.")
    seeds = [_one({_seed(info.recipe) for info in training}, "seeds in one run") for training in infos]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"Two of these runs have one seed ({seeds}). Give each training once.")
    return seeds


def _seed(recipe: Mapping[str, Any]) -> int:
    return int(recipe.get("fit", {}).get("seed", 0))


def _without_seed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    second = recipe.get("second")
    fit = {**recipe.get("fit", {}), "seed": None}
    return {**recipe, "fit": fit, "second": _without_seed(second) if second else None}


def _one(values: set[T], what: str) -> T:
    if len(values) != 1:
        raise ConfigError(f"Different {what}: {sorted(map(str, values))}. Evaluate one recipe at a time.")
    return next(iter(values))


def file_name(model: str) -> str:
    """`model`, if it can be part of a file name; ConfigError otherwise."""
    if not re.fullmatch(r"[\w-][\w.-]*", model):
        raise ConfigError(
            f"The model is called {model!r}. Name a model with letters, digits, '-', '_' and '.'."
        )
    return model


def answer_of(held_out: HeldOutClip, prediction: Prediction, labels: Sequence[str]) -> Answer:
    """The row of the table for a prediction; its probabilities in the order of `labels`."""
    clip = held_out.clip
    probabilities = [round(prediction.probabilities.get(label, 0.0), DECIMALS) for label in labels]
    return Answer(
        file=clip.path,
        speaker=clip.speaker,
        sex=clip.sex,
        intensity=clip.attributes.get("intensity", ""),
        label=clip.label,
        fold=held_out.fold,
        seed=held_out.seed,
        answer=prediction.label or "",
        abstained=prediction.abstained or "",
        probabilities=tuple(probabilities) if prediction.probabilities else (),
        emotions=prediction.emotions,
    )
