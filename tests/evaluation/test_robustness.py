"""Robustness: what the fold models say of spoiled clips, its numbers by hand and its file."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import standin
from sounds import voice, wav

from speech_emotion import corpora
from speech_emotion.corpora.readers import savee
from speech_emotion.degrade import CONDITIONS
from speech_emotion.errors import ConfigError, SpeakerLeakError
from speech_emotion.evaluation import robustness
from speech_emotion.evaluation.answers import AnswerTable, Score
from speech_emotion.evaluation.metrics import PairedDifference
from speech_emotion.evaluation.robustness import Robustness, measure, outcome, read_robustness
from speech_emotion.evaluation.score import Answer, make_plan, score_protocol
from speech_emotion.evaluation.splits import protocol

SAVEE4 = protocol("savee4")
FEW = tuple(condition for condition in CONDITIONS if condition.name in ("clean", "pink-0db", "second"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four men of SAVEE, a voice an emotion, three emotions."""
    folder = tmp_path_factory.mktemp("savee")
    for number, speaker in enumerate(savee.SPEAKERS):
        (folder / speaker).mkdir()
        for place, code in enumerate(list(savee.EMOTIONS)[:3]):
            sound = voice(1.1, f0=100 + 20 * number + 5 * place)
            (folder / speaker / f"{code}01.wav").write_bytes(wav(sound))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for two trainings of one recipe."""
    folder = tmp_path_factory.mktemp("run")
    for seed in (0, 3):
        for fold in SAVEE4.folds:
            model = folder / f"seed-{seed}" / f"fold-{fold.index}" / "model.onnx"
            model.parent.mkdir(parents=True)
            facts = {"corpora": ["savee"], "protocol": SAVEE4.describe(fold), "split_hash": SAVEE4.split_hash}
            recipe = {"name": "stand-in", "fit": {"seed": seed}}
            facts |= {"recipe": recipe, "thresholds": {"not_sure": 0.3}}  # in loud noise it is not sure
            model.write_bytes(standin.model_bytes(**facts, window_seconds=1.0))
    return folder


@pytest.fixture(scope="module")
def steps() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module", autouse=True)
def few_conditions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "CONDITIONS", FEW)
        yield


@pytest.fixture(scope="module")
def found(run: Path, corpus: Path, steps: list[tuple[int, int]]) -> Robustness:
    return measure(
        make_plan([run], corpora.get("savee"), corpus, "savee4"),
        command="speech-emotion robustness run",
        workers=1,
        progress=lambda done, total: steps.append((done, total)),
    )


def test_every_condition_is_measured_on_every_clip_and_seed(
    found: Robustness, steps: list[tuple[int, int]]
) -> None:
    titles = {name: outcome.title for name, outcome in found.conditions.items()}
    assert titles == {condition.name: condition.title for condition in FEW}
    assert {outcome.n_clips for outcome in found.conditions.values()} == {12}
    assert (found.seeds, found.n_speakers, found.n_emotions, found.noise) == ((0, 3), 4, 3, None)
    assert found.support == "12 clips, 4 speakers, 2 seeds"
    assert steps == [(done, 12) for done in range(1, 13)]


def test_clean_is_what_score_protocol_says(found: Robustness, run: Path, corpus: Path) -> None:
    answers = score_protocol([run], corpora.get("savee"), corpus, "savee4").answers
    terms = AnswerTable.of(answers)
    clean = found.conditions["clean"]
    assert (clean.uar, clean.difference) == (terms.uar, None)
    assert terms.uar_answered is not None
    assert clean.uar_answered == terms.uar_answered.mean
    assert clean.abstained == pytest.approx(np.mean([not answer.answer for answer in answers]), abs=1e-4)
    assert clean.uar.sd == 0  # the stand-ins of both seeds are one


def test_the_conditions_reach_the_model(found: Robustness) -> None:
    noisy, clean = found.conditions["pink-0db"], found.conditions["clean"]
    assert noisy.uar != clean.uar or noisy.abstained != clean.abstained
    assert noisy.difference is not None
    assert noisy.difference.n_speakers == 4


def test_processes_and_order_change_nothing(found: Robustness, run: Path, corpus: Path) -> None:
    seeds = [run / "seed-3", run / "seed-0"]
    assert (
        measure(make_plan(seeds, corpora.get("savee"), corpus, "savee4"), command=found.command, workers=2)
        == found
    )


def answers(spoken: str, heard: str, *, speaker: str, seed: int = 0) -> list[Answer]:
    """Words of initials: "has" is happy, angry, sad; "-" is no answer."""
    emotions = {"h": "happy", "a": "angry", "s": "sad", "-": ""}
    return [
        Answer(
            f"{speaker}{place}",
            speaker,
            "male",
            "",
            emotions[a],
            0,
            seed,
            emotions[b],
            "" if b != "-" else "x",
            (),
        )
        for place, (a, b) in enumerate(zip(spoken, heard, strict=True))
    ]


def test_the_numbers_are_those_of_a_calculation_by_hand() -> None:
    clean = [*answers("hhas", "hhas", speaker="A"), *answers("hhas", "hhaa", speaker="B")]
    noisy = [*answers("hhas", "h-as", speaker="A"), *answers("hhas", "aaaa", speaker="B")]
    table = AnswerTable.of(clean)
    assert outcome("clean", table, table).uar.mean == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-4)
    spoiled = outcome("pink noise", AnswerTable.of(noisy), table)
    assert spoiled.uar.mean == pytest.approx((0.25 + 1 + 0.5) / 3, abs=1e-4)
    assert spoiled.uar.sd is None
    assert (spoiled.abstained, spoiled.n_clips) == (0.125, 8)
    assert spoiled.uar_answered == pytest.approx((1 / 3 + 1 + 0.5) / 3, abs=1e-4)
    a, b = -1 / 6, -1 / 3  # A: 5/6 after 1; B: 1/3 after 2/3
    assert spoiled.difference == PairedDifference(-0.25, (round(b, 4), round(a, 4)), 2, 0, 2)


def test_seeds_are_averaged() -> None:
    rows = [*answers("ha", "ha", speaker="A"), *answers("ha", "ha", speaker="B")]
    rows += [*answers("ha", "hh", speaker="A", seed=1), *answers("ha", "ha", speaker="B", seed=1)]
    table = AnswerTable.of(rows[::-1])
    assert (table.uar.mean, table.uar.sd) == (0.875, round(float(np.std([1, 0.75], ddof=1)), 4))
    assert table.uar_by_speaker == {"A": 0.75, "B": 1.0}


def test_a_condition_in_which_nothing_is_answered_has_a_score_of_0() -> None:
    rows = [*answers("ha", "--", speaker="A"), *answers("ha", "--", speaker="B")]
    table = AnswerTable.of(rows)
    assert (table.uar, table.uar_answered) == (Score(0.0, None, (0.0, 0.0)), None)


def test_models_trained_on_the_speakers_are_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(standin.model_bytes(corpora=["savee"]))
    with pytest.raises(SpeakerLeakError):
        make_plan([tmp_path / "model.onnx"], corpora.get("savee"), corpus, "savee4")


def test_the_file_comes_back(found: Robustness, tmp_path: Path) -> None:
    path = found.write(tmp_path)
    assert path == tmp_path / "robustness" / "savee-savee4-stand-in.json"
    assert read_robustness(path) == found
    assert json.loads(path.read_text())["conditions"]["clean"]["n_clips"] == 12


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"split_hash": "0" * 64}, "split must be today's"),
        ({"conditions": {}}, "must be clean"),
        ({"colour": "blue"}, "colour"),
        ({"seeds": 5}, "not iterable"),
        ({"conditions": []}, "items"),
    ],
)
def test_what_is_not_such_a_file_is_refused(
    change: dict[str, object], complaint: str, found: Robustness, tmp_path: Path
) -> None:
    path = found.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=rf"not a result file of this version: .*{complaint}"):
        read_robustness(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_robustness(tmp_path / "none.json")


def test_every_interval_holds_its_score(found: Robustness) -> None:
    for one in found.conditions.values():
        assert one.uar.ci95 is not None
        assert one.uar.ci95[0] <= one.uar.mean <= one.uar.ci95[1]
