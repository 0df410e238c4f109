"""Checkpoints: what was saved comes back, or an error; a kill leaves the old one or the new one."""

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import recipe
from torch import Tensor

from speech_emotion.errors import ModelFormatError, ModelNotFoundError
from speech_emotion.labels import EMOTIONS
from speech_emotion.training.fit import checkpoint
from speech_emotion.training.networks.build import build

STATE = {"log": [{"epoch": 1, "loss": 0.1 + 0.2}], "recipe": {"name": "ä"}, "fingerprint": "f00"}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 3, 4, 5, generator=generator).contiguous(memory_format=torch.channels_last)
    return {"a": image, "b.c": torch.tensor(7), "n": torch.arange(3, dtype=torch.int64)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(t, other[name]) and t.dtype == other[name].dtype for name, t in one.items()
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, tensors(), STATE)
    return tmp_path


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
    assert [path.name for path in saved.iterdir()] == [checkpoint.FILE]


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
        new = same(checkpoint.load(saved)[0], tensors(stop + 1))
        n_new += new
        if not stopped:
            assert new
            break
        if not new:
            checkpoint.save(saved, tensors(), STATE)
    assert 2 <= stop < 20
    assert n_new >= 1


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


@pytest.mark.parametrize("damage", ["cut", "flipped", "pickle", "empty"])
def test_a_damaged_or_foreign_file_is_refused_and_never_unpickled(saved: Path, damage: str) -> None:
    path = saved / checkpoint.FILE
    whole = path.read_bytes()
    flipped = bytes([*whole[:-5], whole[-5] ^ 1, *whole[-4:]])
    data = {"cut": whole[:-7], "flipped": flipped, "pickle": pickle.dumps({"state": 1}), "empty": b""}
    path.write_bytes(data[damage])
    with pytest.raises(ModelFormatError, match=r"cannot be used .* Delete the run folder and train again"):
        checkpoint.load(saved)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / checkpoint.FILE).mkdir()
    with pytest.raises(ModelFormatError, match="cannot be used"):
        checkpoint.load(tmp_path)


def test_a_part_is_what_stands_under_its_prefix() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    tensors = {"network.head.0": one, "network2.head": two, "average.network.x": two}
    assert checkpoint.part(tensors, "network") == {"head.0": one}


def test_the_network_of_a_finished_run_is_its_average(tmp_path: Path) -> None:
    config = recipe()
    weights = build(config.with_seed(5)).state_dict()
    averaged = {f"average.{name}": tensor for name, tensor in weights.items()}
    state = {"recipe": config.to_dict(), "labels": list(EMOTIONS)}
    checkpoint.save(tmp_path, averaged | {"network.x": torch.zeros(1)}, state)
    network, found = checkpoint.load_network(tmp_path)
    assert found == config
    assert not network.training
    assert same(dict(network.state_dict()), dict(weights))
    checkpoint.save(tmp_path, {"average.x": torch.zeros(1)}, state)
    with pytest.raises(ModelFormatError, match="another version of speech-emotion"):
        checkpoint.load_network(tmp_path)
