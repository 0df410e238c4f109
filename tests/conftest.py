"""What many tests share: the stand-in model, a classifier with it, and fake models in the place of real ones."""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import coverage
import fakes
import pytest
import standin
from hypothesis import settings

import speech_emotion
from speech_emotion import shipped
from speech_emotion.classifier import Classifier, load
from speech_emotion.model import EmotionModel
from speech_emotion.shipped import ShippedModel

settings.register_profile("loaded", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("loaded")

# Started in the background, we ignore Ctrl-C, and the processes that tests send it to would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take long begin first, or one core waits for the other at the end.
LONG_FILES = (
    "app/test_live.py",
    "app/test_browser.py",
    "batch/test_ray.py",
    "app/test_player_browser.py",
    "training/fit/test_pair.py",
    "training/export/test_onnx.py",
    "test_learning.py",
    "batch/test_run.py",
    "server/test_websocket.py",
    "server/test_service.py",
)
# Coverage doubles the time of what is written in Python; tools/coverage_gate.py needs none from these.
UNCOUNTED = (
    "app/",
    "batch/",
    "benchmarks/",
    "contract/test_parity.py",
    "tools/",
    "training/",
)
COUNTED = ("training/fit/test_checkpoint.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; all others in their order."""
    places = {name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(_file_of(item), len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Stop coverage during the tests that need none."""
    file = _file_of(item)
    is_counted = file in COUNTED or not file.startswith(UNCOUNTED)
    counting = None if is_counted else coverage.Coverage.current()
    if counting:
        counting.stop()
    try:
        return (yield)
    finally:
        if counting:
            counting.start()


def _file_of(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


@pytest.fixture
def scored_paths(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Fake models behind `speech_emotion.load`, in this process alone; the clips they have scored."""
    clips: list[Path] = []
    monkeypatch.setattr(speech_emotion, "load", lambda path: fakes.FakeClassifier(Path(path), clips))
    monkeypatch.setattr("speech_emotion.evaluation.score.processes_for", lambda *_: 1)
    return clips


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "stand-in.onnx"
    path.write_bytes(standin.model_bytes())
    return path


@pytest.fixture(scope="session")
def model(model_path: Path) -> EmotionModel:
    return EmotionModel.load(model_path)


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """With a stand-in that detects speech itself: to it, everything loud is speech."""
    path = tmp_path_factory.mktemp("model") / "judges.onnx"
    path.write_bytes(standin.model_bytes(thresholds={"speech": 0.5}, enrolment=standin.ENROLMENT))
    return load(path)


@pytest.fixture(scope="session")
def classifier(model_path: Path) -> Classifier:
    return load(model_path)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """With a stand-in that takes profiles."""
    path = tmp_path_factory.mktemp("model") / "enrols.onnx"
    path.write_bytes(standin.model_bytes(enrolment=standin.ENROLMENT))
    return load(path)


@pytest.fixture
def two_models(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> list[ShippedModel]:
    """Two stand-ins in the place of the models of the package: "first" is the default, "second" has shorter windows."""
    folder = tmp_path_factory.mktemp("package")
    uar = {"mean": 0.62314, "sd": 0.012, "ci95": [0.5804, 0.665]}
    metrics = {"corpus": "ravdess", "protocol": "luna5", "leaky": True, "uar": uar}
    first = _ship(folder / "first.onnx", "long talks", standin.model_bytes(name="first", metrics=metrics))
    facts = {"name": "second", "window_seconds": 2.0, "enrolment": standin.ENROLMENT}
    second = _ship(folder / "second.onnx", "short talks", standin.model_bytes(**facts))
    monkeypatch.setattr(shipped, "MODELS", (first, second))
    return [first, second]


def _ship(path: Path, purpose: str, data: bytes) -> ShippedModel:
    path.write_bytes(data)
    path.with_suffix(".sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    return ShippedModel(path.stem, path, purpose)
