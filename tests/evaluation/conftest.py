"""An evaluation of fake models that several tests look at."""

from pathlib import Path

import fakes
import pytest

from speech_emotion import corpora
from speech_emotion.evaluation.result import Result, summarise
from speech_emotion.evaluation.score import Evaluation, score_protocol
from speech_emotion.evaluation.splits import protocol


@pytest.fixture
def evaluation(scored_paths: list[Path], tmp_path: Path) -> Evaluation:
    """One seed of the fallible fake under luna5."""
    run = fakes.make_run(tmp_path / "run", protocol("luna5"))
    return score_protocol([run], corpora.get("ravdess"), fakes.make_corpus(tmp_path / "corpus"), "luna5")


@pytest.fixture
def result_with_sets(evaluation: Evaluation) -> Result:
    return summarise(fakes.with_sets(evaluation), command="speech-emotion evaluate run")


@pytest.fixture
def result(evaluation: Evaluation) -> Result:
    return summarise(evaluation, command="speech-emotion evaluate run")
