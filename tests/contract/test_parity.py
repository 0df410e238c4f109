"""The exported file answers as the network does that it was made of: any length, any number of rows."""

import miniature
import numpy as np
import pytest
import torch

from speech_emotion.model import EmotionModel
from speech_emotion.training.networks.cnn import Cnn
from speech_emotion.training.networks.quantize import round_weights


@pytest.fixture(scope="module")
def network() -> Cnn:
    """As the file holds it: with 8-bit weights."""
    network = miniature.lively_network()
    round_weights(network)
    return network


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmotionModel:
    path = tmp_path_factory.mktemp("parity") / "tiny.onnx"
    path.write_bytes(miniature.exported())
    return EmotionModel.load(path)


def rows(n_rows: int, n_samples: int) -> np.ndarray:
    """Different voices at different levels."""
    voices = [miniature.sound(clip, seconds=4.0) for clip in miniature.clips([1, 2, 3], ["calm", "angry"])]
    voices = [voice * gain for voice, gain in zip(voices, (1, 0.1, 2, 0.01, 1, 0.3), strict=True)]
    return np.stack(voices)[:n_rows, :n_samples]


@pytest.mark.parametrize("n_rows", [1, 2, 6])
@pytest.mark.parametrize("n_samples", [512, 831, 8_000, 12_345, 16_000, 16_001, 64_000])
def test_probabilities_logits_and_log_mel_are_those_of_torch(
    network: Cnn, model: EmotionModel, n_rows: int, n_samples: int
) -> None:
    waveform = rows(n_rows, n_samples)
    with torch.inference_mode():
        log_mel = network.features(torch.from_numpy(waveform))
        logits = network.classify(log_mel)
        probabilities = torch.softmax(logits / miniature.TEMPERATURE, dim=1)
    scores = model.score(waveform)
    np.testing.assert_allclose(scores.probabilities, probabilities, atol=1e-5, rtol=0)
    np.testing.assert_allclose(scores.logits, logits, atol=1e-4, rtol=0)
    np.testing.assert_allclose(scores.log_mel, log_mel, atol=2e-3, rtol=0)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, atol=1e-6)
    assert scores.log_mel.shape == (n_rows, 32, 1 + (n_samples - 512) // 320)


def test_the_rows_differ_so_that_equality_means_something(model: EmotionModel) -> None:
    probabilities = model.score(rows(6, 16_000)).probabilities
    distances = np.abs(probabilities[:, None] - probabilities[None]).max(axis=2)
    assert distances[np.triu_indices(6, 1)].min() > 1e-4
    assert distances.max() > 0.1


def test_a_row_alone_equals_the_row_in_a_batch(model: EmotionModel) -> None:
    together = model.score(rows(6, 16_000)).probabilities
    for row, in_batch in zip(rows(6, 16_000), together, strict=True):
        np.testing.assert_allclose(model.score(row[None]).probabilities[0], in_batch, atol=1e-4, rtol=0)


def test_silence_has_an_answer_although_the_gate_never_asks_for_it(network: Cnn, model: EmotionModel) -> None:
    """Nothing is left of it but rounding, which normalisation makes large: near, not equal."""
    silence = np.zeros((2, 16_000), np.float32)
    with torch.inference_mode():
        probabilities = torch.softmax(network(torch.from_numpy(silence)) / miniature.TEMPERATURE, dim=1)
    np.testing.assert_allclose(model.score(silence).probabilities, probabilities, atol=0.02)
