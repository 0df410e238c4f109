"""Train and score one recipe in a way that is dishonest on purpose, to measure what the habit adds.

    python benchmarks/honesty_ladder.py luna5-peeked recipes/ravdess-compact.toml --corpus downloads/ravdess \
        [--fold 0 --fold 1 …] [--seed 0] [--out runs/honesty-ladder] [--results results]

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
from typing import Any

import numpy as np
import torch

import speech_emotion
from speech_emotion import corpora
from speech_emotion.corpora.prepare import PreparedDataset, prepare
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.result import summarise
from speech_emotion.evaluation.score import Answer, Evaluation, Trial, answer_of, write_answers
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.training import checkpoint
from speech_emotion.training.calibrate import fit_thresholds
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.dataset import FrameBank
from speech_emotion.training.export import Provenance, export
from speech_emotion.training.fit import PAIR, Banks, Epoch, Sides, assemble, fit, kept_weights
from speech_emotion.training.probe import Copies
from speech_emotion.training.runs import bank, commit
from speech_emotion.training.vary import at_speed

PEEKED, COPIES = "luna5-peeked", "random10-copies"
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)  # times the recipe's
Material = FrameBank | Copies | Banks


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure what a dishonest habit adds to a score.")
    parser.add_argument("protocol", choices=[PEEKED, COPIES])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--corpus", type=Path, required=True, metavar="FOLDER", help="the RAVDESS")
    parser.add_argument("--fold", type=int, action="append", help="may be given again; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/honesty-ladder"))
    parser.add_argument("--prepared", type=Path, default=Path("prepared"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)
    split = splits.recorded(given.protocol)
    config = TrainConfig.load(given.recipe).with_seed(given.seed)
    folds = [fold for fold in split.folds if given.fold is None or fold.index in given.fold]
    out = given.out / given.protocol / f"seed-{given.seed}"
    if out.exists():
        parser.error(f"{out} exists. Training does not resume here: remove it or choose another --out.")
    dataset = prepare(corpora.get(split.corpus), given.corpus, given.prepared / split.corpus)
    models = train(config, dataset, split, folds, out, given.device)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/honesty_ladder.py", *words])
    evaluation = score(split, given.corpus, models, given.seed)
    result = summarise(evaluation, command=command)
    written = result.write(given.results)
    write_answers(evaluation.answers, written.with_suffix(".csv"))
    print(f"{result.model}, {split}: UAR {result.uar} ({result.company})\nWritten: {written}")


def train(
    config: TrainConfig,
    dataset: PreparedDataset,
    split: Protocol,
    folds: Sequence[Fold],
    out: Path,
    device: str = "cpu",
) -> dict[Fold, Path]:
    """Train and export one model per fold in the way that `split` names."""
    n_clips = len(dataset)
    if split.name == COPIES:
        dataset = with_copies(dataset, config.augment.speeds)
    material = bank(config, dataset)
    models = {}
    for fold in folds:
        folder = out / f"fold-{fold.index}"
        sides = sides_of(split, fold, dataset, n_clips)
        chosen = peek(config, dataset, material, sides, folder, device) if split.name == PEEKED else config
        fitted = fit(chosen, dataset, material, sides, folder, device=device)
        network = assemble(chosen)
        network.load_state_dict(kept_weights(checkpoint.load(folder)[0]))
        corpus = corpora.get(dataset.corpus)
        trunks = [name for trunk in fitted.trunks for name in trunk.get("corpora", [])]
        provenance = Provenance(
            corpora=tuple(dict.fromkeys([dataset.corpus, *trunks])),
            licence=corpus.licence,
            citation=corpus.citation,
            commit=commit(),
            protocol=described(split, fold),
            split_hash=split.split_hash,
        )
        models[fold] = folder / "model.onnx"
        thresholds = fit_thresholds([fitted.validation])
        export(network, chosen, fitted.temperature, provenance, models[fold], thresholds=thresholds)
        print(f"{split.name}, fold {fold.index}: {models[fold]}", flush=True)
    return models


def sides_of(split: Protocol, fold: Fold, dataset: PreparedDataset, n_clips: int) -> Sides:
    """The dishonest sides. Of the dataset's clips the first `n_clips` were recorded, and their copies follow."""
    recorded = dataset.clips[:n_clips]
    train, validation, test = (
        split.indices(recorded, members) for members in (fold.train, fold.validation, fold.test)
    )
    if split.name == PEEKED:
        return Sides(train, validation=test)
    return Sides(np.concatenate([train, n_clips + test]), validation)


def described(split: Protocol, fold: Fold) -> dict[str, object]:
    """What a model carries in its metadata as `protocol`."""
    test = sorted(fold.test)
    return split.describe(fold) | ({"validation": test} if split.name == PEEKED else {"copies": test})


def with_copies(dataset: PreparedDataset, speeds: Sequence[float]) -> PreparedDataset:
    """Every clip, and after all of them one copy of each at another speed: the copy of clip k is clip n + k."""
    altered = [speed for speed in speeds if speed != 1.0]
    if not altered:
        raise SystemExit("The recipe has no speed but 1 in augment.speeds, so there are no copies to make.")
    n_clips = len(dataset)
    sounds = [at_speed(dataset.waveform(k), altered[k % len(altered)]) for k in range(n_clips)]
    scales = np.array([max(np.abs(sound).max(), 1e-6) / 32767 for sound in sounds], np.float32)
    quantised = [np.rint(sound / scale).astype(np.int16) for sound, scale in zip(sounds, scales, strict=True)]
    ends = dataset.offsets[-1] + np.cumsum([len(sound) for sound in sounds])
    return replace(
        dataset,
        key=hashlib.sha256(f"{dataset.key} copies {altered}".encode()).hexdigest(),
        clips=[*dataset.clips, *dataset.clips],
        labels=np.tile(dataset.labels, 2),
        speakers=np.tile(dataset.speakers, 2),
        offsets=np.concatenate([dataset.offsets, ends]).astype(np.int64),
        scales=np.concatenate([dataset.scales, scales]),
        waveforms=np.concatenate([dataset.waveforms, *quantised]),
    )


def peek(
    config: TrainConfig, dataset: PreparedDataset, material: Material, sides: Sides, out: Path, device: str
) -> TrainConfig:
    """Choose each network's epoch or penalty by its score on `sides.validation`, who are the test speakers.

    Returns:
        The recipe with the chosen penalties. A fine-tuned network stands in `out` as a finished training with the
        weights of its chosen epoch, which `fit` takes as they are.
    """
    materials = (material.first, material.second) if isinstance(material, Banks) else (material,)
    folders = [out / name for name in PAIR] if config.second else [out]
    chosen = []
    for part, learned, folder in zip(config.parts, materials, folders, strict=True):
        if isinstance(learned, Copies):
            part = best_penalty(part, dataset, learned, sides, folder)
        else:
            keep_best_epoch(part, dataset, learned, sides, folder, device)
        chosen.append(part)
    return replace(config, probe=chosen[0].probe, second=chosen[1] if config.second else None)


def best_penalty(
    config: TrainConfig, dataset: PreparedDataset, copies: Copies, sides: Sides, out: Path
) -> TrainConfig:
    """The recipe with the penalty, out of five, whose head has the highest UAR; the first of equals."""
    scores: list[float] = []
    recipes = [
        replace(config, probe=replace(config.probe, penalty=config.probe.penalty * x)) for x in PENALTIES
    ]
    for number, recipe in enumerate(recipes):
        fit(
            recipe,
            dataset,
            copies,
            sides,
            out / f"penalty-{number}",
            on_epoch=lambda e: scores.append(uar(e)),
        )
    return recipes[int(np.argmax(scores))]


def keep_best_epoch(
    config: TrainConfig, dataset: PreparedDataset, frames: FrameBank, sides: Sides, out: Path, device: str
) -> None:
    """Train to the end, then put the weights of the epoch with the highest UAR, the first of equals, into `out`."""
    best: tuple[float, dict[str, torch.Tensor]] = (-1.0, {})

    def keep(epoch: Epoch) -> None:
        nonlocal best
        if uar(epoch) > best[0]:
            best = uar(epoch), kept_weights(checkpoint.load(out)[0])

    fit(config, dataset, frames, sides, out, device=device, on_epoch=keep)
    tensors, state = checkpoint.load(out)
    checkpoint.save(out, tensors | {f"average.{name}": tensor for name, tensor in best[1].items()}, state)


def uar(epoch: Epoch) -> float:
    assert epoch.validation_uar is not None, "there is no clip to peek at"
    return epoch.validation_uar


def score(split: Protocol, folder: Path, models: Mapping[Fold, Path], seed: int) -> Evaluation:
    """Answer each fold's test clips with its exported model, through the public API."""
    clips = corpora.get(split.corpus).scan(folder)
    answers: list[Answer] = []
    infos: list[Any] = []
    for fold, path in models.items():
        classifier = speech_emotion.load(path)
        infos.append(classifier.info)
        for clip in (clips[index] for index in split.indices(clips, fold.test)):
            answers.append(
                answer_of(Trial(clip, path, fold.index, seed), classifier.predict(folder / clip.path))
            )
    return Evaluation(
        protocol=split,
        corpus=split.corpus,
        model=infos[0].name,
        parameters=infos[0].n_parameters,
        size_bytes=max(info.size_bytes for info in infos),
        commit=infos[0].commit,
        recipes_tried=infos[0].recipe.get("recipes_tried"),
        answers=tuple(answers),
    )


if __name__ == "__main__":
    main()
