"""What a speaker profile gains. In: exported models that can enrol and a corpus. Out: an Enrolled and its file.

Every tested speaker enrols with recordings of their own, without their labels, and each training's model answers all
their clips through the public API: without a profile, and with profiles of a minute, of 20 s, and of neutral and calm
speech alone. A profile of other speakers of the corpus shows what of it is the place and not the voice. These scores
use sound of the test speakers, so they stand in files of their own.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

import speech_emotion
from speech_emotion.audio import SAMPLE_RATE, FloatArray, load
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioTooShortError
from speech_emotion.evaluation import answers, metrics
from speech_emotion.evaluation.answers import AnswerTable, Measurement, Score
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.score import Answer, HeldOutClip, Plan, answer_of
from speech_emotion.parallel import in_parallel, processes_for
from speech_emotion.profile import SpeakerProfile

FOLDER: Final = "enrolled"  # in the folder of results, whose own .json files are results
MIN_CLIPS: Final = 200  # of a process

Progress = Callable[[int, int], None]  # clips answered in every way so far, clips in all


@dataclass(frozen=True, slots=True)
class Way:
    """How a speaker enrols: with so many seconds of clips in a random order, of these emotions (empty: of all)."""

    name: str
    title: str
    seconds: float
    labels: tuple[str, ...] = ()
    of_others: bool = False  # with clips of the other speakers on whom the same model is tested


PLAIN: Final = Way("plain", "without a profile", 0.0)
WAYS: Final = (
    PLAIN,
    Way("60s", "up to 60 s of any speech", 60.0),
    Way("20s", "up to 20 s of any speech", 20.0),
    Way("neutral", "up to 60 s of neutral and calm speech", 60.0, ("neutral", "calm")),
    Way("place", "5 min of other people of the corpus", 300.0, of_others=True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How well the models do after one way of enrolling."""

    title: str
    n_profiles: int  # over all seeds; speakers with too little speech answer without one
    uar: Score
    uar_among_spoken: Score | None  # see AnswerTable
    accuracy: Score
    ece: Score
    difference: PairedDifference | None  # to the speakers' own UAR without a profile; None for that itself
    n_unheard: int  # answers to clips that the speaker's profile was not made of
    uar_unheard: float | None  # over those; None if there are none
    plain_unheard: float | None  # over the same, without a profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled(Measurement):
    """What a file of results/enrolled holds, in its order."""

    seeds: tuple[int, ...]
    n_clips: int
    n_speakers: int
    uses: str
    command: str
    commit: str | None
    ways: Mapping[str, Outcome]

    @property
    def support(self) -> str:
        """What the numbers were measured on: `1440 clips, 24 speakers, 3 seeds`."""
        return answers.support(self.n_clips, self.n_speakers, len(self.seeds))

    def write(self, results: str | os.PathLike[str]) -> Path:
        """Write the file into `enrolled/` of the folder of results."""
        return self.write_json(Path(results) / FOLDER)

    def lines(self) -> Iterator[str]:
        """For a terminal: one line per way of enrolling, in percent."""
        for outcome in self.ways.values():
            change = ""
            if found := outcome.difference:
                low, high = (100 * bound for bound in found.interval)
                change = f", change {100 * found.mean:+.1f} [{low:+.1f}, {high:+.1f}] per speaker"
            yield f"{outcome.title}: UAR {outcome.uar}, ECE {outcome.ece}{change}"


@dataclass
class _Found:
    """What one way of enrolling gave."""

    answers: list[Answer] = field(default_factory=list)
    enrolled: set[tuple[int, str]] = field(default_factory=set)  # (seed, file) of clips in profiles
    n_profiles: int = 0


class _Task(NamedTuple):
    """What one model answers of one speaker: all clips of theirs, and those of the others that it is tested on."""

    own: list[HeldOutClip]
    others: list[HeldOutClip]


def measure(plan: Plan, *, command: str, progress: Progress | None = None) -> Enrolled:
    """Score the models of `plan` after every way of enrolling. ModelError for a model that cannot enrol."""
    tasks = _by_speaker(plan.clips)
    measured: dict[int, list[_Found]] = {}
    n_done = 0
    function = partial(_measure_speaker, plan.folder, plan.facts.labels)
    for number, ways in in_parallel(function, enumerate(tasks), processes_for(len(plan.clips), MIN_CLIPS)):
        measured[number] = ways
        n_done += len(tasks[number].own)
        if progress:
            progress(n_done, len(plan.clips))
    columns = zip(*(measured[number] for number in range(len(tasks))), strict=True)
    found = {way: _joined(of_speakers) for way, of_speakers in zip(WAYS, columns, strict=True)}
    plain = AnswerTable.of(found[PLAIN].answers, plan.facts.labels)
    return Enrolled(
        **answers.identity(plan.facts),
        seeds=plain.seeds,
        n_clips=len(plain.clips),
        n_speakers=len(set(plain.speakers)),
        uses="unlabelled sound of the tested speakers: not comparable with scores that use none",
        command=command,
        commit=plan.facts.commit,
        ways={
            way.name: _outcome(way, so_far, plain)
            for way, so_far in found.items()
            if way is PLAIN or so_far.n_profiles
        },
    )


def _by_speaker(clips: Sequence[HeldOutClip]) -> list[_Task]:
    ordered = sorted(clips, key=lambda one: (one.seed, one.fold, one.clip.speaker, one.clip.path))
    tasks = []
    for (model, speaker), own in groupby(ordered, lambda one: (one.model, one.clip.speaker)):
        others = [one for one in clips if one.model == model and one.clip.speaker != speaker]
        tasks.append(_Task(list(own), others))
    return tasks


def _measure_speaker(
    folder: Path, labels: tuple[str, ...], numbered: tuple[int, _Task]
) -> tuple[int, list[_Found]]:
    """The number of a task, and what every one of `WAYS` gave."""
    number, task = numbered
    classifier, speaker = speech_emotion.load(task.own[0].model), task.own[0].clip.speaker
    sounds = _Sounds(folder)
    ways = []
    for way in WAYS:
        chosen = _chosen(way, speaker, task.others if way.of_others else task.own, sounds)
        profile = _enrol(classifier, [sounds(one) for one in chosen]) if chosen else None
        found = _Found(n_profiles=int(profile is not None))
        if profile and not way.of_others:
            found.enrolled |= {(one.seed, one.clip.path) for one in chosen}
        for one in task.own:
            prediction = classifier.predict(sounds(one), sample_rate=SAMPLE_RATE, profile=profile)
            found.answers.append(answer_of(one, prediction, labels))
        ways.append(found)
    return number, ways


def _joined(of_speakers: Iterable[_Found]) -> _Found:
    joined = _Found()
    for found in of_speakers:
        joined.answers += found.answers
        joined.enrolled |= found.enrolled
        joined.n_profiles += found.n_profiles
    return joined


class _Sounds:
    """The sounds of clips in `folder`, each decoded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sounds: dict[str, FloatArray] = {}

    def __call__(self, one: HeldOutClip) -> FloatArray:
        path = one.clip.path
        if path not in self._sounds:
            self._sounds[path] = load(self._folder / path).samples
        return self._sounds[path]


def _chosen(way: Way, speaker: str, clips: Sequence[HeldOutClip], sounds: _Sounds) -> list[HeldOutClip]:
    """The clips that `speaker` enrols with: the same for every seed of the training."""
    rng = np.random.default_rng([*way.name.encode(), *speaker.encode()])
    chosen: list[HeldOutClip] = []
    seconds = 0.0
    for index in rng.permutation(len(clips)).tolist():
        if seconds >= way.seconds:
            break
        if not way.labels or clips[index].clip.label in way.labels:
            chosen.append(clips[index])
            seconds += len(sounds(clips[index])) / SAMPLE_RATE
    return chosen


def _enrol(classifier: Classifier, sounds: Sequence[FloatArray]) -> SpeakerProfile | None:
    try:
        return classifier.enrol(*sounds, sample_rate=SAMPLE_RATE)
    except AudioTooShortError:
        return None


def _outcome(way: Way, found: _Found, plain: AnswerTable) -> Outcome:
    table = AnswerTable.of(found.answers, plain.labels)
    other_clips = np.array(
        [[(seed, clip.file) not in found.enrolled for seed in table.seeds] for clip in table.clips]
    )
    return Outcome(
        title=way.title,
        n_profiles=found.n_profiles,
        uar=table.uar,
        uar_among_spoken=table.uar_among_spoken,
        accuracy=table.score(table.terms, metrics.accuracy_of),
        ece=table.ece,
        difference=None if way is PLAIN else answers.difference(table, plain),
        n_unheard=int(other_clips.sum()),
        uar_unheard=_uar_over(table, other_clips),
        plain_unheard=_uar_over(plain, other_clips),
    )


def _uar_over(table: AnswerTable, some: metrics.BoolArray) -> float | None:
    """UAR over the answers `some` (n, n_seeds), all seeds together."""
    return answers.rounded(float(metrics.uar_of(table.terms[some].sum(axis=0)))) if some.any() else None


def read_enrolled(path: str | os.PathLike[str]) -> Enrolled:
    """The Enrolled in a file; ConfigError if it is none, or none of today's splits."""
    return answers.read_measurement(Enrolled, path, lambda _: None)
