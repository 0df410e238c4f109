"""Model files that must be refused before a session exists, whatever happened to them."""

import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import standin
from onnx import TensorProto, external_data_helper

from speech_emotion import model as module
from speech_emotion.errors import ModelError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.model import EmotionModel, seal, verify

N_FLIPS = 2_000


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a session is made."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a session was made of a file that must be refused first")

    monkeypatch.setattr("onnxruntime.InferenceSession", refuse)
    return


def load(tmp_path: Path, data: bytes) -> EmotionModel:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    return EmotionModel.load(path)


def test_every_flipped_bit_is_refused() -> None:
    data = standin.model_bytes()
    for position in np.random.default_rng(11).integers(0, 8 * len(data), N_FLIPS):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << (position % 8)
        with pytest.raises((ModelIntegrityError, ModelFormatError)):
            verify(bytes(flipped))


def test_every_flipped_bit_of_the_seal_is_refused() -> None:
    data = standin.model_bytes()
    start, end = module._seal_span(data)
    for position in range(8 * (start - 30), 8 * min(end + 5, len(data))):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << (position % 8)
        with pytest.raises((ModelIntegrityError, ModelFormatError)):
            verify(bytes(flipped))


@pytest.mark.usefixtures("no_session")
def test_a_flip_in_a_weight_is_refused_before_a_session(tmp_path: Path) -> None:
    data = bytearray(standin.model_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(ModelIntegrityError, match=r"damaged.*Copy or export it again"):
        load(tmp_path, bytes(data))


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    data = standin.model_bytes()
    with pytest.raises((ModelFormatError, ModelIntegrityError)):
        load(tmp_path, data[: int(share * len(data))])


@pytest.mark.usefixtures("no_session")
def test_bytes_added_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelIntegrityError):
        load(tmp_path, standin.model_bytes() + b"\0")


def test_two_seals_are_refused() -> None:
    data = standin.model_bytes()
    with pytest.raises(ModelFormatError):
        verify(data + data)


class Bomb:
    """Unpickling this would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.usefixtures("no_session")
def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    crater = tmp_path / "crater"
    plain = pickle.dumps(Bomb(crater))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as checkpoint:  # what torch.save writes
        checkpoint.writestr("archive/data.pkl", plain)
    for data in (plain, archive.getvalue()):
        with pytest.raises(ModelFormatError, match=r"nothing is ever unpickled.*speech-emotion export"):
            load(tmp_path, data)
    assert not crater.exists()


@pytest.mark.usefixtures("no_session")
def test_foreign_files_are_refused(tmp_path: Path) -> None:
    foreign = onnx.helper.make_model(standin.graph()).SerializeToString()  # sound, but not sealed
    for data in (foreign, b"RIFF\0\0\0\0WAVEfmt ", b"\x89PNG\r\n\x1a\n", b"hello", bytes(1000)):
        with pytest.raises(ModelFormatError, match="not a speech-emotion model"):
            load(tmp_path, data)


@pytest.mark.usefixtures("no_session")
def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    graph = standin.graph()
    weights = next(tensor for tensor in graph.initializer if tensor.name == "weights")
    external_data_helper.set_external_data(weights, location="../secrets.bin")
    weights.data_location = TensorProto.EXTERNAL
    weights.ClearField("raw_data")
    with pytest.raises(ModelFormatError, match="weights in another file"):
        load(tmp_path, standin.sealed(graph, standin.METADATA))


@pytest.mark.parametrize("opset", [3, 9_999])
def test_a_wrong_opset_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(ModelFormatError, match="cannot run this model"):
        load(tmp_path, standin.sealed(standin.graph(), standin.METADATA, opset=opset))


def test_a_sealed_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    data = standin.model_bytes()
    start, end = module._seal_span(data)
    with pytest.raises(ModelFormatError, match="cannot run this model"):
        load(tmp_path, seal(b"\xff\xff" + data[start - 25 : end]))


@pytest.mark.usefixtures("no_session")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    reasons = {
        tmp_path / "none.onnx": "No such file",
        tmp_path: "Is a directory",
        tmp_path / "pipe.onnx": "a pipe or a device",
        Path("/dev/zero"): "a pipe or a device",
        tmp_path / "loop.onnx": "symbolic links",
        tmp_path / "nul\0.onnx": "null",
        tmp_path / ("long" * 100): "File name too long",
    }
    for path, reason in reasons.items():
        with pytest.raises(ModelNotFoundError, match=rf"{reason}.*Pass the path of an \.onnx"):
            EmotionModel.load(path)


@pytest.mark.usefixtures("no_session")
def test_a_file_that_may_not_be_read_is_refused(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # root may read all
    def denied(name: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ModelNotFoundError, match="Permission denied"):
        EmotionModel.load(model_path)


@pytest.mark.usefixtures("no_session")
def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ModelFormatError, match="larger than"):
        EmotionModel.load(path)


def test_all_of_it_is_a_model_error() -> None:
    assert all(
        issubclass(kind, ModelError) for kind in (ModelFormatError, ModelIntegrityError, ModelNotFoundError)
    )
