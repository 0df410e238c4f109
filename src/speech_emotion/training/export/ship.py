"""A finished run folder → a model file. In: a run, perhaps others to calibrate with. Out: .onnx, checksum and card."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.evaluation.result import Result, read_result
from speech_emotion.files import DamagedFileError, read_sealed_json, write_atomically, writing
from speech_emotion.model import EmotionModel, ModelInfo
from speech_emotion.training.export.card import model_card
from speech_emotion.training.export.onnx import Provenance, export
from speech_emotion.training.fit import checkpoint, cross_fit, enrolment
from speech_emotion.training.fit.calibration import Calibration, fit_thresholds

RUN: Final = "run.json"


def ship(run: Path, path: Path, *, calibration: Path | None, result: Path | None) -> ModelInfo:
    """Export `run`, the folder of one training, to `path`, with its sha256 and its model card beside it.

    A model of all speakers takes temperature and thresholds from `calibration`, the run folder of a protocol. The
    score in `result`, a result file of the same recipe under a protocol, goes on the card.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"{path}: the name of a model file must end in .onnx.")
    score = read_result(result) if result else None
    calibrated = joint_calibration(finished_runs(calibration)) if calibration else None
    with writing(path, ConfigError):
        info = export_run(run, path, calibration=calibrated, result=score).info
        write_atomically(path.with_suffix(".sha256"), f"{info.sha256}  {path.name}\n".encode())
        write_atomically(path.with_suffix(".md"), model_card(info).encode())
    return info


def export_run(
    folder: Path, path: Path, *, calibration: Calibration | None = None, result: Result | None = None
) -> EmotionModel:
    """Export a finished run, with its own calibration if no other is given; the temperature head is always its own."""
    network, config = checkpoint.load_network(folder)
    run, of_window = read_run(folder), cross_fit.read(folder)
    if config.mixture and not of_window:
        raise ModelFormatError(f"{folder}: holds no {cross_fit.FILE}. Delete the run folder and train again.")
    provenance = Provenance(
        corpora=tuple(run["corpora"]),
        licence="; ".join(_each_once(run, "licence", "; ")),
        citation=" ".join(_each_once(run, "citation", None)),
        commit=run["commit"],
        protocol=run["protocol"],
        split_hash=run["split_hash"],
        metrics=honest_score(result, config.name) if result else {},
    )
    chosen = calibration or Calibration(run["temperature"], fit_thresholds([run["validation"]]))
    chosen = dataclasses.replace(chosen, of_window=of_window)
    return export(network, config, chosen, provenance, path, head=enrolment.read(folder))


def _each_once(run: Mapping[str, Any], fact: str, separator: str | None) -> list[str]:
    """A fact about the corpora, and about the initial weights what that does not say; `separator` divides a text."""
    texts = [facts[fact] or "" for facts in run["initial_weights"]]
    parts = [part for text in texts for part in (text.split(separator) if separator else [text])]
    return [run[fact], *(part for part in dict.fromkeys(parts) if part and part not in run[fact])]


def read_run(folder: Path) -> dict[str, Any]:
    """The run.json of a finished training."""
    try:
        return read_sealed_json(folder / RUN)
    except (OSError, DamagedFileError) as error:
        raise ModelFormatError(
            f"{folder}: not a finished run ({error}). Train it to its end first."
        ) from error


def finished_runs(folder: Path) -> list[dict[str, Any]]:
    """The run.json of every training in the run folder of a protocol."""
    found = sorted(folder.glob(f"**/{RUN}"))
    if not found:
        raise ConfigError(f"{folder}: holds no finished training. Give the run folder of a protocol.")
    return [read_run(path.parent) for path in found]


def joint_calibration(runs: Sequence[Mapping[str, Any]]) -> Calibration:
    """For a model of all speakers: thresholds from the evidence of all `runs`, and their mean temperature."""
    temperatures = [run["validation"]["likeliest_temperature"] for run in runs]
    mean = math.exp(float(np.mean(np.log(temperatures))))  # so many speakers need no prior
    return Calibration(mean, fit_thresholds([run["validation"] for run in runs]))


def honest_score(result: Result, name: str) -> dict[str, Any]:
    """The part of a result that goes into the metadata of the model `name`; scores are fractions."""
    if result.leaky:
        raise ConfigError(
            f"{result.stem}: measured on speakers in the training data. Give a result without a leak."
        )
    if result.model != name:
        raise ConfigError(f"{result.stem}: the score of {result.model}, not of {name}. Give its own result.")
    headline = {name: dataclasses.asdict(getattr(result, name)) for name in ("uar", "accuracy", "ece")}
    recalls = {label: round(recall.mean, 4) for label, recall in result.per_class.items()}
    facts = ("corpus", "protocol", "leaky", "n_clips", "n_speakers", "seeds", "command", "commit")
    return {**{name: getattr(result, name) for name in facts}, **headline, "per_class": recalls}
