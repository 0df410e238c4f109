"""Scores of enrolled speakers: who enrols with what, what is compared with what, and where it is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin
from sounds import voice, wav

from speech_emotion import corpora
from speech_emotion.classifier import Classifier
from speech_emotion.corpora.readers import savee
from speech_emotion.errors import ModelError
from speech_emotion.evaluation import enrolment
from speech_emotion.evaluation.enrolment import Enrolled, measure, read_enrolled
from speech_emotion.evaluation.report import profiles
from speech_emotion.evaluation.score import HeldOutClip, make_plan, score_protocol
from speech_emotion.evaluation.splits import protocol
from speech_emotion.profile import SpeakerProfile

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
    plan = make_plan([run], corpora.get("savee"), corpus, "savee4")
    return measure(plan, command="speech-emotion enrolment run", progress=lambda *n: steps.append(n))


def test_processes_change_nothing(
    found: Enrolled, run: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "processes_for", lambda *_: 2)
    plan = make_plan([run], corpora.get("savee"), corpus, "savee4")
    assert measure(plan, command=found.command) == found


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

    result = summarise(score_protocol([run], corpora.get("savee"), corpus, "savee4"), command="x")
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
    clips = make_plan([run], corpora.get("savee"), corpus, "savee4").clips
    own = [one for one in clips if one.clip.speaker == "DC" and one.seed == 0]

    def chosen(way: enrolment.Way, seconds: float) -> list[HeldOutClip]:
        return enrolment._chosen(way, "DC", own, lambda _: np.zeros(round(16_000 * seconds), np.float32))

    _, minute, some, neutral, _ = enrolment.WAYS
    assert chosen(enrolment.PLAIN, 9) == []
    assert sorted(chosen(minute, 9), key=own.index) == own
    assert chosen(some, 9) == chosen(some, 9)
    assert len(chosen(some, 10)) == 2
    assert [one.clip.label for one in chosen(neutral, 9)] == ["neutral"]


def test_the_place_is_all_other_speakers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One model of other corpora is tested on both women of TESS: the place of each is the other."""
    folder = tmp_path / "tess"
    folder.mkdir()
    for number, (speaker, words) in enumerate({"OAF": ["back", "bar"], "YAF": ["back"]}.items()):
        for word in words:
            for step, emotion in enumerate(("angry", "happy", "sad")):
                sound = voice(1.1, f0=150 + 40 * number + 10 * step + len(word))
                (folder / f"{speaker}_{word}_{emotion}.wav").write_bytes(wav(sound))
    model = tmp_path / "model.onnx"
    model.write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT | {"min_seconds": 1.0}))
    n_sounds: list[int] = []
    enrol = Classifier.enrol

    def counted(self: Classifier, *sounds: Any, sample_rate: int) -> SpeakerProfile:
        n_sounds.append(len(sounds))
        return enrol(self, *sounds, sample_rate=sample_rate)

    monkeypatch.setattr(Classifier, "enrol", counted)
    found = measure(make_plan([model], corpora.get("tess"), folder, "tess-unheard"), command="x")
    plain, place = found.ways["plain"], found.ways["place"]
    assert n_sounds == [6, 6, 3, 3, 3, 6]  # a minute, 20 s and the place, of OAF and of YAF; none is neutral
    assert list(found.ways) == ["plain", "60s", "20s", "place"]
    assert (place.n_profiles, place.n_unheard, found.ways["60s"].n_unheard) == (2, 9, 0)
    assert place.uar_unheard == pytest.approx(place.uar.mean, abs=1e-3)
    assert place.ece != plain.ece
    assert plain.uar_among_spoken is not None
    header, _, *rows = (line for line in profiles.page([found]).splitlines() if line.startswith("| "))
    assert header.endswith(" | UAR, likeliest of the corpus's own emotions |")
    assert rows[-1].startswith("| 5 min of other people of the corpus | ")
    assert rows[-1].endswith(f" | {place.uar_among_spoken} |")


def test_a_way_without_any_profile_is_left_out(corpus: Path, tmp_path: Path) -> None:
    """Three clips of 1.1 s are less than the ten seconds that a profile needs."""
    run = make_run(tmp_path / "run", enrolment=standin.ENROLMENT)
    found = measure(make_plan([run], corpora.get("savee"), corpus, "savee4"), command="x")
    assert list(found.ways) == ["plain"]


def test_models_without_enrolment_are_refused(corpus: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(ModelError, match="exported without enrolment"):
        measure(make_plan([run], corpora.get("savee"), corpus, "savee4"), command="x")


def test_it_is_written_apart_and_says_what_it_used(found: Enrolled, tmp_path: Path) -> None:
    written = found.write(tmp_path)
    assert written == tmp_path / "enrolled" / "savee-savee4-stand-in.json"
    document = json.loads(written.read_text())
    assert document["uses"].startswith("unlabelled sound of the tested speakers")
    assert document["command"] == "speech-emotion enrolment run"
    assert document["ways"]["20s"]["difference"]["n_speakers"] == 4
    assert not list(tmp_path.glob("*.json"))


def test_lines_for_a_terminal(found: Enrolled) -> None:
    plain, minute, *_ = found.lines()
    assert plain == f"without a profile: UAR {found.ways['plain'].uar}, ECE {found.ways['plain'].ece}"
    assert minute.startswith("up to 60 s of any speech: UAR ")
    assert minute.endswith(" per speaker")


def test_the_page_shows_every_way_with_its_gain(found: Enrolled, tmp_path: Path) -> None:
    assert read_enrolled(found.write(tmp_path)) == found
    text = profiles.page([found])
    assert "speech-emotion enrolment run" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [
        way.title for way in enrolment.WAYS[:4]
    ]
    assert " – | – " in rows[0]
    assert " of 4 | " in rows[1]
