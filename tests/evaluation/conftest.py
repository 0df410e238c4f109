"""Fake models in the place of real ones, and an evaluation of them that several tests look at."""

from pathlib import Path

import fakes
import pytest

import speech_emotion
from speech_emotion.evaluation.result import Result, summarise
from speech_emotion.evaluation.score import Evaluation, score_protocol
from speech_emotion.evaluation.splits import protocol


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Fake models behind `speech_emotion.load`; the clips they have heard."""
    clips: list[Path] = []
    monkeypatch.setattr(speech_emotion, "load", lambda path: fakes.FakeClassifier(Path(path), clips))
    return clips


@pytest.fixture
def evaluation(heard: list[Path], tmp_path: Path) -> Evaluation:
    """One seed of the fallible fake under luna5."""
    run = fakes.make_run(tmp_path / "run", protocol("luna5"))
    return score_protocol([run], "ravdess", fakes.make_corpus(tmp_path / "corpus"), "luna5")


@pytest.fixture
def result_with_sets(evaluation: Evaluation) -> Result:
    return summarise(fakes.with_sets(evaluation), command="speech-emotion evaluate run")


@pytest.fixture
def result(evaluation: Evaluation) -> Result:
    return summarise(evaluation, command="speech-emotion evaluate run")
