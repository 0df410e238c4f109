"""AugmentedEmbeddings that sound unlike a recording: each change does what it says, and nothing else."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from sounds import voice

from speech_emotion.training.config import AugmentConfig
from speech_emotion.training.data import waveform_augment
from speech_emotion.training.data.waveform_augment import (
    at_speed,
    augmented,
    in_a_room,
    over_the_telephone,
    tilted,
    with_noise,
)

FloatArray = npt.NDArray[np.float32]
RATE = 16_000
NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
OFF = AugmentConfig(speeds=(1.0,), tilt_db=0.0, noise_probability=0.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def level_db(samples: FloatArray, low_hz: float, high_hz: float) -> float:
    """Mean power between two frequencies."""
    hz = np.fft.rfftfreq(len(samples), 1 / RATE)
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean()))


CHANGES: list[Callable[[FloatArray, np.random.Generator], FloatArray]] = [
    over_the_telephone,
    in_a_room,
    lambda x, r: tilted(x, 6.0, r),
    lambda x, r: with_noise(x, (0.0, 10.0), r),
]


@pytest.mark.parametrize("change", CHANGES, ids=["telephone", "room", "tilt", "noise"])
@pytest.mark.parametrize("n_samples", [8_000, 16_385])
def test_length_stays_chance_is_the_generator_s_and_the_input_is_untouched(
    change: Callable[[FloatArray, np.random.Generator], FloatArray], n_samples: int
) -> None:
    x = NOISE[:n_samples].copy()
    first = change(x, rng(5))
    np.testing.assert_array_equal(change(x, rng(5)), first)
    assert np.abs(change(x, rng(6)) - first).max() > 1e-3
    assert (first.shape, first.dtype) == (x.shape, np.float32)
    assert np.abs(first - x).max() > 1e-3
    np.testing.assert_array_equal(x, NOISE[:n_samples])
    assert np.isfinite(change(np.zeros(n_samples, np.float32), rng())).all()


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_a_faster_voice_is_shorter_and_higher(speed: float) -> None:
    x = np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE).astype(np.float32)
    y = at_speed(x, speed)
    assert len(y) == pytest.approx(len(x) / speed, abs=1)
    assert np.abs(np.fft.rfft(y)).argmax() * RATE / len(y) == pytest.approx(200 * speed, abs=1)


def test_speed_1_is_the_recording() -> None:
    assert at_speed(NOISE, 1.0) is NOISE


def test_a_telephone_passes_the_middle_alone() -> None:
    for seed in range(5):
        call = over_the_telephone(NOISE, rng(seed))
        lost = {
            band: level_db(NOISE, *band) - level_db(call, *band)
            for band in ((20, 90), (600, 2_800), (4_300, 8_000))
        }
        assert abs(lost[600, 2_800]) < 1
        assert lost[20, 90] > 20
        assert lost[4_300, 8_000] > 20


def test_a_telephone_has_steps_of_8_bits() -> None:
    call = over_the_telephone(voice(1.0, f0=150.0), rng())
    assert len(np.unique(call)) <= 257


def test_a_room_goes_on_after_the_voice_and_dies_away() -> None:
    x = np.zeros(RATE, np.float32)
    x[:100] = NOISE[:100]
    for seed in range(5):
        power = np.square(in_a_room(x, rng(seed)).astype(np.float64))
        early, later, last = (
            power[200:1_200].mean(),
            power[2_000:3_000].mean(),
            power[-1_000:].mean(),
        )
        assert early > 2 * later > 0
        assert last < 1e-4 * early


def test_the_tilt_is_smooth_and_within_its_limit() -> None:
    quotients = []
    impulse = np.zeros(16_384, np.float32)
    impulse[0] = 1.0
    for seed in range(20):
        response = np.abs(np.fft.rfft(tilted(impulse, 6.0, rng(seed))))
        quotients.append(20 * np.log10(response))
    gains = np.array(quotients)
    assert 4 < np.abs(gains).max() <= 6.01
    assert np.abs(np.diff(gains[:, 200:], axis=1)).max() < 0.1
    assert gains.std(axis=0).min() > 0.5


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_the_noise_is_as_loud_as_it_says(snr_db: float) -> None:
    x = voice(2.0, f0=150.0)
    noise = with_noise(x, (snr_db, snr_db), rng()) - x
    found = 10 * np.log10(
        np.mean(np.square(x, dtype=np.float64)) / np.mean(np.square(noise, dtype=np.float64))
    )
    assert found == pytest.approx(snr_db, abs=0.05)


def test_the_noise_falls_with_frequency_mostly() -> None:
    silent = np.full(RATE, 1e-9, np.float32)
    falls = []
    for seed in range(30):
        noise = with_noise(silent, (-180.0, -180.0), rng(seed))
        falls.append(level_db(noise, 100, 200) - level_db(noise, 3_200, 6_400))
    assert min(falls) > -10  # 5 octaves of +1.5 dB
    assert max(falls) < 45  # 5 octaves of -7.5 dB
    assert np.mean(falls) > 10


def test_nothing_asked_for_is_nothing_done() -> None:
    np.testing.assert_allclose(augmented(NOISE, OFF, rng()), NOISE, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"telephone_probability": 0.3}, "over_the_telephone"),
        ({"room_probability": 0.3}, "in_a_room"),
        ({"telephone_probability": 0.4, "room_probability": 0.3}, "in_a_room"),
        ({"noise_probability": 0.3}, "with_noise"),
    ],
)
def test_each_change_comes_as_often_as_asked(
    settings: dict[str, float], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_changed = 0

    def count(samples: FloatArray, *_: object) -> FloatArray:
        nonlocal n_changed
        n_changed += 1
        return samples

    monkeypatch.setattr(waveform_augment, name, count)
    config = AugmentConfig(**({"tilt_db": 0.0, "noise_probability": 0.0} | settings))  # type: ignore[arg-type]
    augment_one = partial(augmented, NOISE[:800], config)
    for seed in range(300):
        augment_one(rng(seed))
    assert 60 <= n_changed <= 120
