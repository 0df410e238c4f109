"""The speech gate: voices pass, silence, noise, hum and tones do not, whatever the gain and however short."""

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import voice

from speech_emotion.audio import SAMPLE_RATE, load
from speech_emotion.audio.speech import LEVEL_FLOOR_DB, Weights, describe, has_speech, is_audible, parse
from speech_emotion.errors import ModelFormatError

WINDOW = 3 * SAMPLE_RATE
TIME = np.arange(WINDOW) / SAMPLE_RATE
DEMO_VOICES = sorted(
    item.name for item in files("speech_emotion").joinpath("assets").iterdir() if item.name.endswith(".flac")
)


def noise(exponent: float, seed: int) -> np.ndarray:
    """RMS 0.1; power falls with frequency to the `exponent`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(WINDOW))
    spectrum /= np.maximum(np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE), 20) ** (exponent / 2)
    samples = np.fft.irfft(spectrum, WINDOW)
    return (0.1 * samples / np.sqrt(np.square(samples).mean())).astype(np.float32)


def hum(mains: float, seed: int) -> np.ndarray:
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 8)
    parts = [np.sin(2 * np.pi * n * mains * TIME + phases[n - 1]) / n for n in range(1, 9)]
    return (0.1 * np.sum(parts, axis=0) + noise(0, seed) * 0.02).astype(np.float32)


def tone(frequency: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


VOICE, PINK_NOISE = voice(3, peak=0.1), noise(1, 2)


class TestVoices:
    @pytest.mark.parametrize("name", DEMO_VOICES)
    def test_the_demo_voices_speak(self, name: str) -> None:
        samples = load(files("speech_emotion").joinpath("assets", name).read_bytes()).samples
        assert has_speech(samples)
        assert all(
            has_speech(samples[start : start + WINDOW]) for start in range(0, len(samples) - WINDOW, 8_000)
        )

    @pytest.mark.parametrize("f0", [85, 140, 220, 330])
    @pytest.mark.parametrize("seconds", [1, 3, 9])
    def test_low_and_high_voices_speak(self, f0: float, seconds: float) -> None:
        assert has_speech(voice(seconds, f0=f0))

    def test_a_word_between_pauses_is_speech(self) -> None:
        samples = np.zeros(WINDOW, np.float32)
        samples[16_000:30_000] = voice(14_000 / SAMPLE_RATE)
        assert has_speech(samples)

    @pytest.mark.parametrize("exponent", [0, 1, 2])
    def test_a_voice_10_db_above_noise_speaks(self, exponent: float) -> None:
        sound = voice(3)
        level = np.sqrt(np.square(sound).mean() / 10)
        assert has_speech(sound + noise(exponent, 1) * np.float32(level / 0.1))


class TestOtherSounds:
    @pytest.mark.parametrize(
        "samples", [np.zeros(0), np.zeros(1), np.zeros(319), np.zeros(WINDOW), np.full(WINDOW, 0.3)]
    )
    def test_silence(self, samples: Any) -> None:
        assert not has_speech(samples.astype(np.float32))

    @pytest.mark.parametrize("exponent", [0, 0.5, 1, 1.5, 2])
    @pytest.mark.parametrize("n_samples", [8_000, 16_000, WINDOW])
    def test_stationary_noise(self, exponent: float, n_samples: int) -> None:
        assert not any(has_speech(noise(exponent, seed)[:n_samples]) for seed in range(20))

    @pytest.mark.parametrize("mains", [50, 60, 100, 120])
    def test_hum(self, mains: float) -> None:
        assert not any(has_speech(hum(mains, seed)) for seed in range(5))

    def test_a_hundred_tones(self) -> None:
        assert not any(has_speech(tone(frequency)) for frequency in np.geomspace(30, 7_900, 100))

    @pytest.mark.parametrize("per_second", [0.3, 1, 2])
    def test_99_of_a_hundred_beeps(self, per_second: float) -> None:
        is_on = np.sin(2 * np.pi * per_second * TIME) > 0
        beeps = [tone(frequency) * is_on + noise(0, 1) / 100 for frequency in np.geomspace(30, 7_900, 100)]
        assert sum(has_speech(samples.astype(np.float32)) for samples in beeps) <= 1

    def test_noise_that_comes_and_goes_like_syllables_has_no_pitch(self) -> None:
        syllables = np.sin(2 * np.pi * 2 * TIME) ** 2
        assert not any(has_speech((noise(1, seed) * syllables).astype(np.float32)) for seed in range(10))

    def test_a_melody_of_held_notes_is_music(self) -> None:
        notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4])[(TIME * 2).astype(int)] / 12)
        phase = 2 * np.pi * np.cumsum(notes) / SAMPLE_RATE
        fading = np.exp(-4 * (TIME * 2 % 1))
        melody = sum(np.sin(n * phase) / n for n in range(1, 7)) * fading * 0.1
        assert not has_speech(melody.astype(np.float32))


class TestGain:
    @settings(max_examples=40, deadline=None)
    @given(gain_db=st.floats(-35, 20))
    def test_gain_changes_nothing_above_the_floor(self, gain_db: float) -> None:
        gain = np.float32(10 ** (gain_db / 20))
        assert has_speech(VOICE * gain)
        assert not has_speech(PINK_NOISE * gain)

    def test_below_the_floor_nothing_is_heard(self) -> None:
        sound = voice(3)
        frames = np.square(sound).reshape(-1, 320).mean(axis=1)
        loud = np.sqrt(np.percentile(frames, 95))
        floor = 10 ** (LEVEL_FLOOR_DB / 20)
        assert has_speech(sound * np.float32(floor / loud * 2))
        assert not has_speech(sound * np.float32(floor / loud / 2))
        assert is_audible(sound * np.float32(floor / loud * 2))
        assert not is_audible(sound * np.float32(floor / loud / 2))

    def test_the_samples_are_left_as_they_are(self) -> None:
        sound = voice(3)
        sound.flags.writeable = False
        assert has_speech(sound)


class TestAudible:
    @pytest.mark.parametrize("samples", [VOICE, PINK_NOISE, tone(300), VOICE[:3_200]])
    def test_any_sound_above_the_floor_is(self, samples: Any) -> None:
        assert is_audible(samples.astype(np.float32))

    @pytest.mark.parametrize(
        "samples", [np.zeros(0), np.zeros(WINDOW), np.full(WINDOW, 1e-4), PINK_NOISE * 1e-3, VOICE[:2_878]]
    )
    def test_silence_and_less_than_eight_frames_are_not(self, samples: Any) -> None:
        assert not is_audible(samples.astype(np.float32))


class TestDescribe:
    @pytest.mark.parametrize("samples", [VOICE, PINK_NOISE, tone(300), noise(0, 3)[:8_000]])
    def test_every_sound_above_the_floor_has_finite_statistics(self, samples: Any) -> None:
        statistics = describe(samples.astype(np.float32))
        assert statistics is not None
        assert np.isfinite(statistics).all()

    def test_the_shortest_sound_it_describes_has_eight_frames(self) -> None:
        assert describe(VOICE[: 2 * (320 + 7 * 160) - 1]) is None
        assert describe(VOICE[: 2 * (320 + 7 * 160)]) is not None

    def test_gain_moves_no_statistic(self) -> None:
        plain, softer = describe(VOICE), describe(VOICE * np.float32(1 / 64))
        assert plain is not None
        assert softer is not None
        np.testing.assert_allclose(plain, softer, atol=1e-3)

    def test_a_steady_tone_is_periodic_and_stands_still_where_a_voice_glides(self) -> None:
        still, gliding = describe(tone(220)), describe(voice(3, f0=220))
        assert still is not None
        assert gliding is not None
        of_tone, of_voice = (
            still[-8:-4],
            gliding[-8:-4],
        )  # stretches of 80 ms: share, glide, glides, stands still
        np.testing.assert_allclose(of_tone[1:], [0, 0, 1], atol=1e-3)
        assert of_voice[1] > 0.01
        assert of_voice[3] < 0.5


class TestWeights:
    FOUND = json.loads(files("speech_emotion").joinpath("assets", "speech_gate.json").read_bytes())

    def test_they_are_small_and_say_where_they_come_from(self) -> None:
        asset = files("speech_emotion").joinpath("assets", "speech_gate.json")
        assert len(asset.read_bytes()) < 50_000
        assert self.FOUND["command"].startswith("python tools/train_speech_gate.py")
        assert len(self.FOUND["commit"]) == 40

    def test_the_score_is_that_of_one_hidden_layer(self) -> None:
        one, two = np.ones(1), np.ones((1, 1))
        weights = Weights(centre=one, scale=2 * one, hidden=two, bias=one, out=3 * one, threshold=0.5)
        assert weights.score(np.array([3.0])) == pytest.approx(3 * (1 + 1) - 0.5)
        assert weights.score(np.array([-9.0])) == pytest.approx(-0.5)
        assert weights.score(np.array([999.0])) == pytest.approx(3 * (5 + 1) - 0.5)

    @pytest.mark.parametrize(
        "change", [{"bias": [1.0]}, {"out": None}, {"threshold": "x"}, {"hidden": [[1.0]]}, {"scale": [[0]]}]
    )
    def test_damaged_weights_are_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(ModelFormatError, match="Install speech-emotion again"):
            parse(json.dumps(self.FOUND | change).encode())

    @pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
    def test_weights_that_are_no_numbers_are_refused(self, threshold: float) -> None:
        with pytest.raises(ModelFormatError, match="no numbers"):
            parse(json.dumps(self.FOUND | {"threshold": threshold}).encode())

    @pytest.mark.parametrize("data", [b"", b"\x80pickle", b"[]", b"{}"])
    def test_other_files_are_refused(self, data: bytes) -> None:
        with pytest.raises(ModelFormatError, match="speech gate are damaged"):
            parse(data)
