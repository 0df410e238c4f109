"""The transformer: its layers are the textbook's, and its answers depend on one row and not on its level."""

import numpy as np
import pytest
import torch
from miniature import recipe
from scipy.stats import skew
from sounds import voice
from torch import Tensor, nn
from torch.nn import functional

from speech_emotion.errors import ConfigError
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.build import build
from speech_emotion.training.networks.encoder import (
    HEAD_WIDTH,
    MEAN_LEVEL,
    EncoderLayer,
    SpeechEncoder,
    Transformer,
    normalise,
    sinusoids,
)
from speech_emotion.training.networks.frontend import POWER_FLOOR

WIDTH = 128  # two heads
NOISE = np.random.default_rng(3).normal(0, 0.02, 8 * 16_000).astype(np.float32)


def tiny(n_layers: int = 1, pooled_layers: int = 0) -> Transformer:
    """Untrained, with norms that have seen something and weights large enough to tell sounds apart."""
    torch.manual_seed(0)
    settings = NetworkConfig(layers=n_layers, width=WIDTH, pooled_layers=pooled_layers)
    network = Transformer(settings, FrontendConfig(80, 400, 160, 0.0))
    with torch.no_grad():
        for layer in network.encoder.layers:
            layer.query.weight.mul_(3)
        network.head[0].momentum = 1.0
        network(voices(110, 170, 260))
        network.head[2].weight.mul_(3)
    return network.eval()


def voices(*pitches: float, seconds: float = 1.0) -> Tensor:
    """(n, n_samples): noise keeps every band well above the power floor, 20 dB lower as well."""
    n = round(16_000 * seconds)
    return torch.stack([torch.from_numpy(30 * (voice(seconds, f0=f0) + NOISE[:n])) for f0 in pitches])


# What it hears


@pytest.mark.parametrize("gain_db", [-20, 20])
@torch.inference_mode()
def test_the_answer_does_not_depend_on_the_level(gain_db: float) -> None:
    network, rows = tiny(), voices(110, 240)
    log_mel, louder = network.features(rows), network.features(rows * 10 ** (gain_db / 20))
    assert min(log_mel.min(), louder.min()) > np.log(POWER_FLOOR)
    assert (louder - log_mel).mean() == pytest.approx(gain_db * np.log(10) / 10, abs=1e-3)
    before, after = network.classify(log_mel), network.classify(louder)
    assert (before[0] - before[1]).abs().max() > 0.2
    torch.testing.assert_close(after, before, rtol=0, atol=2e-4)


@torch.inference_mode()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    network, rows = tiny(2), voices(90, 200, 310)
    together = network(rows)
    assert (together[0] - together[1]).abs().max() > 0.2
    for row, in_batch in zip(rows, together, strict=True):
        torch.testing.assert_close(network(row.unsqueeze(0))[0], in_batch, rtol=0, atol=3e-4)


@pytest.mark.parametrize("seconds", [0.5, 1.01, 4.0, 8.0])
@torch.inference_mode()
def test_windows_of_any_length(seconds: float) -> None:
    network, rows = tiny(), voices(120, 210, seconds=seconds)
    log_mel = network.features(rows)
    n_frames = 1 + (rows.shape[1] - 400) // 160
    assert log_mel.shape == (2, 80, n_frames)
    (frames,) = network.encoder(normalise(log_mel))
    assert frames.shape == (2, -(-n_frames // 2), WIDTH)
    assert network.embed(log_mel).shape == (2, 4 * WIDTH)
    logits = network(rows)
    assert logits.shape == (2, 8)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits, network.classify(log_mel), rtol=0, atol=0)


@torch.inference_mode()
def test_time_matters() -> None:
    """The positions matter: a sound backwards is another one, though its frames are the same."""
    network, log_mel = tiny(), tiny().features(voices(150))
    assert (network.classify(log_mel) - network.classify(log_mel.flip(2))).abs().max() > 1e-3


def test_silence_is_finite() -> None:
    with torch.inference_mode():
        assert torch.isfinite(tiny()(torch.zeros(1, 16_000))).all()


def test_the_network_of_the_recipe() -> None:
    config = recipe(network={"architecture": "transformer", "layers": 1}, frontend={"n_mels": 40, "hop": 160})
    network = build(config)
    assert isinstance(network, Transformer)
    assert network.encoder.convolutions[0].weight.shape == (384, 40, 3)
    assert network.body == [network.encoder]
    assert (network.n_embedding, network.head[2].out_features) == (1536, 8)
    again, other = build(config), build(config.with_seed(1))
    name = "encoder.layers.0.query.weight"
    assert torch.equal(network.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(network.state_dict()[name], other.state_dict()[name])


# Normalisation


def test_the_mean_power_of_a_window_comes_to_the_level_of_the_encoder() -> None:
    torch.manual_seed(0)
    log_mel = torch.randn(3, 80, 50) * 2 + torch.tensor([-8.0, 0.0, 5.0])[:, None, None]
    log10 = normalise(log_mel) * 4 - 4  # Whisper's (x + 4) / 4, taken back
    mean_power = torch.pow(10.0, log10.double()).mean(dim=(1, 2)).log10()
    torch.testing.assert_close(mean_power, torch.full((3,), MEAN_LEVEL).double(), rtol=0, atol=1e-4)
    expected = (log_mel - log_mel.mean(dim=(1, 2), keepdim=True)) / np.log(10)
    torch.testing.assert_close(log10 - log10.mean(dim=(1, 2), keepdim=True), expected, rtol=0, atol=1e-4)


def test_what_is_80_db_below_the_peak_of_its_window_is_raised_to_there() -> None:
    db = np.log(10) / 10
    log_mel = torch.full((1, 4, 5), -30.0 * db)
    log_mel[0, 0, 0], log_mel[0, 1, 1], log_mel[0, 2, 2] = 0.0, -79 * db, -200 * db
    normal = normalise(log_mel)
    peak = normal[0, 0, 0]
    assert peak - normal[0, 3, 4] == pytest.approx(3 / 4, abs=1e-5)  # 10 dB are a quarter
    assert peak - normal[0, 1, 1] == pytest.approx(7.9 / 4, abs=1e-5)
    assert peak - normal[0, 2, 2] == pytest.approx(8 / 4, abs=1e-5)
    assert normal.min() == normal[0, 2, 2]


# Its parts


def test_sinusoids_are_those_of_whisper() -> None:
    """whisper/model.py, written down again with numpy: log_timescale_increment = log(max) / (channels // 2 - 1)."""
    increment = np.log(10_000) / (192 - 1)
    scaled = np.arange(40)[:, None] * np.exp(-increment * np.arange(192))[None, :]
    expected = np.concatenate([np.sin(scaled), np.cos(scaled)], axis=1)
    found = sinusoids(torch.arange(40), 384).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert found[0].tolist() == [0.0] * 192 + [1.0] * 192
    assert found[7, 0] == pytest.approx(np.sin(7), abs=1e-6)
    assert found[7, 191] == pytest.approx(np.sin(7e-4), abs=1e-6)


def test_a_layer_is_torch_s_own_encoder_layer() -> None:
    torch.manual_seed(1)
    ours = EncoderLayer(WIDTH).eval()
    theirs = nn.TransformerEncoderLayer(
        WIDTH,
        WIDTH // HEAD_WIDTH,
        4 * WIDTH,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    ).train()  # in evaluation it takes another path, fused
    with torch.no_grad():
        for norm in (ours.attention_norm, ours.feed_norm):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        attention = theirs.self_attn
        attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        attention.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(WIDTH), ours.value.bias]))
        for copy, original in (
            (attention.out_proj, ours.out),
            (theirs.linear1, ours.widen),
            (theirs.linear2, ours.narrow),
            (theirs.norm1, ours.attention_norm),
            (theirs.norm2, ours.feed_norm),
        ):
            copy.load_state_dict(original.state_dict())
        x = torch.randn(3, 17, WIDTH)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_attention_is_scaled_dot_product_attention_over_heads() -> None:
    torch.manual_seed(2)
    layer = EncoderLayer(WIDTH)
    nn.init.zeros_(layer.narrow.weight)
    nn.init.zeros_(layer.narrow.bias)
    x = torch.randn(2, 11, WIDTH)
    with torch.no_grad():
        y = layer.attention_norm(x)
        heads = [
            p(y).reshape(2, 11, WIDTH // HEAD_WIDTH, HEAD_WIDTH).permute(0, 2, 1, 3)
            for p in (layer.query, layer.key, layer.value)
        ]
        attended = functional.scaled_dot_product_attention(*heads).permute(0, 2, 1, 3).reshape(2, 11, WIDTH)
        torch.testing.assert_close(layer(x), x + layer.out(attended), rtol=0, atol=1e-5)
    assert layer.key.bias is None


def test_the_encoder_is_two_convolutions_positions_and_layers() -> None:
    torch.manual_seed(3)
    encoder = SpeechEncoder(20, WIDTH, 2).eval()
    first, second = encoder.convolutions[0], encoder.convolutions[2]
    x = torch.randn(2, 20, 15)
    with torch.no_grad():
        y = functional.gelu(functional.conv1d(x, first.weight, first.bias, padding=1))
        y = functional.gelu(functional.conv1d(y, second.weight, second.bias, stride=2, padding=1))
        y = y.transpose(1, 2) + sinusoids(torch.arange(8), WIDTH)
        first_layer = encoder.layers[0](y)
        expected = [first_layer, encoder.layers[1](first_layer)]
        for found, wanted in zip(encoder(x), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_an_embedding_is_mean_and_deviation_then_skewness_and_trend_of_every_layer() -> None:
    network = tiny(2)
    log_mel = network.features(voices(120, 260))
    layers = [frames.numpy() for frames in network.encoder(normalise(log_mel))]
    levels = [pooled for frames in layers for pooled in (frames.mean(1), frames.std(1))]
    seconds = np.arange(layers[0].shape[1])
    shapes = [
        pooled
        for frames in layers
        for pooled in (
            skew(frames, axis=1),
            np.polynomial.polynomial.polyfit(
                (seconds - seconds.mean()) / seconds.std(),
                frames.transpose(1, 0, 2).reshape(len(seconds), -1),
                1,
            )[1].reshape(2, WIDTH),
        )
    ]
    embedding = network.embed(log_mel)
    assert embedding.shape == (2, network.n_embedding) == (2, 4 * WIDTH * 2)
    half = network.n_embedding // 2
    np.testing.assert_allclose(embedding[:, :half], np.concatenate(levels, axis=1), rtol=0, atol=1e-3)
    np.testing.assert_allclose(embedding[:, half:], np.concatenate(shapes, axis=1), rtol=0, atol=1e-2)
    torch.testing.assert_close(network.classify(log_mel), network.head(embedding), rtol=0, atol=0)


@torch.inference_mode()
def test_only_the_last_layers_are_pooled() -> None:
    every, last = tiny(3), tiny(3, pooled_layers=2)
    log_mel = every.features(voices(120, 260))
    last.encoder.load_state_dict(every.encoder.state_dict())
    levels, shapes = every.embed(log_mel).chunk(2, dim=1)
    assert (last.n_embedding, last.n_levels) == (4 * WIDTH * 2, 2 * WIDTH * 2)
    expected = torch.cat([levels[:, 2 * WIDTH :], shapes[:, 2 * WIDTH :]], dim=1)
    torch.testing.assert_close(last.embed(log_mel), expected, rtol=0, atol=0)


def test_no_more_layers_are_pooled_than_there_are() -> None:
    settings = {"architecture": "transformer", "layers": 2, "pooled_layers": 2}
    assert build(recipe(network=settings)).n_embedding == 4 * 384 * 2
    with pytest.raises(ConfigError, match="network: pooled_layers ≤ layers"):
        recipe(network=settings | {"pooled_layers": 3})
