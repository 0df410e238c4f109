"""What it gains to know the voice. In: exported models that can enrol and a corpus. Out: an Enrolled and its file.

Every tested speaker enrols with recordings of their own, without their labels, and each training's model answers
all their clips through the public API: without a profile, and with profiles of a minute, of 20 s, and of neutral
and calm speech alone. And with one of other people of the corpus: what of it is the place and not the voice. Such
scores use sound of the test speakers, so they stand in files of their own and never in a table with scores of models
that do not. Scores are fractions, as in result.py.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

import speech_emotion
from speech_emotion.audio import SAMPLE_RATE, FloatArray, load
from speech_emotion.classifier import Classifier
from speech_emotion.errors import AudioTooShortError
from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.report.tables import table
from speech_emotion.evaluation.result import Result, Score, summarise
from speech_emotion.evaluation.score import Answer, Evaluation, Trial, answer_of, plan_trials
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS
from speech_emotion.profile import SpeakerProfile

FOLDER: Final = "enrolled"  # in the folder of results, whose own .json files are results
DECIMALS: Final = 4

Progress = Callable[[int, int], None]  # clips answered in every way so far, clips in all


@dataclass(frozen=True, slots=True)
class Way:
    """How a speaker enrols: with so many seconds of clips in a random order, of these emotions (empty: of all).

    of_others: with clips of everybody else whom the same model is tested on.
    """

    name: str
    title: str
    seconds: float
    labels: tuple[str, ...] = ()
    of_others: bool = False


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
    """How well the models do after one way of enrolling.

    difference: the speakers' own UAR minus their own without a profile; None for that itself.
    uar_among_spoken: that of the likeliest of the emotions that the corpus has; None where it has all.
    uar_unheard, plain_unheard: the UAR over the clips that the speaker's profile was not made of, and that of plain
    over the same; None where there are none.
    """

    title: str
    n_profiles: int  # over all seeds; speakers with too little speech answer without one
    uar: Score
    uar_among_spoken: Score | None
    accuracy: Score
    ece: Score
    difference: PairedDifference | None
    n_unheard: int
    uar_unheard: float | None
    plain_unheard: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What a file of results/enrolled holds, in its order."""

    corpus: str
    protocol: str
    leaky: bool
    split_hash: str
    model: str
    seeds: tuple[int, ...]
    n_clips: int
    n_speakers: int
    uses: str
    command: str
    commit: str | None
    ways: Mapping[str, Outcome]

    def write(self, results_folder: str | os.PathLike[str]) -> Path:
        """Write `enrolled/<corpus>-<protocol>-<model>.json` into the folder of results."""
        path = Path(results_folder) / FOLDER / f"{self.corpus}-{self.protocol}-{self.model}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, f"{text}\n".encode())
        return path

    def lines(self) -> Iterator[str]:
        """For a terminal: a line a way, in percent."""
        for outcome in self.ways.values():
            change = ""
            if found := outcome.difference:
                low, high = (100 * bound for bound in found.interval)
                change = f", change {100 * found.mean:+.1f} [{low:+.1f}, {high:+.1f}] a speaker"
            yield f"{outcome.title}: UAR {outcome.uar}, ECE {outcome.ece}{change}"


def measure(
    runs: Sequence[str | os.PathLike[str]],
    corpus: str,
    folder: str | os.PathLike[str],
    protocol_name: str,
    *,
    command: str,
    progress: Progress | None = None,
) -> Enrolled:
    """Score the run folders, as `score_protocol` does, after every way of enrolling.

    Raises what `plan_trials` raises, before a clip is heard, and ModelError for a model that cannot enrol.
    """
    facts, trials = plan_trials(runs, corpus, folder, protocol_name)
    answers: dict[str, list[Answer]] = {way.name: [] for way in WAYS}
    heard: dict[str, set[tuple[int, str]]] = {way.name: set() for way in WAYS}  # (seed, clip) in a profile
    n_profiles = dict.fromkeys(answers, 0)
    for (model, speaker), group in groupby(
        sorted(trials, key=lambda trial: (trial.seed, trial.fold, trial.clip.speaker, trial.clip.path)),
        lambda trial: (trial.model, trial.clip.speaker),
    ):
        own, classifier = list(group), speech_emotion.load(model)
        others = [trial for trial in trials if trial.model == model and trial.clip.speaker != speaker]
        hear = _Ears(Path(folder))
        for way in WAYS:
            chosen = _chosen(way, speaker, others if way.of_others else own, hear)
            profile = _enrol(classifier, [hear(trial) for trial in chosen]) if chosen else None
            n_profiles[way.name] += profile is not None
            if profile and not way.of_others:
                heard[way.name] |= {(trial.seed, trial.clip.path) for trial in chosen}
            for trial in own:
                said = classifier.predict(hear(trial), sample_rate=SAMPLE_RATE, profile=profile)
                answers[way.name].append(answer_of(trial, said))
        if progress:
            progress(len(answers[PLAIN.name]), len(trials))
    return _summarised(facts, answers, heard, n_profiles, command)


class _Ears:
    """The sounds of clips in `folder`, each decoded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sounds: dict[str, FloatArray] = {}

    def __call__(self, trial: Trial) -> FloatArray:
        path = trial.clip.path
        if path not in self._sounds:
            self._sounds[path] = load(self._folder / path).samples
        return self._sounds[path]


def _chosen(
    way: Way, speaker: str, trials: Sequence[Trial], hear: Callable[[Trial], FloatArray]
) -> list[Trial]:
    """Which of `trials` `speaker` enrols with: always the same, whatever the seed of the training."""
    random = np.random.default_rng([*way.name.encode(), *speaker.encode()])
    chosen: list[Trial] = []
    seconds = 0.0
    for index in random.permutation(len(trials)).tolist():
        if seconds >= way.seconds:
            break
        if not way.labels or trials[index].clip.label in way.labels:
            chosen.append(trials[index])
            seconds += len(hear(trials[index])) / SAMPLE_RATE
    return chosen


def _enrol(classifier: Classifier, sounds: Sequence[FloatArray]) -> SpeakerProfile | None:
    try:
        return classifier.enrol(*sounds, sample_rate=SAMPLE_RATE)
    except AudioTooShortError:
        return None


def _summarised(
    facts: Evaluation,
    answers: Mapping[str, Sequence[Answer]],
    heard: Mapping[str, set[tuple[int, str]]],
    n_profiles: Mapping[str, int],
    command: str,
) -> Enrolled:
    results: dict[str, Result] = {}
    ordered: dict[str, list[Answer]] = {}
    for name, rows in answers.items():
        ordered[name] = sorted(rows, key=lambda row: (row.seed, row.fold, row.file))
        results[name] = summarise(replace(facts, answers=tuple(ordered[name])), command=command)
    plain = results[PLAIN.name]
    ways = {}
    for way in WAYS:
        if way is not PLAIN and not n_profiles[way.name]:
            continue  # nobody to enrol with
        result, seen = results[way.name], heard[way.name]
        unheard = [number for number, row in enumerate(ordered[way.name]) if (row.seed, row.file) not in seen]
        ways[way.name] = Outcome(
            title=way.title,
            n_profiles=n_profiles[way.name],
            uar=result.uar,
            uar_among_spoken=result.uar_among_spoken,
            accuracy=result.accuracy,
            ece=result.ece,
            difference=None if way is PLAIN else _difference(result, plain),
            n_unheard=len(unheard),
            uar_unheard=_uar([ordered[way.name][number] for number in unheard]),
            plain_unheard=_uar([ordered[PLAIN.name][number] for number in unheard]),
        )
    return Enrolled(
        corpus=facts.corpus,
        protocol=facts.protocol.name,
        leaky=facts.protocol.leaky,
        split_hash=facts.protocol.split_hash,
        model=facts.model,
        seeds=plain.seeds,
        n_clips=plain.n_clips,
        n_speakers=plain.n_speakers,
        uses="unlabelled sound of the tested speakers: not comparable with scores that use none",
        command=command,
        commit=facts.commit,
        ways=ways,
    )


def _difference(enrolled: Result, plain: Result) -> PairedDifference:
    by_speaker = [
        {name: group.mean for name, group in result.per_actor.items()} for result in (enrolled, plain)
    ]
    found = metrics.paired_difference(*by_speaker)
    low, high = found.interval
    interval = (round(low, DECIMALS), round(high, DECIMALS))
    return replace(found, mean=round(found.mean, DECIMALS), interval=interval)


def _uar(rows: Sequence[Answer]) -> float | None:
    """Over all seeds together."""
    if not rows:
        return None
    numbers = {emotion: number for number, emotion in enumerate(EMOTIONS)} | {"": metrics.ABSTAINED}
    spoken, answered = (
        np.array([numbers[getattr(row, which)] for row in rows]) for which in ("label", "answer")
    )
    return round(metrics.uar(spoken, answered), DECIMALS)


def section(folder: Path) -> str:
    """Markdown of every file in `folder`/enrolled, for the page of results; nothing where there is none."""
    files = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / FOLDER).glob("*.json"))
    ]
    if not files:
        return ""
    lines = ["## Enrolled voices", "", _EXPLANATION, ""]
    for data in files:
        outcomes = list(data["ways"].values())
        among_spoken = (_AMONG_SPOKEN,) if outcomes[0].get("uar_among_spoken") else ()
        company = f"{data['n_clips']} clips, {data['n_speakers']} speakers, seeds {', '.join(map(str, data['seeds']))}"
        lines += [
            f"### {data['corpus']}, {data['protocol']}: {data['model']}, enrolled",
            "",
            *table((*_HEADER, *among_spoken), [_row(outcome) for outcome in outcomes]),
            "",
        ]
        lines += [f"Measured on {company}. Commit {data['commit'] or 'unknown'}.", ""]
        lines += ["```sh", data["command"], "```", ""]
    return "\n".join(lines)


_EXPLANATION: Final = (
    "With a profile of the tested speaker, made of recordings of theirs without labels: a track of its own, **not to "
    "be compared** with the tables above. Percent, and points for the speakers' own UAR with a profile minus without. "
    "Whoever has less speech than a profile is to have is enrolled with all of it, and whoever has less than 10 s "
    "answers without a profile: 'profiles' says how many were made, and these scores are of everybody. "
    "'UAR, other clips' and 'without profile' are over the clips that the speaker's profile was not made of. The "
    "profile of other people, who are tested by the same model, is one of the place: its people, microphones and rooms."
)
_HEADER: Final = (
    "profile",
    "profiles",
    "UAR",
    "ECE",
    "gain by speaker",
    "better, worse for",
    "UAR, other clips",
    "without profile",
)
_AMONG_SPOKEN: Final = "UAR, likeliest of the corpus's own emotions"


def _row(outcome: Mapping[str, Any]) -> tuple[str, ...]:
    others = (
        f"{100 * outcome[name]:.1f}" if outcome[name] else "–" for name in ("uar_unheard", "plain_unheard")
    )
    gain, counts = "–", "–"
    if found := outcome["difference"]:
        mean, low, high = (f"{100 * value:+.1f}" for value in (found["mean"], *found["interval"]))
        gain = f"{mean} [{low}, {high}]"
        counts = f"{found['n_better']}, {found['n_worse']} of {found['n_speakers']}"
    among_spoken = [_score(outcome["uar_among_spoken"])] if outcome.get("uar_among_spoken") else []
    profiles = str(outcome["n_profiles"] or "–")
    row = (outcome["title"], profiles, _score(outcome["uar"]), _score(outcome["ece"]), gain, counts, *others)
    return (*row, *among_spoken)


def _score(data: Mapping[str, Any]) -> str:
    return str(Score(**{**data, "ci95": tuple(data["ci95"])}))
