"""VGG16: torchvision's names and numbers, librosa's deltas, any length, and one graph that agrees with torch."""

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
from speech_emotion.training.networks.base import normalise
from speech_emotion.training.networks.frontend import LogMel
from speech_emotion.training.networks.vgg16 import Vgg16, convolutions, delta, load_imagenet

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


def vgg16(**frontend: Any) -> Vgg16:
    return Vgg16(NetworkConfig(), FrontendConfig(**frontend))


@cache
def lively() -> Vgg16:
    """Untrained, but normalised to voices, so that its answers differ from sound to sound."""
    torch.manual_seed(0)
    network = vgg16()
    for norm in (network.scale, network.head[0]):
        norm.momentum = 1.0  # the statistics of the batch that follows
    with torch.no_grad():
        network(voices(90, 130, 200, 310))
    return network.eval()


def torchvision_state() -> dict[str, Tensor]:
    """What torchvision publishes, with one number per tensor: a view that takes no memory."""
    shapes = {f"features.{i}.weight": (n_out, n_in, 3, 3) for i, n_in, n_out in TORCHVISION}
    shapes |= {f"features.{i}.bias": (n_out,) for i, _, n_out in TORCHVISION}
    shapes["classifier.6.bias"] = (1000,)
    return {name: torch.tensor(k / 7).expand(shape) for k, (name, shape) in enumerate(shapes.items())}


# The image


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


def test_the_image_is_log_mel_and_its_slopes_each_of_deviation_1() -> None:
    network, log_mel = vgg16().train(), lively().features(voices(90, 200, 310))
    image = network.image(log_mel)
    torch.testing.assert_close(image.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(image.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=2e-3, rtol=0)
    slope = delta(normalise(log_mel))
    for channel, unscaled in enumerate((normalise(log_mel), slope, delta(slope))):
        centred = unscaled - unscaled.mean()
        torch.testing.assert_close(
            image[:, channel], centred / (centred.square().mean() + 1e-5).sqrt(), atol=1e-4, rtol=0
        )


# The convolutions


def test_the_convolutions_have_torchvisions_names_and_shapes() -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in vgg16().vgg.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in torchvision_state().items()}
    assert theirs.pop("classifier.6.bias") == (1000,)
    assert ours == theirs
    assert sum(int(np.prod(shape)) for shape in ours.values()) == 14_714_688


def test_a_second_of_64_bands_becomes_2_bands_and_an_eighth_of_the_frames() -> None:
    with torch.inference_mode():
        assert convolutions()(torch.zeros(1, 3, 64, 50)).shape == (1, 512, 2, 6)


def test_fresh_weights_keep_the_scale_through_thirteen_layers() -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        x = convolutions()(torch.randn(2, 3, 64, 24))
    assert 0.3 < x.square().mean().sqrt() < 10


def test_imagenet_weights_arrive_and_the_rest_stays() -> None:
    network, state = vgg16(), torchvision_state()
    head = network.head[-1].weight.clone()
    load_imagenet(network, state)
    for name, tensor in network.vgg.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert torch.equal(network.head[-1].weight, head)


def test_weights_of_another_network_are_refused_and_nothing_changes() -> None:
    network, state = vgg16(), torchvision_state()
    before = network.vgg.features[0].weight.clone()
    del state["features.28.bias"]
    state["features.5.weight"] = torch.zeros(128, 32, 3, 3)
    state["features.1.running_mean"] = torch.zeros(64)
    with pytest.raises(ModelFormatError) as refused:
        load_imagenet(network, state)
    assert (
        "features.28.bias is missing; features.1.running_mean is not part of VGG16; "
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
    assert embedding.shape == (1, network.n_embedding) == (1, 1024)
    torch.testing.assert_close(network.classify(log_mel), network.head(embedding), rtol=0, atol=0)
    torch.testing.assert_close(network(rows), network.classify(log_mel), rtol=0, atol=0)


@torch.inference_mode()
def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    rows = voices(90, 200, 310)
    together = lively()(rows)
    assert (together[0] - together[1]).abs().max() > 0.1
    for row, in_batch in zip(rows, together, strict=True):
        torch.testing.assert_close(lively()(row.unsqueeze(0))[0], in_batch, rtol=0, atol=1e-4)


def test_the_body_is_the_convolutions_then_the_bands() -> None:
    network = vgg16()
    assert network.body == [network.vgg, network.bands]


def test_the_lowest_frequency_is_the_frontends() -> None:
    assert torch.equal(vgg16(fmin_hz=0.0).frontend.edges_hz, LogMel(fmin_hz=0.0).edges_hz)


def test_bands_are_averaged_before_training() -> None:
    x = torch.randn(1, 512, 2, 3)
    torch.testing.assert_close(vgg16().bands(x), x.mean(dim=2, keepdim=True))


@pytest.mark.parametrize(("n_mels", "n_frames"), [(32, 8), (40, 25), (64, 151), (80, 24)])
def test_any_length_from_eight_frames_and_any_number_of_bands(n_mels: int, n_frames: int) -> None:
    network = vgg16(n_mels=n_mels).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 512 + (n_frames - 1) * 320))
    assert logits.shape == (2, 8)
    assert torch.isfinite(logits).all()


def test_too_few_bands_for_five_pools_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"at least 32 mel bands, not 31\. Raise frontend\.n_mels"):
        vgg16(n_mels=31)


def test_a_step_in_bfloat16_reaches_every_weight() -> None:
    torch.manual_seed(0)
    network = vgg16().train().to(memory_format=torch.channels_last)
    log_mel = network.features(voices(90, 200, 310))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.classify(log_mel)
    torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2])).backward()
    for name, parameter in network.named_parameters():
        if name != "pool.attention.2.bias":  # the same for every frame: softmax over frames does not see it
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the exporter to its developers
def test_the_graph_agrees_from_half_a_second_to_twenty() -> None:
    network = lively()
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
    for n_rows, seconds in ((1, 0.5), (3, 0.5), (2, 1.7), (1, 20)):
        waveform = voices(*(90 + 60 * row for row in range(n_rows)), seconds=seconds)
        with torch.inference_mode():
            expected = torch.softmax(network(waveform), dim=1)
        (logits,) = session.run(None, {"waveform": waveform.numpy()})
        torch.testing.assert_close(
            torch.softmax(torch.from_numpy(logits), dim=1), expected, atol=1e-5, rtol=0
        )
