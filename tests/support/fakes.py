"""Models that answer by rule, so that every number of a result can be computed by hand.

A fake `model.onnx` is a JSON file: its metadata, and how it fails. A corpus is a folder of empty files.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from speech_emotion.corpora.readers import ravdess
from speech_emotion.evaluation.score import Answer, Evaluation
from speech_emotion.evaluation.splits import Protocol
from speech_emotion.labels import EMOTIONS
from speech_emotion.prediction import Prediction

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]


def make_corpus(folder: Path, actors: Iterable[str] = ACTORS) -> Path:
    """RAVDESS with one clip an emotion and actor, normal intensity."""
    for actor in actors:
        (folder / f"Actor_{actor}").mkdir(parents=True)
        for code in range(1, 9):
            (folder / f"Actor_{actor}" / f"03-01-{code:02d}-01-01-01-{actor}.wav").touch()
    return folder


def make_run(folder: Path, split: Protocol, *, seed: int = 0, perfect: bool = False, **metadata: Any) -> Path:
    """A run folder whose models say what they were trained for."""
    for fold in split.folds:
        facts = {"protocol": split.describe(fold), "split_hash": split.split_hash} | metadata
        make_model(folder / f"fold-{fold.index}" / "model.onnx", seed=seed, perfect=perfect, **facts)
    return folder


def make_model(path: Path, *, seed: int = 0, perfect: bool = False, **metadata: Any) -> Path:
    facts = {
        "name": "fake-cnn",
        "labels": list(EMOTIONS),
        "n_parameters": 640_000,
        "size_bytes": 2_600_000,
        "commit": "abc1234",
        "corpora": ["ravdess"],
        "protocol": None,
        "split_hash": None,
        "recipe": {"name": "fake", "recipes_tried": 7, "fit": {"seed": seed, "epochs": 3}},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": facts | metadata, "perfect": perfect}))
    return path


class FakeClassifier:
    """Right with probability 0.9, except: women's sad is taken for neutral, and actor 01's calm abstains."""

    def __init__(self, path: Path, scored_paths: list[Path]) -> None:
        content = json.loads(path.read_text())
        self.info = SimpleNamespace(**content["info"])
        self.perfect = content["perfect"]
        self.scored_paths = scored_paths

    def predict(self, source: Path) -> Prediction:
        self.scored_paths.append(source)
        spoken = ravdess.parse(source.name)
        if self.perfect:
            return certain(spoken.emotion, 1.0)
        if (spoken.actor, spoken.emotion) == ("01", "calm"):
            return Prediction({}, 0.0, 3.0, abstained="no_speech")
        is_confused = spoken.sex == "female" and spoken.emotion == "sad"
        return certain("neutral" if is_confused else spoken.emotion, 0.9)


def certain(label: str, confidence: float) -> Prediction:
    rest = (1 - confidence) / 7
    return Prediction({name: confidence if name == label else rest for name in EMOTIONS}, 0.0, 3.0)


def with_sets(
    evaluation: Evaluation, set_of: Callable[[Answer], tuple[str, ...]] | None = None
) -> Evaluation:
    """The same answers of a model that also gives an emotion set with each."""
    set_of = set_of or a_set
    answers = (replace(answer, emotions=set_of(answer)) for answer in evaluation.answers)
    return replace(evaluation, answers=tuple(answers))


def a_set(answer: Answer) -> tuple[str, ...]:
    """What was answered; for a woman's sad, taken for neutral, sad too, unless she is actor 02."""
    if not answer.answer:
        return ()
    is_confused = answer.answer != answer.label and answer.speaker != "02"
    return (answer.answer, answer.label) if is_confused else (answer.answer,)
