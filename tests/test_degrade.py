"""Conditions: each spoils a voice by as much as it says, alike every time, and without moving it in time."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import voice

from speech_emotion import degrade
from speech_emotion.degrade import CONDITIONS, Condition, noise_conditions, voice_power
from speech_emotion.errors import CorpusError

RATE = 16_000
VOICE = np.concatenate([np.zeros(RATE, np.float32), voice(2.0), np.zeros(RATE // 3, np.float32)])
BY_NAME = {condition.name: condition for condition in CONDITIONS}


def spoiled(name: str, samples: np.ndarray = VOICE, clip: str = "03-01-05-01-01-01-01") -> np.ndarray:
    return BY_NAME[name].apply(samples, clip)


def decibel(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def share(samples: np.ndarray, low: float, high: float) -> float:
    """The part of the energy between two frequencies, in dB."""
    power = np.square(np.abs(np.fft.rfft(samples)))
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return decibel(power[(frequency >= low) & (frequency < high)].sum() / power.sum())


def lag(samples: np.ndarray) -> int:
    """Samples by which a sound lies behind the voice."""
    n_fft = 2 * len(VOICE)
    spectrum = np.fft.rfft(samples, n_fft) * np.conj(np.fft.rfft(VOICE, n_fft))
    place = int(np.argmax(np.fft.irfft(spectrum, n_fft)))
    return place - n_fft if place > len(VOICE) else place


def test_the_conditions_are_these() -> None:
    assert list(BY_NAME) == [
        *("clean", "pink-20db", "pink-10db", "pink-0db", "telephone", "opus-16k", "mp3-64k", "reverb"),
        *("gain-up", "gain-down", "second"),
    ]


@pytest.mark.parametrize("condition", CONDITIONS, ids=BY_NAME)
def test_a_clip_is_spoiled_alike_every_time_and_is_not_touched(condition: Condition) -> None:
    before = VOICE.copy()
    first = condition.apply(VOICE, "a")
    assert np.array_equal(first, condition.apply(VOICE, "a"))
    assert np.array_equal(VOICE, before)
    assert not np.shares_memory(first, VOICE)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()


@pytest.mark.parametrize("condition", CONDITIONS[:-1], ids=list(BY_NAME)[:-1])
@pytest.mark.parametrize("n_samples", [8_001, 20_011])
def test_nothing_is_delayed_and_the_length_stays(condition: Condition, n_samples: int) -> None:
    assert len(condition.apply(VOICE[-n_samples:], "a")) == n_samples
    assert abs(lag(condition.apply(VOICE, "a"))) <= 2


@pytest.mark.parametrize("condition", CONDITIONS, ids=BY_NAME)
def test_silence_is_no_error(condition: Condition) -> None:
    silence = np.zeros(RATE, np.float32)
    assert np.abs(condition.apply(silence, "a")).max() < 1e-3


def test_clips_and_conditions_have_randomness_of_their_own() -> None:
    one = spoiled("pink-10db") - VOICE
    for other in (spoiled("pink-10db", clip="other") - VOICE, spoiled("pink-0db") - VOICE):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.3


def test_the_voice_is_measured_without_its_pauses() -> None:
    assert voice_power(VOICE) == pytest.approx(voice_power(VOICE[RATE : 3 * RATE]), rel=0.02)
    assert voice_power(np.full(1_000, 0.5, np.float32)) == pytest.approx(0.25, rel=0.2)


@pytest.mark.parametrize("snr_db", [20, 10, 0])
def test_pink_noise_has_its_level_and_its_colour(snr_db: int) -> None:
    noise = spoiled(f"pink-{snr_db}db") - VOICE
    assert decibel(voice_power(VOICE) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.1)
    octaves = [share(noise, low, 2 * low) for low in (250, 500, 1_000, 2_000)]
    assert np.ptp(octaves) < 1.5  # equal energy in every octave


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A silent recording and one of a high tone, shorter than the voice and at another rate."""
    (tmp_path / "street").mkdir()
    tone = 0.1 * np.sin(2 * np.pi * 5_000 * np.arange(24_000) / 24_000)
    soundfile.write(tmp_path / "street" / "tone.flac", tone, 24_000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    (tmp_path / "licence.txt").write_text("CC0")
    return tmp_path


@pytest.mark.parametrize("index", range(3))
def test_recorded_noise_has_its_level_and_is_what_was_recorded(recordings: Path, index: int) -> None:
    condition = noise_conditions(recordings)[index]
    assert condition.name == f"noise-{[20, 10, 0][index]}db"
    for clip in "abcd":  # some of them draw the silent recording first
        noise = condition.apply(VOICE, clip) - VOICE
        assert decibel(voice_power(VOICE) / np.mean(noise**2)) == pytest.approx([20, 10, 0][index], abs=0.1)
        assert share(noise, 4_900, 5_100) > -0.2


def test_a_long_recording_is_entered_anywhere(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.linspace(0.001, 0.9, 5 * len(VOICE)), RATE)
    condition = noise_conditions(tmp_path)[0]
    slopes = {round(float((condition.apply(VOICE, clip) - VOICE)[:100].mean()), 6) for clip in "abcde"}
    assert len(slopes) == 5


def test_a_folder_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="holds no recording"):
        noise_conditions(tmp_path)
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(CorpusError, match="are silent"):
        noise_conditions(tmp_path)[0].apply(VOICE, "a")


def test_the_telephone_has_its_band() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype(np.float32)
    degraded = spoiled("telephone", noise)
    assert share(degraded, 0, 240) < -30
    assert share(degraded, 3_460, 8_000) < -30
    passed = [decibel(np.var(band(degraded, *edges)) / np.var(band(noise, *edges))) for edges in BANDS]
    assert passed == pytest.approx([0, 0, 0], abs=0.3)


BANDS = [(400, 800), (1_000, 2_000), (2_500, 3_300)]


def band(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / RATE)
    return np.fft.irfft(spectrum * ((frequency >= low) & (frequency < high)))


def test_the_telephone_has_eight_bits() -> None:
    coded = degrade._coded(VOICE, 8_000, "WAV", "ULAW")
    loud = np.abs(VOICE) > 0.01
    assert decibel(np.mean(VOICE[loud] ** 2) / np.mean((coded - VOICE)[loud] ** 2)) == pytest.approx(
        37, abs=3
    )


@pytest.mark.parametrize(("name", "kbps"), [("opus-16k", 16), ("mp3-64k", 64)])
def test_codecs_have_their_bit_rate(name: str, kbps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    read = soundfile.read

    def weighed(file: object, **options: object) -> object:
        written.append(len(file.getvalue()))  # type: ignore[attr-defined]
        return read(file, **options)

    monkeypatch.setattr(soundfile, "read", weighed)
    five_seconds = voice(5.0)
    degraded = spoiled(name, five_seconds)
    assert written[0] * 8 / 5_000 == pytest.approx(kbps, rel=0.15)
    assert 0.9 < np.corrcoef(degraded, five_seconds)[0, 1] < 0.99999


def test_a_decoder_that_gives_more_or_less_is_brought_to_length() -> None:
    assert degrade._of_length(np.ones(3, np.float32), 5).tolist() == [1, 1, 1, 0, 0]
    assert degrade._of_length(np.ones(5, np.float32), 3).tolist() == [1, 1, 1]


def test_the_room_decays_by_60_db_in_half_a_second() -> None:
    response = degrade.room_response(np.random.default_rng(0))
    left = np.cumsum(np.square(response[::-1]))[::-1]  # Schroeder 1965: the energy still to come
    assert left[1] / left[0] == pytest.approx(0.5)  # direct and reverberant sound have the same energy
    decay = 10 * np.log10(left / left[0])
    audible = (decay < -5) & (decay > -35)
    slope = np.polyfit(np.flatnonzero(audible) / RATE, decay[audible], 1)[0]
    assert -60 / slope == pytest.approx(0.5, rel=0.05)


def test_the_room_rings_into_the_pauses_and_is_as_loud() -> None:
    degraded = spoiled("reverb")
    assert voice_power(degraded) == pytest.approx(voice_power(VOICE), rel=0.01)
    after = slice(3 * RATE + 800, None)
    assert np.abs(VOICE[after]).max() == 0
    assert np.abs(degraded[after]).max() > 1e-3


def test_gain_is_12_db_and_clips() -> None:
    np.testing.assert_allclose(spoiled("gain-down"), VOICE * 10**-0.6, atol=1e-7)
    loud = spoiled("gain-up")
    assert loud.max() == 1.0
    assert loud.min() >= -1.0
    quiet = np.abs(VOICE) < 0.25
    np.testing.assert_allclose(loud[quiet], VOICE[quiet] * 10**0.6, rtol=1e-5)


def test_the_loudest_second_is_cut_out() -> None:
    sound = np.full(3 * RATE, 0.01, np.float32)
    sound[20_000:36_000] = 0.5
    assert np.array_equal(spoiled("second", sound), np.full(RATE, 0.5, np.float32))
    assert np.array_equal(spoiled("second", sound[:9_000]), sound[:9_000])
