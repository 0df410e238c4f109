"""Framing against a table, and the property that how samples arrive changes nothing."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_emotion.windows import Framer, Window

RATE = 16_000


def spans(windows: list[Window]) -> list[tuple[int, int]]:
    return [(round(window.start_seconds * RATE), round(window.end_seconds * RATE)) for window in windows]


def frame(n_samples: int, *pieces: int, window: int = 100, hop: int = 40, minimum: int = 10) -> list[Window]:
    """The windows of 0, 1, 2, … cut into pieces of the given sizes."""
    samples = np.arange(n_samples, dtype=np.float32)
    framer = Framer(window, hop, minimum)
    windows = [w for piece in np.split(samples, np.cumsum(pieces)) for w in framer.push(piece)]
    return windows + framer.finish()


@pytest.mark.parametrize(
    ("n_samples", "expected"),
    [
        (0, []),
        (9, []),
        (10, [(0, 10)]),
        (99, [(0, 99)]),
        (100, [(0, 100)]),
        (101, [(0, 100), (1, 101)]),
        (139, [(0, 100), (39, 139)]),
        (140, [(0, 100), (40, 140)]),
        (190, [(0, 100), (40, 140), (80, 180), (90, 190)]),
    ],
)
def test_windows_start_every_hop_and_the_last_moves_back(
    n_samples: int, expected: list[tuple[int, int]]
) -> None:
    assert spans(frame(n_samples)) == expected


@given(
    n_samples=st.integers(0, 700),
    pieces=st.lists(st.integers(0, 150), max_size=8),
    window=st.integers(2, 120),
    data=st.data(),
)
def test_pieces_change_nothing_and_no_sample_is_lost(
    n_samples: int, pieces: list[int], window: int, data: st.DataObject
) -> None:
    hop, minimum = data.draw(st.integers(1, window)), data.draw(st.integers(1, window))
    sizes = {"window": window, "hop": hop, "minimum": minimum}
    windows, whole = frame(n_samples, *pieces, **sizes), frame(n_samples, **sizes)
    assert spans(windows) == spans(whole)
    for one, (start, end) in zip(windows, spans(windows), strict=True):
        np.testing.assert_array_equal(one.samples, np.arange(start, end))
    covered = {sample for start, end in spans(windows) for sample in range(start, end)}
    assert covered == (set(range(n_samples)) if n_samples >= minimum else set())


def test_every_sample_alone_gives_the_same() -> None:
    assert spans(frame(190, *[1] * 190)) == spans(frame(190))


def test_a_reused_buffer_does_not_change_what_was_pushed() -> None:
    framer, buffer = Framer(4, 4, 1), np.zeros(2, np.float32)
    buffer[:] = 1
    framer.push(buffer)
    buffer[:] = 2
    (window,) = framer.push(buffer)
    buffer[:] = 3
    np.testing.assert_array_equal(window.samples, [1, 1, 2, 2])


def test_windows_are_read_only() -> None:
    (window,) = frame(50)
    with pytest.raises(ValueError, match="read-only"):
        window.samples[0] = 1


def test_seconds_and_times() -> None:
    framer = Framer(3 * RATE, RATE, 100)
    framer.push(np.zeros(RATE // 2))
    assert framer.seconds == 0.5
    windows = framer.push(np.zeros(3 * RATE)) + framer.finish()
    assert [(w.start_seconds, w.end_seconds) for w in windows] == [(0.0, 3.0), (0.5, 3.5)]


def test_only_about_a_window_is_held() -> None:
    framer = Framer(1000, 500, 1)
    for _ in range(1000):
        framer.push(np.zeros(777, np.float32))
    n_held = len(framer._held) + sum(map(len, framer._pending))
    assert n_held <= 1000 + 500 + 777
    assert framer._held.base is None or len(framer._held.base) <= 3000


def test_crumbs_make_the_same_windows_and_take_no_more_memory() -> None:
    sizes = {"window": 48_000, "hop": 8_000, "minimum": 8_000}
    samples = np.arange(64_000, dtype=np.float32)
    framer, windows = Framer(*sizes.values()), []
    tracemalloc.start()
    for sample in samples:
        windows += framer.push([sample])
    _, n_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spans(windows + framer.finish()) == spans(frame(64_000, **sizes))
    for window in windows:
        start, end = spans([window])[0]
        np.testing.assert_array_equal(window.samples, np.arange(start, end))
    assert n_bytes < 1_200_000  # three windows, which this test holds, and one that is being filled: 0.8 MB
