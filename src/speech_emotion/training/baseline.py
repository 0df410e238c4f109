"""The sanity check of the whole evaluation: utterance statistics and logistic regression. In: a prepared dataset
with its features. Out: a result file that stands beside the networks'.

Published systems of this kind reach 50 to 64 % UAR on RAVDESS speech, speaker-independent. There is no exported
model here: what is scored are the regression's own probabilities, and the result says so. To make it:

    speech-emotion corpora prepare ravdess=FOLDER --features
    python -m speech_emotion.training.baseline PREPARED_FOLDER
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.evaluation.metrics import uar
from speech_emotion.evaluation.score import Answer, Evaluation
from speech_emotion.evaluation.splits import Fold, Protocol, check_no_leak
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.features import COLUMNS, HOP, SAMPLE_RATE, Features, prepare_features

FloatArray = npt.NDArray[np.float64]

STRENGTHS: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C, the inverse of the penalty
VOICED: Final = 0.5
LOWEST_RMS: Final = 1e-5
STATISTICS: Final = ("mean", "sd", "p10", "p50", "p90", "slope")


def utterance_statistics(features: Features) -> FloatArray:
    """(n_clips, n_statistics): how each column is distributed over the clip and where it goes."""
    return np.stack([_clip_statistics(features.clip(i)) for i in range(len(features.offsets) - 1)])


def _clip_statistics(frames: npt.NDArray[np.float32]) -> FloatArray:
    """frames (n_frames, n_columns) → (n_columns · n_statistics + 1,); the last is the share of voiced frames."""
    frames = frames.astype(np.float64)
    frames[:, _RMS] = 20 * np.log10(np.maximum(frames[:, _RMS], LOWEST_RMS))
    frames[:, _F0] = 12 * np.log2(frames[:, _F0] / 100)  # semitones above 100 Hz
    is_voiced = frames[:, _VOICING] > VOICED
    statistics = _statistics(frames)
    statistics[:, _F0] = _statistics(frames[is_voiced, _F0 : _F0 + 1])[:, 0] if is_voiced.any() else 0.0
    return np.append(statistics.ravel(), np.mean(is_voiced))


def _statistics(frames: FloatArray) -> FloatArray:
    """(n_frames, n_columns) → (n_statistics, n_columns)."""
    seconds = (np.arange(len(frames)) - (len(frames) - 1) / 2) * HOP / SAMPLE_RATE
    slope = seconds @ frames / max(float(seconds @ seconds), 1e-9)
    percentiles = np.percentile(frames, [10, 50, 90], axis=0)
    return np.stack([frames.mean(axis=0), frames.std(axis=0), *percentiles, slope])


_NAMES: Final = [column.name for columns in COLUMNS.values() for column in columns]
_RMS, _F0, _VOICING = (_NAMES.index(name) for name in ("rms", "f0", "voicing"))


def evaluate(dataset: PreparedDataset, statistics: FloatArray, protocol: Protocol) -> Evaluation:
    """Choose C on the inner validation speakers of all folds, then answer each fold's test clips once."""
    strength = choose_strength(dataset, statistics, protocol)
    answers = []
    for fold in protocol.folds:
        learned_from, test = _sides(dataset, protocol, fold)
        model = _regression(strength).fit(statistics[learned_from], dataset.labels[learned_from])
        answers += _answers(dataset, test, model.predict_proba(statistics[test]), fold)
    n_parameters = (statistics.shape[1] + 1) * len(EMOTIONS) + 2 * statistics.shape[1]
    return Evaluation(
        protocol=protocol,
        corpus=dataset.corpus,
        model="baseline-lr",
        parameters=n_parameters,
        size_bytes=8 * n_parameters,
        commit=None,
        recipes_tried=len(STRENGTHS),
        answers=tuple(answers),
    )


def choose_strength(dataset: PreparedDataset, statistics: FloatArray, protocol: Protocol) -> float:
    """The C with the best validation UAR, averaged over folds. No test clip is looked at."""

    def score(strength: float) -> float:
        return float(np.mean([_validation_uar(dataset, statistics, protocol, fold, strength) for fold in protocol.folds]))

    scores = {strength: score(strength) for strength in STRENGTHS}
    for s, v in scores.items():
        typer.echo(f"C {s:g}: validation UAR {v * 100:.1f}", err=True)
    return max(scores, key=scores.__getitem__)


def _validation_uar(
    dataset: PreparedDataset, statistics: FloatArray, protocol: Protocol, fold: Fold, strength: float
) -> float:
    train = protocol.indices(dataset.clips, fold.train)
    validation = protocol.indices(dataset.clips, fold.validation)
    model = _regression(strength).fit(statistics[train], dataset.labels[train])
    return uar(dataset.labels[validation], model.predict(statistics[validation]))


def _regression(strength: float) -> Pipeline:
    """Scaler and regression are fitted together, on the clips that are learned from and no others."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))
