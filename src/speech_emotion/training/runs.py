"""Run folders. In: a recipe, a corpus folder, a protocol or none. Out: trained, exported models that can be checked.

    OUT/seed-0/fold-0/      one training: everything it took and everything it made
        recipe.json         the resolved recipe
        run.json            who was learned from, seed, commit, versions, temperature, times
        first/ second/      of two networks: each with its own log.jsonl and checkpoint
        log.jsonl           one line an epoch
        checkpoint.json     and its .safetensors: resume goes on from here, export reads it
        model.onnx          sealed; what is scored

Without a protocol every speaker is learned from and the training stands in OUT/seed-0.
"""

import dataclasses
import errno
import json
import math
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import speech_emotion
from speech_emotion import corpora
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.result import Result, read_result
from speech_emotion.evaluation.splits import Fold, Protocol
from speech_emotion.files import digest, locked, write_atomically
from speech_emotion.model import EmotionModel, ModelInfo
from speech_emotion.training import weights as trunk
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.export.card import model_card
from speech_emotion.training.export.onnx import Provenance, export
from speech_emotion.training.fit import checkpoint, enrolment
from speech_emotion.training.fit.calibration import fit_thresholds
from speech_emotion.training.fit.linear_probe import AugmentedEmbeddings, Progress, copies
from speech_emotion.training.fit.train import (
    PAIR,
    Banks,
    Epoch,
    Sides,
    assemble,
    build,
    fit,
    kept_weights,
    resumable,
)
from speech_emotion.training.networks.frontend import LogMel

# What export needs of run.json.
RUN_FACTS = {"corpora", "protocol", "split_hash", "temperature", "trunks", "validation", "commit"}
TRUNK_FACTS = ("name", "licence", "citation", "commit")  # what a run keeps of the trunk it began with

OnEpoch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class Training:
    """One network to train: where it goes, its seed, and its fold (None: learn from everybody)."""

    folder: Path
    config: TrainConfig
    fold: Fold | None

    def __str__(self) -> str:
        seed = f"seed {self.config.fit.seed}"
        return f"{self.config.name}, {seed}" + ("" if self.fold is None else f", fold {self.fold.index}")


def plan(
    config: TrainConfig,
    out: Path,
    protocol: Protocol | None,
    seeds: Sequence[int],
    folds: Sequence[int] | None,
) -> list[Training]:
    """Every training of a run, seed by seed. `folds` picks some of the protocol's."""
    if protocol is None:
        return [Training(out / f"seed-{seed}", config.with_seed(seed), None) for seed in seeds]
    if protocol.corpus != config.corpus:
        raise ConfigError(f"{protocol.name} divides {protocol.corpus}; the recipe trains on {config.corpus}.")
    if protocol.divides_nothing:
        raise ConfigError(
            f"{protocol.name}: nobody is learned from, everybody is tested. Evaluate a model file of other corpora."
        )
    chosen = [fold for fold in protocol.folds if folds is None or fold.index in folds]
    if folds is not None and len(chosen) != len(set(folds)):
        raise ConfigError(
            f"{protocol.name} has folds 0 to {len(protocol.folds) - 1}, got {sorted(set(folds))}."
        )
    return [
        Training(out / f"seed-{seed}" / f"fold-{fold.index}", config.with_seed(seed), fold)
        for seed in seeds
        for fold in chosen
    ]


def train(
    trainings: Sequence[Training],
    dataset: PreparedDataset,
    protocol: Protocol | None,
    *,
    like: Path | None = None,
    device: str = "cpu",
    on_epoch: OnEpoch = lambda *_: None,
    on_copy: Progress = lambda *_: None,
) -> list[Path]:
    """Carry out what `plan` planned; finished trainings are kept, a killed one goes on. Returns the model files.

    like: the run folder of a protocol, after whose enrolled heads that of a model of everybody is fitted.
    """
    if like:
        calibration_runs(like)  # are there
    for training in trainings:  # before hours of work
        sides = _sides(training, dataset, protocol)
        resumable(training.config, dataset, sides, training.folder)
        for part, folder in zip(training.config.parts, _learned_in(training), strict=True):
            resumable(part, dataset, sides, folder)
    todo = [training for training in trainings if not _is_finished(training.folder)]
    for _, group in groupby(todo, lambda training: training.config):
        same = list(group)  # but for their folds
        with writing(same[0].folder):
            material = bank(same[0].config, dataset, on_copy)
        voices: list[enrolment.Voices] = []  # of a trunk that stays as it is, heard once
        for training in same:
            with writing(training.folder), locked(training.folder):
                if not _is_finished(training.folder):  # by another process meanwhile
                    _train_one(training, dataset, material, voices, protocol, like, device, on_epoch)
    return [training.folder / "model.onnx" for training in trainings]


def bank(
    config: TrainConfig, dataset: PreparedDataset, on_copy: Progress = lambda *_: None
) -> FrameCache | AugmentedEmbeddings | Banks:
    """What trainings that differ in their folds alone learn from."""
    if config.second:
        return Banks(*(_bank(part, dataset, on_copy) for part in config.parts))
    return _bank(config, dataset, on_copy)


def _bank(
    config: TrainConfig, dataset: PreparedDataset, on_copy: Progress
) -> FrameCache | AugmentedEmbeddings:
    if not config.probe.copies:
        return FrameCache(dataset, LogMel(**dataclasses.asdict(config.frontend)), config.augment)
    network = build(config)
    trunk.start(network, config.init)
    return copies(config, network, dataset, dataset.folder.parent, on_copy)


def _learned_in(training: Training) -> list[Path]:
    """The folder of each network that learns: that of the training, or the two of a pair."""
    return [training.folder / name for name in PAIR] if training.config.second else [training.folder]


def seconds_of(folder: Path) -> float:
    """What a training took, by its logs; that of two networks by theirs as well."""
    logs = [path / "log.jsonl" for path in (folder, *(folder / name for name in PAIR))]
    lines = [line for log in logs if log.exists() for line in log.read_text(encoding="utf-8").splitlines()]
    return float(round(sum(json.loads(line)["seconds"] for line in lines), 1))


def _is_finished(folder: Path) -> bool:
    return checkpoint.exists(folder) and (folder / "model.onnx").exists()


def _train_one(
    training: Training,
    dataset: PreparedDataset,
    material: FrameCache | AugmentedEmbeddings | Banks,
    voices: list[enrolment.Voices],
    protocol: Protocol | None,
    like: Path | None,
    device: str,
    on_epoch: OnEpoch,
) -> None:
    config, folder = training.config, training.folder
    folder.mkdir(parents=True, exist_ok=True)
    code = commit()  # of what was imported, not of what the checkout holds hours later
    sides = _sides(training, dataset, protocol)
    fitted = fit(
        config,
        dataset,
        material,
        sides,
        folder,
        device=device,
        on_epoch=lambda epoch: on_epoch(str(training), epoch),
    )
    run = {
        "corpora": [dataset.corpus],
        "corpus_hash": dataset.corpus_hash,
        "protocol": None if protocol is None or training.fold is None else protocol.describe(training.fold),
        "split_hash": None if protocol is None else protocol.split_hash,
        "seed": config.fit.seed,
        "temperature": fitted.temperature,
        "validation": fitted.validation,
        "trunks": [{key: trunk.get(key) for key in TRUNK_FACTS} for trunk in fitted.trunks],
        "commit": code,
        "device": device,
        "threads": torch.get_num_threads(),
        "seconds": seconds_of(folder),
        "versions": {
            "speech-emotion": speech_emotion.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
    }
    _write_json(folder / "recipe.json", config.to_dict())
    _write_json(folder / "run.json", run | {"sha256": digest(run)})
    if len(sides.validation) or like:
        others = sorted(path.parent for path in like.glob("**/run.json")) if like else []
        heard = enrolment.learn_run(folder, dataset, sides, others, next(iter(voices), None))
        if config.probe.copies and not config.second:
            voices[:] = [heard]
    export_run(folder, folder / "model.onnx")


def _sides(training: Training, dataset: PreparedDataset, protocol: Protocol | None) -> Sides:
    if protocol is None or training.fold is None:
        sides = Sides(np.arange(len(dataset.clips)), np.zeros(0, dtype=np.int64))
    else:
        fold = training.fold
        sides = Sides(
            protocol.indices(dataset.clips, fold.train), protocol.indices(dataset.clips, fold.validation)
        )
    if len(sides.train) < 2:
        raise ConfigError(
            f"{dataset.folder}: holds too few clips of the speakers that {training} learns from."
        )
    return sides


def export_run(
    folder: Path,
    path: Path,
    *,
    temperature: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    result: Result | None = None,
) -> EmotionModel:
    """Export a finished run; `temperature` and `thresholds` in place of its own, `result`'s score for its card."""
    tensors, state = checkpoint.load(folder)
    run = _read_run(folder)
    config = TrainConfig.from_dict(state["recipe"], where=str(folder))
    provenance = Provenance(
        corpora=tuple(run["corpora"]),
        licence=_joined("; ", run, "licence"),
        citation=_joined(" ", run, "citation"),
        commit=run["commit"],
        protocol=run["protocol"],
        split_hash=run["split_hash"],
        metrics=honest_score(result, config.name) if result else None,
    )
    network = assemble(config)
    try:
        network.load_state_dict(kept_weights(tensors))
    except RuntimeError as error:  # other shapes or names
        raise ModelFormatError(
            f"{folder}: trained by another version of speech-emotion, with another network. Train it again."
        ) from error
    return export(
        network,
        config,
        temperature or run["temperature"],
        provenance,
        path,
        head=enrolment.read(folder),
        thresholds=fit_thresholds([run["validation"]]) if thresholds is None else thresholds,
    )


def _joined(separator: str, run: Mapping[str, Any], fact: str) -> str:
    """A fact of every corpus and of every trunk; each once."""
    texts = [getattr(corpora.get(name), fact) for name in run["corpora"]]
    known = separator.join(dict.fromkeys(texts))
    others = [text for trunk in run["trunks"] for text in (trunk[fact] or "").split(separator) if text]
    return separator.join([known, *(text for text in others if text not in known)])


def _read_run(folder: Path) -> dict[str, Any]:
    try:
        run = json.loads((folder / "run.json").read_bytes())
        if not (run.keys() >= RUN_FACTS and run["temperature"] > 0):
            raise ValueError("run.json does not hold what a training writes")
        if run.pop("sha256", None) != digest(run):
            raise ValueError("run.json is damaged: it does not match its own checksum")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelFormatError(
            f"{folder}: not a finished run ({error}). Train it to its end first."
        ) from error
    facts: dict[str, Any] = run
    return facts


def ship(run: Path, path: Path, *, calibration: Path | None, result: Path | None) -> ModelInfo:
    """Export `run` to `path`, with its sha256 and its model card beside it.

    A model of everybody has no validation speakers: its temperature is the mean of `calibration`'s trainings, and
    the score on its card is that of `result`, the same recipe tested on speakers it had not heard.
    """
    if path.suffix != ".onnx":
        raise ConfigError(
            f"{path}: a model file ends in .onnx; its card and its sha256 go beside it. Name it so."
        )
    score = read_result(result) if result else None
    judged = calibration_runs(calibration) if calibration else []
    with writing(path):
        info = export_run(
            run,
            path,
            temperature=mean_temperature(judged) if judged else None,
            thresholds=fit_thresholds([run["validation"] for run in judged]) if judged else None,
            result=score,
        ).info
        write_atomically(path.with_suffix(".sha256"), f"{info.sha256}  {path.name}\n".encode())
        write_atomically(path.with_suffix(".md"), model_card(info).encode())
    return info


def honest_score(result: Result, name: str) -> dict[str, Any]:
    """What of a result goes into the metadata of the model `name`: fractions, with their company."""
    if result.leaky:
        raise ConfigError(f"{result.stem}: measured on speakers it had heard. Give a result without a leak.")
    if result.model != name:
        raise ConfigError(f"{result.stem}: the score of {result.model}, not of {name}. Give its own result.")
    headline = {name: dataclasses.asdict(getattr(result, name)) for name in ("uar", "accuracy", "ece")}
    recalls = {label: round(recall.mean, 4) for label, recall in result.per_class.items()}
    facts = ("corpus", "protocol", "leaky", "n_clips", "n_speakers", "seeds", "command", "commit")
    return {**{name: getattr(result, name) for name in facts}, **headline, "per_class": recalls}


def calibration_runs(folder: Path) -> list[dict[str, Any]]:
    """The run.json of every training of a protocol run."""
    found = sorted(folder.glob("**/run.json"))
    if not found:
        raise ConfigError(f"{folder}: holds no finished training. Give the run folder of a protocol.")
    return [_read_run(path.parent) for path in found]


def mean_temperature(runs: Sequence[Mapping[str, Any]]) -> float:
    """Geometric mean over trainings, for a model that learned from everybody.

    Of the likeliest ones: all these speakers together need no prior, which each of them had.
    """
    found = [run["validation"]["likeliest_temperature"] for run in runs]
    return math.exp(float(np.mean(np.log(found))))


@cache
def commit() -> str | None:
    """The commit of this source tree, with "+changes" where files differ from it; None outside of a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not somebody else's repository around us
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Translate what the system refuses while `path` is made."""
    try:
        yield
    except BrokenPipeError:  # whoever read our lines has gone: not this folder's fault
        raise
    except OSError as error:
        next_step = "Free some space" if error.errno == errno.ENOSPC else "Choose another --out"
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}). {next_step} and run it again: "
            "what was trained so far is kept."
        ) from error


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode())
