"""A search for a recipe: what may vary, what is tried, what is scored, what survives a kill, and what is written."""

import csv
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from miniature import clips, dataset, halves, recipe, write_corpus
from typer.testing import CliRunner

from speech_emotion.cli import app
from speech_emotion.errors import ConfigError
from speech_emotion.evaluation.splits import protocol
from speech_emotion.training import study, study_views
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.study import Choices, FoldScore, Range, Study, Trial

ROOT = Path(__file__).resolve().parents[2]
TINY = recipe(fit={"epochs": 1})
RATE = {"fit.learning_rate": Range(1e-3, 1e-2, log=True)}
MINIATURE = clips([1, 2, 3, 4], ["calm", "angry"])
EVERYBODY = clips(range(1, 25), ["calm"])


class Killed(BaseException):
    pass


def trial(number: int, uars: Sequence[float], state: str = "complete", **settings: Any) -> Trial:
    folds = tuple(FoldScore(k, uar, 1.0, 2.0) for k, uar in enumerate(uars))
    return Trial(number, settings or {"fit.learning_rate": 1e-3 * (number + 1)}, state, folds)


# The study file


def write(folder: Path, space: str, head: str = "") -> Path:
    (folder / "base.toml").write_text(study_views.toml(TINY.to_dict(), "tiny"))
    path = folder / "study.toml"
    path.write_text(f'recipe = "base.toml"\n{head}\n[space]\n{space}\n')
    return path


def test_a_study_file_names_a_recipe_and_what_varies(tmp_path: Path) -> None:
    space = """
    "fit.learning_rate" = {low = 3e-4, high = 1e-2, log = true}
    "fit.batch_size" = {low = 4, high = 16}
    "network.dropout" = {low = 0, high = 0.5}
    "augment.speeds" = {choices = [[1.0], [0.9, 1]]}
    "augment.mixup_alpha" = {choices = [0, 0.3]}
    """
    found = Study.load(write(tmp_path, space, "folds = [0, 1]"))
    assert (found.base, found.folds) == (TINY, (0, 1))
    assert found.space == {
        "fit.learning_rate": Range(3e-4, 1e-2, log=True),
        "fit.batch_size": Range(4, 16, log=False),
        "network.dropout": Range(0.0, 0.5, log=False),
        "augment.speeds": Choices(([1.0], [0.9, 1.0])),
        "augment.mixup_alpha": Choices((0.0, 0.3)),
    }
    assert found.base_settings() == {
        "fit.learning_rate": 5e-3,
        "fit.batch_size": 8,
        "network.dropout": 0.3,
        "augment.speeds": [0.9, 1.0],
        "augment.mixup_alpha": 0.3,
    }
    assert Study.load(write(tmp_path, space)).folds is None


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ("", r"\[space\] must name at least one setting that varies, got \{\}"),
        ('"fit.learning_rat" = {low = 1, high = 2}', "'learning_rat'. Did you mean learning_rate?"),
        ('"learning_rate" = {low = 1, high = 2}', "no setting 'learning_rate'. Choose from: name"),
        ('"fitt.epochs" = {low = 1, high = 2}', "no setting 'fitt'. Did you mean fit?"),
        ('"init.epochs" = {low = 1, high = 2}', "init: must be str"),
        ('"fit.seed" = {low = 0, high = 9}', "fit.seed: must stay as the recipe has it"),
        ('"window.min_seconds" = {low = 0.3, high = 0.9}', "must stay as the recipe has it.*same clips"),
        ('"fit.epochs" = [1, 2]', r"must be \{choices = \[…\]\} or \{low = ….*got \[1, 2\]"),
        ('"fit.epochs" = {low = 1}', "must be {choices"),
        ('"fit.epochs" = {choices = [1, 2], low = 1}', "must be {choices"),
        ('"fit.epochs" = {low = 1, high = 3, lo = true}', "no 'lo' in a study. Did you mean low?"),
        ('"fit.epochs" = {choices = [1]}', r"a list of two values or more, got \[1\]"),
        ('"fit.epochs" = {choices = 1}', "a list of two values or more, got 1"),
        ('"fit.epochs" = {choices = [1, 0]}', "fit.epochs: fit: epochs ≥ 1"),
        ('"fit.epochs" = {low = 0.5, high = 2}', "epochs: must be int, got 0.5"),
        ('"fit.epochs" = {low = 2, high = 1}', "an empty range: low must be below high, got 2 and 1"),
        ('"fit.epochs" = {low = 1, high = 1}', "an empty range"),
        ('"fit.epochs" = {low = 2, high = 4}', "the recipe's own value, 1, must be among what may vary"),
        ('"fit.learning_rate" = {low = 1e-3, high = 1e-2, log = 1}', "log must be true or false, got 1"),
        ('"network.dropout" = {low = 0.0, high = 0.5, log = true}', "low must be above 0, got 0.0"),
        ('"init" = {low = "fresh", high = "pretrained"}', "not a number: give {choices"),
    ],
)
def test_what_cannot_vary_is_refused(tmp_path: Path, space: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Study.load(write(tmp_path, space))


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read.*recipes/studies/cnn.toml"):
        Study.load(tmp_path / "none.toml")
    for content, complaint in {
        "recipe = ": "not valid TOML",
        "recipes = 'x'": "no 'recipes' in a study. Did you mean recipe?",
        "trials = 3": "no 'trials' in a study. Choose from: recipe, folds, space",
        "folds = [0]": "recipe must be the path of a recipe, got None",
    }.items():
        (tmp_path / "bad.toml").write_text(content)
        with pytest.raises(ConfigError, match=complaint):
            Study.load(tmp_path / "bad.toml")
    for folds in ("[]", "3", "[true]", '["0"]'):
        path = write(tmp_path, '"fit.epochs" = {choices = [1, 2]}', f"folds = {folds}")
        with pytest.raises(ConfigError, match="folds must be a list of numbers"):
            Study.load(path)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "studies").glob("*.toml")), ids=lambda p: p.stem)
def test_the_studies_of_the_project_can_be_run(path: Path) -> None:
    found = Study.load(path)
    assert found.recipe(study.propose(found, [trial(0, [50], **found.base_settings())]) or {}) != found.base


# Proposals


def test_the_base_recipe_comes_first_and_then_what_is_new() -> None:
    searched = Study(TINY, RATE)
    assert study.propose(searched, []) == {"fit.learning_rate": 5e-3}
    trials = [trial(0, [50.0, 60.0], **{"fit.learning_rate": 5e-3})]
    for number in range(1, 12):
        settings = study.propose(searched, trials)
        assert settings == study.propose(searched, trials)  # nothing but the trials decides
        assert settings is not None
        assert 1e-3 <= settings["fit.learning_rate"] <= 1e-2
        state = ["complete", "pruned", "failed"][number % 3]
        trials.append(trial(number, [50.0 + number], state, **settings))
    rates = [t.settings["fit.learning_rate"] for t in trials]
    assert len(set(rates)) == 12
    assert all(rate == float(f"{rate:.4g}") for rate in rates)


def test_no_recipe_is_tried_twice() -> None:
    searched = Study(
        TINY, {"augment.speeds": Choices(([1.0], [0.9, 1.0])), "fit.epochs": Range(1, 2, log=False)}
    )
    trials: list[Trial] = []
    while settings := study.propose(searched, trials):
        trials.append(trial(len(trials), [50.0], **settings))
    tried = {json.dumps(t.settings) for t in trials}
    assert len(trials) == len(tried) == 4


def test_a_good_corner_is_searched_more_than_the_rest() -> None:
    searched = Study(TINY, {"network.dropout": Range(0.0, 0.9, log=False)})
    trials: list[Trial] = []
    for number in range(25):
        settings = study.propose(searched, trials) or {}
        trials.append(trial(number, [90 - 50 * abs(settings["network.dropout"] - 0.8)], **settings))
    later = [t.settings["network.dropout"] for t in trials[12:]]
    assert sum(value > 0.6 for value in later) > len(later) / 2


# Pruning


def test_a_trial_is_pruned_by_the_same_folds_of_the_others() -> None:
    others = [trial(k, [80, 40, 50 + k]) for k in range(3)]
    assert not study.is_hopeless(trial(3, [79, 38]), others)  # 1.5 points below their 60: noise
    assert study.is_hopeless(trial(3, [79, 36]), others)
    assert not study.is_hopeless(trial(3, [20]), others)  # one fold says little
    assert not study.is_hopeless(trial(3, [20, 20]), others[:2])
    assert not study.is_hopeless(trial(3, [20, 20]), [*others[:2], trial(2, [80, 40], "pruned")])


# Searching


def test_two_recipes_on_two_folds(tmp_path: Path) -> None:
    lines: list[str] = []
    searched = Study(TINY, RATE | {"augment.mixup_alpha": Choices((0.3, 0.0))})
    found = study.search(
        searched,
        dataset(MINIATURE),
        halves(),
        tmp_path / "s",
        n_trials=2,
        on_epoch=lambda name, epoch: lines.append(f"{name}: {epoch.epoch}"),
    )
    assert lines == [f"trial {n}, fold {k}: 1" for n in (0, 1) for k in (0, 1)]
    assert [t.state for t in found] == ["complete", "complete"]
    assert found[0].settings == {"fit.learning_rate": 5e-3, "augment.mixup_alpha": 0.3}
    for t in found:
        for fold in t.folds:
            log = tmp_path / "s" / "trials" / f"{t.number:03d}" / f"fold-{fold.fold}" / "log.jsonl"
            last = json.loads(log.read_text().splitlines()[-1])
            assert (fold.uar, fold.loss) == (last["validation_uar"], last["validation_loss"])
    written = json.loads((tmp_path / "s" / "study.json").read_text())
    assert written["study"]["split_hash"] == halves().split_hash
    assert written["study"]["recipe"]["fit"]["learning_rate"] == 5e-3
    assert [row["validation_uar"] for row in written["trials"]] == [round(t.uar, 3) for t in found]
    assert not list((tmp_path / "s").rglob("checkpoint*"))
    assert (tmp_path / "s" / "study.png").read_bytes().startswith(b"\x89PNG")
    best = study.best_of(found)
    loaded = TrainConfig.load(tmp_path / "s" / "best.toml")
    expected = searched.recipe(best.settings).to_dict() | {"name": "tiny-best", "recipes_tried": 2}
    assert loaded.to_dict() == expected


Score = Callable[[TrainConfig, str], list[float]]


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Callable[[Score], list[tuple[str, set[str], set[str]]]]:
    """`fit` without a training: it writes the log that it is told to, and notes who it was given."""

    def replace(score: Score) -> list[tuple[str, set[str], set[str]]]:
        seen: list[tuple[str, set[str], set[str]]] = []

        def fit(config: Any, made: Any, bank: Any, sides: Any, out: Path, **_: Any) -> None:
            speakers = [set(made.speakers[side].tolist()) for side in (sides.train, sides.validation)]
            seen.append((f"{out.parent.name}/{out.name}", *speakers))
            out.mkdir(parents=True, exist_ok=True)
            rows = [
                {"epoch": k, "validation_uar": uar, "validation_loss": 1.0, "seconds": 1.0}
                for k, uar in enumerate(score(config, seen[-1][0]))
            ]
            (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            (out / "checkpoint.json").touch()

        monkeypatch.setattr(study, "fit", fit)
        monkeypatch.setattr(study, "FrameBank", lambda *_: None)
        monkeypatch.setattr(study_views, "_picture", lambda *_: b"drawn")
        return seen

    return replace


def search(out: Path, n_trials: int, **changes: Any) -> list[Trial]:
    searched = Study(changes.pop("base", TINY), changes.pop("space", RATE), changes.pop("folds", None))
    made = changes.pop("dataset", dataset(EVERYBODY))
    return study.search(searched, made, changes.pop("split", protocol("luna5")), out, n_trials=n_trials)


def test_nobody_who_is_tested_is_heard(tmp_path: Path, scored: Any) -> None:
    seen = scored(lambda *_: [50.0])
    search(tmp_path, 1)
    assert [name for name, *_ in seen] == [f"000/fold-{k}" for k in range(5)]
    for (_, train, validation), fold in zip(seen, protocol("luna5").folds, strict=True):
        assert (train, validation) == (fold.train, fold.validation)
        assert not (train | validation) & fold.test


def test_the_last_epoch_counts_and_not_the_best(tmp_path: Path, scored: Any) -> None:
    scored(lambda *_: [10.0, 90.0, 40.0])
    (found,) = search(tmp_path, 1, folds=(1, 3))
    assert [(fold.fold, fold.uar) for fold in found.folds] == [(1, 40.0), (3, 40.0)]
    assert (found.uar, found.loss, found.seconds) == (40.0, 1.0, 6.0)


def test_pruned_and_failed_trials_are_recipes_that_were_tried(tmp_path: Path, scored: Any) -> None:
    def score(config: TrainConfig, name: str) -> list[float]:
        number = int(name[:3])
        if number == 4:
            raise ConfigError("The loss became nan in epoch 1. Lower fit.learning_rate.")
        return [30.0 if number == 3 else 60.0 + number]

    seen = scored(score)
    found = search(tmp_path, 6, base=TrainConfig.from_dict(TINY.to_dict() | {"recipes_tried": 3}))
    assert [t.state for t in found] == ["complete"] * 3 + ["pruned", "failed", "complete"]
    assert [len(t.folds) for t in found] == [5, 5, 5, 2, 0, 5]
    assert [name for name, *_ in seen if name.startswith("003")] == ["003/fold-0", "003/fold-1"]
    assert found[4].error == "The loss became nan in epoch 1. Lower fit.learning_rate."
    best = TrainConfig.load(tmp_path / "best.toml")
    assert best.recipes_tried == 8  # three that led to the base recipe, which is one of the six
    assert best.fit.learning_rate == found[5].settings["fit.learning_rate"]
    rows = list(csv.DictReader((tmp_path / "study.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == [t.state for t in found]
    assert rows[3]["fold 1"] == "30.0"
    assert rows[3]["fold 2"] == rows[4]["validation_uar"] == ""
    assert rows[4]["error"] == found[4].error
    text = (tmp_path / "study.md").read_text()
    assert text.startswith(
        "6 recipes tried (4 complete, 1 pruned, 1 failed). The base recipe, trial 0: 60.0 %; "
        "the best, trial 5: 65.0 % (+5.0 points)."
    )
    assert (tmp_path / "study.png").read_bytes() == b"drawn"


@pytest.mark.parametrize("killed_at", ["000/fold-3", "001/fold-0", "001/fold-2"])
def test_a_search_that_was_killed_repeats_nothing_that_was_scored(
    tmp_path: Path, scored: Any, killed_at: str
) -> None:
    def rate(config: TrainConfig) -> float:
        return round(1e4 * config.fit.learning_rate, 3)

    def kill(config: TrainConfig, name: str) -> list[float]:
        if name == killed_at:
            raise Killed
        return [rate(config)]

    before = scored(kill)
    with pytest.raises(Killed):
        search(tmp_path / "a", 3)
    after = scored(lambda config, _: [rate(config)])
    found = search(tmp_path / "a", 3)
    folders = [name for name, *_ in before[:-1]] + [name for name, *_ in after]
    assert folders == [f"{t:03d}/fold-{k}" for t in range(3) for k in range(5)]
    assert found == search(tmp_path / "b", 3)  # as if nothing had happened
    for name in ("best.toml", "study.md", "study.csv", "study.json"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    after.clear()
    assert search(tmp_path / "a", 2) == found  # nothing is left to do
    assert not after
    assert len(search(tmp_path / "a", 4)) == 4
    assert {name[:3] for name, *_ in after} == {"003"}


def test_a_training_that_was_killed_goes_on_within_its_fold(tmp_path: Path) -> None:
    lines: list[str] = []

    def note(name: str, epoch: Any) -> None:
        lines.append(f"{name}: {epoch.epoch}")
        if lines == ["trial 0, fold 0: 1"]:
            raise Killed

    searched = Study(recipe(fit={"epochs": 2}), RATE, folds=(0,))
    for _ in range(2):
        try:
            found = study.search(
                searched, dataset(MINIATURE), halves(), tmp_path / "s", n_trials=1, on_epoch=note
            )
        except Killed:
            assert json.loads((tmp_path / "s" / "study.json").read_text())["trials"][0]["state"] == "running"
    assert lines == ["trial 0, fold 0: 1", "trial 0, fold 0: 2"]
    assert [t.state for t in found] == ["complete"]


def test_frames_are_shared_between_recipes_that_hear_the_same(
    tmp_path: Path, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(lambda *_: [50.0])
    made: list[tuple[float, ...]] = []
    monkeypatch.setattr(study.runs, "bank", lambda config, _: made.append(config.augment.speeds))
    search(tmp_path / "same", 3)
    assert made == [(0.9, 1.0)]
    made.clear()
    search(tmp_path / "other", 2, space={"augment.speeds": Choices(([1.0], [0.9, 1.0]))})
    assert made == [(0.9, 1.0), (1.0,)]


def test_a_search_ends_where_everything_was_tried(tmp_path: Path, scored: Any) -> None:
    scored(lambda *_: [50.0])
    found = search(tmp_path, 10, space={"augment.mixup_alpha": Choices((0.0, 0.3))})
    assert [t.settings["augment.mixup_alpha"] for t in found] == [0.3, 0.0]


def test_a_base_recipe_that_cannot_be_trained_ends_the_search(tmp_path: Path, scored: Any) -> None:
    def fail(*_: Any) -> list[float]:
        raise ConfigError("no such trunk")

    scored(fail)
    with pytest.raises(ConfigError, match="no such trunk"):
        search(tmp_path, 2)
    scored(lambda *_: [50.0])
    assert len(search(tmp_path, 2)) == 2


def test_recipes_whose_settings_do_not_go_together_fail(tmp_path: Path, scored: Any) -> None:
    scored(lambda *_: [50.0])
    space = {"window.seconds": Choices((1.0, 2.0)), "fit.crop_seconds": Choices((0.0, 2.0))}
    base = recipe(window={"seconds": 2.0})
    found = search(tmp_path, 4, base=base, space=space)
    failed = [t for t in found if t.state == "failed"]
    assert [t.settings for t in failed] == [{"window.seconds": 1.0, "fit.crop_seconds": 2.0}]
    assert failed[0].error == "trial: fit: 0 ≤ crop_seconds ≤ window.seconds."


def test_what_does_not_fit_is_refused(tmp_path: Path, scored: Any) -> None:
    scored(lambda *_: [50.0])
    search(tmp_path / "s", 1)
    for changes in ({"base": recipe(fit={"epochs": 2})}, {"folds": (0, 1)}, {"split": protocol("emobox6")}):
        with pytest.raises(ConfigError, match=r"study.json: of another study.*Choose another --out"):
            search(tmp_path / "s", 1, **changes)
    with pytest.raises(ConfigError, match="of another study"):
        search(tmp_path / "s", 1, space={"fit.learning_rate": Range(1e-3, 2e-2, log=True)})
    with pytest.raises(ConfigError, match=r"random10 \(LEAKY.*Choose another protocol"):
        search(tmp_path / "l", 1, split=protocol("random10"))
    with pytest.raises(ConfigError, match=r"luna5 has folds 0 to 4, got \[7\]"):
        search(tmp_path / "f", 1, folds=(7,))
    with pytest.raises(ConfigError, match="savee4 divides savee"):
        search(tmp_path / "c", 1, split=protocol("savee4"))
    seen = scored(lambda *_: [50.0])
    with pytest.raises(ConfigError, match="too few clips of the speakers that fold 1 of luna5"):
        search(tmp_path / "d", 1, dataset=dataset(MINIATURE))
    assert not seen  # before hours of work on fold 0


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"study": {}}', b'{"study": {}, "trials": [{}]}', b"\xff"]
)
def test_a_damaged_record_is_refused(tmp_path: Path, scored: Any, content: bytes) -> None:
    scored(lambda *_: [50.0])
    (tmp_path / "study.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"study.json: not a study of ours.*Choose another --out"):
        search(tmp_path, 1)


# The page


def test_settings_are_compared_by_the_complete_trials_that_had_them() -> None:
    space = {"fit.learning_rate": Range(1e-3, 1.0, log=True), "augment.mixup_alpha": Choices((0.3, 0.0, 0.5))}
    rows = [(1e-3, 0.3, 50), (9e-3, 0.0, 60), (2e-2, 0.3, 70), (1.0, 0.0, 80)]
    trials = [
        trial(k, [uar], **{"fit.learning_rate": rate, "augment.mixup_alpha": alpha})
        for k, (rate, alpha, uar) in enumerate(rows)
    ]
    bad = {"fit.learning_rate": 1.0, "augment.mixup_alpha": 0.5}
    trials += [
        trial(4, [10], "pruned", **bad),
        trial(5, [], "failed", **bad),
        trial(6, [20], "pruned", **bad),
    ]
    searched = Study(TINY, space)
    rates = study_views.by_setting(searched, trials, "fit.learning_rate")
    numbers = {group: [t.number for t in of_group] for group, of_group in rates.items()}
    assert numbers == {"0.001 to 0.01": [0, 1], "0.01 to 0.1": [2], "0.1 to 1": [3, 4, 6]}
    lines = study_views.page(searched, trials, trials[3]).splitlines()
    assert [line for line in lines if line.startswith("| `")] == [
        "| `fit.learning_rate` | 0.001 to 0.01 | 2 | 0 | 55.0 |",
        "| `fit.learning_rate` | 0.01 to 0.1 | 1 | 0 | 70.0 |",
        "| `fit.learning_rate` | 0.1 to 1 | 1 | 2 | 80.0 |",
        "| `augment.mixup_alpha` | 0.3 | 2 | 0 | 60.0 |",
        "| `augment.mixup_alpha` | 0.0 | 2 | 0 | 70.0 |",
        "| `augment.mixup_alpha` | 0.5 | 0 | 2 | – |",
    ]
    order = [line.split("|")[1].strip() for line in lines if line.count("|") == 8]
    assert order == [
        "trial",
        "---",
        "3",
        "2",
        "1",
        "0 (base)",
        "6",
        "4",
        "5",
    ]  # the best first, the failed last


def test_of_equal_trials_the_surer_and_then_the_earlier_is_best() -> None:
    folds = [(0, 50.0, 1.2), (1, 60.0, 1.0), (2, 60.0, 0.9), (3, 60.0, 0.9)]
    trials = [Trial(n, {}, "complete", (FoldScore(0, uar, loss, 1.0),)) for n, uar, loss in folds]
    assert study.best_of(trials).number == 2


def test_a_recipe_survives_toml() -> None:
    odd = recipe(name="a-b.c", init='tr"unk/ü😀.safetensors', fit={"learning_rate": 1e-5})
    assert TrainConfig.from_dict(tomllib.loads(study_views.toml(odd.to_dict(), "odd"))) == odd


# The verb


def test_search_prints_every_trial_and_what_comes_next(tmp_path: Path, scored: Any) -> None:
    write_corpus(tmp_path / "corpus", EVERYBODY)
    path = write(tmp_path, '"fit.learning_rate" = {low = 1e-3, high = 1e-2}', "folds = [2]")
    scored(lambda config, _: [1e4 * config.fit.learning_rate])
    verb = [
        "search",
        str(path),
        "--protocol",
        "luna5",
        "--trials",
        "2",
        "--prepared",
        str(tmp_path / "prepared"),
    ]
    corpus = ["--corpus", f"ravdess={tmp_path / 'corpus'}"]
    ended = CliRunner().invoke(app, [*verb, *corpus, "--out", str(tmp_path / "out")])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == (tmp_path / "out" / "study.md").read_text()
    assert f"Next: speech-emotion train {tmp_path / 'out' / 'best.toml'} {' '.join(corpus)}" in ended.stderr
    assert TrainConfig.load(tmp_path / "out" / "best.toml").recipes_tried == 2
    other = CliRunner().invoke(app, [*verb, "--corpus", "savee=somewhere"])
    assert other.exit_code == 2
    assert "trains on ravdess" in other.stderr
