"""The load generator in small: with a stand-in, every client has its own answer, and kills cost what they may."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from speech_emotion.classifier import Classifier

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import serve_load


@pytest.mark.slow
def test_no_answer_is_lost_or_mixed(classifier: Classifier, model_path: Path) -> None:
    load = serve_load.Load(classifier, scale=0.02)
    found: dict[str, Any] = asyncio.run(serve_load.identity(load, str(model_path)))
    assert found["right"] == found["n_requests"] == 200
    assert not found.get("lost")
    assert not found.get("mixed")
    killed = asyncio.run(serve_load.kills(load, str(model_path)))
    assert killed["kept"], killed
