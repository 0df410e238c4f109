"""A result: every number of an evaluation with its support. In: an Evaluation, or a result file. Out: a Result.

What the scores mean is said in answers.py.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from speech_emotion.errors import CorpusError
from speech_emotion.evaluation import answers, metrics
from speech_emotion.evaluation.answers import AnswerTable, EmotionSets, Group, Measurement, Score
from speech_emotion.evaluation.metrics import Bin
from speech_emotion.evaluation.score import Evaluation
from speech_emotion.files import write_atomically

COVERAGES: Final = tuple(range(100, 0, -5))  # percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Measurement):
    """What a result file holds, in its order."""

    parameters: int
    size_bytes: int
    scored: str  # what gave the answers
    seeds: tuple[int, ...]
    n_clips: int
    n_clips_published: int
    n_speakers: int
    uar: Score
    uar_fold_mean: Score
    uar_answered: Score
    accuracy: Score
    macro_f1: Score
    ece: Score
    nll: Score
    brier: Score
    accuracy_at_coverage: Mapping[str, float]  # percent of clips answered → accuracy among them
    abstained: Mapping[str, int]  # reason → answers
    per_class: Mapping[str, Group]
    per_actor: Mapping[str, Group]
    per_sex: Mapping[str, Group]
    per_intensity: Mapping[str, Group]  # neutral has normal intensity only
    per_fold: Mapping[str, Group]
    sexes: Mapping[str, str]  # actor → sex
    labels: tuple[str, ...]  # of the confusion matrix
    confusion: tuple[tuple[int, ...], ...]  # over all seeds; spoken × (answered, abstained)
    reliability: tuple[Bin, ...]  # over all seeds
    recipes_tried: int | None
    command: str
    commit: str | None
    aurc: Score | None  # None without probabilities
    sets: EmotionSets | None  # None without a threshold for them
    uar_among_spoken: Score | None  # of a corpus that lacks some emotions: the likeliest of its own

    @property
    def support(self) -> str:
        """What the numbers were measured on: `1440 clips, 24 speakers, 3 seeds`."""
        return answers.support(self.n_clips, self.n_speakers, len(self.seeds), self.n_clips_published)

    @property
    def not_sure(self) -> float:
        """The share of answers that were "not sure"."""
        return self.abstained.get("not_sure", 0) / (self.n_clips * len(self.seeds))

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write `<corpus>-<protocol>-<model>.json` into `folder`."""
        path = Path(folder) / f"{self.stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _to_json(dataclasses.asdict(self)).encode())
        return path


def summarise(evaluation: Evaluation, *, command: str) -> Result:
    """Compute every number from the answers alone. `command` is what makes this result again."""
    table = AnswerTable.of(evaluation.answers, evaluation.labels)
    if (uar_answered := table.uar_answered) is None:
        raise CorpusError("A model abstained from every clip: listen to the corpus, then train again.")
    per_class, per_fold = table.groups(lambda clip: clip.label), table.groups(lambda clip: clip.fold)
    return Result(
        **answers.identity(evaluation),
        parameters=evaluation.parameters,
        size_bytes=evaluation.size_bytes,
        scored=evaluation.scored,
        seeds=table.seeds,
        n_clips=len(table.clips),
        n_clips_published=evaluation.corpus.n_clips,
        n_speakers=len(set(table.speakers)),
        uar=table.uar,
        uar_fold_mean=table.uar_fold_mean,
        uar_answered=uar_answered,
        accuracy=table.score(table.terms, metrics.accuracy_of),
        macro_f1=table.score(table.terms, metrics.macro_f1_of),
        ece=table.ece,
        nll=table.scored(metrics.nll_terms, metrics.mean_of),
        brier=table.scored(metrics.brier_terms, metrics.mean_of),
        accuracy_at_coverage={str(percent): table.accuracy_at(percent / 100) for percent in COVERAGES},
        abstained=dict(Counter(answer.abstained for answer in evaluation.answers if answer.abstained)),
        per_class={label: per_class[label] for label in evaluation.labels if label in per_class},
        per_actor=table.groups(lambda clip: clip.speaker),
        per_sex=table.groups(lambda clip: clip.sex),
        per_intensity=table.groups(lambda clip: clip.intensity),
        per_fold=dict(sorted(per_fold.items(), key=lambda item: int(item[0]))),
        sexes=dict(sorted({clip.speaker: clip.sex for clip in table.clips}.items())),
        labels=evaluation.labels,
        confusion=tuple(map(tuple, table.confusion.tolist())),
        reliability=table.reliability,
        recipes_tried=evaluation.recipes_tried,
        command=command,
        commit=evaluation.commit,
        aurc=table.aurc,
        sets=table.sets,
        uar_among_spoken=table.uar_among_spoken,
    )


def read_result(path: str | os.PathLike[str]) -> Result:
    """The Result in a file; ConfigError if it is none, or none of today's splits."""
    return answers.read_measurement(Result, path, _check)


def read_results(folder: str | os.PathLike[str]) -> list[Result]:
    """Every result in a folder, by file name."""
    return [read_result(path) for path in sorted(Path(folder).glob("*.json"))]


def _check(result: Result) -> None:
    """Raise ValueError for numbers that contradict each other."""
    confusion = np.array(result.confusion)
    spoken, hits = confusion.sum(axis=1), np.diagonal(confusion)
    uar = float(np.mean(hits[spoken > 0] / spoken[spoken > 0]))
    split, n_answers = result.split, result.n_clips * len(result.seeds)
    rules = {
        "seeds must be different numbers": len(set(result.seeds)) == len(result.seeds) > 0,
        "intervals must be ordered": sorted(result.uar.ci95 or ()) == list(result.uar.ci95 or ()),
        "there must be as many actors as n_speakers": len(result.per_actor) == result.n_speakers,
        "the confusion matrix must hold n_clips a seed": confusion.sum() == n_answers,
        "uar must be that of the confusion matrix": abs(uar - result.uar.mean) < 1e-3,
        "its corpus must be the protocol's": result.corpus == split.corpus,
        "leaky must be the protocol's": result.leaky == split.leaky,
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise ValueError("; ".join(broken))


def _to_json(data: Mapping[str, Any]) -> str:
    """One line per field and per member of a group, so that differences can be read."""

    def line(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def field(value: Any) -> str:
        if isinstance(value, dict) and any(isinstance(member, dict) for member in value.values()):
            members = ",\n".join(f"  {line(key)}: {line(member)}" for key, member in value.items())
            return f"{{\n{members}\n }}"
        if isinstance(value, tuple) and value and isinstance(value[0], tuple | dict):
            return "[\n" + ",\n".join(f"  {line(row)}" for row in value) + "\n ]"
        return line(value)

    return "{\n" + ",\n".join(f" {line(key)}: {field(value)}" for key, value in data.items()) + "\n}\n"
