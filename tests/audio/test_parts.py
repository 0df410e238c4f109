"""Several recordings in one file, lengths that are wrong, several tracks: all is read, or a warning says that not."""

import io
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import encoded_set
import media
import numpy as np
import pytest
import soundfile
from sounds import voice

from speech_emotion.audio import load
from speech_emotion.audio.containers import MP3, OGG, WAV
from speech_emotion.audio.parts import parts
from speech_emotion.audio.slices import ENDLESS, FileSlice, matches
from speech_emotion.errors import AudioDecodeError, InvalidWaveformError

RATE = 16_000
SECONDS = 2.0
FIRST, SECOND = voice(SECONDS, RATE), voice(SECONDS, RATE, f0=220)
JOINABLE = [
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("FLAC", "PCM_16"),
    ("WAV", "PCM_16"),
    ("AIFF", "PCM_16"),
]


def written(samples: Any, container: str, encoding: str = "PCM_16", rate: int = RATE, **more: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=encoding, **more)
    return file.getvalue()


def similarity(found: np.ndarray, wanted: np.ndarray) -> float:
    n = min(len(found), len(wanted))
    return float(np.corrcoef(found[:n], wanted[:n])[0, 1])


class TestJoined:
    @pytest.mark.parametrize(("container", "encoding"), JOINABLE)
    def test_all_recordings_are_read_in_their_order(self, container: str, encoding: str) -> None:
        first, second = (written(samples, container, encoding) for samples in (FIRST, SECOND))
        waveform = load(first + second + first)
        assert waveform.warnings == ()
        assert waveform.seconds == pytest.approx(3 * SECONDS, abs=0.01)
        for index, samples in enumerate((FIRST, SECOND, FIRST)):
            start = round(index * SECONDS * RATE)
            assert similarity(waveform.samples[start : start + len(samples)], samples) > 0.9

    @pytest.mark.parametrize("container", ["MP3", "OGG", "FLAC", "WAV"])
    @pytest.mark.parametrize(("rate", "n_channels"), [(32_000, 1), (RATE, 2)])
    def test_another_rate_or_number_of_channels_ends_it_and_says_so(
        self, container: str, rate: int, n_channels: int
    ) -> None:
        encoding = dict(JOINABLE)[container] if container != "OGG" else "VORBIS"
        other = written(np.stack([SECOND] * n_channels, axis=1), container, encoding, rate)
        waveform = load(written(FIRST, container, encoding) + other)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.01)
        assert waveform.warnings == ("truncated",)

    @pytest.mark.parametrize(
        ("first", "second"),
        [("MP3", "FLAC"), ("MP3", "OGG"), ("MP3", "WAV"), ("WAV", "FLAC"), ("WAV", "OGG"), ("WAV", "MP3")],
    )
    def test_a_recording_of_another_kind_ends_it_and_says_so(self, first: str, second: str) -> None:
        kinds = dict(JOINABLE)
        tag = b"ID3\x04\0\0\0\0\0\0" if second == "MP3" else b""
        waveform = load(written(FIRST, first, kinds[first]) + tag + written(SECOND, second, kinds[second]))
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.01)
        assert waveform.warnings == ("truncated",)

    @pytest.mark.parametrize("suffix", ["flv", "wma"])
    def test_where_only_the_first_is_read_it_is_said(self, suffix: str) -> None:
        first, second = (media.encoded(samples, RATE, suffix) for samples in (FIRST, SECOND))
        assert load(first).warnings == ()
        waveform = load(first + second)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.2)
        assert waveform.warnings == ("truncated",)

    @pytest.mark.parametrize(("container", "encoding"), JOINABLE)
    def test_the_last_one_may_be_cut(self, container: str, encoding: str) -> None:
        first, second = (written(samples, container, encoding) for samples in (FIRST, SECOND))
        waveform = load(first + second[: len(second) * 3 // 4])
        assert SECONDS < waveform.seconds < 2 * SECONDS
        assert waveform.warnings == ("truncated",)

    @pytest.mark.parametrize(
        "between", [b"TAG" + bytes(125), bytes(5_000), b"ID3\3\0\0\0\0\x10\0" + bytes(2_048)]
    )
    def test_tags_and_zeros_may_stand_between_mp3_recordings(self, between: bytes) -> None:
        first, second = (written(samples, "MP3", "MPEG_LAYER_III") for samples in (FIRST, SECOND))
        waveform = load(between + first + between + second + between)
        assert waveform.seconds == pytest.approx(2 * SECONDS, abs=0.01)
        assert waveform.warnings == ()

    def test_a_second_index_of_an_mp4_is_not_passed_over(self) -> None:
        data = media.encoded(FIRST, RATE, "mp4")
        assert load(data).warnings == ()
        assert load(data + data).warnings == ("truncated",)

    def test_parts_are_found_wherever_they_begin(self) -> None:
        data = written(FIRST, "OGG", "VORBIS")
        file = FileSlice(io.BytesIO(data * 3))
        assert [part.file.n_bytes for part in parts(file, OGG)] == [len(data)] * 3


class TestLengthsOfMp3:
    @pytest.mark.parametrize("n_frames", [1, 10, 2**31])
    def test_the_header_may_tell_any_number_of_frames(self, n_frames: int) -> None:
        data = bytearray(media.encoded(FIRST, RATE, "mp3"))
        struct.pack_into(">I", data, data.index(b"Info") + 8, n_frames)
        waveform = load(bytes(data))
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.1)
        assert waveform.warnings == (("truncated",) if n_frames > 1_000 else ())

    def test_frames_without_a_header_are_all_read(self) -> None:
        """The first frame of a variable bit rate says nothing about the others."""
        small, large = (
            media.encoded(voice(1, RATE), RATE, "mp3", options={"write_xing": "0"}, bit_rate=bit_rate)
            for bit_rate in (16_000, 160_000)
        )
        for data in (small + large, large + small):
            assert load(data).seconds == pytest.approx(2, abs=0.2)
            assert load(data).warnings == ()

    @pytest.mark.parametrize("n_missing", [7, 500, 1_000])
    def test_it_may_begin_in_the_middle_of_a_frame(self, n_missing: int) -> None:
        data = media.encoded(FIRST, RATE, "mp3", options={"write_xing": "0"})
        waveform = load(data[n_missing:])
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.25)
        assert waveform.warnings == ()

    def test_an_incomplete_last_frame_costs_nothing_else(self) -> None:
        data = media.encoded(FIRST, RATE, "mp3", options={"write_xing": "0"})
        waveform = load(data[:-10])
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.15)
        assert waveform.warnings == ("truncated",)

    def test_in_a_wav_it_is_whole(self) -> None:
        frames = media.encoded(FIRST, RATE, "mp3")
        form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8_000, 1, 0, 12, 1, 2, 288, 1, 0)
        chunks = (
            b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(frames)) + frames
        )
        data = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
        assert next(parts(FileSlice(io.BytesIO(data)), WAV)).container is MP3
        assert load(data).seconds == pytest.approx(SECONDS, abs=0.1)
        assert load(data).warnings == ()
        assert load(data[:-2_000]).warnings == ("truncated",)


class TestUnfinished:
    @pytest.mark.parametrize("claimed", [0, 1_000])
    @pytest.mark.parametrize(
        ("container", "options", "name", "offset", "form"),
        [
            ("WAV", {}, b"data", 4, "<I"),
            ("WAV", {"endian": "BIG"}, b"data", 4, ">I"),
            ("AIFF", {}, b"SSND", 4, ">I"),
            ("CAF", {}, b"data", 4, ">Q"),
            ("AU", {}, b".snd", 8, ">I"),
        ],
    )
    def test_a_recorder_that_was_killed_leaves_its_length_open(
        self, claimed: int, container: str, options: dict[str, str], name: bytes, offset: int, form: str
    ) -> None:
        data = bytearray(written(FIRST, container, **options))
        struct.pack_into(form, data, data.index(name) + offset, claimed)
        waveform = load(bytes(data))
        assert waveform.warnings == ("unfinished",)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.01)
        assert similarity(waveform.samples, FIRST) > 0.99

    def test_an_rf64_keeps_its_length_in_its_first_chunk(self) -> None:
        data = bytearray(written(FIRST, "RF64"))
        struct.pack_into("<QQQ", data, 20, 0, 0, 0)
        waveform = load(bytes(data))
        assert waveform.warnings == ("unfinished",)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.01)

    def test_chunks_behind_the_sound_are_no_sound(self) -> None:
        data = written(FIRST, "WAV")
        for name in (b"LIST", b"abcd"):
            rest = name + struct.pack("<I", 50_000) + bytes(50_000)
            assert load(data + rest).warnings == ()
            assert load(data + rest).seconds == SECONDS

    def test_a_tag_may_stand_before_a_wav(self) -> None:
        tag = b"ID3\3\0\0\0\0\x10\0" + bytes(2_048)
        assert load(tag + written(FIRST, "WAV")).warnings == ()
        assert load(tag + written(FIRST, "WAV")[:-2_000]).warnings == ("truncated",)


class TestTracks:
    SILENCE = np.zeros(len(FIRST), np.float32)

    @pytest.mark.parametrize("default", [1, 2])
    def test_the_default_track_is_read_and_others_are_mentioned(self, default: int) -> None:
        tracks = (FIRST, self.SILENCE) if default == 1 else (self.SILENCE, FIRST)
        waveform = load(media.two_tracks(*tracks, default=default))
        assert waveform.warnings == ("other_tracks",)
        assert similarity(waveform.samples, FIRST) > 0.99

    @pytest.mark.parametrize(("track", "samples"), [(1, FIRST), (2, SECOND)])
    def test_a_track_can_be_chosen(self, track: int, samples: np.ndarray) -> None:
        waveform = load(media.two_tracks(FIRST, SECOND, default=1), track=track)
        assert waveform.warnings == ()
        assert similarity(waveform.samples, samples) > 0.99

    @pytest.mark.parametrize("track", [0, 3, -1])
    def test_a_track_that_is_not_there(self, track: int) -> None:
        with pytest.raises(
            AudioDecodeError, match=f"no audio track {track}; the first is 1 and the last is 2"
        ):
            load(media.two_tracks(FIRST, SECOND, default=1), track=track)

    @pytest.mark.skipif(not encoded_set.HAS_FFMPEG, reason="ffmpeg writes the file")
    def test_the_first_of_two_tracks_of_an_ogg_is_the_default(self, tmp_path: Path) -> None:
        for name, samples in (("first", FIRST), ("second", SECOND)):
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
        two = tmp_path / "two.ogg"
        inputs = ["-i", tmp_path / "first.wav", "-i", tmp_path / "second.wav", "-map", "0:a", "-map", "1:a"]
        subprocess.run(["ffmpeg", "-v", "error", *inputs, "-c:a", "libvorbis", two], check=True)
        assert load(two).warnings == ("other_tracks",)
        assert similarity(load(two).samples, FIRST) > 0.9
        assert similarity(load(two, track=2).samples, SECOND) > 0.9
        with pytest.raises(AudioDecodeError, match="the first is 1 and the last is 2"):
            load(two, track=3)

    def test_a_recording_without_tracks_has_one(self) -> None:
        data = written(FIRST, "WAV")
        assert load(data, track=1).seconds == SECONDS
        with pytest.raises(AudioDecodeError, match="no audio track 2; the first is 1 and the last is 1"):
            load(data, track=2)
        with pytest.raises(InvalidWaveformError, match="leave track out"):
            load(FIRST, sample_rate=RATE, track=1)


class TestSlices:
    def test_a_slice_is_a_file_of_its_own(self) -> None:
        file = FileSlice(io.BytesIO(bytes(range(100)))).slice(10, 20)
        assert file.read(4) == bytes(range(10, 14))
        assert file.read(99) == bytes(range(14, 20))
        assert file.read(1) == b""
        assert file.seek(-3, 2) == 7
        assert file.seek(1, 1) == 8
        assert file.seek(-50, 1) == 8  # not before the beginning
        assert file.read(1) == bytes([18])

    @pytest.mark.parametrize("start", range(6))
    @pytest.mark.parametrize("n_bytes", range(1, 7))
    def test_patched_bytes_are_read_however_reads_are_cut(self, start: int, n_bytes: int) -> None:
        file = FileSlice(io.BytesIO(b"0123456789")).patched({2: b"ab", 5: b"c"})
        file.seek(start)
        assert file.read(n_bytes) == b"01ab4c6789"[start : start + n_bytes]

    def test_an_endless_slice_ends_where_its_bytes_do(self) -> None:
        file = FileSlice(io.BytesIO(b"abc")).endless()
        assert file.seek(0, 2) == ENDLESS
        assert file.seek(-128, 2) == ENDLESS - 128
        assert file.read(200) == bytes(128)
        file.seek(0)
        assert file.read(10) == b"abc"
        assert file.read(10) == b""

    def test_matches_at_the_border_of_two_blocks_are_found_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("speech_emotion.audio.slices.BLOCK_BYTES", 100)
        data = bytearray(1_000)
        for at in range(0, 1_000, 7):
            data[at : at + 3] = b"abc"
        file = FileSlice(io.BytesIO(bytes(data)))
        assert list(matches(file, re.compile(b"abc"), 0, 1_000)) == list(range(0, 995, 7))
