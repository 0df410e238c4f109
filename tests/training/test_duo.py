"""Two ears and one head: each hears for itself, neither knows of the other, and the head hears both."""

import numpy as np
import pytest
import torch
from sounds import voice

from speech_emotion.training.duo import EmotionDuo
from speech_emotion.training.networks import EmotionNet
from speech_emotion.training.transformer import EmotionTransformer

NOISE = np.random.default_rng(3).normal(0, 0.02, 16_000).astype(np.float32)


def duo() -> EmotionDuo:
    torch.manual_seed(0)
    speech = EmotionTransformer(width=48, layers=1)
    return EmotionDuo(speech, EmotionNet(channels=(8, 8, 8, 16), n_fft=1024), n_labels=5).eval()


def voices(*pitches: float) -> torch.Tensor:
    return torch.stack([torch.from_numpy(voice(1.0, f0=f0) + NOISE) for f0 in pitches])


@torch.inference_mode()
def test_it_hears_what_both_hear() -> None:
    network, rows = duo(), voices(120, 260)
    embedding, log_mel = network.listen(rows)
    spoken, expected_log_mel = network.speech.listen(rows)
    assert torch.equal(log_mel, expected_log_mel)
    assert torch.equal(embedding, torch.cat([spoken, network.cnn.listen(rows)[0]], dim=1))
    assert embedding.shape == (2, network.n_embedding) == (2, 2 * 48 + 2 * 16)
    assert torch.equal(network(rows), network.head(embedding))
    assert network(rows).shape == (2, 5)


def test_neither_ear_keeps_a_head() -> None:
    names = [name for name, _ in duo().named_parameters()]
    assert {name.split(".")[0] for name in names} == {"speech", "cnn", "head"}
    assert not any(name.startswith(("speech.head", "cnn.head")) for name in names)


@pytest.mark.parametrize("gain_db", [-12, 12])
@torch.inference_mode()
def test_the_answer_does_not_depend_on_the_level(gain_db: float) -> None:
    network, rows = duo(), voices(110, 240)
    before, after = network(rows), network(rows * 10 ** (gain_db / 20))
    torch.testing.assert_close(after, before, rtol=0, atol=2e-4)
    assert (before[0] - before[1]).abs().max() > 2e-3


@torch.inference_mode()
def test_silence_is_finite_and_a_row_alone_equals_the_row_in_a_batch() -> None:
    network = duo()
    assert torch.isfinite(network(torch.zeros(1, 16_000))).all()
    rows = voices(90, 200, 310)
    for row, in_batch in zip(rows, network(rows), strict=True):
        torch.testing.assert_close(network(row.unsqueeze(0))[0], in_batch, rtol=0, atol=1e-4)
