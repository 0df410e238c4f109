"""The audio gate: every kind of source and container gives the same samples; what the levels say is reported."""

import io
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
import soundfile
import sounds
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sounds import voice, wav

from speech_emotion.audio import SAMPLE_RATE, Limits, Resampler, load, open_audio
from speech_emotion.errors import AudioTooLargeError, AudioTooShortError, InvalidWaveformError

VOICE = voice(3, 48_000)
REFERENCE = load(VOICE, sample_rate=48_000).samples

SOUNDFILE_FORMATS = [  # container, encoding, how many dB below the sound an error may be
    ("WAV", "PCM_U8", 20),
    ("WAV", "PCM_16", 70),
    ("WAV", "PCM_24", 110),
    ("WAV", "PCM_32", 130),
    ("WAV", "FLOAT", 140),
    ("WAV", "DOUBLE", 140),
    ("WAV", "ALAW", 35),
    ("WAV", "ULAW", 35),
    ("WAV", "IMA_ADPCM", 30),
    ("WAV", "MS_ADPCM", 20),
    ("FLAC", "PCM_16", 70),
    ("FLAC", "PCM_24", 110),
    ("OGG", "VORBIS", 15),
    ("OGG", "OPUS", 20),
    ("MP3", "MPEG_LAYER_III", 35),
    ("AIFF", "PCM_16", 70),
    ("AU", "PCM_16", 70),
    ("CAF", "PCM_16", 70),
    ("CAF", "ALAC_16", 70),
    ("RF64", "PCM_16", 70),
]


LEAST_SIMILAR_DB = {"mov": 70, "mkv": 70, "flac.mkv": 70, "alac.m4a": 70, "avi": 30, "mp3": 20, "webm": 20}


def written(
    samples: Any, rate: int = 48_000, container: str = "WAV", encoding: str | None = None, **more: Any
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=encoding, **more)
    return file.getvalue()


def similarity_db(found: np.ndarray, wanted: np.ndarray) -> float:
    n = min(len(found), len(wanted))
    error = np.square(found[:n] - wanted[:n]).sum()
    return float(10 * np.log10(np.square(wanted[:n]).sum() / max(float(error), 1e-30)))


def tone(frequency: float, seconds: float, rate: int, gain: float = 0.5) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


class TestSources:
    def test_a_16_khz_recording_keeps_every_bit(self) -> None:
        integers = np.random.default_rng(1).integers(-32768, 32767, 20_000, np.int16)
        waveform = load(written(integers, SAMPLE_RATE))
        assert waveform.samples.dtype == np.float32
        np.testing.assert_array_equal(waveform.samples, integers / 32768)
        assert (waveform.source_rate, waveform.n_channels) == (SAMPLE_RATE, 1)
        assert waveform.seconds == 1.25

    @pytest.mark.parametrize("kind", ["str", "path", "bytes", "bytearray", "memoryview", "file", "open file"])
    def test_every_way_to_name_a_file_gives_the_same_samples(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "voice.wav"
        path.write_bytes(data := wav(VOICE, 48_000))
        with path.open("rb") as open_file:
            source = {
                "str": str(path),
                "path": path,
                "bytes": data,
                "bytearray": bytearray(data),
                "memoryview": memoryview(data),
                "file": io.BytesIO(data),
                "open file": open_file,
            }[kind]
            np.testing.assert_array_equal(load(source).samples, load(data).samples)

    def test_a_callers_file_is_read_from_its_start_and_left_open(self) -> None:
        file = io.BytesIO(wav(VOICE, 48_000))
        file.seek(1_000)
        first = load(file).samples
        np.testing.assert_array_equal(first, load(file).samples)
        assert not file.closed

    @pytest.mark.parametrize(
        ("name", "container"), [("voice.mp3", "FLAC"), ("voice.txt", "OGG"), ("voice", "AIFF")]
    )
    def test_content_decides_and_never_the_name(self, name: str, container: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(written(VOICE, 48_000, container))
        assert similarity_db(load(tmp_path / name).samples, REFERENCE) > 15

    @pytest.mark.parametrize(
        "name", ["😀 voice.wav", "two\nlines.wav", os.fsdecode(b"\xff\xfe.wav"), "-rf.wav", "=1+1"]
    )
    def test_odd_names_are_only_names(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(wav(VOICE, 48_000))
        assert load(tmp_path / name).seconds == 3
        assert load(os.fspath(tmp_path / name)).seconds == 3

    @pytest.mark.parametrize("n_skipped", [40, 400])
    def test_tags_before_the_sound_are_skipped(self, n_skipped: int) -> None:
        tag = b"ID3\x04\x00\x00" + bytes([0, 0, n_skipped >> 7, n_skipped & 0x7F]) + bytes(n_skipped)
        data = written(VOICE, 48_000, "MP3")
        assert load(tag + data).samples.shape == load(data).samples.shape


class TestContainers:
    @pytest.mark.parametrize(("container", "encoding", "similar"), SOUNDFILE_FORMATS)
    def test_every_encoding_gives_the_same_sound(self, container: str, encoding: str, similar: float) -> None:
        waveform = load(written(VOICE, 48_000, container, encoding))
        assert similarity_db(waveform.samples, REFERENCE) > similar
        assert abs(len(waveform.samples) - len(REFERENCE)) < 1_100  # ADPCM fills its last block
        assert (waveform.source_rate, waveform.n_channels, waveform.warnings) == (48_000, 1, ())

    def test_big_endian_wav(self) -> None:
        assert (
            similarity_db(load(written(VOICE, 48_000, "WAV", "PCM_16", endian="BIG")).samples, REFERENCE) > 70
        )

    @pytest.mark.parametrize("suffix", media.FORMATS)
    def test_every_container_of_phones_and_cameras_gives_the_same_sound(self, suffix: str) -> None:
        waveform = load(media.encoded(VOICE, 48_000, suffix))
        delay = {"aac": 341, "wma": 683 - 2 * 683}.get(
            suffix, 0
        )  # these two do not tell their encoder's delay
        found, wanted = waveform.samples[max(0, delay) :], REFERENCE[max(0, -delay) :]
        assert similarity_db(found, wanted) > LEAST_SIMILAR_DB.get(suffix, 12)
        assert waveform.seconds == pytest.approx(3, abs=0.05)
        assert (waveform.source_rate, waveform.warnings) == (48_000, ())

    def test_the_sound_of_a_stereo_video(self) -> None:
        waveform = load(media.encoded(np.stack([VOICE, VOICE], axis=1), 48_000, "mkv", video=True))
        assert waveform.n_channels == 2
        assert similarity_db(waveform.samples, REFERENCE) > 70

    def test_planar_channels_stay_apart(self) -> None:
        left, right = tone(440, 1, 48_000), tone(2_000, 1, 48_000)
        samples = load(media.encoded(np.stack([left, right], axis=1), 48_000, "mp4")).samples
        spectrum = np.abs(np.fft.rfft(samples[:16_000]))
        assert set(np.argsort(spectrum)[-2:]) == {440, 2_000}


class TestArrays:
    @pytest.mark.parametrize(
        ("dtype", "full_scale"),
        [(np.int16, 2**15), (np.int32, 2**31), (np.float32, 1), (np.float64, 1), (">i2", 2**15)],
    )
    def test_full_scale_is_one_in_every_type(self, dtype: Any, full_scale: int) -> None:
        values = np.array([0, 0.5, -0.5, -1, 0.25])
        samples = load((values * full_scale).astype(dtype), sample_rate=SAMPLE_RATE).samples
        np.testing.assert_allclose(samples, values, atol=1e-7)

    def test_the_callers_array_is_copied(self) -> None:
        mine = tone(300, 0.1, SAMPLE_RATE)
        samples = load(mine, sample_rate=SAMPLE_RATE).samples
        samples[:] = 0
        assert mine.any()

    @pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 32])
    def test_channels_are_averaged(self, n_channels: int) -> None:
        channels = np.random.default_rng(2).uniform(-1, 1, (5_000, n_channels)).astype(np.float32)
        for array in (channels, np.asfortranarray(channels)):
            waveform = load(array, sample_rate=SAMPLE_RATE)
            np.testing.assert_allclose(waveform.samples, channels.mean(axis=1, dtype=np.float64), atol=1e-6)
            assert waveform.n_channels == n_channels

    @pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 96_000, 384_000])
    def test_a_tone_keeps_its_pitch_and_length_at_every_rate(self, rate: int) -> None:
        waveform = load(tone(1_000, 2, rate), sample_rate=rate)
        assert len(waveform.samples) == 32_000
        spectrum = np.abs(np.fft.rfft(waveform.samples[8_000:24_000]))
        assert spectrum.argmax() == 1_000
        assert waveform.samples[8_000:24_000].max() == pytest.approx(0.5, abs=2e-3)

    def test_what_16_khz_cannot_hold_is_removed_and_not_folded_back(self) -> None:
        assert np.abs(load(tone(10_000, 1, 48_000), sample_rate=48_000).samples[500:-500]).max() < 1e-4

    @pytest.mark.parametrize(
        ("array", "rate", "words"),
        [
            (np.zeros(9), None, "needs its rate"),
            (np.zeros(0), 16_000, "empty"),
            (np.zeros((0, 2)), 16_000, "empty"),
            (np.zeros((9, 0)), 16_000, "shape"),
            (np.array(0.5), 16_000, "shape"),
            (np.zeros((3, 3, 3)), 16_000, "shape"),
            (np.array(["a"]), 16_000, "int16, int32 or float"),
            (np.array([None]), 16_000, "int16, int32 or float"),
            (np.zeros(9, complex), 16_000, "int16, int32 or float"),
            (np.zeros(9, np.uint8), 16_000, "int16, int32 or float"),
            (np.zeros(9, np.int64), 16_000, "int16, int32 or float"),
            (np.zeros(9, bool), 16_000, "int16, int32 or float"),
            (np.zeros(9), 16_000.5, "whole number"),
            (np.zeros(9), "16000", "whole number"),
            (np.zeros(9), True, "whole number"),
            (np.zeros(9), 0, "whole number above 0"),
            (np.zeros(9), -16_000, "whole number above 0"),
            ([0.0, 0.1], None, "pass a NumPy array"),
            ([0.0, 0.1], 16_000, "pass a NumPy array"),
            (None, None, "NumPy array"),
            (7, None, "NumPy array"),
        ],
    )
    def test_what_is_no_recording_is_refused_with_words(self, array: Any, rate: Any, words: str) -> None:
        with pytest.raises(InvalidWaveformError, match=words):
            load(array, sample_rate=rate)

    def test_a_file_brings_its_own_rate(self) -> None:
        with pytest.raises(InvalidWaveformError, match="leave sample_rate out"):
            load(wav(VOICE), sample_rate=48_000)

    def test_numpy_integers_are_rates(self) -> None:
        assert load(np.zeros(48), sample_rate=np.int64(48_000)).samples.shape == (16,)  # type: ignore[arg-type]

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38, -1e38, 1e300, 32_767.0])
    @pytest.mark.parametrize("channel", [0, 1])
    def test_what_is_not_sound_is_refused_at_its_second(self, bad: float, channel: int) -> None:
        array = np.zeros((160_000, 2))
        array[100_000, channel] = array[120_000, 0] = bad
        with pytest.raises(InvalidWaveformError, match=r"at 6\.250 s"):
            load(array, sample_rate=16_000)

    def test_a_matrix_is_an_array_of_one_channel_each(self) -> None:
        with pytest.warns(PendingDeprecationWarning):
            matrix = np.matrix(tone(300, 0.1, SAMPLE_RATE)).T
        assert load(matrix, sample_rate=SAMPLE_RATE).samples.shape == (1_600,)


class TestStreaming:
    def test_blocks_are_bounded_and_equal_to_the_whole(self) -> None:
        data = written(np.tile(VOICE, 10), 48_000, "FLAC")
        with open_audio(data) as stream:
            blocks = list(stream)
        assert len(blocks) > 20
        assert max(map(len, blocks)) < 25_000
        np.testing.assert_array_equal(np.concatenate(blocks), load(data).samples)

    def test_a_stream_is_read_once(self) -> None:
        with open_audio(wav(VOICE)) as stream:
            assert sum(map(len, stream)) == len(VOICE)
            assert list(stream) == []

    def test_leaving_early_closes_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(wav(np.tile(VOICE, 10), 48_000))
        n_open = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with open_audio(tmp_path / "a.wav") as stream:
            next(iter(stream))
        assert len(os.listdir("/proc/self/fd")) == n_open  # noqa: PTH208

    def test_the_resampler_equals_soxr_in_one_piece_bit_for_bit(self) -> None:
        whole = soxr.resample(VOICE, 48_000, SAMPLE_RATE, quality="HQ")
        np.testing.assert_array_equal(REFERENCE, whole)

    @settings(max_examples=40)
    @given(
        rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 96_000]),
        n_channels=st.integers(1, 3),
        cuts=st.lists(st.integers(0, 9_000), max_size=12),
        dtype=st.sampled_from([np.float32, np.float64, np.int16]),
    )
    def test_how_the_chunks_are_cut_changes_no_bit(
        self, rate: int, n_channels: int, cuts: list[int], dtype: Any
    ) -> None:
        noise = np.random.default_rng(3).uniform(-1, 1, (9_000, n_channels))
        noise = (noise * 32767).astype(dtype) if dtype is np.int16 else noise.astype(dtype)

        def resampled(places: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
            resampler = Resampler(rate, n_channels)
            pieces = [resampler.push(chunk) for chunk in np.split(noise, sorted(places))]
            return np.concatenate([*pieces, resampler.finish()]), resampler.warnings

        (whole, warnings), (parts, same_warnings) = resampled([]), resampled(cuts)
        np.testing.assert_array_equal(parts, whole)
        assert len(whole) == pytest.approx(9_000 * SAMPLE_RATE / rate, abs=1)
        assert warnings == same_warnings

    def test_a_chunk_of_another_width_is_refused(self) -> None:
        resampler = Resampler(48_000, 2)
        with pytest.raises(InvalidWaveformError, match="must have 2 channels, not 1"):
            resampler.push(np.zeros(100, np.float32))

    def test_the_second_of_a_bad_sample_counts_from_the_start_of_the_stream(self) -> None:
        resampler = Resampler(8_000)
        resampler.push(np.zeros(8_000))
        with pytest.raises(InvalidWaveformError, match=r"at 1\.500 s there is nan"):
            resampler.push(np.where(np.arange(8_000) < 4_000, 0, np.nan))

    @settings(max_examples=40)
    @given(
        array=arrays.arrays(np.float32, st.integers(1, 4_000), elements=st.floats(-100, 100, width=32)),
        rate=st.sampled_from([4_000, 16_000, 44_100, 48_000, 384_000]),
    )
    def test_every_finite_array_gives_finite_samples_and_no_more_than_its_seconds(
        self, array: np.ndarray, rate: int
    ) -> None:
        waveform = load(array, sample_rate=rate)
        assert np.isfinite(waveform.samples).all()
        assert waveform.samples.dtype == np.float32
        assert waveform.samples.ndim == 1
        assert len(waveform.samples) <= np.ceil(len(array) * SAMPLE_RATE / rate)


class TestLimits:
    @pytest.mark.parametrize("source", ["file", "array"])
    def test_the_longest_recording_is_accepted_and_one_more_sample_is_not(self, source: str) -> None:
        limits = Limits(max_seconds=2)
        for n_samples in (16_000, 16_001):
            array = tone(200, 3, 8_000)[:n_samples]
            given_as: dict[str, Any] = (
                {"source": array, "sample_rate": 8_000}
                if source == "array"
                else {"source": wav(array, 8_000)}
            )
            if n_samples == 16_000:
                assert load(**given_as, limits=limits).seconds == 2
            else:
                with pytest.raises(AudioTooLargeError, match="may last 2 s"):
                    load(**given_as, limits=limits)

    def test_decoded_bytes_count_every_channel(self) -> None:
        array = np.zeros((16_000, 4), np.int16)
        assert load(array, sample_rate=16_000, limits=Limits(max_decoded_bytes=256_000)).seconds == 1
        with pytest.raises(AudioTooLargeError, match="4 channels at 16000 Hz"):
            load(array, sample_rate=16_000, limits=Limits(max_decoded_bytes=255_999))

    @pytest.mark.parametrize("rate", [1, 3_999, 384_001, 655_350, 2**31 - 1])
    def test_rates_beyond_reason_are_refused(self, rate: int) -> None:
        with pytest.raises(AudioTooLargeError, match="4000 to 384000 Hz"):
            load(np.zeros(100), sample_rate=rate)

    def test_more_channels_than_32_are_refused_with_a_hint_to_the_transpose(self) -> None:
        with pytest.raises(AudioTooLargeError, match="transpose"):
            load(np.zeros((2, 48_000)), sample_rate=48_000)
        with pytest.raises(AudioTooLargeError, match="1 to 32 channels, not 33"):
            load(written(np.zeros((100, 33)), 48_000, "WAV"))

    def test_a_recording_without_samples_is_too_short(self) -> None:
        with pytest.raises(AudioTooShortError, match="no samples"):
            load(wav(np.zeros(0, np.float32)))

    @pytest.mark.parametrize(("rate", "n_samples"), [(16_000, 1), (48_000, 0), (8_000, 2)])
    def test_one_sample_is_a_recording(self, rate: int, n_samples: int) -> None:
        assert load(wav(np.ones(1, np.float32) / 2, rate)).samples.shape == (n_samples,)


class TestWarnings:
    def test_a_good_recording_has_none(self) -> None:
        assert load(VOICE, sample_rate=48_000).warnings == ()

    def test_one_sample_in_a_hundred_at_full_scale_is_clipped(self) -> None:
        loud = np.clip(VOICE * 4, -1, 1)
        assert np.mean(np.abs(loud) == 1) == pytest.approx(0.01, abs=0.02)
        assert load(loud, sample_rate=48_000).warnings == ("clipped",)
        for encoding in ("PCM_16", "PCM_U8", "ALAW", "ULAW"):
            assert load(written(loud, 48_000, "WAV", encoding)).warnings == ("clipped",)

    @pytest.mark.parametrize("gain", [1.5, 2, 10])
    def test_floats_beyond_full_scale_are_clipped_only_where_they_are_flat(self, gain: float) -> None:
        loud = VOICE / np.abs(VOICE).max() * gain
        assert load(written(loud, 48_000, "WAV", "FLOAT")).warnings == ()
        assert load(written(np.clip(loud, -1, 1) * 2, 48_000, "WAV", "FLOAT")).warnings == ("clipped",)
        assert load(loud, sample_rate=48_000).warnings == ()

    def test_flat_tops_are_found_behind_a_lossy_codec(self) -> None:
        flat = np.clip(VOICE / np.abs(VOICE).max() * 6, -1, 1)
        for container, encoding in (("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS")):
            assert "clipped" in load(written(flat, 48_000, container, encoding)).warnings

    def test_a_recording_normalised_to_its_peak_is_not_clipped(self) -> None:
        assert load(VOICE / np.abs(VOICE).max(), sample_rate=48_000).warnings == ()

    @pytest.mark.parametrize(("peak", "warnings"), [(0.0049, ("quiet",)), (0.0051, ()), (0.0, ("quiet",))])
    def test_quiet(self, peak: float, warnings: tuple[str, ...]) -> None:
        swelling = np.concatenate([tone(200, 1, 16_000, peak / 30), tone(200, 1, 16_000, peak)])
        assert load(swelling, sample_rate=16_000).warnings == warnings

    @pytest.mark.parametrize(("snr_db", "warnings"), [(60, ()), (30, ()), (5, ("noisy",)), (0, ("noisy",))])
    def test_noisy(self, snr_db: float, warnings: tuple[str, ...]) -> None:
        noise = np.random.default_rng(9).normal(0, 1, len(VOICE)) * VOICE.std() * 10 ** (-snr_db / 20)
        mixed = ((VOICE + noise) / 4).astype(np.float32)
        assert load(mixed, sample_rate=48_000).warnings == warnings
        resampler, cuts = Resampler(48_000), [0, 1, 700, 701, 50_000, len(mixed)]
        for start, end in pairwise(cuts):
            resampler.push(mixed[start:end])
        assert resampler.warnings == warnings  # however it is cut

    def test_what_is_too_short_or_too_quiet_to_tell_is_not_noisy(self) -> None:
        assert load(tone(200, 0.49, 16_000), sample_rate=16_000).warnings == ()
        assert load(tone(200, 0.50, 16_000), sample_rate=16_000).warnings == ("noisy",)
        assert load(tone(200, 1, 16_000, 1e-3), sample_rate=16_000).warnings == ("quiet",)

    @pytest.mark.parametrize("offset", [0.005, 0.02, -0.1])
    def test_the_offset_of_a_sound_card_is_no_noise_and_no_loudness(self, offset: float) -> None:
        assert load(VOICE / 4 + np.float32(offset), sample_rate=48_000).warnings == ()
        faint = np.concatenate([tone(200, 1, 16_000, 1e-4), tone(200, 1, 16_000, 0.004)]) + np.float32(offset)
        assert "quiet" in load(faint, sample_rate=16_000).warnings

    def test_channels_that_cancel_each_other(self) -> None:
        stereo = np.stack([VOICE, -0.9 * VOICE], axis=1)
        waveform = load(written(stereo, 48_000, "FLAC"))
        assert waveform.warnings == ("phase_cancelled",)
        np.testing.assert_allclose(waveform.samples, REFERENCE * 0.05, atol=1e-4)

    @pytest.mark.parametrize("leak", [0, 0.1])
    @pytest.mark.parametrize("n_channels", [2, 3])
    def test_speakers_who_take_turns_on_channels_of_their_own(self, leak: float, n_channels: int) -> None:
        agent, customer = sounds.voice(12), sounds.voice(12, f0=230)
        is_first = np.arange(len(agent)) // 48_000 % 2 == 0
        left, right = agent * is_first, customer * ~is_first
        call = np.zeros((len(agent), n_channels), np.float32)
        call[:, 0], call[:, 1] = left + leak * right, right + leak * left
        assert "channels_differ" in load(call, sample_rate=16_000).warnings
        assert "channels_differ" not in load(call[:, 0], sample_rate=16_000).warnings

    @pytest.mark.parametrize("crosstalk", [0, 10 ** (-30 / 20)])
    def test_a_speaker_30_db_below_the_other_has_a_channel(self, crosstalk: float) -> None:
        agent, customer = sounds.voice(12), 10 ** (-30 / 20) * sounds.voice(12, f0=230)
        is_first = np.arange(len(agent)) // 48_000 % 2 == 0
        left = agent * is_first
        call = np.stack([left, customer * ~is_first + crosstalk * left], axis=1).astype(np.float32)
        assert "channels_differ" in load(call, sample_rate=16_000).warnings

    @pytest.mark.parametrize("late", [0, 0.1, 0.3, 0.5])
    def test_crosstalk_30_db_below_its_speaker_has_none(self, late: float) -> None:
        agent = sounds.voice(12) * (np.arange(12 * 16_000) // 16_000 % 2 == 0)
        crosstalk = 10 ** (-30 / 20) * np.roll(agent, round(late * 16_000))
        call = np.stack([agent, crosstalk], axis=1).astype(np.float32)
        assert "channels_differ" not in load(call, sample_rate=16_000).warnings

    @pytest.mark.parametrize(
        "kind", ["same", "quieter", "one is silent", "one is noise", "room", "panned notes"]
    )
    def test_stereo_of_one_sound_does_not_differ(self, kind: str) -> None:
        rng, voice = np.random.default_rng(2), sounds.voice(6)
        noise = 10 ** (-60 / 20) * rng.standard_normal((2, len(voice)))
        echo = 0.05 * rng.standard_normal((2, 4_000)) * np.exp(-np.arange(4_000) / 1_200)
        notes = [voice * (np.arange(len(voice)) // 4_000 % 3 == place) for place in range(3)]
        left, right = {
            "same": (voice, voice),
            "quieter": (voice + noise[0], 0.4 * voice + noise[1]),
            "one is silent": (voice, noise[1]),
            "one is noise": (voice * (np.arange(len(voice)) // 16_000 % 2), 5 * noise[1]),
            "room": [voice + np.convolve(voice, side)[: len(voice)] for side in echo],
            "panned notes": (notes[0] + notes[1] + 0.4 * notes[2], 0.4 * notes[0] + notes[1] + notes[2]),
        }[kind]
        stereo = np.stack([left, right], axis=1).astype(np.float32)
        assert "channels_differ" not in load(stereo, sample_rate=16_000).warnings

    @pytest.mark.parametrize("n_channels", [2, 6, 32])
    def test_silent_or_unrelated_channels_do_not_cancel(self, n_channels: int) -> None:
        one = np.zeros((16_000, n_channels))
        one[:, 0] = tone(300, 1, 16_000)
        assert "phase_cancelled" not in load(one, sample_rate=16_000).warnings
        unrelated = np.random.default_rng(4).normal(0, 0.1, (16_000, n_channels))
        assert "phase_cancelled" not in load(unrelated, sample_rate=16_000).warnings


def test_warnings_are_still_there_after_the_sound_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, np.zeros(16_000, np.int16), 16_000)
    path.write_bytes(path.read_bytes()[:-1000])
    with open_audio(path) as stream:
        list(stream)
    assert "truncated" in stream.warnings
