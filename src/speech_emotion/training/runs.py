"""Run folders. In: a recipe, a prepared corpus, a protocol or none. Out: trained, exported models that can be checked.

    OUT/seed-0/fold-0/          one training
        recipe.json             the resolved recipe
        run.json                who was learned from, what was left out, seed, commit, versions, temperature, times
        first/ second/          of a pair: the log and the checkpoint of each network
        log.jsonl               one line per epoch
        checkpoint.safetensors  to resume from, and to export
        enrolment.safetensors   the head for speaker profiles
        temperature.safetensors of several corpora: the temperature of each window
        model.onnx              sealed; what is scored

Without a protocol, all speakers are learned from and the training is OUT/seed-0. Under `loco` it is
OUT/seed-0/without-nemo, which learns from all speakers of the recipe's other corpora and validates on nobody.
"""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from speech_emotion.corpora import same_speakers
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.splits import LOCO, Fold, Protocol, folder_without
from speech_emotion.files import locked, write_atomically, write_sealed_json, writing
from speech_emotion.labels import UNLABELLED
from speech_emotion.parallel import Progress
from speech_emotion.provenance import commit
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.embeddings import AugmentedEmbeddings
from speech_emotion.training.data.mixture import Dataset, Mixture, parts_of
from speech_emotion.training.data.window_features import WindowFeatures, window_features
from speech_emotion.training.export.ship import RUN, export_run, finished_runs
from speech_emotion.training.fit import checkpoint, cross_fit, enrolment
from speech_emotion.training.fit.job import LOG, Epoch, Fitted, Job, Sides
from speech_emotion.training.fit.train import fit, materials
from speech_emotion.training.networks.build import architecture
from speech_emotion.version import __version__

WEIGHT_FACTS = ("name", "licence", "citation", "commit")  # what run.json keeps of the initial weights

OnEpoch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class Training:
    """One training of a run: its folder, its recipe with the seed, and what it does not learn from.

    That is the fold of a protocol, or corpora that are left out. With neither, it learns from all speakers.
    """

    folder: Path
    config: TrainConfig
    protocol: Protocol | None = None
    fold: Fold | None = None
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        seed = f"seed {self.config.fit.seed}"
        left_out = f", without {' and '.join(self.left_out)}" if self.left_out else ""
        fold = f", fold {self.fold.index}" if self.fold else ""
        return f"{self.config.name}, {seed}{left_out}{fold}"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.folder / "model.onnx"

    @property
    def is_finished(self) -> bool:
        """Whether it was trained and exported."""
        return checkpoint.exists(self.folder) and self.model.exists()

    @property
    def description(self) -> dict[str, Any] | None:
        """The metadata "protocol" of its model."""
        if self.left_out:
            return {"name": LOCO, "leaky": False, "left_out": list(self.left_out)}
        return self.protocol.describe(self.fold) if self.protocol and self.fold else None

    def material(self, dataset: Dataset) -> Dataset:
        """The dataset without the corpora that are left out."""
        return dataset.without(self.left_out) if isinstance(dataset, Mixture) else dataset

    def sides(self, dataset: Dataset) -> Sides:
        """The clips of its `material` to learn from and to validate on."""
        train, validation = np.arange(len(dataset)), np.zeros(0, dtype=np.int64)
        if self.protocol and self.fold:
            main, *others = parts_of(dataset)
            train, validation = (
                self.protocol.indices(main.clips, members)
                for members in (self.fold.train, self.fold.validation)
            )
            first = np.cumsum([len(main), *map(len, others)])
            beside = [
                start + _beside(other, self.protocol, self.fold)
                for start, other in zip(first, others, strict=False)
            ]
            train = np.concatenate([train, *beside])
        if isinstance(dataset, Mixture):
            train = train[dataset.known[dataset.corpus_of, dataset.labels][train]]
        if len(train) < 2:
            raise ConfigError(
                f"{parts_of(dataset)[0].folder}: holds too few clips of the speakers that {self} learns from."
            )
        return Sides(train, validation)


def _beside(other: PreparedDataset, protocol: Protocol, fold: Fold) -> npt.NDArray[np.int64]:
    """The clips to learn from of a corpus that is not divided: all but those of people who are held out."""
    shares_speakers = protocol.corpus in same_speakers(other.corpus)
    return protocol.indices(other.clips, fold.train) if shares_speakers else np.arange(len(other))


def plan(
    config: TrainConfig,
    out: Path,
    protocol: Protocol | None,
    seeds: Sequence[int],
    folds: Sequence[int] | None,
) -> list[Training]:
    """Every training of a run, seed by seed. `folds` selects some of the protocol's."""
    for part in config.parts:
        architecture(part)  # exists
    if protocol is None:
        return [Training(out / f"seed-{seed}", config.with_seed(seed)) for seed in seeds]
    if protocol.name == LOCO:
        return _leave_one_out(config, out, seeds, folds)
    if protocol.corpus != config.corpus:
        raise ConfigError(f"{protocol.name} divides {protocol.corpus}; the recipe trains on {config.corpus}.")
    if protocol.divides_nothing:
        raise ConfigError(
            f"{protocol.name}: has no train speakers, it tests all. Evaluate a model file of other corpora."
        )
    chosen = [fold for fold in protocol.folds if folds is None or fold.index in folds]
    if folds is not None and len(chosen) != len(set(folds)):
        raise ConfigError(
            f"{protocol.name} has folds 0 to {len(protocol.folds) - 1}, got {sorted(set(folds))}."
        )
    return [
        Training(out / f"seed-{seed}" / f"fold-{fold.index}", config.with_seed(seed), protocol, fold)
        for seed in seeds
        for fold in chosen
    ]


def _leave_one_out(
    config: TrainConfig, out: Path, seeds: Sequence[int], folds: Sequence[int] | None
) -> list[Training]:
    """One training per corpus with labels; those that share their speakers are left out together."""
    if folds is not None:
        raise ConfigError(f"{LOCO} has no folds: it leaves out each corpus of the recipe.")
    left_out: dict[str, tuple[str, ...]] = {}
    for corpus in (config.corpus, *config.mixture):
        if corpus not in config.unlabelled:
            left_out[folder_without(corpus)] = (*left_out.get(folder_without(corpus), ()), corpus)
    if len(left_out) < 2:
        raise ConfigError(f"{LOCO} leaves out one corpus: the recipe needs a [mixture] with other speakers.")
    return [
        Training(out / f"seed-{seed}" / folder, config.with_seed(seed), left_out=corpora)
        for seed in seeds
        for folder, corpora in left_out.items()
    ]


def train(
    trainings: Sequence[Training],
    dataset: Dataset,
    *,
    references: Path | None = None,
    device: str = "cpu",
    on_epoch: OnEpoch = lambda *_: None,
    on_copy: Progress = lambda *_: None,
) -> list[Path]:
    """Carry out what `plan` planned, and return the model files; what is finished is kept, an interrupted one resumes.

    Args:
        trainings: Those of one recipe.
        dataset: The prepared corpus.
        references: Run folder of a protocol, whose enrolled heads tell how to fit that of a model of all speakers.
        device: cpu or cuda.
        on_epoch: Called with the name of the training and each epoch.
        on_copy: Called while embeddings are computed, with the copies done and the copies in all.
    """
    _check_labels(trainings, dataset)
    folders = [path.parent for path in sorted(references.glob(f"**/{RUN}"))] if references else []
    if references:
        finished_runs(references)  # can be read
    jobs = {training.folder: _job(training, dataset, device, on_epoch) for training in trainings}
    for job in jobs.values():
        for part in (job, *job.parts):
            part.resume()  # refuses other runs before hours of work
    todo = [training for training in trainings if not training.is_finished]
    for (config, _), group in groupby(todo, lambda training: (training.config, training.left_out)):
        same = list(group)  # but for their folds
        with writing(same[0].folder, ConfigError):
            learned_from = materials(config, jobs[same[0].folder].dataset, on_copy)
        features: WindowFeatures | None = None
        for training in same:
            with writing(training.folder, ConfigError), locked(training.folder):
                if training.is_finished:  # by another process in the meantime
                    continue
                job = jobs[training.folder]
                features = _fit(training, job, learned_from, features)
                features = _enrol(job, folders, learned_from, features)
                export_run(training.folder, training.model)
    return [training.model for training in trainings]


def _check_labels(trainings: Sequence[Training], dataset: Dataset) -> None:
    if UNLABELLED in dataset.label_names:
        raise ConfigError(
            f"{parts_of(dataset)[0].corpus} has no labels. Add a column label, or learn from it in a [mixture]."
        )
    exclusive = {label for training in trainings for label in training.config.exclusive}
    if unknown := exclusive - set(dataset.label_names):
        raise ConfigError(f"exclusive: no corpus has the label {', '.join(sorted(unknown))}.")


def _job(training: Training, dataset: Dataset, device: str, on_epoch: OnEpoch) -> Job:
    material, tell = training.material(dataset), partial(on_epoch, str(training))
    return Job(training.config, material, training.sides(material), training.folder, device, tell)


def _fit(
    training: Training, job: Job, learned_from: Sequence[Any], known: WindowFeatures | None
) -> WindowFeatures | None:
    """Train a job; returns the features of its windows if they were needed, or `known`."""
    code = commit()  # of what was imported, not of what the checkout holds hours later
    fitted = fit(job, learned_from)
    if isinstance(job.dataset, Mixture):
        network, config = checkpoint.load_network(job.folder)
        known = known or window_features(network, config, job.dataset)
        head, temperature, evidence = cross_fit.calibrate(job, job.dataset, learned_from, known)
        head.write(job.folder)
        fitted = replace(fitted, temperature=temperature, validation=evidence)
    recipe = json.dumps(job.config.to_dict(), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(job.folder / "recipe.json", recipe.encode())
    write_sealed_json(job.folder / RUN, _facts(training, job, fitted) | {"commit": code})
    return known


def _facts(training: Training, job: Job, fitted: Fitted) -> dict[str, Any]:
    protocol = training.protocol
    return {
        "corpora": [part.corpus for part in parts_of(job.dataset)],
        "corpus_hash": job.dataset.corpus_hash,
        "licence": job.dataset.licence,
        "citation": job.dataset.citation,
        "left_out": list(training.left_out),
        "protocol": training.description,
        "split_hash": protocol.split_hash if protocol else None,
        "seed": job.config.fit.seed,
        "temperature": fitted.temperature,
        "validation": fitted.validation,
        "initial_weights": [
            {key: facts.get(key) for key in WEIGHT_FACTS} for facts in fitted.initial_weights
        ],
        "device": job.device,
        "threads": torch.get_num_threads(),
        "seconds": seconds_of(job),
        "versions": {
            "speech-emotion": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
    }


def seconds_of(job: Job) -> float:
    """The duration of a training by its logs, those of both networks of a pair included."""
    logs = {part.folder / LOG for part in (job, *job.parts)}
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    return float(round(sum(json.loads(line)["seconds"] for line in lines), 1))


def _enrol(
    job: Job, references: Sequence[Path], learned_from: Sequence[Any], known: WindowFeatures | None
) -> WindowFeatures | None:
    """Give a trained job its enrolled head, if it can be fitted; returns the features if other folds have the same."""
    if not (len(job.sides.validation) or references):
        return known
    network, config = checkpoint.load_network(job.folder)
    features = known or window_features(network, config, job.dataset)
    heads = [head for head in map(enrolment.read, references) if head]
    augmented = AugmentedEmbeddings.side_by_side(learned_from) if isinstance(job.dataset, Mixture) else None
    enrolment.learn(network, job, features, augmented, heads).write(job.folder)
    return features if config.is_frozen else None
