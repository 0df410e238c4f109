"""A new corpus is one file in readers/ and one line in the registry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from sounds import wav

import speech_emotion

READER = '''
"""Mine, two speakers. In: ann_happy_1.wav. Out: label, speaker."""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, unexpected_name

_NAME: Final = re.compile(r"(ann|bob)_(happy|sad)_([12])")


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    if parts is None:
        raise unexpected_name(path, "speaker_emotion_number, as ann_happy_1")
    speaker, label, number = parts.groups()
    return Clip(str(path), label, speaker, "female" if speaker == "ann" else "male", {"number": number})


CORPUS: Final = Corpus(
    name="mine",
    title="Mine",
    language="English",
    licence="CC BY 4.0",
    citation="Me (2026). My corpus.",
    homepage="https://example.org",
    how_to_get="Get it from https://example.org",
    example="ann_happy_1.wav",
    parse=_parse,
    names=frozenset(f"{who}_{label}_{n}" for who in ("ann", "bob") for label in ("happy", "sad") for n in (1, 2)),
)
'''


def test_a_corpus_is_one_file_and_one_line(tmp_path: Path) -> None:
    package = tmp_path / "src" / "speech_emotion"
    shutil.copytree(
        Path(speech_emotion.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "corpora" / "readers" / "mine.py").write_text(READER)
    registry = package / "corpora" / "__init__.py"
    source = registry.read_text()
    assert source.count("READERS: Final = (\n") == 1
    registry.write_text(source.replace("READERS: Final = (\n", 'READERS: Final = (\n    "mine:CORPUS",\n'))
    (tmp_path / "corpus").mkdir()
    rng = np.random.default_rng(0)
    for name in ("ann_happy_1", "bob_sad_2"):
        (tmp_path / "corpus" / f"{name}.wav").write_bytes(
            wav(rng.uniform(-0.5, 0.5, 8000).astype(np.float32))
        )

    command = ["corpora", "check", "mine", str(tmp_path / "corpus"), "--allow-missing", "--json"]
    answer = subprocess.run(
        [sys.executable, "-m", "speech_emotion", *command],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert (report["n_clips"], report["n_clips_published"], report["n_speakers_published"]) == (2, 8, 2)
    assert report["speakers"] == {"ann": {"happy": 1}, "bob": {"sad": 1}}
    assert report["missing"] == sorted(
        {f"{who}_{label}_{n}" for who in ("ann", "bob") for label in ("happy", "sad") for n in (1, 2)}
        - {"ann_happy_1", "bob_sad_2"}
    )
