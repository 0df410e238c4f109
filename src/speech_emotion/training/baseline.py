"""A baseline that checks the evaluation: utterance statistics of the feature matrices and a logistic regression.

In: a prepared dataset. Out: a result beside those of the networks. Published systems of this kind reach 50 to 64 % UAR
on RAVDESS speech; a number far outside means that the evaluation is wrong. No model is exported.

    speech-emotion corpora prepare ravdess FOLDER prepared/ravdess --features
    python -m speech_emotion.training.baseline prepared/ravdess
"""

from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from speech_emotion import corpora
from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation import splits
from speech_emotion.evaluation.metrics import uar
from speech_emotion.evaluation.report.page import terminal_table
from speech_emotion.evaluation.result import summarise
from speech_emotion.evaluation.score import Answer, Evaluation, write_answers
from speech_emotion.evaluation.splits import Fold, Protocol, check_no_leak
from speech_emotion.provenance import commit
from speech_emotion.training.data.features import COLUMNS, HOP, Features, prepare_features

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MODEL: Final = "baseline-lr"
STRENGTHS: Final = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)  # C, the inverse of the penalty
VOICED: Final = 0.5
LOWEST_RMS: Final = 1e-5

_NAMES: Final = [column for columns in COLUMNS.values() for column in columns]
_RMS, _F0, _VOICING = (_NAMES.index(name) for name in ("rms", "f0", "voicing"))


def utterance_statistics(features: Features) -> FloatArray:
    """(n_clips, n_statistics): distribution and slope of each column over the clip."""
    return np.stack([_clip_statistics(features.clip(i)) for i in range(len(features.offsets) - 1)])


def _clip_statistics(clip: npt.NDArray[np.float32]) -> FloatArray:
    """clip (n_frames, n_columns) → (6 · n_columns + 1,); the last is the share of voiced frames."""
    frames: FloatArray = clip.astype(np.float64)
    frames[:, _RMS] = 20 * np.log10(np.maximum(frames[:, _RMS], LOWEST_RMS))  # dB
    frames[:, _F0] = 12 * np.log2(frames[:, _F0] / 100)  # semitones above 100 Hz
    seconds = np.arange(len(frames)) * HOP / SAMPLE_RATE
    is_voiced = frames[:, _VOICING] > VOICED
    statistics = _statistics(frames, seconds)
    statistics[:, _F0] = 0.0
    if is_voiced.any():
        statistics[:, _F0] = _statistics(frames[is_voiced], seconds[is_voiced])[:, _F0]
    return np.append(statistics.ravel(), np.mean(is_voiced))


def _statistics(frames: FloatArray, seconds: FloatArray) -> FloatArray:
    """(n_frames, n_columns) → (6, n_columns): mean, deviation, three percentiles, slope per second."""
    centred = seconds - np.mean(seconds)
    slope = centred @ frames / max(float(centred @ centred), 1e-9)
    percentiles = np.percentile(frames, [10, 50, 90], axis=0)
    return np.stack([np.mean(frames, axis=0), np.std(frames, axis=0), *percentiles, slope])


def evaluate(dataset: PreparedDataset, statistics: FloatArray, protocol: Protocol) -> Evaluation:
    """Choose C on the inner validation speakers of all folds, then score the test clips of each fold once."""
    _check_complete(dataset, protocol)
    scores = validation_scores(dataset, statistics, protocol)
    strength = max(scores, key=scores.__getitem__)
    answers: list[Answer] = []
    for fold in protocol.folds:
        learned_from = protocol.indices(dataset.clips, fold.train | fold.validation)
        test = protocol.indices(dataset.clips, fold.test)
        learned, tested = ({protocol.member(dataset.clips[i]) for i in side} for side in (learned_from, test))
        check_no_leak(learned, tested, where=f"fold {fold.index}")
        model = regression(strength).fit(statistics[learned_from], dataset.labels[learned_from])
        answers += _answers(dataset, test, model.predict_proba(statistics[test]), fold)
    n_parameters = (statistics.shape[1] + 1) * len(dataset.label_names) + 2 * statistics.shape[
        1
    ]  # and the scaler's
    return Evaluation(
        protocol=protocol,
        corpus=corpora.get(dataset.corpus),
        labels=dataset.label_names,
        model=MODEL,
        parameters=n_parameters,
        size_bytes=8 * n_parameters,
        commit=commit(),
        recipes_tried=len(STRENGTHS),
        answers=tuple(answers),
        scored=(
            "the regression's own probabilities, in Python; this model is not exported. In each fold it learned "
            "from the train and the validation speakers, a network from the train speakers alone"
        ),
    )


def _check_complete(dataset: PreparedDataset, protocol: Protocol) -> None:
    if dataset.corpus != protocol.corpus:
        raise ConfigError(
            f"{protocol.name} divides {protocol.corpus}, not {dataset.corpus}. Prepare {protocol.corpus}."
        )
    needed = set().union(*(fold.train | fold.validation | fold.test for fold in protocol.folds))
    if missing := needed - {protocol.member(clip) for clip in dataset.clips}:
        raise CorpusError(
            f"{dataset.folder}: no clip of {', '.join(sorted(missing)[:5])}, which {protocol.name} needs. "
            "Prepare the whole corpus."
        )


def validation_scores(
    dataset: PreparedDataset, statistics: FloatArray, protocol: Protocol
) -> dict[float, float]:
    """For each C the UAR on the inner validation speakers, averaged over folds. Test clips are not used."""

    def score(strength: float, fold: Fold) -> float:
        train, validation = (protocol.indices(dataset.clips, side) for side in (fold.train, fold.validation))
        model = regression(strength).fit(statistics[train], dataset.labels[train])
        return uar(dataset.labels[validation], model.predict(statistics[validation]))

    return {
        strength: float(np.mean([score(strength, fold) for fold in protocol.folds])) for strength in STRENGTHS
    }


def regression(strength: float) -> Pipeline:
    """The scaler is part of the model, so that it is fitted to the train clips only."""
    return make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
    )


def _answers(dataset: PreparedDataset, test: IntArray, probabilities: FloatArray, fold: Fold) -> list[Answer]:
    """probabilities (n_test, n_emotions), in the order of the labels."""
    rows = zip((dataset.clips[i] for i in test), probabilities, strict=True)
    return [
        Answer(
            file=clip.path,
            speaker=clip.speaker,
            sex=clip.sex,
            intensity=clip.attributes.get("intensity", ""),
            label=clip.label,
            fold=fold.index,
            seed=0,
            answer=dataset.label_names[int(row.argmax())],
            abstained="",
            probabilities=tuple(row.round(4).tolist()),
        )
        for clip, row in rows
    ]


def main(
    prepared: Annotated[Path, typer.Argument(help="A prepared dataset.")],
    protocol: Annotated[str, typer.Option(help="A named split, such as luna5.")] = "luna5",
    out: Annotated[Path, typer.Option(help="Where the result file goes.")] = Path("results"),
) -> None:
    """Train and score the baseline."""
    dataset = PreparedDataset.open(prepared, verify=True)
    evaluation = evaluate(dataset, utterance_statistics(prepare_features(dataset)), splits.protocol(protocol))
    command = (
        f"speech-emotion corpora prepare {dataset.corpus} FOLDER {prepared} --features && "
        f"python -m speech_emotion.training.baseline {prepared} --protocol {protocol}"
    )
    result = summarise(evaluation, command=command)
    written = result.write(out)
    write_answers(evaluation, written.with_suffix(".csv"))
    Console().print(terminal_table(result))


if __name__ == "__main__":
    typer.run(main)
