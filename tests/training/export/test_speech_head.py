"""The speech head: which models it belongs to, and what of it an exported file says."""

import json
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
import torch

import speech_emotion
from speech_emotion.errors import ModelFormatError, ParityError
from speech_emotion.model import EmotionModel
from speech_emotion.training.config import TrainConfig
from speech_emotion.training.export import onnx as export_module
from speech_emotion.training.export.onnx import check_parity, export
from speech_emotion.training.export.speech_head import HEADS, SpeechHead, speech_head
from speech_emotion.training.fit.calibration import Calibration
from speech_emotion.training.fit.enrolment import EnrolledHead
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.quantize import round_weights
from speech_emotion.training.weights import initialise

COMPACT = Path(__file__).parents[3] / "recipes" / "ravdess-compact.toml"
N_EMBEDDING = miniature.lively_network().n_embedding
N_FEATURES = N_EMBEDDING + 2 * 32
SOUNDS = np.stack([miniature.sound(clip) for clip in miniature.clips((1, 2, 3))])


# In the package


def test_it_fits_the_encoder_in_the_package() -> None:
    head = speech_head(TrainConfig.load(COMPACT))
    assert head is not None
    assert head.weight.shape == (2 * 2 * 384,)  # two layers
    assert np.isfinite([*head.weight, head.bias]).all()
    assert 0 < head.threshold < 1


@pytest.mark.parametrize("path", HEADS.values(), ids=HEADS)
def test_its_file_is_small_and_says_where_it_comes_from(path: Path) -> None:
    found = json.loads(path.read_bytes())
    assert path.stat().st_size < 50_000
    assert found["command"].startswith("python tools/train_speech_head.py")
    assert len(found["commit"]) == 40


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"init": "fresh"}, False),
        ({"init": "other.safetensors"}, False),
        ({"probe": {"copies": 0}}, False),
        ({"network": {"architecture": "cnn"}}, False),
        ({"network": {"architecture": "vgg16"}}, False),
    ],
)
def test_it_belongs_to_the_encoder_in_the_package_that_stays_as_it_is(
    settings: dict[str, Any], expected: bool
) -> None:
    recipe = TrainConfig.load(COMPACT).to_dict()
    for key, value in settings.items():
        recipe[key] = recipe[key] | value if isinstance(value, dict) else value
    assert (speech_head(TrainConfig.from_dict(recipe)) is not None) == expected


@pytest.mark.parametrize("data", [None, b"", b"[]", b'{"weight": [1.0]}'])
def test_a_damaged_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes | None
) -> None:
    path = tmp_path / "speech_head.json"
    if data is not None:
        path.write_bytes(data)
    monkeypatch.setitem(HEADS, "pretrained", path)
    with pytest.raises(ModelFormatError, match="Install speech-emotion again"):
        speech_head(TrainConfig.load(COMPACT))


@torch.inference_mode()
def test_it_detects_a_voice_and_no_noise() -> None:
    config = TrainConfig.load(COMPACT)
    head, network = speech_head(config), build(config)
    assert head is not None
    initialise(network, "pretrained")
    noise = np.random.default_rng(0).normal(0, 0.1, (20, 48_000)).astype(np.float32)
    steady = np.sin(2 * np.pi * np.geomspace(50, 7_000, 20)[:, None] * np.arange(48_000) / 16_000)
    voices = np.stack([miniature.voice(3, f0=f0) for f0 in (90, 140, 200, 260, 320)])
    for sounds, speak in ((voices, True), (noise, False), (steady.astype(np.float32), False)):
        embeddings = network.eval().embed(network.features(torch.from_numpy(sounds))).numpy()
        assert ((head.score(embeddings) > 0) == speak).all()


# In an exported file


@pytest.fixture(scope="module")
def head() -> SpeechHead:
    """Of the miniature network, sure of some sounds and not of others."""
    network = miniature.lively_network()
    weight = np.random.default_rng(4).normal(0, 1, N_EMBEDDING).astype(np.float32)
    with torch.inference_mode():
        logits = network.embed(network.features(torch.from_numpy(SOUNDS))).numpy() @ weight
    return SpeechHead(weight, -float(np.median(logits)), 0.5)


@pytest.fixture(scope="module")
def enrolled() -> EnrolledHead:
    random = np.random.default_rng(0)
    weight = random.normal(0, 0.1, (8, N_FEATURES)).astype(np.float32)
    zeros, ones = np.zeros(N_FEATURES, np.float32), np.ones(N_FEATURES, np.float32)
    return EnrolledHead(zeros, ones, weight, np.zeros(8, np.float32), 1.0, 1.0, 0.1, 0.0)


@pytest.fixture(scope="module")
def file(head: SpeechHead, enrolled: EnrolledHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that detects speech and takes profiles."""
    path = tmp_path_factory.mktemp("speech") / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(export_module, "speech_head", lambda _: head)
        calibration = Calibration(miniature.TEMPERATURE, {"not_sure": 0.1})
        network, recipe = miniature.lively_network(), miniature.recipe()
        export(network, recipe, calibration, miniature.PROVENANCE, path, head=enrolled)
    return path


@pytest.mark.slow
def test_the_file_judges_speech_with_and_without_a_profile(head: SpeechHead, file: Path) -> None:
    model = EmotionModel.load(file)
    assert model.info.thresholds == {"not_sure": 0.1, "speech": 0.5}
    network = miniature.lively_network()
    round_weights(network)
    with torch.inference_mode():
        embeddings = network.embed(network.features(torch.from_numpy(SOUNDS))).numpy()
    scores = model.score(SOUNDS)
    np.testing.assert_allclose(scores.speech, 1 / (1 + np.exp(-head.score(embeddings))), atol=1e-4)
    assert 0 < (scores.speech >= 0.5).mean() < 1
    assert scores.voice.shape == (len(SOUNDS), N_FEATURES)
    profile = np.stack([np.ones(N_FEATURES), np.full(N_FEATURES, 2)]).astype(np.float32)
    np.testing.assert_array_equal(model.score(SOUNDS, profile).speech, scores.speech)


@pytest.mark.slow
def test_a_user_gets_what_it_judges(file: Path) -> None:
    speech = EmotionModel.load(file).score(SOUNDS).speech
    classifier = speech_emotion.load(file)
    answers = [classifier.predict(sound, sample_rate=16_000) for sound in SOUNDS]
    assert [answer.abstained == "no_speech" for answer in answers] == (speech < 0.5).tolist()


@pytest.mark.slow
def test_a_small_difference_in_it_is_found(file: Path, head: SpeechHead, enrolled: EnrolledHead) -> None:
    model = EmotionModel.load(file)
    network = miniature.lively_network()
    round_weights(network)
    same, other = (
        export_module._Shipped(network, miniature.CALIBRATION, head=enrolled, speech=judge).eval()
        for judge in (head, head._replace(bias=head.bias + 0.01))
    )
    check_parity(same, model, miniature.recipe())
    with pytest.raises(ParityError, match="in probability"):
        check_parity(other, model, miniature.recipe())
