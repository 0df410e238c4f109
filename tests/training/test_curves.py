"""The picture of a log: loss and validation score over epochs."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from speech_emotion.training.curves import draw_curves


def log(folder: Path, **columns: Any) -> Path:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were closed."""
    figures: list[Any] = []
    monkeypatch.setattr(plt, "close", figures.append)
    return figures


def test_the_curves_are_the_log(tmp_path: Path, drawn: list[Any]) -> None:
    log(
        tmp_path,
        epoch=[1, 2, 3],
        loss=[2.0, 1.5, 1.2],
        validation_uar=[13, 40, 55],
        validation_loss=[2, 1.8, 1.7],
    )
    picture = draw_curves(tmp_path)
    assert picture == tmp_path / "curves.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    losses, scores = drawn[0].axes
    np.testing.assert_array_equal(losses.lines[0].get_xydata(), [[1, 2.0], [2, 1.5], [3, 1.2]])
    np.testing.assert_array_equal(losses.lines[1].get_xydata(), [[1, 2], [2, 1.8], [3, 1.7]])
    np.testing.assert_array_equal(scores.lines[0].get_xydata(), [[1, 13], [2, 40], [3, 55]])
    assert "55.0" in [text.get_text() for text in scores.texts]


def test_without_validation_the_picture_says_so(tmp_path: Path, drawn: list[Any]) -> None:
    draw_curves(log(tmp_path, epoch=[1], loss=[2.0], validation_uar=[None], validation_loss=[None]))
    losses, scores = drawn[0].axes
    assert len(losses.lines) == 1
    assert not scores.lines
    assert [text.get_text() for text in scores.texts] == ["everybody was learned from"]
