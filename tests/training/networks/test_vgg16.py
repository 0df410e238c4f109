"""VGG16: a picture of a sound, convolutions as numpy has them, torchvision's weights, any length, and one graph."""

from functools import cache
from typing import Any

import librosa
import numpy as np
import onnxruntime
import pytest
import torch
from sounds import voice
from torch import Tensor

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.errors import ConfigError, ModelFormatError
from speech_emotion.training.config import FrontendConfig, NetworkConfig
from speech_emotion.training.networks.base import DYNAMIC_RANGE
from speech_emotion.training.networks.vgg16 import (
    BLUE,
    TORCHVISION_BLUE,
    UNIT,
    Vgg16,
    convolutions,
    delta,
    load_torchvision,
)

# (index, channels in, channels out) of the convolutions in torchvision.models.vgg16().features
TORCHVISION = (
    *((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128)),
    *((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    *((17, 256, 512), (19, 512, 512), (21, 512, 512)),
    *((24, 512, 512), (26, 512, 512), (28, 512, 512)),
)


def voices(*pitches: float, seconds: float = 0.5) -> Tensor:
    noise = np.random.default_rng(3).normal(0, 0.02, round(seconds * SAMPLE_RATE)).astype(np.float32)
    return torch.stack([torch.from_numpy(voice(seconds, f0=f0) + noise) for f0 in pitches])


def vgg16(layers: int = 3, pooled_layers: int = 2, **frontend: Any) -> Vgg16:
    return Vgg16(NetworkConfig(layers=layers, pooled_layers=pooled_layers), FrontendConfig(**frontend))


@cache
def lively(layers: int = 3) -> Vgg16:
    """Untrained, but normalised to voices, so that its answers differ from sound to sound."""
    torch.manual_seed(0)
    network = vgg16(layers)
    network.head[0].momentum = 1.0  # the statistics of the batch that follows
    with torch.no_grad():
        network(voices(90, 130, 200, 310))
    return network.eval()


def torchvision_state() -> dict[str, Tensor]:
    """What torchvision publishes, with one number per tensor: a view that takes no memory."""
    shapes = {f"features.{i}.weight": (n_out, n_in, 3, 3) for i, n_in, n_out in TORCHVISION}
    shapes |= {f"features.{i}.bias": (n_out,) for i, _, n_out in TORCHVISION}
    shapes["classifier.6.bias"] = (1000,)
    return {name: torch.tensor(k / 7).expand(shape) for k, (name, shape) in enumerate(shapes.items())}


# The picture


def test_delta_is_librosas_up_to_the_edges() -> None:
    x = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0))
    expected = librosa.feature.delta(x.numpy(), width=5, mode="nearest")
    np.testing.assert_allclose(delta(x), expected, atol=1e-6)
    twice = librosa.feature.delta(expected, width=5, mode="nearest")
    np.testing.assert_allclose(delta(delta(x)), twice, atol=1e-6)


def test_delta_of_a_ramp_is_its_slope_and_of_one_frame_nothing() -> None:
    ramp = 3 * torch.arange(12.0).expand(1, 2, 12)
    torch.testing.assert_close(delta(ramp)[..., 2:-2], torch.full((1, 2, 8), 3.0))
    torch.testing.assert_close(delta(ramp)[0, 0, 0], torch.tensor(3 * (1 + 2 * 2) / 10))
    assert not delta(torch.ones(1, 2, 1)).any()


def test_the_picture_is_the_level_and_its_slopes() -> None:
    log_mel = lively().features(voices(90, 200))
    picture = vgg16().picture(log_mel)
    loudest = log_mel.amax(dim=(1, 2), keepdim=True)
    level = 255 * np.clip(1 + (log_mel - loudest).numpy() / DYNAMIC_RANGE, 0, 1)  # 80 dB
    slope = librosa.feature.delta(level, width=5, mode="nearest")
    curvature = librosa.feature.delta(slope, width=5, mode="nearest")
    expected = np.stack([level - 103.939, 6 * slope, 20 * curvature], axis=1)
    np.testing.assert_allclose(picture, expected, atol=1e-2)


def test_a_louder_recording_is_the_same_picture() -> None:
    rows = voices(130)
    quiet, loud = (vgg16().picture(lively().features(gain * rows)) for gain in (0.1, 1.0))
    torch.testing.assert_close(quiet, loud, atol=0.02, rtol=0)


# The convolutions


def test_the_first_convolution_is_numpys() -> None:
    """Of one pixel: what the three channels around it have in common with the weights."""
    network, log_mel = lively(), lively().features(voices(130))
    with torch.inference_mode():
        picture = network.picture(log_mel)
        found = network.vgg.features[0](picture)[0].numpy()
    weight, bias = (network.vgg.features[0].state_dict()[name].numpy() for name in ("weight", "bias"))
    around = picture[0].numpy()[:, 9:12, 4:7]
    np.testing.assert_allclose(
        found[:, 10, 5], (weight * around).sum(axis=(1, 2, 3)) + bias, rtol=1e-4, atol=1e-3
    )
    corner = np.pad(picture[0].numpy(), ((0, 0), (1, 1), (1, 1)))[:, :3, :3]
    np.testing.assert_allclose(
        found[:, 0, 0], (weight * corner).sum(axis=(1, 2, 3)) + bias, rtol=1e-4, atol=1e-3
    )


def test_the_convolutions_have_torchvisions_names_and_shapes() -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in convolutions(5).state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in torchvision_state().items()}
    assert theirs.pop("classifier.6.bias") == (1000,)
    assert ours == theirs
    assert sum(int(np.prod(shape)) for shape in ours.values()) == 14_714_688


@pytest.mark.parametrize(("n_blocks", "shape"), [(1, (64, 64, 50)), (3, (256, 16, 12)), (4, (512, 8, 6))])
def test_every_block_but_the_last_is_followed_by_a_pool(n_blocks: int, shape: tuple[int, ...]) -> None:
    with torch.inference_mode():
        assert convolutions(n_blocks)(torch.zeros(1, 3, 64, 50)).shape == (1, *shape)


def test_fresh_weights_keep_the_scale_through_thirteen_layers() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        x = convolutions(5)(torch.randn(2, 3, 64, 24))
    assert 0.3 < x.square().mean().sqrt() < 10


@torch.inference_mode()
def test_torchvisions_weights_see_what_torchvision_would_see() -> None:
    """Red, green, blue from 0 to 1, by mean and deviation of ImageNet; blue is the level, green and red its slopes."""
    random = torch.Generator().manual_seed(0)
    state = torchvision_state()
    for part, shape in (("weight", (64, 3, 3, 3)), ("bias", (64,))):
        state[f"features.0.{part}"] = torch.randn(shape, generator=random)
    network = vgg16()
    log_mel = network.features(voices(130))
    blue, green, red = network.picture(log_mel)[0] + torch.tensor([BLUE, 116.28, 123.675])[:, None, None]
    load_torchvision(network, state)
    mean, deviation = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    seen = ((torch.stack([red, green, blue]) / 255 - mean) / deviation)[None]
    expected = torch.nn.functional.conv2d(
        seen, state["features.0.weight"], state["features.0.bias"], padding=1
    )
    found = network.vgg.features[0](network.picture(log_mel))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    assert network.blue == pytest.approx(TORCHVISION_BLUE)


def test_torchvisions_weights_arrive_and_the_head_stays() -> None:
    network, state = vgg16(), torchvision_state()
    head = network.head[-1].weight.clone()
    load_torchvision(network, state)
    for name, tensor in network.vgg.state_dict().items():
        if name != "features.0.weight":
            assert torch.equal(tensor, state[name]), name
    assert torch.equal(network.head[-1].weight, head)


def test_weights_of_another_network_are_refused_and_nothing_changes() -> None:
    network, state = vgg16(layers=4), torchvision_state()
    before = network.vgg.features[0].weight.clone()
    del state["features.21.bias"]
    state["features.5.weight"] = torch.zeros(128, 32, 3, 3)
    with pytest.raises(ModelFormatError) as refused:
        load_torchvision(network, state)
    assert (
        "features.21.bias is missing; "
        "features.5.weight is (128, 32, 3, 3) and must be (128, 64, 3, 3). Take torchvision's vgg16"
    ) in str(refused.value)
    assert torch.equal(network.vgg.features[0].weight, before)


# The network


@torch.inference_mode()
def test_forward_is_features_embed_head() -> None:
    network, rows = lively(), voices(150)
    log_mel = network.features(rows)
    assert log_mel.shape == (1, 64, 24)
    embedding = network.embed(log_mel)
    assert embedding.shape == (1, network.n_embedding) == (1, 16 * (128 + 256))
    torch.testing.assert_close(network.classify(log_mel), network.head(embedding), rtol=0, atol=0)
    torch.testing.assert_close(network(rows), network.classify(log_mel), rtol=0, atol=0)


@torch.inference_mode()
def test_the_embedding_holds_moments_of_four_bands_of_each_pooled_block() -> None:
    network = lively()
    log_mel = network.features(voices(150, seconds=1.0))
    found = network.embed(log_mel)[0, : 16 * 128].numpy().reshape(4, 128, 4)
    block2 = network.vgg.features[:9](network.picture(log_mel))[0].numpy() / UNIT
    frames = block2.reshape(128, 4, 8, -1).mean(axis=2)  # (channel, band, frame)
    deviation = np.sqrt(frames.var(axis=2) + 1e-5)
    centred = frames - frames.mean(axis=2, keepdims=True)
    time = np.arange(frames.shape[2]) - (frames.shape[2] - 1) / 2
    expected = [
        frames.mean(axis=2),
        deviation,
        (centred**3).mean(axis=2) / deviation**3,
        (centred * time).mean(axis=2) / time.std(),
    ]
    for moment, values in zip(found, expected, strict=True):
        np.testing.assert_allclose(moment, values, atol=2e-3)


@torch.inference_mode()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    rows = voices(90, 200, 310)
    together = lively()(rows)
    assert (together[0] - together[1]).abs().max() > 0.1
    for row, in_batch in zip(rows, together, strict=True):
        torch.testing.assert_close(lively()(row.unsqueeze(0))[0], in_batch, rtol=0, atol=1e-4)


def test_the_body_is_the_convolutions() -> None:
    network = vgg16()
    assert network.body == [network.vgg]


@pytest.mark.parametrize(("layers", "n_mels", "n_frames"), [(4, 32, 8), (3, 16, 4), (4, 96, 151), (1, 40, 1)])
def test_any_length_that_leaves_a_frame(layers: int, n_mels: int, n_frames: int) -> None:
    network = vgg16(layers=layers, pooled_layers=0, n_mels=n_mels).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 512 + (n_frames - 1) * 320))
    assert logits.shape == (2, 8)
    assert torch.isfinite(logits).all()


def test_mel_bands_that_pools_and_bands_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"divides the mel bands by 16, which 40 cannot be"):
        vgg16(n_mels=40)
    with pytest.raises(ConfigError, match=r"five blocks, not 6\. Lower network\.layers"):
        vgg16(layers=6)


def test_a_step_in_bfloat16_reaches_every_weight() -> None:
    torch.manual_seed(0)
    network = vgg16().train().to(memory_format=torch.channels_last)
    log_mel = network.features(voices(90, 200, 310))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.classify(log_mel)
    torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the exporter to its developers
def test_the_graph_agrees_from_half_a_second_to_six() -> None:
    network = lively(layers=2)
    n_samples = torch.export.Dim("n_samples", min=network.frontend.spectrum.n_fft)
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 3 * SAMPLE_RATE),),
        dynamo=True,
        opset_version=18,
        input_names=["waveform"],
        dynamic_shapes=({0: torch.export.Dim("batch"), 1: n_samples},),
        verbose=False,
        optimize=False,
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    for n_rows, seconds in ((1, 0.5), (3, 0.5), (2, 1.7), (1, 6)):
        waveform = voices(*(90 + 60 * row for row in range(n_rows)), seconds=seconds)
        with torch.inference_mode():
            expected = torch.softmax(network(waveform), dim=1)
        (logits,) = session.run(None, {"waveform": waveform.numpy()})
        torch.testing.assert_close(
            torch.softmax(torch.from_numpy(logits), dim=1), expected, atol=1e-5, rtol=0
        )
