"""Train and score one recipe in a way that is dishonest on purpose, to measure what the habit adds.

    python benchmarks/honesty_ladder.py luna5-peeked recipes/ravdess-compact.toml --corpus downloads/ravdess \
        [--fold 0 --fold 1 …]

luna5-peeked: validates on the test speakers. Each fine-tuned network keeps the epoch that scored best on them, each
linear head the best of five penalties, and the temperature is fitted to them as well.
random10-copies: the corpus is augmented first and divided afterwards. Next to the train clips, one copy at another
speed of each test clip is learned from.

In: a recipe and a folder of the RAVDESS. Out: one model per fold, and a result file for the report, which says LEAKY.
Other rungs of the ladder need no script: `speech-emotion train RECIPE --protocol luna5` (or loso24, random10).
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

import speech_emotion
from speech_emotion import corpora
from speech_emotion.corpora import Clip
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.result import summarise
from speech_emotion.evaluation.score import Answer, Evaluation, HeldOutClip, answer_of, write_answers
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.waveform_augment import at_speed
from speech_emotion.training.export.onnx import Provenance, export
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import Calibration, fit_thresholds
from speech_emotion.training.fit.job import Epoch, Job, Sides
from speech_emotion.training.fit.train import Material, fit, materials

PEEKED, COPIES = "luna5-peeked", "random10-copies"
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)  # times the recipe's


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what a dishonest habit adds to a score.")
    parser.add_argument("protocol", choices=[PEEKED, COPIES])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--corpus", type=Path, required=True, metavar="FOLDER", help="the RAVDESS")
    parser.add_argument("--fold", type=int, action="append", help="may be given again; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/honesty-ladder"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    split = splits.recorded(given.protocol)
    config = TrainConfig.load(given.recipe).with_seed(given.seed)
    folds = [fold for fold in split.folds if given.fold is None or fold.index in given.fold]
    out = given.out / given.protocol / f"seed-{given.seed}"
    if out.exists():
        parser.error(f"{out} exists. Training does not resume here: remove it or choose another --out.")
    dataset = prepare(corpora.get(split.corpus), given.corpus, given.out / "prepared")
    evaluation = score(split, given.corpus, train(config, dataset, split, folds, out), given.seed)
    words = sys.argv[1:] if arguments is None else arguments
    result = summarise(evaluation, command=shlex.join(["python", "benchmarks/honesty_ladder.py", *words]))
    written = result.write(given.results)
    write_answers(evaluation, written.with_suffix(".csv"))
    print(f"{result.model}, {split}: UAR {result.uar} ({result.support})\nWritten: {written}")


def train(
    config: TrainConfig, dataset: PreparedDataset, split: Protocol, folds: Sequence[Fold], out: Path
) -> dict[Fold, Path]:
    """Train and export one model per fold in the way that `split` names."""
    corpus, clips = corpora.get(dataset.corpus), dataset.clips
    if split.name == COPIES:
        dataset = with_copies(dataset, config.augment.speeds)
    learned_from = materials(config, dataset)
    models = {}
    for fold in folds:
        folder = out / f"fold-{fold.index}"
        sides = sides_of(split, fold, clips)
        job = Job(config, dataset, sides, folder)
        fitted = fit(peek(job, learned_from) if split.name == PEEKED else job, learned_from)
        network, chosen = checkpoint.load_network(folder)
        facts = (corpus.licence, corpus.citation, commit(), described(split, fold), split.split_hash)
        calibration = Calibration(fitted.temperature, fit_thresholds([fitted.validation]))
        models[fold] = folder / "model.onnx"
        export(network, chosen, calibration, Provenance((corpus.name,), *facts), models[fold])
    return models


def sides_of(split: Protocol, fold: Fold, clips: Sequence[Clip]) -> Sides:
    """The dishonest sides: indices into `clips`, and from len(clips) on into their copies."""
    members = (fold.train, fold.validation, fold.test)
    train, validation, test = (split.indices(clips, some) for some in members)
    if split.name == PEEKED:
        return Sides(train, validation=test)
    return Sides(np.concatenate([train, len(clips) + test]), validation)


def described(split: Protocol, fold: Fold) -> dict[str, object]:
    """What a model carries in its metadata as `protocol`."""
    test = sorted(fold.test)
    return split.describe(fold) | ({"validation": test} if split.name == PEEKED else {"copies": test})


def with_copies(dataset: PreparedDataset, speeds: Sequence[float]) -> PreparedDataset:
    """All clips, and after them one copy of each at another speed: the copy of clip k is clip n + k."""
    altered = [speed for speed in speeds if speed != 1.0]
    if not altered:
        raise SystemExit("The recipe has no speed but 1 in augment.speeds, so there are no copies to make.")
    n_clips = len(dataset)
    sounds = [at_speed(dataset.waveform(k), altered[k % len(altered)]) for k in range(n_clips)]
    scales = np.array([max(np.abs(sound).max(), 1e-6) / 32767 for sound in sounds], np.float32)
    quantised = [np.rint(sounds[k] / scales[k]).astype(np.int16) for k in range(n_clips)]
    return replace(
        dataset,
        key=hashlib.sha256(f"{dataset.key} copies {altered}".encode()).hexdigest(),
        clips=[*dataset.clips, *dataset.clips],
        labels=np.tile(dataset.labels, 2),
        speakers=np.tile(dataset.speakers, 2),
        offsets=np.append(dataset.offsets, dataset.offsets[-1] + np.cumsum([*map(len, sounds)])),
        scales=np.append(dataset.scales, scales),
        waveforms=np.concatenate([dataset.waveforms, *quantised]),
    )


def peek(job: Job, learned_from: Sequence[Material]) -> Job:
    """Choose each network's epoch or penalty by its score on the validation side, the test speakers.

    Returns the job with the chosen penalties. A fine-tuned network is left in its folder as a finished training with
    the weights of the chosen epoch, which `fit` uses as they are.
    """
    recipes = []
    for part, material in zip(job.parts, learned_from, strict=True):
        if isinstance(material, AugmentedEmbeddings):
            recipes.append(best_penalty(part, material))
        else:
            keep_best_epoch(part, material)
            recipes.append(part.config)
    second = recipes[1] if job.config.second else None
    return replace(job, config=replace(job.config, probe=recipes[0].probe, second=second))


def best_penalty(job: Job, embeddings: AugmentedEmbeddings) -> TrainConfig:
    """The recipe with the penalty, out of five, whose head has the highest UAR; the first of equals."""
    probe, heads = job.config.probe, []
    recipes = [
        replace(job.config, probe=replace(probe, penalty=probe.penalty * share)) for share in PENALTIES
    ]
    for k, recipe in enumerate(recipes):
        trial = replace(job, config=recipe, folder=job.folder / f"penalty-{k}", on_epoch=heads.append)
        fit(trial, [embeddings])
    return recipes[int(np.argmax([head.validation_uar or 0.0 for head in heads]))]


def keep_best_epoch(job: Job, frames: Material) -> None:
    """Train to the end, then save the weights of the epoch with the highest UAR, the first of equals."""
    scores: list[float] = []
    best: dict[str, Tensor] = {}

    def keep(epoch: Epoch) -> None:
        scores.append(epoch.validation_uar or 0.0)
        if scores.index(max(scores)) == len(scores) - 1:
            best.update(checkpoint.final_weights(job.folder))

    fit(replace(job, on_epoch=keep), [frames])
    tensors, state = checkpoint.load(job.folder)
    best_tensors = {f"average.{name}": tensor for name, tensor in best.items()}
    checkpoint.save(job.folder, tensors | best_tensors, state)


def score(split: Protocol, folder: Path, models: Mapping[Fold, Path], seed: int) -> Evaluation:
    """Answer each fold's test clips with its exported model, through the public API."""
    corpus = corpora.get(split.corpus)
    clips = corpus.scan(folder)
    answers: list[Answer] = []
    for fold, path in models.items():
        classifier = speech_emotion.load(path)
        for index in split.indices(clips, fold.test):
            held_out = HeldOutClip(clips[index], path, fold.index, seed)
            prediction = classifier.predict(folder / held_out.clip.path)
            answers.append(answer_of(held_out, prediction, corpus.label_names))
    info = classifier.info
    facts = (info.n_parameters, info.size_bytes, info.commit, info.recipe.get("recipes_tried"))
    return Evaluation(split, corpus, corpus.label_names, info.name, *facts, tuple(answers))


if __name__ == "__main__":
    main()
