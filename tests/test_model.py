"""The model file: what is read out of it, what it computes, and what it refuses and says then."""

import dataclasses
import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import standin

from speech_emotion import model as module
from speech_emotion.errors import ModelError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import EmotionModel, ModelInfo, seal, verify
from speech_emotion.model_info import Enrolment
from speech_emotion.shipped import ShippedModel


def load(tmp_path: Path, data: bytes) -> EmotionModel:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return EmotionModel.load(path)


def test_info_is_what_was_written(model: EmotionModel, model_path: Path) -> None:
    data = model_path.read_bytes()
    measured = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    names = {"labels": EMOTIONS, "corpora": ("synthetic",)}
    assert model.info == ModelInfo(**{**standin.METADATA, **names, **measured})
    assert (model.info.thresholds, model.info.enrolment) == ({}, None)
    assert (model.info.window_samples, model.info.hop_samples, model.info.min_samples) == (
        48_000,
        16_000,
        8_000,
    )


def test_scores_equal_the_same_sums_in_numpy(model: EmotionModel) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (2, 8_000)).astype(np.float32)
    scores = model.score(samples)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in standin.graph().initializer}
    frames = np.lib.stride_tricks.sliding_window_view(samples, standin.N_TAPS, axis=1)[:, :: standin.HOP]
    log_mel = np.log((frames @ constants["basis"][:, 0].T) ** 2 + 1e-6).transpose(0, 2, 1)
    logits = log_mel.mean(axis=2) @ constants["weights"]
    powers = np.exp(logits / 1.25)
    np.testing.assert_allclose(scores.log_mel, log_mel, atol=1e-3)
    np.testing.assert_allclose(scores.logits, logits, atol=1e-3)
    np.testing.assert_allclose(scores.probabilities, powers / powers.sum(axis=1, keepdims=True), atol=1e-4)
    assert scores.voice.shape == (2, 0)
    np.testing.assert_array_equal(scores.speech, [1, 1])


def test_the_probability_of_speech(tmp_path: Path) -> None:
    """Beside a voice's features or without them."""
    samples = np.random.default_rng(1).normal(0, 1, (3, 8_000)) * np.array([[0.5], [0.05], [0.0005]])
    for enrolment in (None, standin.ENROLMENT):
        model = load(tmp_path, standin.model_bytes(thresholds={"speech": 0.4}, enrolment=enrolment))
        scores = model.score(samples)
        levels = scores.log_mel.mean(axis=(1, 2))
        np.testing.assert_allclose(scores.speech, 1 / (1 + np.exp(standin.LOUD - levels)), atol=1e-5)
        assert scores.speech[0] > 0.9 > 0.1 > scores.speech[2]
        assert scores.voice.shape == (3, 16 if enrolment else 0)


def test_threads_share_one_model(model: EmotionModel) -> None:
    windows = np.random.default_rng(2).normal(0, 0.1, (40, 1, 16_000)).astype(np.float32)
    alone = [model.score(window).probabilities for window in windows]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda window: model.score(window).probabilities, windows))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("shape", [(16_000,), (1, 1, 16_000), (1, 10), (1, 0)])
def test_a_batch_it_cannot_score_says_so(model: EmotionModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"could not score windows of shape .*\n?.*Give it \(n, n_samples\)"):
        model.score(np.zeros(shape, np.float32))


def test_nan_is_never_an_answer(model: EmotionModel) -> None:
    with pytest.raises(ModelError, match="answered NaN"):
        model.score(np.full((1, 16_000), np.nan))


def test_nan_is_no_judgement_of_speech(tmp_path: Path) -> None:
    graph = standin.graph(judges=True)
    (loud,) = (tensor for tensor in graph.initializer if tensor.name == "loud")
    loud.CopyFrom(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "loud"))
    model = load(tmp_path, standin.sealed(graph, standin.METADATA | {"thresholds": {"speech": 0.4}}))
    with pytest.raises(ModelError, match="answered NaN"):
        model.score(np.zeros((1, 16_000)))


def test_seal_covers_every_byte() -> None:
    data = standin.model_bytes()
    verify(data)
    assert seal(data) == data
    digest = data[slice(*module._seal_span(data))]
    blank = data.replace(digest, module.UNSEALED.encode())
    assert digest.decode() == hashlib.sha256(blank).hexdigest()
    with pytest.raises(ModelIntegrityError, match="damaged"):
        verify(blank)


MISSING = object()


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("format_version", 2, r"format version 2 and this package reads 1\. Update with"),
        ("format_version", MISSING, "format version None"),
        ("name", MISSING, "'name' as str, got nothing"),
        ("labels", "happy", "'labels' as list, got 'happy'"),
        ("labels", [1, 2], "'labels' as list, got"),
        ("labels", ["happy"] * 8, "two or more different labels"),
        ("labels", ["happy", "sad"], "names 2 labels and gives 8 probabilities"),
        *(
            ("labels", [label, *EMOTIONS[1:]], r"a name and labels that can be shown: .*got ['\"]")
            for label in (
                "",
                " ",
                "=1+1",
                "+1",
                "-1",
                "@x",
                "'x",
                "a\nb",
                "\x1b[2J",
                "\u202ehappy",
                "x" * 101,
            )
        ),
        ("name", "\x1b]0;mine\x07", r"a name and labels that can be shown: .*got '\\x1b"),
        ("sample_rate", 8_000, "sample_rate 16000, got 8000"),
        ("sample_rate", True, "'sample_rate' as int, got True"),
        ("window_seconds", "3", "'window_seconds' as int or float, got '3'"),
        ("window_seconds", math.nan, "'window_seconds' as int or float, got nan"),
        ("window_seconds", 1e308, "window 1e"),
        ("hop_seconds", 0, "got hop 0"),
        ("hop_seconds", 4.0, "got hop 4, window 3"),
        ("min_seconds", -1, "got min -1"),
        ("temperature", 0.0, "positive temperature, got 0"),
        ("protocol", [], "'protocol' as dict or NoneType"),
        ("metrics", None, "'metrics' as dict, got None"),
        ("thresholds", {"not_sure": 1.5}, r"thresholds between 0 and 1, got \{'not_sure': 1.5"),
        ("thresholds", {"set": "0.9"}, "thresholds between 0 and 1"),
        ("thresholds", {"speech": -0.1}, "thresholds between 0 and 1"),
        ("thresholds", {"speech": 0.5}, r"a threshold 'speech' gives speech \(batch,\), this one gives"),
        ("enrolment", 448, "'enrolment' as dict or NoneType, got 448"),
        (
            "enrolment",
            {"n_features": 16},
            "in 'enrolment' the numbers n_features, min_seconds, prior_windows, gain",
        ),
        ("enrolment", standin.ENROLMENT | {"n_features": 0}, "the numbers n_features"),
        ("enrolment", standin.ENROLMENT | {"prior_windows": "ten"}, "the numbers n_features"),
        ("enrolment", standin.ENROLMENT | {"min_seconds": math.nan}, "the numbers n_features"),
        ("enrolment", standin.ENROLMENT, r"takes profile \(2, 16\) if it is given and gives voice"),
    ],
)
def test_metadata_that_does_not_hold(tmp_path: Path, key: str, value: Any, complaint: str) -> None:
    metadata = standin.METADATA | {key: value}
    if value is MISSING:
        del metadata[key]
    with pytest.raises(ModelFormatError, match=complaint):
        load(tmp_path, standin.sealed(standin.graph(), metadata))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_metadata_that_is_no_object(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelFormatError, match=r"must be (JSON|a JSON object), got"):
        load(tmp_path, standin.sealed(standin.graph(), text))


def test_every_field_is_checked() -> None:
    from speech_emotion.model_info import _TYPES

    assert [*_TYPES, "size_bytes", "sha256"] == list(ModelInfo.__dataclass_fields__)


def test_how_a_model_enrols(tmp_path: Path) -> None:
    info = load(tmp_path, standin.model_bytes(enrolment=standin.ENROLMENT)).info
    assert info.enrolment == Enrolment(n_features=16, min_seconds=10.0, prior_windows=10.0, gain=0.05)
    without_gain = standin.model_bytes(enrolment=standin.ENROLMENT | {"gain": None})
    assert load(tmp_path, without_gain).info.enrolment == dataclasses.replace(info.enrolment, gain=None)


def test_a_profile_of_another_length(tmp_path: Path) -> None:
    more = standin.model_bytes(enrolment=standin.ENROLMENT | {"n_features": 17})
    with pytest.raises(ModelFormatError, match=r"takes profile \(2, 17\)"):
        load(tmp_path, more)


@pytest.mark.parametrize("names", [{"waveform": "audio"}, {"probabilities": "scores"}])
def test_a_graph_with_other_names(tmp_path: Path, names: dict[str, str]) -> None:
    (other,) = names.values()
    with pytest.raises(ModelFormatError, match=rf"this one takes .*{other}"):
        load(tmp_path, standin.sealed(standin.graph(**names), standin.METADATA))


def test_a_shipped_model_is_pinned_outside_itself(two_models: list[ShippedModel]) -> None:
    path = two_models[1].path
    assert EmotionModel.load("second").info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(standin.model_bytes(name="another, soundly sealed"))
    with pytest.raises(ModelIntegrityError, match="the shipped model second is not the one of this release"):
        EmotionModel.load("second")
    path.with_suffix(".sha256").write_text("")
    with pytest.raises(ModelIntegrityError, match="not the one of this release"):
        EmotionModel.load("second")
    path.with_suffix(".sha256").unlink()
    with pytest.raises(ModelNotFoundError, match=r"second\.sha256.*Install speech-emotion again"):
        EmotionModel.load("second")
    path.unlink()
    with pytest.raises(
        ModelNotFoundError, match=r"second\.onnx': No such file.*Install speech-emotion again"
    ):
        EmotionModel.load("second")
    assert EmotionModel.load().info.name == "first"


def test_info_reads_back_as_json(model: EmotionModel) -> None:
    document = json.loads(json.dumps(dataclasses.asdict(model.info), allow_nan=False))
    assert {key: document[key] for key in standin.METADATA} == standin.METADATA
