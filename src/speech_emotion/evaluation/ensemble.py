"""Several models as one. In: the tables of answers of scored models, and their results. Out: an Evaluation.

Nothing is heard again: the ensemble's probabilities for a clip are the mean of its members' on that clip, fold by
fold. So no speaker who tests it was learned from by any of its members in that fold: the evaluation that wrote each
table proved so, and all of them must be of one split. Members of a leaky protocol make a leaky ensemble.

The members' calibrated probabilities are averaged as they stand, and the ensemble has no thresholds of its own: it is
never "not sure", and gives no emotion sets. It abstains from a clip to which no member gave any probability.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.metrics import FloatArray
from speech_emotion.evaluation.result import Result
from speech_emotion.evaluation.score import DECIMALS, Answer, Evaluation, file_name, read_answers
from speech_emotion.labels import EMOTIONS

NAME: Final = "ensemble"
SEED: Final = 0  # the seeds of the members are averaged: what is left is one ensemble

Key = tuple[int, str]  # fold, file
Clips = Mapping[Key, Sequence[Answer]]  # what one model answered, once a seed


def average(tables: Sequence[Path], results: Sequence[Result], *, name: str = NAME) -> Evaluation:
    """The ensemble of the models whose answers are in `tables`; `results` are theirs, in the same order.

    A model's probabilities for a clip are the mean over its seeds, the ensemble's the mean over the models, so that
    every model weighs the same. Each seed is a network that has to be run: `parameters` and `size_bytes` count them
    all. ConfigError where the tables are not of different models on the same clips of one split.
    """
    _check_members(results, name)
    members = [_by_clip(table, result) for table, result in zip(tables, results, strict=True)]
    facts = [{key: _facts(rows[0]) for key, rows in clips.items()} for clips in members]
    for table, others in zip(tables, facts, strict=True):
        if others != facts[0]:
            raise ConfigError(
                f"{tables[0]} and {table} are not of the same clips. Evaluate both models on one corpus folder."
            )
    recipes = [result.recipes_tried for result in results if result.recipes_tried is not None]
    commits = {result.commit for result in results}
    sources = [
        f"{table.name} ({_count(len(result.seeds))})" for table, result in zip(tables, results, strict=True)
    ]
    return Evaluation(
        protocol=results[0].split,
        corpus=results[0].corpus,
        model=file_name(name),
        parameters=sum(result.parameters * len(result.seeds) for result in results),
        size_bytes=sum(result.size_bytes * len(result.seeds) for result in results),
        commit=commits.pop() if len(commits) == 1 else None,
        recipes_tried=sum(recipes) if len(recipes) == len(results) else None,
        answers=tuple(_answer([clips[key] for clips in members]) for key in sorted(members[0])),
        scored=f"the mean of the probabilities in {' and '.join(sources)}",
    )


def _check_members(results: Sequence[Result], name: str) -> None:
    models = [result.model for result in results]
    if len(set(models)) < max(2, len(models)):
        raise ConfigError(
            f"An ensemble is of two or more different models, not of {', '.join(models) or 'none'}. "
            "Give the table of each once: --ensemble CSV --ensemble CSV."
        )
    if name in models:
        raise ConfigError(
            f"{name} is one of the ensemble's models, whose files it would replace. Choose another --name."
        )
    splits = sorted({f"{one.corpus} under {one.protocol}, split {one.split_hash[:12]}" for one in results})
    if len(splits) > 1:
        raise ConfigError(
            f"All models must be scored on one split, not on {'; '.join(splits)}. "
            "Evaluate each with the same --corpus and --protocol."
        )


def _by_clip(table: Path, result: Result) -> Clips:
    """The rows of each clip, one a seed of the result."""
    clips: dict[Key, list[Answer]] = {}
    try:
        for row in read_answers(table):
            clips.setdefault((row.fold, row.file), []).append(row)
    except OSError as error:
        raise ConfigError(f"{table}: cannot be read ({error.strerror}). {_MAKE_IT}") from error
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise ConfigError(f"{table}: not a table of answers: {error!r}. {_MAKE_IT}") from error
    seeds = sorted(result.seeds)
    whole = all(sorted(row.seed for row in rows) == seeds for rows in clips.values())
    if not whole or len(clips) != result.n_clips:
        raise ConfigError(
            f"{table} must hold {result.n_clips} clips, each answered with {_count(len(seeds))}, "
            f"as its result says. {_MAKE_IT}"
        )
    return clips


_MAKE_IT: Final = "Make the CSV and the JSON beside it again with: speech-emotion evaluate"


def _facts(row: Answer) -> tuple[str, ...]:
    """What is known of a clip before anything has answered it."""
    return (row.speaker, row.sex, row.intensity, row.label)


def _answer(members: Sequence[Sequence[Answer]]) -> Answer:
    """The ensemble's row for one clip, of each member's rows for it."""
    clip = members[0][0]
    means = [mean for rows in members if (mean := _mean(row.probabilities for row in rows)) is not None]
    probabilities = _mean(means)
    return Answer(
        file=clip.file,
        speaker=clip.speaker,
        sex=clip.sex,
        intensity=clip.intensity,
        label=clip.label,
        fold=clip.fold,
        seed=SEED,
        answer="" if probabilities is None else EMOTIONS[int(probabilities.argmax())],
        abstained=clip.abstained if probabilities is None else "",
        probabilities=() if probabilities is None else tuple(probabilities.round(DECIMALS).tolist()),
    )


def _mean(distributions: Iterable[Sequence[float] | FloatArray]) -> FloatArray | None:
    """The mean of those that are there; None of none."""
    some = [distribution for distribution in distributions if len(distribution)]
    return np.array(some).mean(axis=0) if some else None


def _count(n_seeds: int) -> str:
    return "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
