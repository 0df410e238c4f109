"""The benchmark of speed: its arithmetic, the page that it writes, and a guard by ratios of one run."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import soxr
from onnx import TensorProto, helper, numpy_helper

from speech_emotion.audio import load
from speech_emotion.model import EmotionModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from speed import goals, limit, measure, page, workers  # noqa: E402

RESULT = ROOT / "results/benchmarks/speed.json"


def test_the_page_is_made_of_the_result() -> None:
    report = json.loads(RESULT.read_text(encoding="utf-8"))
    assert (ROOT / page.PAGE).read_text(encoding="utf-8") == page.page(report)
    assert (ROOT / page.PICTURE).read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_the_goals_follow_from_the_measurements() -> None:
    report = json.loads(RESULT.read_text(encoding="utf-8"))
    assert report["goals"] == goals.goals(report)
    assert [goal["met"] for goal in report["goals"]] == [
        goal["value"] <= goal["bound"] for goal in report["goals"]
    ]


def test_a_ratio_is_the_median_over_the_rounds_that_both_have() -> None:
    found = workers.ratio([2, 4, 9, 100], [1, 1, 3])
    assert (found["median"], found["low"], found["high"], found["n"]) == (3, 2.5, 3.5, 3)


def test_in_turns_each_round_asks_everyone_who_takes_part() -> None:
    asked: list[str] = []

    def ask(name: str) -> Callable[[], float]:
        def action() -> float:
            asked.append(name)
            return float(len(asked))

        return action

    found = workers.in_turns({"often": (ask("often"), 3), "once": (ask("once"), 1)})
    assert asked == ["often", "once", "often", "often"]
    assert found == {"often": [1, 3, 4], "once": [2]}


def test_what_is_proportional_has_the_exponent_one() -> None:
    assert measure.exponent([1, 2, 4, 8], [3, 6, 12, 24]) == pytest.approx(1)
    assert measure.exponent([1, 2, 4, 8], [1, 4, 16, 64]) == pytest.approx(2)


def small_graph() -> onnx.GraphProto:
    """A front end, an encoder of one product and a norm, and a head."""
    weights = [
        numpy_helper.from_array(np.zeros((64, 64), np.float32), name) for name in ("basis", "w", "head")
    ]
    names = ["log", "norm", "product", "mean", "gemm"]
    nodes = [
        helper.make_node("MatMul", ["x", "basis"], ["power"], name="fourier"),
        helper.make_node("Log", ["power"], ["log"], name="log"),
        helper.make_node("LayerNormalization", ["log", "scale"], ["norm"], name="norm"),
        helper.make_node("MatMul", ["norm", "w"], ["product"], name="product"),
        helper.make_node("ReduceMean", ["product"], ["mean"], name="mean"),
        helper.make_node("Gemm", ["mean", "head"], ["gemm"], name="gemm"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 10, 64])]
    outputs = [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, "small", inputs, outputs, weights)


def test_each_node_belongs_to_a_stage() -> None:
    assert limit.stages(small_graph()) == {
        "fourier": "front end",
        "log": "front end",
        "norm": "encoder",
        "product": "encoder",
        "mean": "heads",
        "gemm": "heads",
    }


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    voice = load(ROOT / "src/speech_emotion/assets/demo-lively.flac").samples
    samples: np.ndarray = np.tile(voice, 3)[np.newaxis, :56_000]
    return samples


def test_the_work_of_the_default_model_is_that_of_its_shapes(window: np.ndarray) -> None:
    rate = {"sgemm": 1e11, "int8_gemm": 4e11, "memcpy": 1e10}
    found = limit.of_model(ROOT / "src/speech_emotion/assets/standard.onnx", window, rate)
    assert found.keys() == {"front end", "encoder", "heads"}
    n_frames, encoders = 174, ((4, 512), (2, 384))  # layers and width
    of_layers = sum(layers * 2 * n_frames * 12 * width**2 for layers, width in encoders)
    of_convolutions = sum(2 * 3 * width * (80 * 348 + width * n_frames) for _, width in encoders)
    assert found["encoder"]["mflop_int8"] == pytest.approx((of_layers + of_convolutions) / 1e6, rel=1e-3)
    of_attention = sum(layers * 2 * 2 * n_frames**2 * width for layers, width in encoders)
    assert found["encoder"]["mflop_float"] == pytest.approx(of_attention / 1e6, rel=1e-3)
    # The front end works once for both.
    of_fourier = 2 * 2 * 348 * 200 * 201 + 2 * 80 * 201 * 348
    assert found["front end"]["mflop_float"] == pytest.approx(of_fourier / 1e6, rel=1e-3)


def fastest_in_turns(*actions: Callable[[], object]) -> list[float]:
    """The least CPU time of each, measured in turns: neither load nor the speed of the machine changes their ratio."""

    def cpu(action: Callable[[], object]) -> float:
        start = time.process_time()
        action()
        return time.process_time() - start

    rounds = np.array([[cpu(action) for action in actions] for _ in range(15)])
    fastest: list[float] = rounds.min(axis=0).tolist()
    return fastest


@pytest.mark.parametrize(("name", "n_mflop", "bound"), [("standard", 4_600, 2.5), ("compact", 1_900, 3.0)])
def test_a_model_takes_little_longer_than_its_products(
    name: str, n_mflop: int, bound: float, window: np.ndarray
) -> None:
    product, operand = limit.product(np.ones((512, 512), np.float32)), np.ones((512, 512), np.float32)
    model = EmotionModel.load(name)
    of_model, of_product = fastest_in_turns(
        lambda: model.score(window), lambda: product.run(None, {"a": operand})
    )
    assert of_model / (of_product * n_mflop * 1e6 / (2 * 512**3)) < bound


def test_loading_takes_little_longer_than_reading_and_resampling(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    samples = np.random.default_rng(0).normal(0, 0.1, 168_000).astype(np.float32)
    soundfile.write(path, samples, 48_000, subtype="PCM_16")

    def least() -> None:
        soxr.resample(soundfile.read(path, dtype="float32")[0], 48_000, 16_000)

    ours, theirs = fastest_in_turns(lambda: load(path), least)
    assert ours / theirs < 5
