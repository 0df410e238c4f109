"""A result: every number of an evaluation with its company. In: answers, or a result file. Out: a Result.

Scores are fractions. The headline `uar` pools the held-out clips of all folds, so that every speaker weighs the
same; `uar_fold_mean` is the mean over folds, as some papers give it. With several seeds each is the mean over
trainings, `sd` their standard deviation (n - 1; null for one seed), never the best one. `ci95` is the percentile
interval of 10 000 bootstrap draws of speakers (null for one speaker; that of the ECE leans upwards, because a
draw repeats clips and so makes its bins noisier). An abstention is an error everywhere but in
`uar_answered`, which leaves it out, and in what needs probabilities (`ece`, `nll`, `brier`, `reliability`,
`accuracy_at_coverage`, `aurc`, `sets`, `uar_among_spoken`), which takes the clips that have some: those of which the
model was not sure, too. Models without thresholds give no sets.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from speech_emotion import corpora
from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import ABSTAINED, Bin, BoolArray, FloatArray, IntArray, Interval
from speech_emotion.evaluation.score import Answer, Evaluation
from speech_emotion.evaluation.splits import Protocol, recorded
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS

COVERAGES: Final = tuple(range(100, 0, -5))  # percent
DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Score:
    """A number and its company. `str(score)` in percent: `62.3 ± 0.8 [58.1, 66.4]`."""

    mean: float
    sd: float | None
    ci95: Interval | None

    def __str__(self) -> str:
        seeds = "" if self.sd is None else f" ± {self.sd * 100:.1f}"
        interval = "" if self.ci95 is None else f" [{self.ci95[0] * 100:.1f}, {self.ci95[1] * 100:.1f}]"
        return f"{self.mean * 100:.1f}{seeds}{interval}"


@dataclass(frozen=True, slots=True)
class Group(Score):
    """The UAR of some of the clips (of one emotion it is the recall), or the coverage of their emotion sets."""

    n_clips: int
    n_speakers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionSets:
    """The emotion sets of the answers: how often they hold what was spoken, and how many emotions they hold."""

    coverage: Score
    size: Score  # a number of emotions
    per_class: Mapping[str, Group]  # coverage
    per_actor: Mapping[str, Group]  # coverage
    size_per_class: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a result file holds, in its order."""

    corpus: str
    protocol: str
    leaky: bool
    split_hash: str
    model: str
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
    confusion: tuple[tuple[int, ...], ...]  # over all seeds; spoken × (answered, abstained)
    reliability: tuple[Bin, ...]  # over all seeds
    recipes_tried: int | None
    command: str
    commit: str | None
    aurc: Score | None  # None without probabilities
    sets: EmotionSets | None  # None without a threshold for them
    uar_among_spoken: Score | None  # of a corpus that lacks some emotions: the likeliest of its own

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"{self.corpus}-{self.protocol}-{self.model}"

    @property
    def company(self) -> str:
        """What the numbers were measured on: `1440 clips, 24 speakers, 3 seeds`."""
        published = "" if self.n_clips == self.n_clips_published else f" of {self.n_clips_published}"
        seeds = "1 seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        return f"{self.n_clips}{published} clips, {self.n_speakers} speakers, {seeds}"

    @property
    def not_sure(self) -> float:
        """The share of answers that were "not sure"."""
        return self.abstained.get("not_sure", 0) / (self.n_clips * len(self.seeds))

    @property
    def split(self) -> Protocol:
        """The protocol with its folds. `str(result.split)` is how its name is printed."""
        return recorded(self.protocol)

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write `<corpus>-<protocol>-<model>.json` into `folder`."""
        path = Path(folder) / f"{self.stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _to_json(dataclasses.asdict(self)).encode())
        return path


def summarise(evaluation: Evaluation, *, command: str) -> Result:
    """Every number, from the answers alone. `command` is what makes this result again."""
    answers = _Answers.of(evaluation.answers)
    first = evaluation.answers[: len(answers.y_true)]
    terms, speakers = answers.terms, answers.speakers
    scored = answers.scored_terms

    def groups(value_of: Callable[[Answer], object]) -> dict[str, Group]:
        values = np.array([str(value_of(answer)) for answer in first])
        names = [name for name in dict.fromkeys(values) if name]
        return {name: _group(terms[values == name], speakers[values == name]) for name in names}

    per_class, per_fold = groups(lambda answer: answer.label), groups(lambda answer: answer.fold)
    return Result(
        corpus=evaluation.corpus,
        protocol=evaluation.protocol.name,
        leaky=evaluation.protocol.leaky,
        split_hash=evaluation.protocol.split_hash,
        model=evaluation.model,
        parameters=evaluation.parameters,
        size_bytes=evaluation.size_bytes,
        scored=evaluation.scored,
        seeds=answers.seeds,
        n_clips=len(first),
        n_clips_published=corpora.get(evaluation.corpus).n_clips,
        n_speakers=len(set(speakers)),
        uar=_score(terms, speakers, metrics.uar_of),
        uar_fold_mean=_fold_mean(terms, np.array([answer.fold for answer in first])),
        uar_answered=_score(terms * answers.answered[:, :, None], speakers, metrics.uar_of),
        accuracy=_score(terms, speakers, metrics.accuracy_of),
        macro_f1=_score(terms, speakers, metrics.macro_f1_of),
        ece=_score(scored(metrics.ece_terms), speakers, metrics.ece_of),
        nll=_score(scored(metrics.nll_terms), speakers, metrics.mean_of),
        brier=_score(scored(metrics.brier_terms), speakers, metrics.mean_of),
        accuracy_at_coverage={str(percent): answers.accuracy_at(percent / 100) for percent in COVERAGES},
        abstained=dict(Counter(answer.abstained for answer in evaluation.answers if answer.abstained)),
        per_class={emotion: per_class[emotion] for emotion in EMOTIONS if emotion in per_class},
        per_actor=dict(sorted(groups(lambda answer: answer.speaker).items())),
        per_sex=dict(sorted(groups(lambda answer: answer.sex).items())),
        per_intensity=dict(sorted(groups(lambda answer: answer.intensity).items())),
        per_fold=dict(sorted(per_fold.items(), key=lambda item: int(item[0]))),
        sexes=dict(sorted({answer.speaker: answer.sex for answer in first}.items())),
        confusion=tuple(map(tuple, answers.confusion.tolist())),
        reliability=answers.reliability,
        recipes_tried=evaluation.recipes_tried,
        command=command,
        commit=evaluation.commit,
        aurc=answers.aurc,
        sets=_emotion_sets(answers),
        uar_among_spoken=_score(answers.terms_among_spoken, speakers, metrics.uar_of)
        if len(per_class) < len(EMOTIONS)
        else None,
    )


def _emotion_sets(answers: "_Answers") -> EmotionSets | None:
    """None where no set holds more than the answer: the model has no threshold for sets."""
    if not (answers.sets.sum(axis=2) > 1).any():
        return None
    spoken, speakers = np.array(EMOTIONS)[answers.y_true], answers.speakers
    covered, sizes = answers.set_terms(metrics.set_coverage_terms), answers.set_terms(metrics.set_size_terms)
    scored = answers.has_probabilities.all(axis=1)

    def coverage_of(values: npt.NDArray[np.str_], names: Sequence[str]) -> dict[str, Group]:
        parts = {name: values == name for name in names if name in values[scored]}
        return {name: _group(covered[part], speakers[part], metrics.mean_of) for name, part in parts.items()}

    per_class = coverage_of(spoken, EMOTIONS)
    mean_sizes = {name: metrics.mean_of(sizes[spoken == name].sum(axis=0)) for name in per_class}
    return EmotionSets(
        coverage=_score(covered, speakers, metrics.mean_of),
        size=_score(sizes, speakers, metrics.mean_of),
        per_class=per_class,
        per_actor=coverage_of(speakers, np.unique(speakers).tolist()),
        size_per_class={name: _over_seeds(size)[0] for name, size in mean_sizes.items()},
    )


def read_result(path: str | os.PathLike[str]) -> Result:
    """The Result in a file; ConfigError where it is not one, or not one of today's splits."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        result = _from_dict(data)
        _check(result)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Give a result file.") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(f"{path}: not a result of ours: {error}. {_MAKE_IT}") from error
    return result


def read_results(folder: str | os.PathLike[str]) -> list[Result]:
    """Every result in a folder, by file name."""
    return [read_result(path) for path in sorted(Path(folder).glob("*.json"))]


_MAKE_IT: Final = "Make it again with: speech-emotion evaluate"
_SCORES: Final = ("uar", "uar_fold_mean", "uar_answered", "accuracy", "macro_f1", "ece", "nll", "brier")
_FRACTIONS: Final = ("uar", "uar_fold_mean", "uar_answered", "accuracy", "macro_f1", "ece")
_GROUPS: Final = ("per_class", "per_actor", "per_sex", "per_intensity", "per_fold")
S = TypeVar("S", bound=Score)


def _from_dict(data: Mapping[str, Any]) -> Result:
    _check_fields(data)
    scores = {name: _read_score(Score, data[name]) for name in _SCORES}
    groups = {name: _read_groups(data[name]) for name in _GROUPS}
    others = {
        "seeds": tuple(data["seeds"]),
        "confusion": tuple(map(tuple, data["confusion"])),
        "reliability": tuple(Bin(**entry) for entry in data["reliability"]),
        "aurc": _read_score(Score, data["aurc"]) if data["aurc"] else None,
        "sets": _read_sets(data["sets"]) if data["sets"] else None,
        "uar_among_spoken": _read_score(Score, data["uar_among_spoken"])
        if data["uar_among_spoken"]
        else None,
    }
    return Result(**{**data, **scores, **groups, **others})


def _check_fields(data: Mapping[str, Any]) -> None:
    if differing := {entry.name for entry in dataclasses.fields(Result)} ^ set(data):
        raise ValueError(f"its fields differ in {', '.join(sorted(differing))}")


def _read_score(kind: type[S], data: Mapping[str, Any]) -> S:
    interval = data["ci95"]
    return kind(**{**data, "ci95": interval and tuple(interval)})


def _read_groups(data: Mapping[str, Any]) -> dict[str, Group]:
    return {name: _read_score(Group, value) for name, value in data.items()}


def _read_sets(data: Mapping[str, Any]) -> EmotionSets:
    scores = {name: _read_score(Score, data[name]) for name in ("coverage", "size")}
    groups = {name: _read_groups(data[name]) for name in ("per_class", "per_actor")}
    return EmotionSets(**{**data, **scores, **groups})


def _check(result: Result) -> None:
    """Numbers that contradict each other, or a split that is no longer ours, are not read."""
    confusion = np.array(result.confusion)
    rules = {
        "seeds must be different numbers": len(set(result.seeds)) == len(result.seeds) > 0,
        "scores must lie between 0 and 1": all(0 <= getattr(result, name).mean <= 1 for name in _FRACTIONS),
        "intervals must be ordered": all(_is_ordered(score) for score in _scores(result)),
        "there must be as many actors as n_speakers": len(result.per_actor) == result.n_speakers,
        "the folds must hold n_clips": sum(group.n_clips for group in result.per_fold.values())
        == result.n_clips,
        "the confusion matrix must hold n_clips a seed": confusion.sum()
        == result.n_clips * len(result.seeds),
        "uar must be that of the confusion matrix": abs(_uar_of_confusion(confusion) - result.uar.mean)
        < 1e-3,
        "its split must be today's": result.split_hash == result.split.split_hash,
        "its corpus must be the protocol's": result.corpus == result.split.corpus,
        "leaky must be the protocol's": result.leaky == result.split.leaky,
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise ValueError("; ".join(broken))


def _scores(result: Result) -> list[Score]:
    sets = [result.sets.coverage, result.sets.size] if result.sets else []
    return [*(getattr(result, name) for name in _SCORES), *sets]


def _is_ordered(score: Score) -> bool:
    return score.ci95 is None or score.ci95[0] <= score.ci95[1]


def _uar_of_confusion(confusion: IntArray) -> float:
    spoken = confusion.sum(axis=1)
    return float(np.mean(np.diagonal(confusion)[spoken > 0] / spoken[spoken > 0]))


def _to_json(data: Mapping[str, Any]) -> str:
    """One line a field, and one a member of a group: it can be read, and a difference to it as well."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """The table as arrays: n clips in one order, answered once a seed."""

    seeds: tuple[int, ...]
    speakers: npt.NDArray[np.str_]  # (n,)
    y_true: IntArray  # (n,)
    y_pred: IntArray  # (n, n_seeds), ABSTAINED where there is no answer
    probabilities: FloatArray  # (n, n_seeds, k)
    has_probabilities: BoolArray  # (n, n_seeds)
    sets: BoolArray  # (n, n_seeds, k), whether the emotion is in the answer's set

    @classmethod
    def of(cls, rows: Sequence[Answer]) -> "_Answers":
        """Rows ordered by seed, then in one order of clips."""
        seeds = tuple(dict.fromkeys(row.seed for row in rows))
        n = len(rows) // max(len(seeds), 1)
        by_seed = [rows[start : start + n] for start in range(0, len(rows), max(n, 1))]
        clips = [[(row.file, row.label, row.speaker) for row in part] for part in by_seed]
        if not rows or len(by_seed) != len(seeds) or any(part != clips[0] for part in clips):
            raise CorpusError("Every seed must answer the same clips, and at least one. Score them again.")
        numbers = {emotion: number for number, emotion in enumerate(EMOTIONS)} | {"": ABSTAINED}
        nothing = (0.0,) * len(EMOTIONS)
        if any(not any(row.answer for row in part) for part in by_seed):
            raise CorpusError("A model abstained from every clip: listen to the corpus, then train again.")
        return cls(
            seeds=seeds,
            speakers=np.array([row.speaker for row in by_seed[0]]),
            y_true=np.array([numbers[row.label] for row in by_seed[0]]),
            y_pred=np.array([[numbers[row.answer] for row in part] for part in by_seed]).T,
            probabilities=np.array(
                [[row.probabilities or nothing for row in part] for part in by_seed]
            ).swapaxes(0, 1),
            has_probabilities=np.array([[bool(row.probabilities) for row in part] for part in by_seed]).T,
            sets=np.array([[_membership(row) for row in part] for part in by_seed]).swapaxes(0, 1),
        )

    @property
    def answered(self) -> BoolArray:
        return np.asarray(self.y_pred != ABSTAINED)

    @property
    def terms(self) -> FloatArray:
        """(n, n_seeds, 3k), see `metrics.answer_terms`."""
        return self._terms_of(self.y_pred)

    @property
    def terms_among_spoken(self) -> FloatArray:
        """As `terms`, of the likeliest of the emotions that were spoken at all; sure or not."""
        spoken = np.isin(np.arange(len(EMOTIONS)), self.y_true)
        likeliest = np.where(spoken, self.probabilities, -1.0).argmax(axis=2)
        return self._terms_of(np.where(self.has_probabilities, likeliest, ABSTAINED))

    def _terms_of(self, answers: IntArray) -> FloatArray:
        """Answers (n, n_seeds) → (n, n_seeds, 3k)."""
        columns = [metrics.answer_terms(self.y_true, y_pred, len(EMOTIONS)) for y_pred in answers.T]
        return np.stack(columns, axis=1)

    def scored_terms(self, terms_of: Callable[[IntArray, FloatArray], FloatArray]) -> FloatArray:
        """(n, n_seeds, m): the terms of the clips with probabilities; the others add nothing."""
        return self._spread([terms_of(*self._scored(seed)) for seed in range(len(self.seeds))])

    def set_terms(self, terms_of: Callable[[IntArray, BoolArray], FloatArray]) -> FloatArray:
        """The same of their emotion sets."""
        some = list(enumerate(self.has_probabilities.T))
        return self._spread([terms_of(self.y_true[has], self.sets[has, seed]) for seed, has in some])

    def _spread(self, scored: Sequence[FloatArray]) -> FloatArray:
        """For each seed the terms of its clips with probabilities → (n, n_seeds, m), zeros for the others."""
        terms = np.zeros((len(self.y_true), len(self.seeds), scored[0].shape[1]))
        for seed, some in enumerate(scored):
            terms[self.has_probabilities[:, seed], seed] = some
        return terms

    @property
    def aurc(self) -> Score:
        values = np.array([metrics.aurc(*self._scored(seed)) for seed in range(len(self.seeds))])
        return Score(*_over_seeds(values), ci95=None)

    @property
    def confusion(self) -> IntArray:
        everything = [metrics.confusion(self.y_true, y_pred, len(EMOTIONS)) for y_pred in self.y_pred.T]
        return np.asarray(np.sum(everything, axis=0))

    @property
    def reliability(self) -> tuple[Bin, ...]:
        scored = [self._scored(seed) for seed in range(len(self.seeds))]
        y_true, probabilities = (np.concatenate(parts) for parts in zip(*scored, strict=True))
        return tuple(map(_rounded_bin, metrics.reliability(y_true, probabilities)))

    def accuracy_at(self, coverage: float) -> float:
        scored = (self._scored(seed) for seed in range(len(self.seeds)))
        return _rounded(np.mean([metrics.accuracy_at_coverage(*part, coverage) for part in scored]))

    def _scored(self, seed: int) -> tuple[IntArray, FloatArray]:
        some = self.has_probabilities[:, seed]
        return self.y_true[some], self.probabilities[some, seed]


def _membership(row: Answer) -> list[bool]:
    return [emotion in row.emotions for emotion in EMOTIONS]


def _score(
    terms: FloatArray, speakers: npt.NDArray[np.str_], value_of: Callable[[FloatArray], FloatArray]
) -> Score:
    """terms (n, n_seeds, m) → the mean over seeds, with its company."""
    mean, sd = _over_seeds(value_of(terms.sum(axis=0)))
    if len(set(speakers)) < 2:
        return Score(mean, sd, None)
    low, high = metrics.bootstrap_over_speakers(terms, speakers, value_of)
    return Score(mean, sd, (_rounded(low), _rounded(high)))


def _group(
    terms: FloatArray,
    speakers: npt.NDArray[np.str_],
    value_of: Callable[[FloatArray], FloatArray] = metrics.uar_of,
) -> Group:
    score = _score(terms, speakers, value_of)
    return Group(score.mean, score.sd, score.ci95, n_clips=len(terms), n_speakers=len(set(speakers)))


def _fold_mean(terms: FloatArray, folds: IntArray) -> Score:
    by_fold = [metrics.uar_of(terms[folds == fold].sum(axis=0)) for fold in np.unique(folds)]
    return Score(*_over_seeds(np.mean(by_fold, axis=0)), ci95=None)


def _over_seeds(values: FloatArray) -> tuple[float, float | None]:
    return _rounded(values.mean()), _rounded(values.std(ddof=1)) if len(values) > 1 else None


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), DECIMALS)


def _rounded_bin(entry: Bin) -> Bin:
    low, high, confidence, accuracy = map(_rounded, (entry.low, entry.high, entry.confidence, entry.accuracy))
    return Bin(low, high, entry.count, confidence, accuracy)
