"""What is audible: any sound above the floor that is not too short. Silence is refused, whatever the gain."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import voice

from speech_emotion.audio import SAMPLE_RATE
from speech_emotion.audio.speech import LEVEL_FLOOR_DB, is_audible

WINDOW = 3 * SAMPLE_RATE
TIME = np.arange(WINDOW) / SAMPLE_RATE
VOICE = voice(3, peak=0.1)
NOISE = np.random.default_rng(2).normal(0, 0.1, WINDOW).astype(np.float32)


def tone(frequency: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


@pytest.mark.parametrize("samples", [VOICE, NOISE, tone(300), VOICE[:3_200], VOICE[: 2 * (320 + 7 * 160)]])
def test_any_sound_above_the_floor_is_audible(samples: Any) -> None:
    assert is_audible(samples)


@pytest.mark.parametrize("n_samples", [0, 1, 319, WINDOW])
@pytest.mark.parametrize("level", [0, 1e-4])
def test_silence_is_not(n_samples: int, level: float) -> None:
    assert not is_audible(np.full(n_samples, level, np.float32))


@pytest.mark.parametrize("samples", [NOISE * 1e-3, VOICE[: 2 * (320 + 7 * 160) - 1]])
def test_near_silence_and_less_than_eight_frames_are_not(samples: Any) -> None:
    assert not is_audible(samples.astype(np.float32))


def test_a_word_between_pauses_is_audible() -> None:
    samples = np.zeros(WINDOW, np.float32)
    samples[16_000:30_000] = voice(14_000 / SAMPLE_RATE)
    assert is_audible(samples)


@settings(max_examples=40)
@given(gain_db=st.floats(-35, 20))
def test_gain_changes_nothing_above_the_floor(gain_db: float) -> None:
    assert is_audible(VOICE * np.float32(10 ** (gain_db / 20)))


def test_the_floor_is_where_it_says() -> None:
    frames = np.square(VOICE).reshape(-1, 320).mean(axis=1)
    loud = np.sqrt(np.percentile(frames, 95))
    floor = 10 ** (LEVEL_FLOOR_DB / 20)
    assert is_audible(VOICE * np.float32(floor / loud * 2))
    assert not is_audible(VOICE * np.float32(floor / loud / 2))


def test_the_samples_are_left_as_they_are() -> None:
    sound = VOICE.copy()
    sound.flags.writeable = False
    assert is_audible(sound)
