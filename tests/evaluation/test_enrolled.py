"""Scores of enrolled speakers: who enrols with what, what is compared with what, and where it is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin
from sounds import voice, wav
from typer.testing import CliRunner

from speech_emotion import cli
from speech_emotion.corpora import savee
from speech_emotion.errors import ModelError
from speech_emotion.evaluation import enrolled
from speech_emotion.evaluation.enrolled import Enrolled, measure
from speech_emotion.evaluation.score import plan_trials, score_protocol
from speech_emotion.evaluation.splits import protocol

SAVEE4 = protocol("savee4")
EMOTIONS = dict(list(savee.EMOTIONS.items())[:2]) | {"n": "neutral"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four men of SAVEE, a voice an emotion, three emotions; the last man has no neutral clip."""
    folder = tmp_path_factory.mktemp("savee")
    for number, speaker in enumerate(savee.SPEAKERS):
        (folder / speaker).mkdir()
        for place, code in enumerate(EMOTIONS):
            if code != "n" or number < 3:
                sound = voice(1.1, f0=100 + 20 * number + 5 * place)
                (folder / speaker / f"{code}01.wav").write_bytes(wav(sound))
    return folder


def make_run(folder: Path, **metadata: Any) -> Path:
    """Stand-ins for two trainings of one recipe."""
    for seed in (0, 3):
        for fold in SAVEE4.folds:
            model = folder / f"seed-{seed}" / f"fold-{fold.index}" / "model.onnx"
            model.parent.mkdir(parents=True)
            facts = {"corpora": ["savee"], "protocol": SAVEE4.describe(fold), "split_hash": SAVEE4.split_hash}
            facts |= {"recipe": {"name": "stand-in", "fit": {"seed": seed}}, "window_seconds": 1.0}
            model.write_bytes(standin.model_bytes(**facts | metadata))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), enrolment=standin.ENROLMENT | {"min_seconds": 1.0})


@pytest.fixture(scope="module")
def steps() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def found(run: Path, corpus: Path, steps: list[tuple[int, int]]) -> Enrolled:
    return measure(
        [run], "savee", corpus, "savee4", command="evaluate --enrolled", progress=lambda *n: steps.append(n)
    )


def test_every_way_is_measured_on_every_clip_and_seed(found: Enrolled, steps: list[tuple[int, int]]) -> None:
    assert list(found.ways) == ["plain", "60s", "20s", "neutral"]
    assert (found.seeds, found.n_clips, found.n_speakers) == ((0, 3), 11, 4)
    assert (steps[0], steps[-1]) == ((3, 22), (22, 22))
    assert {name: way.n_profiles for name, way in found.ways.items()} == {
        "plain": 0,
        "60s": 8,
        "20s": 8,
        "neutral": 6,
    }


def test_plain_is_what_score_protocol_says(found: Enrolled, run: Path, corpus: Path) -> None:
    from speech_emotion.evaluation.result import summarise

    result = summarise(score_protocol([run], "savee", corpus, "savee4"), command="x")
    plain = found.ways["plain"]
    assert (plain.uar, plain.accuracy, plain.ece, plain.difference) == (
        result.uar,
        result.accuracy,
        result.ece,
        None,
    )
    assert (plain.n_unheard, plain.uar_unheard) == (22, pytest.approx(result.uar.mean, abs=1e-3))


def test_a_profile_changes_answers(found: Enrolled) -> None:
    minute, neutral = found.ways["60s"], found.ways["neutral"]
    assert minute.ece != found.ways["plain"].ece
    assert minute.difference is not None
    assert minute.difference.n_speakers == 4
    assert (minute.n_unheard, minute.uar_unheard, minute.plain_unheard) == (
        0,
        None,
        None,
    )  # all are in profiles
    assert neutral.n_unheard == 16  # all but three clips, twice
    assert neutral.uar_unheard is not None


def test_who_enrols_with_what(run: Path, corpus: Path) -> None:
    _, trials = plan_trials([run], "savee", corpus, "savee4")
    own = [trial for trial in trials if trial.clip.speaker == "DC" and trial.seed == 0]
    sounds = [np.zeros(16_000 * 9, np.float32) for _ in own]
    _, minute, some, neutral = enrolled.WAYS
    assert enrolled._chosen(enrolled.PLAIN, own, sounds) == []
    assert sorted(enrolled._chosen(minute, own, sounds)) == [0, 1, 2]
    assert enrolled._chosen(some, own, sounds) == enrolled._chosen(some, own, sounds)
    tens = [sound[: 16_000 * 10] for sound in [np.zeros(160_000, np.float32)] * 3]
    assert len(enrolled._chosen(some, own, tens)) == 2
    (only,) = enrolled._chosen(neutral, own, sounds)
    assert own[only].clip.label == "neutral"


def test_too_little_speech_answers_without_a_profile(corpus: Path, tmp_path: Path) -> None:
    """Three clips of 1.1 s are less than the ten seconds that a profile needs."""
    run = make_run(tmp_path / "run", enrolment=standin.ENROLMENT)
    found = measure([run], "savee", corpus, "savee4", command="x")
    assert found.ways["60s"].n_profiles == 0
    assert found.ways["60s"].uar == found.ways["plain"].uar
    assert found.ways["60s"].n_unheard == 22


def test_models_without_enrolment_are_refused(corpus: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(ModelError, match="exported without enrolment"):
        measure([run], "savee", corpus, "savee4", command="x")


def test_it_is_written_apart_and_says_what_it_used(found: Enrolled, tmp_path: Path) -> None:
    written = found.write(tmp_path)
    assert written == tmp_path / "enrolled" / "savee-savee4-stand-in.json"
    document = json.loads(written.read_text())
    assert document["uses"].startswith("unlabelled sound of the tested speakers")
    assert document["command"] == "evaluate --enrolled"
    assert document["ways"]["20s"]["difference"]["n_speakers"] == 4
    assert not list(tmp_path.glob("*.json"))


def test_lines_for_a_terminal(found: Enrolled) -> None:
    plain, minute, *_ = found.lines()
    assert plain == f"without a profile: UAR {found.ways['plain'].uar}, ECE {found.ways['plain'].ece}"
    assert minute.startswith("60 s of any speech: UAR ")
    assert minute.endswith(" a speaker")


def test_the_verb_writes_it(run: Path, corpus: Path, tmp_path: Path) -> None:
    arguments = [run, "--corpus", f"savee={corpus}", "--protocol", "savee4", "--enrolled", "--out", tmp_path]
    ended = CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])
    assert ended.exit_code == 0, ended.output
    document = json.loads((tmp_path / "enrolled" / "savee-savee4-stand-in.json").read_text())
    assert document["command"].startswith("speech-emotion evaluate ")
    assert document["command"].endswith("--protocol savee4 --enrolled")
    assert "neutral and calm speech: UAR" in ended.output
    assert "Written: " in ended.output


def test_the_page_shows_every_way_with_its_gain(run: Path, corpus: Path, tmp_path: Path) -> None:
    assert enrolled.section(tmp_path) == ""
    measure([run], "savee", corpus, "savee4", command="speech-emotion evaluate --enrolled").write(tmp_path)
    text = enrolled.section(tmp_path)
    assert "## Enrolled voices" in text
    assert "speech-emotion evaluate --enrolled" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [way.title for way in enrolled.WAYS]
    assert " – | – " in rows[0]
    assert " of 4 | " in rows[1]
