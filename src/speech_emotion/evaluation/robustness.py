"""How far a score falls in degraded sound. In: exported models and a corpus. Out: a Robustness and its file.

Every held-out clip is degraded in the ways of degrade.py, and each training's model that did not learn from its speaker
answers through the public API. `difference` is the speakers' own UAR under the condition minus their own as recorded:
it is paired, so far sharper than two intervals.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Final

import speech_emotion
from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.classifier import Classifier
from speech_emotion.degrade import CLEAN, CONDITIONS, Condition, noise_conditions
from speech_emotion.evaluation import answers
from speech_emotion.evaluation.answers import AnswerTable, Measurement, Score
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.score import Answer, HeldOutClip, Plan, answer_of
from speech_emotion.parallel import Progress, in_parallel

FOLDER: Final = "robustness"  # in the folder of results, whose own .json files are results
N_MODELS: Final = 16  # kept loaded in a process


@dataclass(frozen=True, slots=True)
class Outcome:
    """How well the models do under one condition."""

    title: str
    n_clips: int
    uar: Score
    difference: PairedDifference | None  # to clean; None for clean itself
    uar_answered: float | None  # without the abstentions; None if a training's models answered nothing
    abstained: float  # share of the answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness(Measurement):
    """What a file of results/robustness holds, in its order."""

    seeds: tuple[int, ...]
    n_speakers: int
    n_emotions: int
    noise: str | None  # name of the folder of recorded noise
    command: str
    commit: str | None
    conditions: Mapping[str, Outcome]  # by the condition's name; clean comes first

    @property
    def support(self) -> str:
        """What the numbers were measured on: `1440 clips, 24 speakers, 3 seeds`."""
        return answers.support(self.conditions[CLEAN.name].n_clips, self.n_speakers, len(self.seeds))

    def write(self, results: str | os.PathLike[str]) -> Path:
        """Write the file into `robustness/` of the folder of results."""
        return self.write_json(Path(results) / FOLDER)


def measure(
    plan: Plan,
    *,
    command: str,
    noise: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Robustness:
    """Score the models of `plan` under every condition. Each clip is degraded once for all seeds.

    Args:
        plan: What `score.make_plan` found.
        command: What makes this measurement again.
        noise: A folder of recordings to add as noise; CorpusError if it holds none.
        workers: Processes, by default one per core.
        progress: Called with the clips done and the clips in all.
    """
    conditions = (*CONDITIONS, *(noise_conditions(noise) if noise else ()))
    tasks = [_Task(plan.folder, of_clip, conditions, plan.facts.labels) for of_clip in _by_clip(plan.clips)]
    found: dict[str, list[Answer]] = {condition.name: [] for condition in conditions}
    for n_done, of_clip in enumerate(in_parallel(_answer, tasks, workers), start=1):
        for name, rows in of_clip.items():
            found[name] += rows
        if progress:
            progress(n_done, len(tasks))
    tables = {name: AnswerTable.of(rows, plan.facts.labels) for name, rows in found.items()}
    clips = tables[CLEAN.name].clips
    return Robustness(
        **answers.identity(plan.facts),
        seeds=tables[CLEAN.name].seeds,
        n_speakers=len({clip.speaker for clip in clips}),
        n_emotions=len({clip.label for clip in clips}),
        noise=Path(noise).name if noise else None,
        command=command,
        commit=plan.facts.commit,
        conditions={
            condition.name: outcome(condition.title, tables[condition.name], tables[CLEAN.name])
            for condition in conditions
        },
    )


def outcome(title: str, found: AnswerTable, clean: AnswerTable) -> Outcome:
    """What the answers under one condition amount to, beside those in clean sound."""
    answered = found.uar_answered
    return Outcome(
        title=title,
        n_clips=len(found.clips),
        uar=found.uar,
        difference=None if found is clean else answers.difference(found, clean),
        uar_answered=answered.mean if answered else None,
        abstained=answers.rounded(1 - found.answered.mean()),
    )


def read_robustness(path: str | os.PathLike[str]) -> Robustness:
    """The Robustness in a file; ConfigError if it is none, or none of today's splits."""
    return answers.read_measurement(Robustness, path, _check)


def _check(found: Robustness) -> None:
    if next(iter(found.conditions), None) != CLEAN.name:
        raise ValueError("the first condition must be clean")


@dataclass(frozen=True, slots=True)
class _Task:
    folder: Path
    held_out: tuple[HeldOutClip, ...]  # one clip, once per seed
    conditions: tuple[Condition, ...]
    labels: tuple[str, ...]


def _by_clip(clips: Sequence[HeldOutClip]) -> list[tuple[HeldOutClip, ...]]:
    """The models of each clip together, and the clips of one fold one after another."""
    ordered = sorted(clips, key=lambda one: (one.fold, one.clip.path, one.seed))
    return [tuple(group) for _, group in groupby(ordered, lambda one: (one.fold, one.clip.path))]


def _answer(task: _Task) -> dict[str, list[Answer]]:
    """Condition → the answer of each seed's model to the clip."""
    clip = task.held_out[0].clip
    samples = load(task.folder / clip.path).samples
    found = {}
    for condition in task.conditions:
        degraded = condition.apply(samples, clip.name)
        found[condition.name] = [
            answer_of(one, _classifier(one.model).predict(degraded, sample_rate=SAMPLE_RATE), task.labels)
            for one in task.held_out
        ]
    return found


@lru_cache(maxsize=N_MODELS)
def _classifier(model: Path) -> Classifier:
    return speech_emotion.load(model)
