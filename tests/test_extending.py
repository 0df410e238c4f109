"""The changes that docs/extending.md describes, made in a copy of the package from the code on that page."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sounds
import standin

import speech_emotion
from speech_emotion.shipped import MODELS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The Python blocks of one section of the page."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package."""
    copy = tmp_path / "src" / "speech_emotion"
    shutil.copytree(Path(speech_emotion.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def insert(path: Path, after: str, text: str) -> None:
    """Put `text` behind the one place of `path` that reads `after`."""
    source = path.read_text(encoding="utf-8")
    assert source.count(after) == 1, f"{path.name}: {after!r} stands {source.count(after)} times"
    path.write_text(source.replace(after, after + text), encoding="utf-8")


def run(package: Path, *command: str) -> str:
    """What Python prints with the copy of the package."""
    path = os.pathsep.join([str(package.parent), str(ROOT / "tests" / "support")])
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path},
        cwd=package.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_corpus_is_one_file_and_one_line(package: Path) -> None:
    reader, line = blocks("A corpus")
    (package / "corpora" / "readers" / "mine.py").write_text(reader)
    insert(package / "corpora" / "__init__.py", "READERS: Final = (\n", line)
    corpus = package.parents[1] / "corpus"
    corpus.mkdir()
    for seed, name in enumerate(("ann_happy_1", "bob_sad_2")):
        (corpus / f"{name}.wav").write_bytes(sounds.wav(sounds.voice(seed + 1)))
    command = ["corpora", "check", "mine", "corpus", "--allow-missing", "--json"]
    report = json.loads(run(package, "-m", "speech_emotion", *command))
    assert (report["n_clips"], report["n_clips_published"], report["n_speakers_published"]) == (2, 8, 2)
    assert report["speakers"] == {"ann": {"happy": 1}, "bob": {"sad": 1}}
    assert report["missing"] == [
        "ann_happy_2", "ann_sad_1", "ann_sad_2", "bob_happy_1", "bob_happy_2", "bob_sad_1"
    ]  # fmt: skip


def test_a_format_is_one_function_and_one_line(package: Path) -> None:
    function, line = blocks("A format of answers")
    formats = package / "formats" / "__init__.py"
    insert(
        formats,
        "Writer = Callable[[Iterable[Outcome], TextIO, Sequence[str]], None]\n",
        f"\n\n{function}\n\n",
    )
    insert(formats, "WRITERS: Final[dict[str, Writer]] = {", line)
    written = run(package, "-m", "speech_emotion", "predict", "--demo", "--format", "markdown")
    assert re.findall(r"\| 0.00 \| (.*) \| (\w+) [\d.]+ \|", written) == [
        ("2.29", "angry"),
        ("2.30", "fearful"),
        ("3.38", "angry"),
    ]


TRAINED = """
import miniature, pathlib, speech_emotion, sounds
from speech_emotion.training import runs
config = miniature.recipe(network={"architecture": "dilated"})
made = miniature.dataset(miniature.clips([1, 2, 3, 4], ["calm", "happy", "angry", "surprised"]))
plan = runs.plan(config, pathlib.Path("run"), None, [0], None)
(model,) = runs.train(plan, made)
classifier = speech_emotion.load(model)
answer = classifier.predict(sounds.wav(sounds.voice(3)))
print(classifier.info.recipe["network"]["architecture"], round(sum(answer.probabilities.values()), 4))
"""


@pytest.mark.slow
def test_an_architecture_is_one_file_and_one_line(package: Path) -> None:
    network, line = blocks("A network architecture")
    networks = package / "training" / "networks"
    (networks / "dilated.py").write_text(network)
    insert(networks / "build.py", "NETWORKS: Final[dict[str, type[EmotionNetwork]]] = {", line)
    importing = "from speech_emotion.training.networks.encoder import"
    source = (networks / "build.py").read_text()
    assert source.count(importing) == 1
    added = f"from speech_emotion.training.networks.dilated import Dilated\n{importing}"
    (networks / "build.py").write_text(source.replace(importing, added))
    assert run(package, "-c", TRAINED).split() == ["dilated", "1.0"]


SERVED = """
import json, serving, sounds
from speech_emotion import load
from speech_emotion.server import create_app
with serving.served(create_app(load())) as server:
    status, answer, _ = server.post("/shares", sounds.wav(sounds.voice(3)))
    print(json.dumps(answer))
"""


def test_a_route_is_one_function_and_one_line(package: Path) -> None:
    function, line = blocks("A REST route")
    scoring = package / "server" / "scoring.py"
    insert(
        scoring, "Answer = Callable[[Classifier, list[Prediction]], dict[str, Any]]\n", f"\n\n{function}\n\n"
    )
    insert(scoring, "ANSWERS: Final[Mapping[str, Answer]] = {", line)
    answer = json.loads(run(package, "-c", SERVED).splitlines()[-1])
    assert answer.keys() == {"shares", "version", "model", "model_sha256"}
    assert sum(answer["shares"].values()) in (0, pytest.approx(1))


def test_a_model_in_the_package_is_its_files_and_one_line(package: Path) -> None:
    (line,) = blocks("A model in the package")
    data = standin.model_bytes(name="mine")
    (package / "assets" / "mine.onnx").write_bytes(data)
    (package / "assets" / "mine.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  mine.onnx\n")
    insert(package / "shipped.py", "MODELS: Final[tuple[ShippedModel, ...]] = (\n", line)
    listed = json.loads(run(package, "-m", "speech_emotion", "info", "--json"))
    before = [(model.name, False) for model in MODELS]
    assert [(one["name"], one["default"]) for one in listed] == [("mine", True), *before]
    assert listed[0]["purpose"] == "what it is for, in a few words"
    command = ["-m", "speech_emotion", "predict", "--demo", "--json"]
    chosen = ([], ["--model=mine"], ["--model=compact"])
    by_default, by_name, other = (run(package, *command, *model) for model in chosen)
    assert by_default == by_name != other
