"""Augmentation: each part changes what it should, by as much as it says, and nothing else."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.data import augment
from speech_emotion.training.data.augment import (
    add_noise,
    augmented,
    mask,
    tilt_spectrum,
    warp_frequency,
)

DB = np.log(10) / 10
N_MELS, N_FRAMES = 64, 120
OFF = AugmentConfig(
    speeds=(1.0,),
    warp_frequency=0.0,
    tilt_db=0.0,
    noise_probability=0.0,
    frequency_mask=0,
    time_mask=0,
)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def log_mels(n: int = 16, seed: int = 1) -> Tensor:
    """Well above the power floor."""
    return torch.randn(n, N_MELS, N_FRAMES, generator=generator(seed)) - 4


PARTS: list[Callable[[Tensor, Generator], Tensor]] = [
    lambda x, g: warp_frequency(x, 0.1, g),
    lambda x, g: tilt_spectrum(x, 6.0, g),
    lambda x, g: add_noise(x, 1.0, (0.0, 10.0), g),
    lambda x, g: mask(x, 1, 8, 2, g),
    lambda x, g: mask(x, 2, 15, 2, g),
]


@pytest.mark.parametrize("part", PARTS, ids=["warp", "tilt", "noise", "bands", "gaps"])
def test_shape_stays_randomness_is_the_generator_s_and_the_input_is_untouched(
    part: Callable[[Tensor, Generator], Tensor],
) -> None:
    x = log_mels()
    kept = x.clone()
    torch.manual_seed(1)
    first = part(x, generator(5))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert torch.equal(part(x, generator(5)), first)
    assert not torch.equal(part(x, generator(6)), first)
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert torch.equal(x, kept)
    changed = (first != x).flatten(1).any(dim=1)
    assert changed.float().mean() > 0.8


# Warp


def test_warp_reads_band_i_at_i_times_one_ratio_a_row() -> None:
    bands = torch.arange(N_MELS, dtype=torch.float32)
    x = bands[None, :, None].expand(200, -1, 3).contiguous()
    warped = warp_frequency(x, 0.1, generator())
    ratio = warped[:, 10, 0] / 10
    expected = (bands[None, :] * ratio[:, None]).clamp(max=N_MELS - 1.001)
    torch.testing.assert_close(warped, expected[:, :, None].expand(-1, -1, 3), rtol=1e-4, atol=1e-3)
    assert 0.9 <= ratio.min() < 0.92
    assert 1.08 < ratio.max() <= 1.1


def test_warp_moves_a_ridge() -> None:
    x = torch.full((50, N_MELS, 3), -10.0)
    x[:, 30] = 0
    ridges = warp_frequency(x, 0.2, generator()).argmax(dim=1)[:, 0]
    assert ridges.min() in range(24, 27)
    assert ridges.max() in range(35, 39)


# Tilt


def test_tilt_is_a_gain_curve_over_frequency_alone() -> None:
    x = log_mels(300)
    gain_db = (tilt_spectrum(x, 6.0, generator()) - x) / DB
    assert gain_db.std(dim=2).max() < 1e-3  # the same in every frame
    curve = gain_db[:, :, 0]
    assert 5.5 < curve.abs().max() <= 6.001
    knots = curve[:, [0, N_MELS - 1]]
    assert knots.mean().abs() < 0.5
    assert knots.std() == pytest.approx(6 / np.sqrt(3), rel=0.1)
    assert curve.diff(dim=1).abs().max() < 2 * 6 / (N_MELS / 4) * 1.1  # smooth: straight between five knots


# Noise


def added_snr_db(x: Tensor, noisy: Tensor) -> Tensor:
    added = (noisy.exp() - x.exp()).mean(dim=(1, 2))
    return -torch.log(added / x.exp().mean(dim=(1, 2))) / DB


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_has_the_ratio_that_was_asked_for(snr_db: float) -> None:
    x = log_mels(32)
    measured = added_snr_db(x, add_noise(x, 1.0, (snr_db, snr_db), generator()))
    torch.testing.assert_close(measured, torch.full((32,), snr_db), rtol=0, atol=0.4)


def test_noise_ratios_fill_their_range() -> None:
    x = log_mels(200)
    measured = added_snr_db(x, add_noise(x, 1.0, (5.0, 25.0), generator()))
    assert 4.6 < measured.min() < 6
    assert 24 < measured.max() < 25.4
    assert measured.mean() == pytest.approx(15, abs=1.5)


def test_noise_only_adds_and_only_to_the_chosen_rows() -> None:
    x = log_mels(400)
    noisy = add_noise(x, 0.3, (0.0, 0.0), generator())
    difference = (noisy - x).abs().amax(dim=(1, 2))
    chosen = difference > 0.1
    assert chosen.float().mean() == pytest.approx(0.3, abs=0.06)
    assert difference[~chosen].max() < 1e-5
    assert (noisy - x).min() > -1e-5
    torch.testing.assert_close(add_noise(x, 0.0, (0.0, 0.0), generator()), x, rtol=0, atol=1e-5)


def test_noise_is_stationary_and_coloured() -> None:
    x = torch.full((100, N_MELS, 400), -12.0)
    added = add_noise(x, 1.0, (-40.0, -40.0), generator()).exp()
    loudness = added.mean(dim=1)
    assert (loudness[:, :200].mean(dim=1) / loudness[:, 200:].mean(dim=1)).log().abs().max() < 0.15
    colour_db = torch.log(added[:, -1].mean(dim=1) / added[:, 0].mean(dim=1)) / DB
    assert -26 < colour_db.min() < -22
    assert 2 < colour_db.max() < 6


# Masks


@pytest.mark.parametrize(("axis", "size", "max_width"), [(1, N_MELS, 8), (2, N_FRAMES, 15)])
def test_one_mask_is_one_band_of_the_mean_across_the_other_axis(axis: int, size: int, max_width: int) -> None:
    x = log_mels(500)
    masked = mask(x, axis, max_width, 1, generator())
    hit = masked != x
    other = 3 - axis
    assert torch.equal(hit.any(dim=other), hit.all(dim=other))
    lines = hit.any(dim=other).int()  # (row, position)
    widths = lines.sum(dim=1)
    assert widths.max() == max_width
    assert widths.float().mean() == pytest.approx(max_width / 2, rel=0.1)
    starts = (lines.diff(dim=1, prepend=torch.zeros(500, 1, dtype=torch.int32)) == 1).sum(dim=1)
    assert set(starts.tolist()) == {0, 1}
    assert lines.float().mean(dim=0)[size // 4 : 3 * size // 4].min() > 0  # anywhere
    row = int(widths.argmax())
    torch.testing.assert_close(masked[row][hit[row]], x[row].mean().expand(int(hit[row].sum())))


def test_masks_add_up_to_their_number() -> None:
    x = log_mels(200)
    lines = (mask(x, 2, 10, 3, generator()) != x).any(dim=1).int()
    starts = (lines.diff(dim=1, prepend=torch.zeros(200, 1, dtype=torch.int32)) == 1).sum(dim=1)
    assert starts.max() == 3
    assert lines.sum(dim=1).max() <= 30
    assert torch.equal(mask(x, 2, 10, 0, generator()), x)
    assert torch.equal(mask(x, 2, 0, 2, generator()), x)


def test_a_mask_wider_than_the_window_still_fits_in() -> None:
    x = log_mels(50)
    masked = mask(x, 2, 3 * N_FRAMES, 1, generator())
    assert torch.isfinite(masked).all()
    assert (masked != x).all(dim=1).all(dim=1).any()


@pytest.mark.parametrize("part", [partial(warp_frequency, max_ratio=0.1), partial(tilt_spectrum, max_db=6.0)])
def test_rows_are_drawn_separately(part: Callable[..., Tensor]) -> None:
    x = log_mels(1).expand(4, -1, -1)
    rows = part(x, generator=generator())
    assert len({row.sum().item() for row in rows}) == 4


# All of it


def test_every_part_of_the_augmentation_can_be_switched_off() -> None:
    x = torch.randn(4, 32, 48)
    assert torch.equal(augmented(x, OFF, generator()), x)


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ({"warp_frequency": 0.1}, "warp_frequency"),
        ({"tilt_db": 3.0}, "tilt_spectrum"),
        ({"noise_probability": 0.5}, "add_noise"),
    ],
)
def test_each_setting_switches_its_part_on(
    setting: dict[str, float], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    for name in ("warp_frequency", "tilt_spectrum", "add_noise"):
        original = getattr(augment, name)
        monkeypatch.setattr(
            augment, name, lambda *args, name=name, original=original: called.append(name) or original(*args)
        )
    config = dataclasses.replace(OFF, **setting)
    augmented(torch.randn(4, 32, 48), config, generator())
    assert called == [part]
