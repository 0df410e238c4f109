"""One table of answers. In: the answers of an evaluation. Out: its scores, each with its interval and its support.

Results, robustness and enrolment all compute from this table. Scores are fractions. Over several seeds a score is the
mean over trainings, `sd` their standard deviation (n - 1). `ci95` is the percentile interval of 10 000 bootstrap draws
of speakers; the interval of the ECE leans upwards, because a draw repeats clips and so makes its bins noisier. An
abstention is an error, except in `uar_answered`, which leaves it out, and in what needs probabilities (`ece`, `nll`,
`brier`, `reliability`, `accuracy_at`, `aurc`, `sets`), which uses the clips that have some. `uar_among` does not care
whether an answer was "not sure"; a clip without probabilities is an error there, too.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.evaluation import metrics
from speech_emotion.evaluation.metrics import (
    ABSTAINED,
    Bin,
    BoolArray,
    FloatArray,
    IntArray,
    Interval,
    PairedDifference,
)
from speech_emotion.evaluation.score import Answer, Evaluation
from speech_emotion.evaluation.splits import OWN, SPANNING, Protocol, recorded, undivided
from speech_emotion.files import write_atomically
from speech_emotion.labels import EMOTIONS

DECIMALS: Final = 4

ValueOf = Callable[[FloatArray], FloatArray]  # sums of terms (..., m) → scores (...)


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its deviation over seeds and its interval. `str(score)` in percent: `62.3 ± 0.8 [58.1, 66.4]`."""

    mean: float
    sd: float | None  # None for one seed
    ci95: Interval | None  # None for one speaker

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
    """How often the emotion sets hold the spoken emotion, and how many emotions they hold."""

    coverage: Score
    size: Score  # a number of emotions
    per_class: Mapping[str, Group]  # coverage
    per_actor: Mapping[str, Group]  # coverage
    size_per_class: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured: the first fields of every file of results."""

    corpus: str
    protocol: str
    leaky: bool
    split_hash: str
    model: str

    @property
    def stem(self) -> str:
        """The name of its files without the suffix."""
        return f"{self.corpus}-{self.protocol}-{self.model}"

    @property
    def split(self) -> Protocol:
        """The protocol with its folds (without, of a corpus of one's own). `str(split)` is how its name is printed."""
        if self.protocol in OWN:
            return Protocol(self.protocol, self.corpus, (), recorded_hash=self.split_hash)
        if self.protocol in SPANNING:
            return undivided(self.corpus, self.protocol)
        return recorded(self.protocol)

    def write_json(self, folder: str | os.PathLike[str]) -> Path:
        """Write `<corpus>-<protocol>-<model>.json` into `folder`."""
        path = Path(folder) / f"{self.stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(path, f"{text}\n".encode())
        return path


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """The answers as arrays: n clips in one order, answered once per seed, k emotions."""

    labels: tuple[str, ...]  # (k,)
    seeds: tuple[int, ...]
    clips: tuple[Answer, ...]  # (n,), the answers of the first seed
    y_pred: IntArray  # (n, n_seeds), ABSTAINED where there is no answer
    probabilities: FloatArray  # (n, n_seeds, k)
    has_probabilities: BoolArray  # (n, n_seeds)
    in_set: BoolArray  # (n, n_seeds, k), whether the emotion is in the answer's set

    @classmethod
    def of(cls, answers: Sequence[Answer], labels: tuple[str, ...] = EMOTIONS) -> "AnswerTable":
        """Answers in any order, their probabilities in that of `labels`.

        Raises:
            CorpusError: Not every seed answered the same clips.
        """
        ordered = sorted(answers, key=lambda one: (one.seed, one.fold, one.file))
        by_seed = [tuple(part) for _, part in groupby(ordered, lambda one: one.seed)]
        clips = [[(one.file, one.label, one.speaker) for one in part] for part in by_seed]
        if not answers or any(part != clips[0] for part in clips):
            raise CorpusError("Every seed must answer the same clips, and at least one. Score them again.")

        def array(value_of: Callable[[Answer], object]) -> npt.NDArray[Any]:
            return np.array([[value_of(one) for one in part] for part in by_seed]).swapaxes(0, 1)

        numbers = {label: number for number, label in enumerate(labels)} | {"": ABSTAINED}
        return cls(
            labels=labels,
            seeds=tuple(part[0].seed for part in by_seed),
            clips=by_seed[0],
            y_pred=array(lambda one: numbers[one.answer]),
            probabilities=array(lambda one: one.probabilities or (0.0,) * len(labels)),
            has_probabilities=array(lambda one: bool(one.probabilities)),
            in_set=array(lambda one: [label in one.emotions for label in labels]),
        )

    @cached_property
    def y_true(self) -> IntArray:
        """(n,): the spoken emotion."""
        return np.array([self.labels.index(clip.label) for clip in self.clips])

    @cached_property
    def speakers(self) -> npt.NDArray[np.str_]:
        """(n,): the speaker of each clip."""
        return np.array([clip.speaker for clip in self.clips])

    @cached_property
    def answered(self) -> BoolArray:
        """(n, n_seeds): whether there is an answer."""
        return np.asarray(self.y_pred != ABSTAINED)

    @cached_property
    def terms(self) -> FloatArray:
        """(n, n_seeds, 3k), see `metrics.answer_terms`."""
        return self._terms_of(self.y_pred)

    def score(self, terms: FloatArray, value_of: ValueOf) -> Score:
        """The score of `terms` (n, n_seeds, m) over all clips."""
        return _score(terms, self.speakers, value_of)

    @property
    def uar(self) -> Score:
        """Unweighted average recall of the pooled clips: every speaker weighs the same."""
        return self.score(self.terms, metrics.uar_of)

    @property
    def uar_fold_mean(self) -> Score:
        """Mean UAR of the folds."""
        folds = np.array([clip.fold for clip in self.clips])
        by_fold = [metrics.uar_of(self.terms[folds == fold].sum(axis=0)) for fold in np.unique(folds)]
        return Score(*_over_seeds(np.mean(by_fold, axis=0)), ci95=None)

    @property
    def uar_answered(self) -> Score | None:
        """UAR without the abstentions; None if one training's models answered nothing."""
        if not self.answered.any(axis=0).all():
            return None
        return self.score(self.terms * self.answered[:, :, None], metrics.uar_of)

    @property
    def uar_among_spoken(self) -> Score | None:
        """UAR of the likeliest of the emotions that the corpus has, "not sure" or not; None if it has all."""
        spoken = {clip.label for clip in self.clips}
        return None if spoken.issuperset(self.labels) else self.uar_among(spoken)

    def uar_among(self, emotions: Collection[str]) -> Score:
        """UAR of the likeliest of `emotions`, "not sure" or not, over the clips that express one of them."""
        allowed = np.isin(self.labels, list(emotions))
        likeliest = np.where(allowed, self.probabilities, -1.0).argmax(axis=2)
        terms = self._terms_of(np.where(self.has_probabilities, likeliest, ABSTAINED))
        members = allowed[self.y_true]
        return _score(terms[members], self.speakers[members], metrics.uar_of)

    @property
    def confusion(self) -> IntArray:
        """(k, k + 1) counts over all seeds, see `metrics.confusion`."""
        return np.asarray(
            sum(metrics.confusion(self.y_true, y_pred, len(self.labels)) for y_pred in self.y_pred.T)
        )

    def groups(self, name_of: Callable[[Answer], object]) -> dict[str, Group]:
        """The UAR of the clips of each name, in ascending order; clips named "" are left out."""
        names = np.array([str(name_of(clip)) for clip in self.clips])
        return {name: self._group(names == name) for name in np.unique(names).tolist() if name}

    @property
    def uar_by_speaker(self) -> dict[str, float]:
        """Speaker → UAR, averaged over seeds, not rounded."""
        return {
            speaker: float(metrics.uar_of(self.terms[self.speakers == speaker].sum(axis=0)).mean())
            for speaker in np.unique(self.speakers).tolist()
        }

    def scored(self, terms_of: Callable[[IntArray, FloatArray], FloatArray], value_of: ValueOf) -> Score:
        """A score of the probabilities, by one of `metrics.ece_terms`, `nll_terms`, `brier_terms`."""
        return self.score(self._spread([terms_of(*part) for part in self._parts()]), value_of)

    @property
    def ece(self) -> Score:
        """Expected calibration error."""
        return self.scored(metrics.ece_terms, metrics.ece_of)

    @property
    def aurc(self) -> Score:
        """Area under the risk-coverage curve."""
        return Score(*_over_seeds(np.array([metrics.aurc(*part) for part in self._parts()])), ci95=None)

    @property
    def reliability(self) -> tuple[Bin, ...]:
        """The bins of confidence over all seeds."""
        y_true, probabilities = (np.concatenate(parts) for parts in zip(*self._parts(), strict=True))
        return tuple(
            Bin(
                rounded(one.low), rounded(one.high), one.count, rounded(one.confidence), rounded(one.accuracy)
            )
            for one in metrics.reliability(y_true, probabilities)
        )

    def accuracy_at(self, coverage: float) -> float:
        """Accuracy of the surest `coverage` of the clips."""
        return rounded(np.mean([metrics.accuracy_at_coverage(*part, coverage) for part in self._parts()]))

    @property
    def sets(self) -> EmotionSets | None:
        """None if no set holds more than the answer: the model has no threshold for sets."""
        if not (self.in_set.sum(axis=2) > 1).any():
            return None
        spoken, some = np.array(self.labels)[self.y_true], self.has_probabilities
        both = zip(some.T, self.in_set.swapaxes(0, 1), strict=True)
        parts = [(self.y_true[has], sets[has]) for has, sets in both]
        covered = self._spread([metrics.set_coverage_terms(*part) for part in parts])
        sizes = self._spread([metrics.set_size_terms(*part) for part in parts])

        def coverage_of(values: npt.NDArray[np.str_], names: Sequence[str]) -> dict[str, Group]:
            found = [name for name in names if name in values[some.all(axis=1)]]
            return {name: self._group(values == name, covered, metrics.mean_of) for name in found}

        per_class = coverage_of(spoken, self.labels)
        mean_sizes = {name: metrics.mean_of(sizes[spoken == name].sum(axis=0)) for name in per_class}
        return EmotionSets(
            coverage=self.score(covered, metrics.mean_of),
            size=self.score(sizes, metrics.mean_of),
            per_class=per_class,
            per_actor=coverage_of(self.speakers, np.unique(self.speakers).tolist()),
            size_per_class={name: _over_seeds(size)[0] for name, size in mean_sizes.items()},
        )

    def _terms_of(self, answers: IntArray) -> FloatArray:
        """Answers (n, n_seeds) → (n, n_seeds, 3k)."""
        k = len(self.labels)
        return np.stack([metrics.answer_terms(self.y_true, column, k) for column in answers.T], axis=1)

    def _group(
        self, members: BoolArray, terms: FloatArray | None = None, value_of: ValueOf = metrics.uar_of
    ) -> Group:
        speakers = self.speakers[members]
        score = _score((self.terms if terms is None else terms)[members], speakers, value_of)
        return Group(score.mean, score.sd, score.ci95, len(speakers), len(set(speakers)))

    def _parts(self) -> list[tuple[IntArray, FloatArray]]:
        """For each seed the clips with probabilities: spoken emotions and probabilities."""
        return [
            (self.y_true[some], self.probabilities[some, seed])
            for seed, some in enumerate(self.has_probabilities.T)
        ]

    def _spread(self, parts: Sequence[FloatArray]) -> FloatArray:
        """The terms of the clips with probabilities, for each seed → (n, n_seeds, m); the others add nothing."""
        terms = np.zeros((len(self.clips), len(self.seeds), parts[0].shape[1]))
        for seed, part in enumerate(parts):
            terms[self.has_probabilities[:, seed], seed] = part
        return terms


def difference(table: AnswerTable, reference: AnswerTable) -> PairedDifference:
    """The speakers' own UAR in `table` minus their own in `reference`."""
    found = metrics.paired_difference(table.uar_by_speaker, reference.uar_by_speaker)
    low, high = map(rounded, found.interval)
    return replace(found, mean=rounded(found.mean), interval=(low, high))


def identity(evaluation: Evaluation) -> dict[str, Any]:
    """The fields of a Measurement."""
    split = evaluation.protocol
    named = {"corpus": evaluation.corpus.name, "protocol": split.name, "model": evaluation.model}
    return named | {"leaky": split.leaky, "split_hash": split.split_hash}


T = TypeVar("T", bound=Measurement)


def read_measurement(kind: type[T], path: str | os.PathLike[str], check: Callable[[T], None]) -> T:
    """The `kind` in a file; ConfigError if it is none, none of today's splits, or `check` raises ValueError."""
    try:
        found: T = _decoded(kind, json.loads(Path(path).read_text(encoding="utf-8")))
        if found.split_hash != found.split.split_hash:
            raise ValueError("its split must be today's")
        check(found)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name another file.") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(f"{path}: not a result file of this version: {error}. Measure it again.") from error
    return found


def _decoded(kind: Any, data: Any) -> Any:
    """The value of type `kind`, made of dataclasses, tuples and mappings, whose JSON is `data`."""
    arguments = get_args(kind)
    if type(None) in arguments:
        return None if data is None else _decoded(arguments[0], data)
    if get_origin(kind) is tuple:
        return tuple(_decoded(arguments[0], value) for value in data)
    if get_origin(kind) is Mapping:
        return {key: _decoded(arguments[1], value) for key, value in data.items()}
    if not hasattr(kind, "__dataclass_fields__"):
        return data
    types = _types(kind)
    if differing := types.keys() ^ set(data):
        raise ValueError(f"its fields differ in {', '.join(sorted(differing))}")
    return kind(**{name: _decoded(types[name], value) for name, value in data.items()})


_types = cache(get_type_hints)


def support(n_clips: int, n_speakers: int, n_seeds: int, n_published: int = 0) -> str:
    """What numbers were measured on: `192 of 1440 clips, 24 speakers, 3 seeds`."""
    of = f" of {n_published}" if n_published not in (0, n_clips) else ""
    seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
    return f"{n_clips}{of} clips, {n_speakers} speakers, {seeds}"


def rounded(value: float | np.floating[Any]) -> float:
    """As files of results hold it."""
    return round(float(value), DECIMALS)


def _score(terms: FloatArray, speakers: npt.NDArray[np.str_], value_of: ValueOf) -> Score:
    mean, sd = _over_seeds(value_of(terms.sum(axis=0)))
    if len(set(speakers)) < 2:
        return Score(mean, sd, None)
    low, high = metrics.bootstrap_over_speakers(terms, speakers, value_of)
    return Score(mean, sd, (rounded(low), rounded(high)))


def _over_seeds(values: FloatArray) -> tuple[float, float | None]:
    return rounded(values.mean()), rounded(values.std(ddof=1)) if len(values) > 1 else None
