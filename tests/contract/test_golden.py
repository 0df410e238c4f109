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

from speech_emotion.classifier import Classifier, load
from speech_emotion.model import SHIPPED

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 1e-3  # processors differ in the last digits
DEMO_VOICES = sorted(SHIPPED.parent.glob("demo-*.flac"))


def answers(classifier: Classifier) -> dict[str, dict[str, float]]:
    """What a classifier says to every sound."""
    predictions = {path.name: classifier.predict(path) for path in DEMO_VOICES}
    predictions["voice at 44.1 kHz"] = classifier.predict(sounds.voice(4.2, 44_100), sample_rate=44_100)
    predictions["voice at 8 kHz"] = classifier.predict(sounds.voice(2.5, 8_000, f0=210), sample_rate=8_000)
    return {
        sound: {label: round(probability, 5) for label, probability in prediction.probabilities.items()}
        for sound, prediction in predictions.items()
    }


def compare(got: dict[str, dict[str, float]], golden: dict[str, dict[str, float]]) -> None:
    assert got.keys() == golden.keys()
    for sound, probabilities in golden.items():
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4), sound
        assert got[sound] == pytest.approx(probabilities, abs=TOLERANCE), sound


def test_the_stand_in_answers_as_ever(classifier: Classifier) -> None:
    compare(answers(classifier), json.loads(GOLDEN.read_text())["stand-in"])


def test_the_shipped_model_answers_as_released() -> None:
    shipped: dict[str, Any] = json.loads(GOLDEN.read_text()).get("shipped", {})
    assert load().info.sha256 == shipped.get("sha256"), "another model: write its golden values as said above"
    compare(answers(load()), shipped["answers"])


def write() -> None:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(standin.model_bytes())
        file.flush()
        golden: dict[str, Any] = {"stand-in": answers(load(file.name))}
    if SHIPPED.exists():
        golden["shipped"] = {"sha256": load().info.sha256, "answers": answers(load())}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    write()
