"""Export: a sealed file that says what it is, agrees with its network, or is not written."""

import json
import logging
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import onnx
import pytest
import torch
from sounds import voice

import speech_emotion
from speech_emotion.errors import ModelError, ModelIntegrityError, ParityError
from speech_emotion.labels import EMOTIONS
from speech_emotion.model import METADATA_KEY, SEAL_KEY, UNSEALED, EmotionModel
from speech_emotion.training.export import onnx as export_module
from speech_emotion.training.export.onnx import Provenance, check_parity, export
from speech_emotion.training.fit.calibration import Calibration, softmax
from speech_emotion.training.fit.cross_fit import TemperatureHead
from speech_emotion.training.fit.enrolment import EnrolledHead
from speech_emotion.training.networks.quantize import LARGE, round_weights


@pytest.fixture
def model(tmp_path: Path) -> EmotionModel:
    return EmotionModel.load(written(tmp_path / "tiny.onnx", miniature.exported()))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def graph() -> onnx.ModelProto:
    """What is sealed, checked and written: that of the miniature, with an empty seal."""
    model = onnx.load_from_string(miniature.exported())
    for entry in model.metadata_props:
        if entry.key == SEAL_KEY:
            entry.value = UNSEALED
    return model


def export_miniature(path: Path) -> EmotionModel:
    network, recipe = miniature.lively_network(), miniature.recipe()
    return export(network, recipe, miniature.CALIBRATION, miniature.PROVENANCE, path)


def test_metadata_comes_back(model: EmotionModel) -> None:
    info, config = model.info, miniature.recipe()
    assert info.name == "tiny"
    assert info.labels == EMOTIONS
    assert (info.sample_rate, info.window_seconds, info.hop_seconds, info.min_seconds) == (
        16_000,
        1,
        0.5,
        0.5,
    )
    assert info.temperature == miniature.TEMPERATURE
    assert info.n_parameters == sum(p.numel() for p in miniature.lively_network().parameters())
    assert info.recipe == json.loads(json.dumps(config.to_dict()))
    assert (info.corpora, info.licence, info.citation) == (("ravdess",), "CC BY-NC-SA 4.0", "Author (2018)")
    assert (info.commit, info.protocol, info.split_hash, info.metrics) == ("abc123", None, None, {})
    assert info.size_bytes == len(miniature.exported())


def test_the_public_api_answers_with_it(tmp_path: Path) -> None:
    classifier = speech_emotion.load(written(tmp_path / "tiny.onnx", miniature.exported()))
    prediction = classifier.predict(voice(2.0), sample_rate=16_000)
    assert prediction.label in EMOTIONS
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_nothing_of_this_machine_is_in_the_file() -> None:
    data = miniature.exported()
    repository = str(Path(__file__).parents[3])
    for trace in (repository, str(Path.home()), "/tmp", "site-packages", ".py", 'File "', "0x7f"):  # noqa: S108
        assert trace.encode() not in data, trace


def test_the_file_is_as_large_as_its_weights() -> None:
    """A byte for one of a large matrix; the graph comes on top. Fourier basis (1 MB) and filters are computed."""
    parameters = list(miniature.lively_network().parameters())
    is_large = [p.ndim > 1 and p.numel() >= LARGE for p in parameters]
    assert sum(is_large) == 3
    n_bytes = sum(p.numel() * (1 if large else 4) for p, large in zip(parameters, is_large, strict=True))
    assert n_bytes < len(miniature.exported()) < n_bytes + 90_000


def test_convolutions_are_small_though_their_normalisation_went_into_them() -> None:
    model = onnx.load_from_string(miniature.exported())
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 1  # of the head
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1]
    assert max(np.prod(t.dims) for t in floats) < LARGE


def test_the_file_is_plain_onnx() -> None:
    model = onnx.load_from_string(miniature.exported())
    onnx.checker.check_model(model)
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes["waveform"] == ["batch", "n_samples"]
    assert shapes["probabilities"] == shapes["logits"] == ["batch", 8]
    assert shapes["log_mel"][:2] == ["batch", 32]


@pytest.mark.parametrize("position", [0.01, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_refused(tmp_path: Path, position: float) -> None:
    data = bytearray(miniature.exported())
    data[round(position * len(data))] ^= 4
    with pytest.raises(ModelError) as refused:
        EmotionModel.load(written(tmp_path / "flipped.onnx", bytes(data)))
    assert isinstance(refused.value, ModelIntegrityError)


# Parity


def shipped(temperature: float = miniature.TEMPERATURE) -> export_module._Shipped:
    network = miniature.lively_network()
    round_weights(network)  # as export does
    return export_module._Shipped(network, Calibration(temperature)).eval()


def test_the_graph_agrees_with_its_network(model: EmotionModel) -> None:
    check_parity(shipped(), model, miniature.recipe())


@pytest.mark.parametrize("difference", ["temperature", "weight", "level"])
def test_a_small_difference_is_found(model: EmotionModel, difference: str) -> None:
    other = shipped(miniature.TEMPERATURE * (1.001 if difference == "temperature" else 1))
    with torch.no_grad():
        if difference == "weight":
            other.network.head[-1].weight[0, 0] += 0.01
        if difference == "level":
            other.network.frontend.edges_hz *= torch.linspace(1, 1.01, 34)
    with pytest.raises(ParityError, match=r"differs from the network by \d\.\de-\d\d in probability"):
        check_parity(other, model, miniature.recipe())


def test_nan_is_no_agreement(model: EmotionModel) -> None:
    other = shipped()
    with torch.no_grad():
        other.network.head[-1].bias.fill_(float("nan"))
    with pytest.raises(ParityError):
        check_parity(other, model, miniature.recipe())


@pytest.mark.parametrize("there_before", [True, False])
def test_without_parity_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    path = tmp_path / "model.onnx"
    if there_before:
        path.write_bytes(b"the old one")
    made = graph()
    monkeypatch.setattr(export_module, "_to_onnx", lambda *_: made)
    network = miniature.lively_network()
    with torch.no_grad():
        network.head[-1].bias[0] += 0.1
    with pytest.raises(ParityError, match="Nothing was written"):
        export(network, miniature.recipe(), miniature.CALIBRATION, miniature.PROVENANCE, path)
    assert [p.name for p in tmp_path.iterdir()] == (["model.onnx"] if there_before else [])
    assert not there_before or path.read_bytes() == b"the old one"


def test_parity_first_then_one_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = graph()
    monkeypatch.setattr(export_module, "_to_onnx", lambda *_: made)
    path = tmp_path / "deep" / "model.onnx"
    model = export_miniature(path)
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == miniature.exported()
    assert model.info.name == "tiny"


def test_an_exporter_that_gives_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: None)
    with pytest.raises(ParityError, match="exported nothing"):
        export(
            miniature.lively_network(),
            miniature.recipe(),
            miniature.CALIBRATION,
            miniature.PROVENANCE,
            tmp_path / "model.onnx",
        )
    assert not list(tmp_path.iterdir())


def test_the_exporter_is_quiet_and_leaves_logging_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    level = logging.getLogger("torch.onnx").level

    def talk(*_: Any, **__: Any) -> None:
        logging.getLogger("torch.onnx._internal").warning("torchvision is not installed")
        import warnings

        warnings.warn("deprecated", FutureWarning, stacklevel=2)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.onnx, "export", talk)
    with pytest.raises(KeyboardInterrupt):
        export(
            miniature.lively_network(),
            miniature.recipe(),
            miniature.CALIBRATION,
            miniature.PROVENANCE,
            tmp_path / "model.onnx",
        )
    assert not recwarn.list
    assert not caplog.records
    assert logging.getLogger("torch.onnx").level == level


def test_what_a_fold_learned_from_is_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the metadata goes: the graph is not exported again."""
    asked: dict[str, Any] = {}
    made = graph()

    def remember(_: Any, __: Any, metadata: dict[str, Any]) -> onnx.ModelProto:
        asked.update(metadata)
        return made

    monkeypatch.setattr(export_module, "_to_onnx", remember)
    split = miniature.halves()
    provenance = Provenance(
        corpora=("ravdess",),
        licence="CC0-1.0",
        citation="Author",
        commit=None,
        protocol=split.describe(split.folds[0]),
        split_hash=split.split_hash,
        metrics={"uar": 0.5},
    )
    export(
        miniature.lively_network(), miniature.recipe(), miniature.CALIBRATION, provenance, tmp_path / "m.onnx"
    )
    assert asked["protocol"] == {
        "name": "halves",
        "corpus": "ravdess",
        "leaky": False,
        "fold": 0,
        "test": ["01"],
        "validation": ["02"],
        "train": ["03", "04"],
    }
    assert asked["split_hash"] == split.split_hash
    assert asked["metrics"] == {"uar": 0.5}
    assert METADATA_KEY == "speech_emotion"


def test_levels_do_not_matter_to_the_file_either(model: EmotionModel) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 16_000).astype(np.float32)
    sound = (voice(1.0) + noise)[None]
    louder = model.score(sound * np.float32(4)).probabilities
    np.testing.assert_allclose(louder, model.score(sound).probabilities, atol=1e-3)


# A temperature for each window

SOUNDS = np.stack([miniature.sound(clip) for clip in miniature.clips((1, 2))])
N_EMBEDDING = miniature.lively_network().n_embedding
N_FEATURES = N_EMBEDDING + 2 * 32
OF_WINDOW = TemperatureHead(torch.linspace(-1, 1, N_EMBEDDING) / 4, 0.2)


def enrolled_head() -> EnrolledHead:
    weight = np.random.default_rng(0).normal(0, 0.1, (8, N_FEATURES)).astype(np.float32)
    zeros, ones = np.zeros(N_FEATURES, np.float32), np.ones(N_FEATURES, np.float32)
    return EnrolledHead(zeros, ones, weight, np.zeros(8, np.float32), 0.75, 0.9, 0.1, 0.0)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> EmotionModel:
    path = tmp_path_factory.mktemp("windowed") / "tiny.onnx"
    calibration = Calibration(miniature.TEMPERATURE, {}, OF_WINDOW)
    network, recipe = miniature.lively_network(), miniature.recipe()
    return export(network, recipe, calibration, miniature.PROVENANCE, path, head=enrolled_head())


@torch.inference_mode()
def of_sounds() -> tuple[Any, Any]:
    """Of each of SOUNDS the logits of the network, and the temperature."""
    network = shipped().network
    embedding, _ = network.analyse(torch.from_numpy(SOUNDS))
    return network.logits(embedding).numpy(), OF_WINDOW(embedding).numpy()


def test_the_probabilities_of_a_window_have_its_temperature(windowed: EmotionModel) -> None:
    logits, temperature = of_sounds()
    assert temperature.max() > 1.5 * temperature.min()
    scores = windowed.score(SOUNDS)
    np.testing.assert_allclose(scores.probabilities, softmax(logits / temperature), atol=1e-5)
    assert np.abs(scores.probabilities - softmax(logits / miniature.TEMPERATURE)).max() > 0.01
    assert windowed.info.temperature == miniature.TEMPERATURE


def test_with_a_profile_they_have_it_too(windowed: EmotionModel) -> None:
    """In proportion: where it is the model's one temperature, the mean of both heads has its own."""
    head, profile = enrolled_head(), np.stack([np.full(N_FEATURES, v, np.float32) for v in (0.1, 2)])
    plain = windowed.score(SOUNDS)
    enrolled = (plain.voice - profile[0]) / profile[1] @ head.weight.T
    logits = 0.75 * enrolled + 0.25 * plain.logits
    temperature = head.temperature * of_sounds()[1] / miniature.TEMPERATURE
    found = windowed.score(SOUNDS, profile).probabilities
    np.testing.assert_allclose(found, softmax(logits / temperature), atol=1e-4)
    assert np.abs(found - softmax(logits / head.temperature)).max() > 0.01


def test_another_temperature_head_is_a_difference(windowed: EmotionModel) -> None:
    other = TemperatureHead(OF_WINDOW.weight, OF_WINDOW.bias + 0.01)
    same, different = (
        export_module._Shipped(
            shipped().network, Calibration(miniature.TEMPERATURE, {}, judge), head=enrolled_head()
        ).eval()
        for judge in (OF_WINDOW, other)
    )
    check_parity(same, windowed, miniature.recipe())
    with pytest.raises(ParityError, match="in probability"):
        check_parity(different, windowed, miniature.recipe())
