"""Importing is silent, light and starts nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import speech_emotion

HEAVY = (
    "numpy",
    "onnxruntime",
    "soundfile",
    "soxr",
    "typer",
    "rich",
    "torch",
    "onnx",
    "librosa",
    "sklearn",
    "av",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd="/"
    )


def loaded(code: str) -> set[str]:
    done = run(f"import sys; {code}; print(*sys.modules)")
    assert done.stderr == ""
    return {name for name in HEAVY if name in done.stdout.split()}


def test_import_prints_nothing_loads_nothing_heavy_and_starts_no_thread() -> None:
    done = run(
        "import sys, threading; sys.stdout.write('before '); import speech_emotion; "
        "sys.stdout.write(f'after {threading.active_count()}')"
    )
    assert (done.stdout, done.stderr) == ("before after 1", "")
    assert loaded("import speech_emotion") == set()


def test_the_command_line_is_light_until_a_verb_runs() -> None:
    assert loaded("import speech_emotion.cli") == {"typer"}


def test_the_runtime_needs_four_libraries() -> None:
    needed = {"numpy", "onnxruntime", "soundfile", "soxr"}
    assert loaded("import speech_emotion.classifier") <= needed
    assert loaded("import speech_emotion; speech_emotion.load") <= needed


def test_an_answer_leaves_nothing_in_the_home_of_the_user(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry would store an identifier of the device there, and send events."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    path = Path(__file__).parents[1] / "src" / "speech_emotion" / "assets" / "demo-low.flac"
    code = f"import speech_emotion; print(speech_emotion.load('compact').predict({str(path)!r}).abstained)"
    subprocess.run(
        [sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, timeout=120, check=True
    )
    assert list(tmp_path.iterdir()) == []


def test_import_is_quick() -> None:
    """In time of the processor, which other programs do not take away."""
    code = (
        "import time; start = time.process_time(); import speech_emotion; print(time.process_time() - start)"
    )
    assert min(float(run(code).stdout) for _ in range(3)) < 0.3


def test_public_names_are_there() -> None:
    assert set(speech_emotion.__all__) <= set(dir(speech_emotion))
    for name in speech_emotion.__all__:
        assert getattr(speech_emotion, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'predcit'"):
        speech_emotion.predcit  # noqa: B018


def test_names_are_the_objects_of_their_modules() -> None:
    from speech_emotion import classifier, prediction, stream

    assert speech_emotion.Classifier is classifier.Classifier
    assert speech_emotion.Prediction is prediction.Prediction
    assert speech_emotion.EmotionStream is stream.EmotionStream
    assert (speech_emotion.load, speech_emotion.predict) == (classifier.load, classifier.predict)


def test_the_version_is_the_one_installed() -> None:
    from importlib.metadata import version

    assert speech_emotion.__version__ == version("speech-emotion")
