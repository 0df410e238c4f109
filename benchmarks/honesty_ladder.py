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
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.data.waveform_augment import at_speed
from speech_emotion.training.export.onnx import Provenance, export
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.fit.calibration import fit_thresholds
from speech_emotion.training.fit.linear_probe import AugmentedEmbeddings
from speech_emotion.training.fit.train import PAIR, Banks, Epoch, Sides, assemble, fit, kept_weights
from speech_emotion.training.runs import bank

PEEKED, COPIES = "luna5-peeked", "random10-copies"
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)  # times the recipe's
Material = FrameCache | AugmentedEmbeddings | Banks


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
    write_answers(evaluation.answers, written.with_suffix(".csv"))
    print(f"{result.model}, {split}: UAR {result.uar} ({result.support})\nWritten: {written}")


def train(
    config: TrainConfig, dataset: PreparedDataset, split: Protocol, folds: Sequence[Fold], out: Path
) -> dict[Fold, Path]:
    """Train and export one model per fold in the way that `split` names."""
    corpus, clips = corpora.get(dataset.corpus), dataset.clips
    if split.name == COPIES:
        dataset = with_copies(dataset, config.augment.speeds)
    material = bank(config, dataset)
    models = {}
    for fold in folds:
        folder = out / f"fold-{fold.index}"
        sides = sides_of(split, fold, clips)
        chosen = peek(config, dataset, material, sides, folder) if split.name == PEEKED else config
        fitted = fit(chosen, dataset, material, sides, folder)
        network = assemble(chosen)
        network.load_state_dict(kept_weights(checkpoint.load(folder)[0]))
        facts = (corpus.licence, corpus.citation, commit(), described(split, fold), split.split_hash)
        thresholds = fit_thresholds([fitted.validation])
        models[fold] = folder / "model.onnx"
        provenance = Provenance((corpus.name,), *facts)
        export(network, chosen, fitted.temperature, provenance, models[fold], thresholds=thresholds)
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


def peek(
    config: TrainConfig, dataset: PreparedDataset, material: Material, sides: Sides, out: Path
) -> TrainConfig:
    """Choose each network's epoch or penalty by its score on `sides.validation`, the test speakers.

    Returns the recipe with the chosen penalties. A fine-tuned network is left in `out` as a finished training with
    the weights of its chosen epoch, which `fit` uses as they are.
    """
    materials = (material.first, material.second) if isinstance(material, Banks) else (material,)
    folders = [out / name for name in PAIR] if config.second else [out]
    parts = list(config.parts)
    for k, (learned, folder) in enumerate(zip(materials, folders, strict=True)):
        if isinstance(learned, AugmentedEmbeddings):
            parts[k] = best_penalty(parts[k], dataset, learned, sides, folder)
        else:
            keep_best_epoch(parts[k], dataset, learned, sides, folder)
    return replace(config, probe=parts[0].probe, second=parts[1] if config.second else None)


def best_penalty(
    config: TrainConfig, dataset: PreparedDataset, copies: AugmentedEmbeddings, sides: Sides, out: Path
) -> TrainConfig:
    """The recipe with the penalty, out of five, whose head has the highest UAR; the first of equals."""
    penalties = [config.probe.penalty * share for share in PENALTIES]
    recipes = [replace(config, probe=replace(config.probe, penalty=penalty)) for penalty in penalties]
    heads: list[Epoch] = []
    for k, recipe in enumerate(recipes):
        fit(recipe, dataset, copies, sides, out / f"penalty-{k}", on_epoch=heads.append)
    return recipes[int(np.argmax([head.validation_uar or 0.0 for head in heads]))]


def keep_best_epoch(
    config: TrainConfig, dataset: PreparedDataset, frames: FrameCache, sides: Sides, out: Path
) -> None:
    """Train to the end, then put the weights of the epoch with the highest UAR, the first of equals, into `out`."""
    scores: list[float] = []
    best: dict[str, Tensor] = {}

    def keep(epoch: Epoch) -> None:
        scores.append(epoch.validation_uar or 0.0)
        if scores.index(max(scores)) == len(scores) - 1:
            best.update(kept_weights(checkpoint.load(out)[0]))

    fit(config, dataset, frames, sides, out, on_epoch=keep)
    tensors, state = checkpoint.load(out)
    checkpoint.save(out, tensors | {f"average.{name}": tensor for name, tensor in best.items()}, state)


def score(split: Protocol, folder: Path, models: Mapping[Fold, Path], seed: int) -> Evaluation:
    """Answer each fold's test clips with its exported model, through the public API."""
    clips = corpora.get(split.corpus).scan(folder)
    answers: list[Answer] = []
    for fold, path in models.items():
        classifier = speech_emotion.load(path)
        for index in split.indices(clips, fold.test):
            held_out = HeldOutClip(clips[index], path, fold.index, seed)
            answers.append(answer_of(held_out, classifier.predict(folder / held_out.clip.path)))
    info = classifier.info
    facts = (info.n_parameters, info.size_bytes, info.commit, info.recipe.get("recipes_tried"))
    return Evaluation(split, split.corpus, info.name, *facts, tuple(answers))


if __name__ == "__main__":
    main()
