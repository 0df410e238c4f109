"""Weights from elsewhere: verified before they are read, or refused. Every server here is on this machine."""

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
from archive_server import Answer, serving
from torch import Tensor

from speech_emotion.errors import ModelError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.training import weights
from speech_emotion.training.weights import torchvision_state

STATE = {
    "features.0.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)),
    "features.0.bias": torch.arange(4.0),
    "classifier.6.bias": torch.ones(10),
}


def pth(state: object, *, zipped: bool = True) -> bytes:
    """As torchvision publishes it; the files of 2017 are not `zipped`."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the download is to be kept."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    return tmp_path / "torch home" / "hub" / "checkpoints" / "vgg16-397923af.pth"


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> bytes:
    return published(pth(STATE), monkeypatch)


def published(data: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(weights, "TORCHVISION_SHA256", hashlib.sha256(data).hexdigest())
    return data


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        weights, "TORCHVISION_URL", url.replace("archive.zip?download=1", "vgg16-397923af.pth")
    )


def assert_is_state(state: dict[str, Tensor]) -> None:
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_the_published_file_is_named_in_full() -> None:
    """Torch's own rule: a file name carries the first eight digits of the file's sha256."""
    assert weights.TORCHVISION_URL.endswith(f"/vgg16-{weights.TORCHVISION_SHA256[:8]}.pth")
    assert len(bytes.fromhex(weights.TORCHVISION_SHA256)) == 32


def test_it_is_downloaded_once_and_kept_where_torch_keeps_it(
    cached: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Answer(body)) as server:
        use(server.url, monkeypatch)
        assert_is_state(torchvision_state())
        assert_is_state(torchvision_state())
    assert len(server.requests) == 1
    assert cached.read_bytes() == body
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(pth({"features.0.weight": torch.zeros(1)})), "invalid hash value"),
        (
            Answer(pth(STATE), sends=1000),
            "",
        ),  # the line is cut: in other words, depending on Python's version
        (Answer(b"<html>Please log in</html>"), "invalid hash value"),
        (Answer(status=404), "HTTP Error 404"),
    ],
    ids=["other bytes", "cut", "a login page", "not there"],
)
def test_a_download_that_is_not_what_was_published_leaves_nothing(
    cached: Path, body: bytes, monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    with serving(answer) as server:
        use(server.url, monkeypatch)
        with pytest.raises(ModelError, match=rf"cannot be downloaded: .*{reason}.*by hand to .*\.pth\.$"):
            torchvision_state()
    assert not list(cached.parent.iterdir())


def test_without_a_network_it_says_where_the_file_belongs(
    cached: Path, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Answer(body)) as server:
        use(server.url, monkeypatch)
    with pytest.raises(ModelError, match="cannot be downloaded") as refused:
        torchvision_state()
    assert str(cached) in str(refused.value)
    cached.write_bytes(body)
    assert_is_state(torchvision_state())


def test_a_damaged_file_in_the_cache_is_refused(cached: Path, body: bytes) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(body[:-1])
    with pytest.raises(ModelIntegrityError, match="Delete it and download it again"):
        torchvision_state()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(published(pth(STATE, zipped=zipped), monkeypatch))
    assert_is_state(torchvision_state(path))


class _Trap:
    """Does what a pickle should never be allowed to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_executed_before_the_checksum_nor_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    data = pth({"features.0.weight": _Trap(sprung)})
    path.write_bytes(data)
    with pytest.raises(ModelIntegrityError, match="is not what was published"):
        torchvision_state(path)
    published(data, monkeypatch)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torchvision_state(path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["nowhere.pth", "."])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        torchvision_state(tmp_path / name)
