"""Checkpoints: what was saved comes back, or an error; a kill leaves the old one or the new one."""

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from speech_emotion.errors import ModelError, ModelFormatError, ModelIntegrityError, ModelNotFoundError
from speech_emotion.training.fit import checkpoint

STATE = {"log": [{"epoch": 1, "loss": 0.1 + 0.2}], "recipe": {"name": "ä"}, "fingerprint": "f00"}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, 4, 5, generator=generator).contiguous(memory_format=torch.channels_last)
    return {"a": image, "b.c": torch.tensor(7), "n": torch.arange(3, dtype=torch.int64)}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(t, other[name]) and t.dtype == other[name].dtype for name, t in one.items()
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "run", tensors(), STATE)
    return tmp_path / "run"


def test_what_was_saved_comes_back(saved: Path) -> None:
    assert checkpoint.exists(saved)
    loaded, state = checkpoint.load(saved)
    assert same(loaded, tensors())
    assert state == STATE


def test_the_next_checkpoint_replaces_it_and_leaves_nothing_behind(saved: Path) -> None:
    checkpoint.save(saved, tensors(1), {"log": []})
    loaded, state = checkpoint.load(saved)
    assert same(loaded, tensors(1))
    assert state == {"log": []}
    assert len(files(saved)) == 2


def test_equal_states_are_equal_bytes(saved: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "again", tensors(), STATE)
    assert files(tmp_path / "again") == files(saved)


def test_without_a_checkpoint(tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path)
    with pytest.raises(ModelNotFoundError, match="holds no checkpoint"):
        checkpoint.load(tmp_path)


def test_a_save_that_stops_anywhere_leaves_the_old_one_or_the_new_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before each of the file operations of a save, then load."""
    n_new = 0
    for stop in range(20):
        with monkeypatch.context() as patched:
            stopped = stop_before(stop, patched)
            with suppress(KeyboardInterrupt):
                checkpoint.save(saved, tensors(stop + 1), STATE)
            finished = not stopped
        loaded, _ = checkpoint.load(saved)
        new = same(loaded, tensors(stop + 1))
        n_new += new
        if finished:
            assert new
            break
        if not new:
            checkpoint.save(saved, tensors(), STATE)
            assert len([name for name in files(saved) if not name.startswith(".")]) == 2
    assert 4 <= stop < 20
    assert n_new >= 2  # stopped after the JSON took its name, and not stopped


def stop_before(n: int, patched: pytest.MonkeyPatch) -> list[str]:
    """Ctrl-C in place of the n-th open, rename or deletion; returns a list that says so once it happened."""
    stopped: list[str] = []
    seen = 0

    def counted(name: str) -> None:
        original = getattr(Path, name)

        def call(self: Path, *arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == n + 1:
                stopped.append(name)
                raise KeyboardInterrupt
            return original(self, *arguments, **options)

        patched.setattr(Path, name, call)

    for name in ("open", "replace", "unlink"):
        counted(name)
    return stopped


def test_every_flipped_bit_is_refused(saved: Path) -> None:
    """Of the JSON every byte; of the tensors every eleventh."""
    state = saved / checkpoint.STATE
    (data,) = saved.glob("*.safetensors")
    for path, step in ((state, 1), (data, 11)):
        whole = path.read_bytes()
        for position in range(0, len(whole), step):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << (position % 8)
            path.write_bytes(flipped)
            try:
                loaded, kept = checkpoint.load(saved)
            except ModelError:
                continue
            assert path == state  # white space between two values
            assert whole[position : position + 1].isspace()
            assert same(loaded, tensors())
            assert kept == STATE
        path.write_bytes(whole)
    assert same(checkpoint.load(saved)[0], tensors())


@pytest.mark.parametrize("pattern", [checkpoint.STATE, "*.safetensors"])
def test_every_cut_is_refused(saved: Path, pattern: str) -> None:
    (path,) = saved.glob(pattern)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="Delete the run folder and train again"):
            checkpoint.load(saved)


def test_missing_tensors_are_refused(saved: Path) -> None:
    (path,) = saved.glob("*.safetensors")
    path.unlink()
    with pytest.raises(ModelIntegrityError, match=r"missing \(No such file"):
        checkpoint.load(saved)


def test_changed_numbers_in_the_json_are_refused(saved: Path) -> None:
    path = saved / checkpoint.STATE
    path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 2'))
    with pytest.raises(ModelIntegrityError, match="does not match its own checksum"):
        checkpoint.load(saved)


@pytest.mark.parametrize(
    "foreign",
    [
        pickle.dumps({"state": 1}),
        b"",
        b"[]",
        b"3",
        b'"text"',
        b"null",
        b'{"state": {}}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
    ],
    ids=["pickle", "empty", "list", "number", "text", "null", "no seal", "deep", "bytes"],
)
def test_a_foreign_state_is_refused(saved: Path, foreign: bytes) -> None:
    (saved / checkpoint.STATE).write_bytes(foreign)
    with pytest.raises(ModelFormatError, match="not a checkpoint of ours"):
        checkpoint.load(saved)


def test_a_state_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / checkpoint.STATE).mkdir()
    with pytest.raises(ModelFormatError, match="not a checkpoint of ours"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("foreign", [lambda data: pickle.dumps(data), lambda data: b"\0" * len(data)])
def test_foreign_tensors_are_refused_and_never_unpickled(
    saved: Path, foreign: Callable[[bytes], bytes]
) -> None:
    (path,) = saved.glob("*.safetensors")
    path.write_bytes(foreign(path.read_bytes()))
    with pytest.raises(ModelIntegrityError, match="damaged"):
        checkpoint.load(saved)


def test_the_json_is_readable(saved: Path) -> None:
    body = json.loads((saved / checkpoint.STATE).read_text())
    assert body["state"] == STATE
    assert (saved / body["tensors"]).exists()
