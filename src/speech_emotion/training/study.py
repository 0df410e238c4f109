"""A search for a recipe. In: a study file, a prepared dataset, a protocol. Out: every trial, and the best recipe.

    OUT/study.json          every trial: settings, validation UAR and loss of each fold, state, seconds
    OUT/study.csv           the same as a table
    OUT/study.md, .png      the same for people (study_views.py)
    OUT/best.toml           the best recipe, ready for `train`
    OUT/trials/000/…        the logs of each training

A trial is a recipe, trained on each fold of the protocol and scored on that fold's validation speakers, after its
last epoch. Nobody who is tested in a fold is learned from or scored in it. Trial 0 is the base recipe as it is; the
others are proposed by TPE (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"). study.json is all
that is known: a proposal follows from the trials in it, so a search that was killed goes on as if it had not been.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from speech_emotion.corpora.prepare import PreparedDataset
from speech_emotion.errors import ConfigError, SpeechEmotionError
from speech_emotion.evaluation.splits import Fold, Protocol, require_emotions
from speech_emotion.files import locked, write_atomically
from speech_emotion.training import runs, study_views
from speech_emotion.training.config import TrainConfig, read_toml
from speech_emotion.training.data.frames import FrameCache
from speech_emotion.training.fit.linear_probe import AugmentedEmbeddings
from speech_emotion.training.fit.loop import derive
from speech_emotion.training.fit.train import Banks, Epoch, Sides, fit

NOISE: Final = 2.0  # points of validation UAR; docs/searching.md says where this comes from
FEWEST_TO_PRUNE_BY: Final = 3  # complete trials
FEWEST_FOLDS: Final = 2  # before a trial may be pruned
ATTEMPTS: Final = 50  # proposals that were tried before, until the space counts as exhausted
NOT_FOR_SEARCH: Final = ("name", "corpus", "recipes_tried", "fit.seed", "window.min_seconds")
RUNNING, COMPLETE, PRUNED, FAILED = "running", "complete", "pruned", "failed"

OnEpoch = Callable[[str, Epoch], None]


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    @property
    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(range(len(self.values)))  # by place: a value may be a list

    def encode(self, value: Any) -> Any:
        """What TPE knows a value as."""
        return self.values.index(value)

    def decode(self, proposed: Any) -> Any:
        """What TPE's proposal means."""
        return self.values[proposed]

    def holds(self, value: Any) -> bool:
        return value in self.values

    def group(self, value: Any) -> str:
        """What a value counts as where trials are compared by it: itself."""
        return study_views.shown(value)

    def place(self, value: Any) -> float:
        """Where a value stands on an axis."""
        return self.values.index(value)

    def axis(self) -> dict[str, Any]:
        """What matplotlib is to know of that axis."""
        labels = [study_views.shown(value) for value in self.values]
        return {"xticks": range(len(labels)), "xticklabels": labels, "xlim": (-0.5, len(labels) - 0.5)}


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `log` spreads the proposals evenly over magnitudes."""

    low: float
    high: float
    log: bool

    @property
    def distribution(self) -> BaseDistribution:
        kind = IntDistribution if isinstance(self.low, int) else FloatDistribution
        return kind(self.low, self.high, log=self.log)  # type: ignore[arg-type]

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, proposed: Any) -> Any:
        """Four significant digits: what a recipe should hold, and as much as differs."""
        if isinstance(self.low, int):
            return proposed
        return min(max(float(f"{proposed:.4g}"), self.low), self.high)

    def holds(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    def group(self, value: Any) -> str:
        """The lower, middle or upper third of the range."""
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        third = min(int(3 * (scale(value) - low) / (high - low)), 2)
        return f"{self._at(third / 3):.3g} to {self._at((third + 1) / 3):.3g}"

    def place(self, value: Any) -> float:
        return float(value)

    def axis(self) -> dict[str, Any]:
        ticks = [self.low, self._at(0.5), self.high]
        labels = [f"{tick:.2g}" for tick in ticks]
        return {"xscale": "log" if self.log else "linear", "xticks": ticks, "xticklabels": labels}

    def _at(self, share: float) -> float:
        """The number that this share of the range lies below."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class Study:
    """What is searched: a base recipe, the settings that vary ("fit.learning_rate" → …), the folds (None: all)."""

    base: TrainConfig
    space: Mapping[str, Choices | Range]
    folds: tuple[int, ...] | None = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a study file; ConfigError where it cannot be read or names what does not exist or cannot be."""
        path = Path(path)
        content = read_toml(path, example="a study such as recipes/studies/cnn.toml")
        _check_keys(content, ("recipe", "folds", "space"), str(path))
        recipe, space, folds = content.get("recipe"), content.get("space"), content.get("folds")
        if not isinstance(recipe, str):
            raise ConfigError(f"{path}: recipe must be the path of a recipe, got {recipe!r}.")
        if not isinstance(space, dict) or not space:
            raise ConfigError(f"{path}: [space] must name at least one setting that varies, got {space!r}.")
        if folds is not None and not (
            isinstance(folds, list) and folds and {type(k) for k in folds} == {int}
        ):
            raise ConfigError(f"{path}: folds must be a list of numbers such as [0, 1, 2], got {folds!r}.")
        base = TrainConfig.load(path.parent / recipe)
        varied = {name: _varied(base, name, entry, f"{path}: {name}") for name, entry in space.items()}
        return cls(base, varied, None if folds is None else tuple(folds))

    def recipe(self, settings: Mapping[str, Any]) -> TrainConfig:
        """The base recipe with `settings` in place of its own; ConfigError where they cannot be together."""
        return _changed(self.base, settings, "trial")

    def base_settings(self) -> dict[str, Any]:
        """What the base recipe itself holds for the settings that vary."""
        return {name: _setting(self.base, name) for name in self.space}


@dataclass(frozen=True)
class FoldScore:
    """After the last epoch, on the validation speakers: UAR in percent, mean negative log-likelihood."""

    fold: int
    uar: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried. `state` is running, complete, pruned or failed; `error` says why it failed."""

    number: int
    settings: Mapping[str, Any]
    state: str = RUNNING
    folds: tuple[FoldScore, ...] = ()
    error: str | None = None
    commit: str | None = None

    @property
    def uar(self) -> float:
        """Mean over the folds that were trained, in percent; NaN without one."""
        return float(np.mean([fold.uar for fold in self.folds])) if self.folds else math.nan

    @property
    def loss(self) -> float:
        return float(np.mean([fold.loss for fold in self.folds])) if self.folds else math.nan

    @property
    def seconds(self) -> float:
        return sum(fold.seconds for fold in self.folds)

    def uar_of(self, n_folds: int) -> float:
        """Mean over the first folds alone."""
        return float(np.mean([fold.uar for fold in self.folds[:n_folds]]))


def search(
    study: Study,
    dataset: PreparedDataset,
    protocol: Protocol,
    out: Path,
    *,
    n_trials: int,
    device: str = "cpu",
    on_epoch: OnEpoch = lambda *_: None,
) -> list[Trial]:
    """Try recipes until `out` holds `n_trials`, or all that there are; one that was stopped goes on.

    Raises ConfigError where the protocol, the folds or the folder do not fit the study, and whatever the base recipe
    raises. Any other recipe that cannot be trained is a failed trial.
    """
    require_emotions(dataset.corpus, dataset.categories)
    if protocol.leaky:
        raise ConfigError(f"{protocol}: validation would reward knowing the voices. Choose another protocol.")
    folds = [t.fold for t in runs.plan(study.base, out, protocol, [0], study.folds) if t.fold]
    with runs.writing(out), locked(out):
        record = _Record(out, _facts(study, dataset, protocol, folds))
        bench = _Bench(dataset, protocol, folds, device, on_epoch)
        while True:
            trials = record.trials
            if complete := [trial for trial in trials if trial.state == COMPLETE]:
                _report(study, trials, best_of(complete), out)
            if (trial := _next(study, trials, n_trials)) is None:
                return trials
            for state in bench.states(study, trial, trials[: trial.number], out):
                record.keep(state)


def _next(study: Study, trials: Sequence[Trial], n_trials: int) -> Trial | None:
    """The trial that was stopped, or a new one; None where the search is at its end."""
    if trials and trials[-1].state == RUNNING:
        return trials[-1]
    settings = propose(study, trials) if len(trials) < n_trials else None
    return None if settings is None else Trial(len(trials), settings, commit=runs.commit())


def propose(study: Study, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Settings that have not been tried: the base recipe's own, then TPE's. None where all seem to have been."""
    if not trials:
        return study.base_settings()
    tried = [trial.settings for trial in trials]
    for attempt in range(ATTEMPTS):
        seed = derive(study.base.fit.seed, f"proposal {len(trials)}.{attempt}") % 2**32
        settings = _ask(study, trials, seed)
        if settings not in tried:
            return settings
    return None


def is_hopeless(trial: Trial, others: Sequence[Trial]) -> bool:
    """Whether `trial` lies more than NOISE below the median of the complete trials, on the folds that it has had.

    Only like is compared with like: folds differ more than recipes do.
    """
    n_folds = len(trial.folds)
    complete = [other.uar_of(n_folds) for other in others if other.state == COMPLETE]
    if n_folds < FEWEST_FOLDS or len(complete) < FEWEST_TO_PRUNE_BY:
        return False
    return bool(trial.uar < float(np.median(complete)) - NOISE)


def best_of(complete: Sequence[Trial]) -> Trial:
    """The highest validation UAR; of equals the lower loss, then the earlier."""
    return min(complete, key=lambda trial: (-trial.uar, trial.loss, trial.number))


def best_recipe(study: Study, trials: Sequence[Trial], best: Trial) -> TrainConfig:
    """The recipe of `best`, knowing how many were tried: those behind the base recipe, and the trials."""
    config = study.recipe(best.settings)
    tried = study.base.recipes_tried - 1 + len(trials)  # the base recipe is a trial as well
    return dataclasses.replace(config, name=f"{study.base.name}-best", recipes_tried=tried)


class _Bench:
    """Trains trials. What is learned from is kept from one trial to the next where the recipes allow it."""

    def __init__(
        self,
        dataset: PreparedDataset,
        protocol: Protocol,
        folds: Sequence[Fold],
        device: str,
        on_epoch: OnEpoch,
    ) -> None:
        self.dataset, self.protocol = dataset, protocol
        self.folds = [(fold.index, self._sides(fold)) for fold in folds]
        self.device, self.on_epoch = device, on_epoch
        self._bank: tuple[Any, FrameCache | AugmentedEmbeddings | Banks] | None = None

    def states(self, study: Study, trial: Trial, others: Sequence[Trial], out: Path) -> Iterator[Trial]:
        """The trial as it stands: now, and after each fold that it still lacks."""
        yield trial
        try:
            config = study.recipe(trial.settings)
            for fold, sides in self.folds[len(trial.folds) :]:
                folder = out / "trials" / f"{trial.number:03d}" / f"fold-{fold}"
                scored = self._train(config, sides, folder, f"trial {trial.number}, fold {fold}")
                trial = dataclasses.replace(trial, folds=(*trial.folds, FoldScore(fold, *scored)))
                if len(trial.folds) == len(self.folds):
                    trial = dataclasses.replace(trial, state=COMPLETE)
                elif is_hopeless(trial, others):
                    trial = dataclasses.replace(trial, state=PRUNED)
                yield trial
                for path in folder.rglob("checkpoint*"):  # the score is kept: nobody goes on from there
                    path.unlink()
                if trial.state == PRUNED:
                    return
        except (SpeechEmotionError, torch.OutOfMemoryError) as error:
            if trial.number == 0:  # nothing to compare with
                raise
            yield dataclasses.replace(trial, state=FAILED, error=str(error))

    def _train(
        self, config: TrainConfig, sides: Sides, folder: Path, name: str
    ) -> tuple[float, float, float]:
        """Validation UAR and loss after the last epoch, and seconds."""
        fit(
            config,
            self.dataset,
            self._material(config),
            sides,
            folder,
            device=self.device,
            on_epoch=lambda epoch: self.on_epoch(name, epoch),
        )
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        last = log[-1]  # never the best one: that would reward luck
        return last["validation_uar"], last["validation_loss"], runs.seconds_of(folder)

    def _sides(self, fold: Fold) -> Sides:
        """Who is learned from and who is scored; the fold's test speakers are neither."""
        train, validation = (
            self.protocol.indices(self.dataset.clips, members) for members in (fold.train, fold.validation)
        )
        if len(train) < 2 or not len(validation):
            raise ConfigError(
                f"{self.dataset.folder}: holds too few clips of the speakers that fold {fold.index} of "
                f"{self.protocol.name} learns from and validates on. Complete the corpus, or choose other folds."
            )
        return Sides(train, validation)

    def _material(self, config: TrainConfig) -> FrameCache | AugmentedEmbeddings | Banks:
        key = tuple(_heard(part) for part in config.parts)
        if self._bank is None or self._bank[0] != key:
            self._bank = None  # one at a time: a bank takes some hundred MB
            self._bank = key, runs.bank(config, self.dataset)
        return self._bank[1]


class _Record:
    """study.json: read when a search begins, written whole whenever a trial moves on."""

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._path = out / "study.json"
        self._facts = facts
        self.trials = self._read() if self._path.exists() else []

    def keep(self, trial: Trial) -> None:
        self.trials = [*self.trials[: trial.number], trial]
        rows = [dataclasses.asdict(t) | study_views.means(t) for t in self.trials]
        content = {"study": self._facts, "trials": rows}
        write_atomically(self._path, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def _read(self) -> list[Trial]:
        try:
            content = json.loads(self._path.read_bytes())
            known, trials = content["study"], [_trial(row) for row in content["trials"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._path}: not a study of ours ({error!r}). Choose another --out."
            ) from error
        if known != json.loads(json.dumps(self._facts)):
            raise ConfigError(f"{self._path}: of another study, corpus or split. Choose another --out.")
        return trials


def _trial(row: Mapping[str, Any]) -> Trial:
    folds = tuple(FoldScore(**fold) for fold in row["folds"])
    return Trial(row["number"], row["settings"], row["state"], folds, row["error"], row["commit"])


def _heard(config: TrainConfig) -> tuple[Any, ...]:
    """What of a recipe is in the frames, or in the copies, that are kept."""
    augment = config.augment
    frames = (config.frontend, augment.speeds, augment.telephone_probability, augment.room_probability)
    copies = (
        (config.init, config.window, config.network, augment, config.probe) if config.probe.copies else ()
    )
    return (*frames, *copies)


def _facts(
    study: Study, dataset: PreparedDataset, protocol: Protocol, folds: Sequence[Fold]
) -> dict[str, Any]:
    """What must be the same for a search to go on."""
    return {
        "recipe": study.base.to_dict(),
        "space": {name: dataclasses.asdict(varied) for name, varied in study.space.items()},
        "protocol": protocol.name,
        "split_hash": protocol.split_hash,
        "folds": [fold.index for fold in folds],
        "dataset": dataset.key,
    }


def _ask(study: Study, trials: Sequence[Trial], seed: int) -> dict[str, Any]:
    """What TPE would try next. The same trials and the same seed give the same answer."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    distributions = {name: varied.distribution for name, varied in study.space.items()}
    for trial in trials:
        if trial.state in (COMPLETE, PRUNED):
            asked.add_trial(
                create_trial(
                    state=TrialState.COMPLETE if trial.state == COMPLETE else TrialState.PRUNED,
                    value=trial.uar if trial.state == COMPLETE else None,
                    params={name: study.space[name].encode(value) for name, value in trial.settings.items()},
                    distributions=distributions,
                    intermediate_values={len(trial.folds): trial.uar},
                )
            )
    proposed = asked.ask(distributions).params
    return {name: varied.decode(proposed[name]) for name, varied in study.space.items()}


def _report(study: Study, trials: Sequence[Trial], best: Trial, out: Path) -> None:
    config = best_recipe(study, trials, best)
    heading = f"The best of {len(trials)} trials: validation UAR {best.uar:.1f} %, base recipe {trials[0].uar:.1f} %."
    write_atomically(out / "best.toml", study_views.toml(config.to_dict(), heading).encode())
    study_views.write(study, trials, best, out)


def _varied(base: TrainConfig, name: str, entry: Any, where: str) -> Choices | Range:
    """What `entry` of [space] says; ConfigError unless every value in it gives a recipe, and `base` is within it."""
    if name.removeprefix("second.") in NOT_FOR_SEARCH:
        raise ConfigError(
            f"{where}: must stay as the recipe has it: trials are compared on the same clips and the same seed. "
            "Take it out of [space]."
        )
    if not isinstance(entry, dict) or not (entry.keys() == {"choices"} or {"low", "high"} <= entry.keys()):
        raise ConfigError(
            f"{where}: must be {{choices = […]}} or {{low = …, high = …, log = true}}, got {entry!r}."
        )
    _check_keys(entry, ("choices", "low", "high", "log"), where)
    given = entry.get("choices", [entry.get("low"), entry.get("high")])
    if not isinstance(given, list) or len(given) < 2:
        raise ConfigError(f"{where}: choices must be a list of two values or more, got {given!r}.")
    values = [_setting(_changed(base, {name: value}, where), name) for value in given]
    varied = (
        Choices(tuple(values))
        if "choices" in entry
        else _range(values[0], values[1], entry.get("log", False), where)
    )
    if not varied.holds(own := _setting(base, name)):
        raise ConfigError(
            f"{where}: the recipe's own value, {own}, must be among what may vary: it is trial 0. Add it."
        )
    return varied


def _range(low: Any, high: Any, log: Any, where: str) -> Range:
    if isinstance(low, str | list):
        raise ConfigError(f"{where}: is not a number: give {{choices = […]}} instead of low and high.")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}: log must be true or false, got {log!r}.")
    if not low < high:
        raise ConfigError(f"{where}: an empty range: low must be below high, got {low} and {high}.")
    if log and low <= 0:
        raise ConfigError(f"{where}: with log = true, low must be above 0, got {low}. Leave log out.")
    return Range(low, high, log)


def _changed(base: TrainConfig, settings: Mapping[str, Any], where: str) -> TrainConfig:
    """The base recipe with `settings` in place of its own; ConfigError where they do not exist or cannot be."""
    recipe = base.to_dict()
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        held = recipe.get(section, {}) if section else recipe
        changed = (held if isinstance(held, dict) else {}) | {key: value}
        recipe = recipe | {section: changed} if section else changed
    return TrainConfig.from_dict(recipe, where=where)


def _setting(config: TrainConfig, name: str) -> Any:
    """What a recipe holds under this name, as JSON has it: a tuple is a list."""
    found: Any = config.to_dict()
    for key in name.split("."):
        found = found[key]
    return list(found) if isinstance(found, tuple) else found


def _check_keys(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Choose from: {', '.join(known)}."
            raise ConfigError(f"{where}: there is no {key!r} in a study. {hint}")
