"""Which recordings count as one, and which do not."""

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from sounds import voice

from speech_emotion.evaluation.audit import fingerprint
from speech_emotion.evaluation.audit.fingerprint import THRESHOLD, Copy, correlation, find_copies, print_of

FloatArray = npt.NDArray[np.float32]


def spoken(f0: float, stretch: float = 1.0) -> FloatArray:
    """A synthetic voice that says its own thing: syllables of lengths and levels that its pitch decides."""
    rng = np.random.default_rng(int(f0))
    syllables = [
        voice(float(seconds) * stretch, f0=f0 * float(rise), peak=float(level))
        for seconds, rise, level in zip(
            rng.uniform(0.1, 0.5, 7), rng.uniform(0.7, 1.4, 7), rng.uniform(0.1, 0.5, 7), strict=True
        )
    ]
    return np.concatenate(syllables)


def a_print(samples: FloatArray) -> fingerprint.Print:
    print_ = print_of(samples)
    assert print_ is not None
    return print_


ORIGINAL = spoken(150)


def in_noise(samples: FloatArray) -> FloatArray:
    noise = np.random.default_rng(0).standard_normal(len(samples)) * np.sqrt(np.square(samples).mean() / 100)
    return (samples + noise).astype(np.float32)


@pytest.mark.parametrize(
    "copy",
    [
        ORIGINAL / 4,
        in_noise(ORIGINAL),
        soxr.resample(soxr.resample(ORIGINAL, 16_000, 8_000), 8_000, 16_000),
        np.pad(ORIGINAL, (7_000, 9_000)),
        ORIGINAL[1_000:-1_000],
        soxr.resample(ORIGINAL, 17_600, 16_000),
        soxr.resample(ORIGINAL, 14_400, 16_000),
    ],
    ids=["gain", "noise", "8 kHz", "silence around", "trimmed", "slower", "faster"],
)
def test_a_copy_agrees_with_its_original(copy: FloatArray) -> None:
    assert correlation(a_print(ORIGINAL), a_print(copy)) >= THRESHOLD


@pytest.mark.parametrize(
    "other", [spoken(151), spoken(210), np.random.default_rng(1).standard_normal(40_000).astype(np.float32)]
)
def test_another_sound_does_not(other: FloatArray) -> None:
    assert correlation(a_print(ORIGINAL), a_print(other)) < THRESHOLD - 0.1


def test_a_print_holds_semitones_every_16_ms_of_what_sounds() -> None:
    shape = a_print(np.pad(ORIGINAL, 16_000)).shape
    assert shape[1] == 60
    assert shape[0] == pytest.approx(len(ORIGINAL) / 256, abs=6)
    assert a_print(np.tile(ORIGINAL, 8)).shape == (512, 60)


@pytest.mark.parametrize("samples", [np.zeros(16_000), np.ones(1), ORIGINAL[:1_600]])
def test_silence_and_what_is_too_short_have_no_print(samples: npt.NDArray[np.float64]) -> None:
    assert print_of(samples.astype(np.float32)) is None


def test_copies_are_found_across_groups_and_only_there() -> None:
    shapes = [print_of(spoken(f0)) for f0 in (110, 130, 170, 190)]
    prints = [None, *shapes, a_print(soxr.resample(spoken(170), 17_600, 16_000)), print_of(spoken(110) / 2)]
    steps: list[tuple[int, int]] = []
    copies = find_copies(prints, list("aaaabba"), progress=lambda done, of: steps.append((done, of)))
    assert [(copy.first, copy.second) for copy in copies] == [(3, 5)]
    assert THRESHOLD <= copies[0].correlation < 1
    assert steps == [(step, 6) for step in range(1, 7)]


def test_equal_prints_correlate_fully() -> None:
    (copy,) = find_copies([print_of(ORIGINAL), print_of(ORIGINAL)], ["a", "b"])
    assert copy == Copy(0, 1, pytest.approx(1.0, abs=1e-5))


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [print_of(spoken(f0)) for f0 in (110, 130, 110, 130, 150)]
    whole = find_copies(prints, list("aabbb"))
    monkeypatch.setattr(fingerprint, "BLOCK", 2)
    assert find_copies(prints, list("aabbb")) == whole
    assert [(copy.first, copy.second) for copy in whole] == [(0, 2), (1, 3)]


def test_prints_of_any_length_can_be_played_faster() -> None:
    long = a_print(np.tile(ORIGINAL, 8))
    for n_frames in range(16, 513, 3):
        assert correlation(long[:n_frames], long[:n_frames]) == pytest.approx(1.0, abs=1e-5)


def test_silence_has_no_copies() -> None:
    assert find_copies([None, None], ["a", "b"]) == []


def test_a_print_without_contrast_agrees_with_nothing() -> None:
    flat = np.full((20, 60), 240, np.uint8)
    assert correlation(flat, flat) == pytest.approx(0, abs=1e-3)
