"""The benchmark of long recordings, on short ones: memory stays where it is, and every row comes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def long_recording() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("long_recording", BENCHMARKS / "long_recording.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


@pytest.mark.parametrize("with_segments", [False, True])
def test_memory_does_not_grow(long_recording: ModuleType, model_path: Path, with_segments: bool) -> None:
    found = long_recording.measure(0.3, 2, with_segments=with_segments, options=["--model", str(model_path)])
    assert found["n_rows"] == 2 * (215 if with_segments else 0.3 * 3600 - 2)
    assert found["peak_mib"] < 250
    assert found["slope_mib_per_hour"] < 10  # that of 18 minutes; a decoded hour has 440 MiB
