"""Golden values: what each model said to sounds of this repository when it was released.

After a change that is meant to move them: PYTHONPATH=tests/support python tests/contract/test_golden.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import sounds
import standin
from integers import rounding_of

from speech_emotion.classifier import Classifier, load
from speech_emotion.shipped import MODELS

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-3  # processors differ in the last digits
DEMO_VOICES = sorted(MODELS[0].path.parent.glob("demo-*.flac"))


def answers(classifier: Classifier) -> dict[str, dict[str, float]]:
    """What a classifier says to every sound."""
    predictions = {path.name: classifier.predict(path) for path in DEMO_VOICES}
    predictions["voice at 44.1 kHz"] = classifier.predict(sounds.voice(4.2, 44_100), sample_rate=44_100)
    predictions["voice at 8 kHz"] = classifier.predict(sounds.voice(2.5, 8_000, f0=210), sample_rate=8_000)
    return {
        sound: {label: round(probability, 5) for label, probability in prediction.probabilities.items()}
        for sound, prediction in predictions.items()
    }


def compare(
    got: dict[str, dict[str, float]], golden: dict[str, dict[str, float]], tolerance: float = TOLERANCE
) -> None:
    assert got.keys() == golden.keys()
    for sound, probabilities in golden.items():
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4), sound
        assert got[sound] == pytest.approx(probabilities, abs=tolerance), sound


def test_the_stand_in_answers_as_ever(classifier: Classifier) -> None:
    compare(answers(classifier), json.loads(GOLDEN.read_text())["stand-in"])


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_a_shipped_model_answers_as_released(name: str) -> None:
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())["shipped"].get(name, {})
    classifier = load(name)
    assert classifier.info.sha256 == golden.get("sha256"), (
        "another model: write its golden values as said above"
    )
    compare(answers(classifier), golden["answers"], rounding_of(name, TOLERANCE))


def write() -> None:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(standin.model_bytes())
        file.flush()
        golden: dict[str, Any] = {"stand-in": answers(load(file.name))}
    shipped = {model.name: load(model.name) for model in MODELS}
    golden["shipped"] = {
        name: {"sha256": one.info.sha256, "answers": answers(one)} for name, one in shipped.items()
    }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    write()
