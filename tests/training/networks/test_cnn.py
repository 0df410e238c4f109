"""The network: shapes, sizes, and answers that depend on one row and not on its level."""

import numpy as np
import pytest
import torch
from miniature import lively_network, recipe
from sounds import voice

from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import DYNAMIC_RANGE, AttentiveStatistics, normalise
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.cnn import Cnn, ResidualBlock, SqueezeExcitation

NOISE = np.random.default_rng(3).normal(0, 0.02, 16_000).astype(np.float32)


def voices(*pitches: float) -> torch.Tensor:
    """(n, n_samples): loud enough everywhere to stay above the power floor 12 dB lower."""
    return torch.stack([torch.from_numpy(voice(1.0, f0=f0) + NOISE) for f0 in pitches])


@torch.inference_mode()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    network, rows = lively_network(), voices(90, 200, 310)
    together = network(rows)
    assert (together[0] - together[1]).abs().max() > 0.1
    for row, in_batch in zip(rows, together, strict=True):
        torch.testing.assert_close(network(row.unsqueeze(0))[0], in_batch, rtol=0, atol=1e-4)


@pytest.mark.parametrize("gain_db", [-12, 12])
@torch.inference_mode()
def test_the_answer_does_not_depend_on_the_level(gain_db: float) -> None:
    network, rows = lively_network(), voices(110, 240)
    log_mel, louder = network.features(rows), network.features(rows * 10 ** (gain_db / 20))
    assert (louder - log_mel).mean() == pytest.approx(gain_db * np.log(10) / 10, abs=0.02)
    before, after = torch.softmax(network.classify(log_mel), 1), torch.softmax(network.classify(louder), 1)
    assert (before[0] - before[1]).abs().max() > 0.05
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)


def test_normalised_windows_have_mean_0_and_deviation_1_each() -> None:
    x = torch.randn(3, 32, 50) * torch.tensor([0.5, 1.0, 2.0])[:, None, None] + 7
    normal = normalise(x)
    torch.testing.assert_close(normal.mean(dim=(1, 2)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(dim=(1, 2), correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_what_is_80_db_below_the_peak_of_its_window_is_raised_to_there() -> None:
    x = torch.zeros(2, 4, 4)
    x[0, 0, 0], x[0, 3, 3] = 0.0, -100.0
    floored = torch.zeros(2, 4, 4)
    floored[0, 3, 3] = -DYNAMIC_RANGE
    torch.testing.assert_close(normalise(x), normalise(floored))


def test_silence_is_finite() -> None:
    with torch.inference_mode():
        assert torch.isfinite(lively_network()(torch.zeros(1, 16_000))).all()


@pytest.mark.parametrize(("n_mels", "n_samples"), [(32, 512), (40, 832), (64, 16_000), (80, 48_321)])
def test_any_length_from_one_frame_and_any_number_of_bands(n_mels: int, n_samples: int) -> None:
    network = Cnn(NetworkConfig(channels=(8, 8, 8, 8)), FrontendConfig(n_mels=n_mels)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, n_samples)).shape == (2, 8)


def test_forward_is_features_then_classify() -> None:
    network, rows = lively_network(), voices(150)
    with torch.inference_mode():
        torch.testing.assert_close(network(rows), network.classify(network.features(rows)), rtol=0, atol=0)
        assert network.embed(network.features(rows)).shape == (1, 32)


def test_the_default_network_is_small() -> None:
    network = Cnn(NetworkConfig(), FrontendConfig())
    n_parameters = sum(p.numel() for p in network.parameters())
    assert n_parameters == 642_324
    assert network.head[-1].out_features == 8


def test_weights_come_from_the_seed_and_nothing_else() -> None:
    first = build(recipe()).state_dict()
    torch.manual_seed(99)
    again, other = build(recipe()).state_dict(), build(recipe().with_seed(1)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


# Its parts


def test_even_attention_is_mean_and_deviation_over_time() -> None:
    pool = AttentiveStatistics(4)
    torch.nn.init.zeros_(pool.attention[2].weight)
    torch.nn.init.zeros_(pool.attention[2].bias)
    x = torch.randn(2, 4, 30)
    expected = torch.cat([x.mean(dim=2), (x.var(dim=2, correction=0) + 1e-5).sqrt()], dim=1)
    torch.testing.assert_close(pool(x), expected)


def test_attention_can_select_one_frame() -> None:
    pool = AttentiveStatistics(4)
    pool.attention = torch.nn.Identity()
    x = torch.zeros(1, 4, 30)
    x[:, :, 7] = 50
    torch.testing.assert_close(pool(x)[:, :4], torch.full((1, 4), 50.0))


def test_a_closed_gate_silences_its_channel() -> None:
    gate = SqueezeExcitation(8)
    torch.nn.init.zeros_(gate.excite.weight)
    with torch.no_grad():
        gate.excite.bias.copy_(torch.tensor([-100.0] + [100.0] * 7))
    x = torch.randn(2, 8, 3, 5)
    gated = gate(x)
    torch.testing.assert_close(gated[:, 1:], x[:, 1:])
    assert gated[:, 0].abs().max() < 1e-30


def test_a_block_whose_body_says_nothing_passes_its_input_on() -> None:
    block = ResidualBlock(8, 8, stride=(1, 1)).eval()
    torch.nn.init.zeros_(block.body[3].weight)
    x = torch.rand(1, 8, 6, 7)
    torch.testing.assert_close(block(x), x)
    assert ResidualBlock(8, 16, stride=(2, 2)).eval()(x).shape == (1, 16, 3, 4)


@pytest.mark.parametrize("shape", [(6, 8), (5, 8), (6, 7), (5, 7), (1, 1)])
@pytest.mark.parametrize("stride", [(2, 2), (2, 1)])
def test_an_odd_last_row_or_frame_is_averaged_by_itself(
    shape: tuple[int, int], stride: tuple[int, int]
) -> None:
    x = torch.rand(2, 8, *shape, generator=torch.Generator().manual_seed(0))
    pooled = ResidualBlock(8, 16, stride).shortcut[0](x)
    torch.testing.assert_close(pooled, torch.nn.AvgPool2d(stride, ceil_mode=True)(x))
