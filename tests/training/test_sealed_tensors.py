"""Sealed tensors: exactly what was written comes back, or an error."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from speech_emotion.files import DamagedFileError
from speech_emotion.training.sealed_tensors import read_sealed_tensors, write_sealed_tensors

FACTS = {"log": [{"epoch": 1, "loss": 0.1 + 0.2}], "recipe": {"name": "ä"}}


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    image = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    return {
        "image": image.contiguous(memory_format=torch.channels_last),
        "step": torch.tensor(7),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }


@pytest.fixture
def path(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    path = tmp_path / "x.safetensors"
    write_sealed_tensors(path, tensors, FACTS)
    return path


def test_what_was_written_comes_back(path: Path, tensors: dict[str, Tensor]) -> None:
    read, facts = read_sealed_tensors(path)
    assert facts == FACTS
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor)


def test_equal_content_is_equal_bytes(path: Path, tensors: dict[str, Tensor]) -> None:
    other = path.with_name("y.safetensors")
    write_sealed_tensors(other, dict(reversed(tensors.items())), FACTS)
    assert other.read_bytes() == path.read_bytes()


def test_every_flipped_bit_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            assert read_sealed_tensors(path)[1] == FACTS
        except DamagedFileError:
            continue
        assert (
            whole[position : position + 1] == b"4"
        )  # the last digit of 0.30000000000000004: the same number


def test_every_cut_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError):
            read_sealed_tensors(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 99, pickle.dumps({"image": 1}), b"{}", b"[" * 9999])
def test_other_files_are_refused_and_never_unpickled(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="holds no sealed tensors"):
        read_sealed_tensors(path)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sealed_tensors(tmp_path / "x")
