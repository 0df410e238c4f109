"""What comes in wrong at the audio gate: each ends in a typed error with a next step, or in a flagged result."""

import errno
import io
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import media
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import voice

from speech_emotion.audio import Limits, load, open_audio
from speech_emotion.audio.containers import MP4, WAV, Container
from speech_emotion.audio.slices import FileSlice
from speech_emotion.audio.structure import MAX_CHUNKS, is_cut_short
from speech_emotion.errors import (
    AudioDecodeError,
    AudioError,
    AudioNotFoundError,
    AudioTooLargeError,
    AudioTooShortError,
    InvalidWaveformError,
    MissingExtraError,
)

SECONDS = 2.4
LAST_FRAME = 2_500  # samples that a lossy codec may guess where its data end
VOICE = voice(SECONDS, 16_000)


def written(samples: Any, rate: int, container: str, encoding: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=encoding)
    return file.getvalue()


RECORDINGS = {
    "wav": written(VOICE, 16_000, "WAV"),
    "float wav": written(VOICE, 16_000, "WAV", "FLOAT"),
    "adpcm wav": written(VOICE, 16_000, "WAV", "IMA_ADPCM"),
    "rf64": written(VOICE, 16_000, "RF64"),
    "flac": written(VOICE, 16_000, "FLAC"),
    "vorbis": written(VOICE, 16_000, "OGG", "VORBIS"),
    "opus": written(VOICE, 16_000, "OGG", "OPUS"),
    "aiff": written(VOICE, 16_000, "AIFF"),
    "au": written(VOICE, 16_000, "AU"),
    "caf": written(VOICE, 16_000, "CAF"),
    **{suffix: media.encoded(VOICE, 16_000, suffix) for suffix in media.FORMATS if suffix != "webm"},
    "webm": media.encoded(voice(SECONDS, 48_000), 48_000, "webm"),
    "mp3": media.encoded(VOICE, 16_000, "mp3"),
    "mp4 for the web": media.encoded(VOICE, 16_000, "mp4", options={"movflags": "faststart"}),
    "mp4 in pieces": media.encoded(VOICE, 16_000, "mp4", options={"movflags": "frag_keyframe+empty_moov"}),
}
WHOLE = {name: load(data) for name, data in RECORDINGS.items()}


class TestCutFiles:
    @pytest.mark.parametrize("name", RECORDINGS)
    def test_a_file_cut_anywhere_is_refused_or_flagged_and_never_longer(self, name: str) -> None:
        data, whole = RECORDINGS[name], WHOLE[name]
        assert whole.warnings == ()
        n_results = 0
        for n_bytes in {*range(0, 200, 7), *np.linspace(0, len(data) - 1, 60, dtype=int), len(data) - 1}:
            try:
                waveform = load(data[:n_bytes])
            except (AudioDecodeError, AudioTooShortError):
                continue
            n_results += 1
            assert "truncated" in waveform.warnings or _ends_at_a_frame(name, data, n_bytes), n_bytes
            n = len(waveform.samples)
            assert n <= len(whole.samples)
            surely = slice(max(0, n - LAST_FRAME))
            np.testing.assert_allclose(waveform.samples[surely], whole.samples[surely], atol=1e-3)
        assert n_results > 5 or name in (
            "caf",
            "mp4",
            "m4a",
            "mov",
            "alac.m4a",
        )  # their index stands at the end

    @pytest.mark.parametrize("claimed", [2, 100, 2**31 - 1, 2**32 - 1])
    @pytest.mark.parametrize("name", ["wav", "aiff", "au"])
    def test_a_header_may_claim_any_length(self, name: str, claimed: int) -> None:
        data = bytearray(RECORDINGS[name])
        place, form = {"wav": (40, "<I"), "aiff": (42, ">I"), "au": (8, ">I")}[name]
        assert struct.unpack_from(form, data, place)[0] in (len(VOICE) * 2, len(VOICE) * 2 + 8)
        struct.pack_into(form, data, place, claimed)
        try:
            waveform = load(bytes(data))
        except AudioError:
            return
        assert len(waveform.samples) <= len(VOICE)
        assert len(waveform.samples) in (len(VOICE), claimed // 2, (claimed - 8) // 2)

    def test_flac_that_claims_more_frames_than_it_holds_is_flagged(self) -> None:
        data = bytearray(RECORDINGS["flac"])
        data[22:26] = struct.pack(">I", 2**31)  # the low 32 bits of the 36 that count the frames
        waveform = load(bytes(data))
        assert waveform.warnings == ("truncated",)
        np.testing.assert_array_equal(waveform.samples, WHOLE["flac"].samples)

    @pytest.mark.parametrize("size", [0x7FFF_FFFF, 0xFFFF_FFFF])
    def test_a_size_that_a_pipe_left_open_is_not_a_cut(self, size: int) -> None:
        data = bytearray(RECORDINGS["wav"])
        struct.pack_into("<I", data, 4, size)
        struct.pack_into("<I", data, 40, size)
        assert load(bytes(data)).warnings == ()

    @pytest.mark.parametrize("rate", [16_000, 44_100])
    def test_an_mp3_that_does_not_tell_its_length_is_not_a_cut(self, rate: int) -> None:
        data = media.encoded(voice(SECONDS, rate), rate, "mp3", options={"write_xing": "0"})
        assert load(data).warnings == ()
        assert load(data[: len(data) // 2]).seconds < SECONDS * 0.6

    @pytest.mark.parametrize("name", ["vorbis", "opus"])
    def test_a_damaged_page_of_an_ogg_never_ends_it_silently(self, name: str) -> None:
        data, seconds = RECORDINGS[name], WHOLE[name].seconds
        pages = [match.start() for match in re.finditer(b"OggS", data)]
        for page in pages[3:]:
            for at in (page, page + 4, page + 22, page + 24, page + 26, page + 27, page + 60):
                waveform = load(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
                assert waveform.seconds > seconds - 0.1 or "truncated" in waveform.warnings, at

    def test_what_follows_the_sound_may_be_anything(self) -> None:
        for rest in (b"LIST\xff\xff\0\0INFO", b"\0", b"TAG" + bytes(125)):
            waveform = load(RECORDINGS["wav"] + rest)
            assert (waveform.seconds, waveform.warnings) == (SECONDS, ())

    @pytest.mark.parametrize(
        ("container", "start", "empty"),
        [(WAV, b"RIFF\0\0\0\0WAVE", b"JUNK\0\0\0\0"), (MP4, b"", b"\0\0\0\x08free")],
    )
    def test_a_file_of_empty_chunks_is_not_walked_to_its_end(
        self, container: Container, start: bytes, empty: bytes
    ) -> None:
        file = io.BytesIO(start + empty * 2 * MAX_CHUNKS)
        assert not is_cut_short(FileSlice(file), container)
        assert file.tell() <= len(start) + (MAX_CHUNKS + 2) * len(empty)

    def test_an_mp4_box_may_reach_to_the_end_of_the_file(self) -> None:
        data = RECORDINGS["mp4 for the web"]
        start = data.index(b"mdat") - 4
        n_bytes = struct.unpack_from(">I", data, start)[0]
        assert start + n_bytes == len(data)
        waveform = load(data[:start] + bytes(4) + data[start + 4 :])
        assert waveform.warnings == ()
        np.testing.assert_array_equal(waveform.samples, WHOLE["mp4 for the web"].samples)

    def test_a_large_mp4_box_has_a_longer_size(self) -> None:
        box = struct.pack(">I4sQ", 1, b"mdat", 24) + bytes(8)
        assert not is_cut_short(FileSlice(io.BytesIO(box)), MP4)
        assert is_cut_short(FileSlice(io.BytesIO(box[:-1])), MP4)

    def test_a_rate_that_changes_midway_ends_the_recording(self) -> None:
        data = RECORDINGS["aac"] + media.encoded(voice(1, 48_000), 48_000, "aac")
        waveform = load(data)
        assert waveform.source_rate == 16_000
        assert waveform.warnings == ("truncated",)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.1)


def _ends_at_a_frame(name: str, data: bytes, n_bytes: int) -> bool:
    """Streams of AAC frames do not say where they end, and fragments of MP4 are whole files each."""
    if name == "aac":
        return data[n_bytes : n_bytes + 1] == b"\xff"
    return name == "mp4 in pieces" and data[n_bytes + 4 : n_bytes + 8] in (b"moof", b"mfra")


class TestStrangers:
    def test_an_encoding_that_nobody_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(media.FORMATS, "wide avi", ("avi", "pcm_s64le"))
        with pytest.raises(AudioDecodeError, match="64-bit integers"):
            load(media.encoded(VOICE, 16_000, "wide avi"))

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "empty"),
            (b"hello\n", "text that begins 'hello'"),
            (b"a\n\n" + b" " * 600, "text that begins 'a'"),
            ("Übung macht den Meister\n".encode() * 40, "text that begins 'Übung"),
            ("a sound".encode("utf-16"), "text that begins 'a sound'"),
            (b"<!DOCTYPE html><html>", "<!DOCTYPE html>"),
            (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"),
            (b"\xff\xd8\xff\xe0" + bytes(99), "a JPEG picture"),
            (b"PK\x03\x04" + bytes(99), "a ZIP archive"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"MThd\0\0\0\6", "a MIDI file"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "binary data"),
            (bytes(1_000), "nothing but zeros"),
            (b"\x01\x80\xfe" * 99, "binary data"),
            (b"\xff", "binary data"),
            (b"\xff\xe0\0\0", "binary data"),
        ],
    )
    def test_what_is_not_a_sound_is_named(self, data: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(data)
        for source in (data, tmp_path / "a.wav"):
            with pytest.raises(AudioDecodeError, match=words):
                load(source)

    def test_what_needs_the_media_extra_is_named_apart(self) -> None:
        with pytest.raises(AudioDecodeError) as caught:
            load(b"hello")
        always, _, with_media = str(caught.value).partition("with the media extra: ")
        assert "FLAC" in always
        assert with_media == "M4A, AAC, MP4, WebM, AMR, AVI, FLV or WMA"

    def test_a_numpy_file_named_wav(self, tmp_path: Path) -> None:
        with (tmp_path / "a.wav").open("wb") as file:
            np.save(file, VOICE)
        with pytest.raises(AudioDecodeError, match=r"\.npy file .* sample_rate"):
            load(tmp_path / "a.wav")

    @pytest.mark.parametrize("suffix", ["mp4", "mov", "webm", "mkv", "avi"])
    def test_a_video_without_sound(self, suffix: str) -> None:
        with pytest.raises(AudioDecodeError, match="this video has no audio track"):
            load(media.encoded(None, 16_000, suffix, video=True))

    @pytest.mark.parametrize("name", ["mp4", "webm", "wma", "avi", "aac"])
    def test_without_pyav_the_extra_is_named(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(MissingExtraError, match=r"-m pip install '\.\[media\]'"):
            load(RECORDINGS[name])
        assert load(RECORDINGS["wav"]).seconds == SECONDS


class TestPaths:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(AudioNotFoundError, match=r"No such file or directory; check its name$"):
            load(tmp_path / "none.wav")

    @pytest.mark.parametrize("name", ["\0", "a" * 5_000, "\ud800", os.fsdecode(b"\xff"), "line\nbreak", "😀"])
    def test_a_name_that_cannot_be_can_still_be_printed(self, name: str) -> None:
        with pytest.raises(AudioNotFoundError) as caught:
            load(name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).encode("utf-8")

    def test_a_directory(self, tmp_path: Path) -> None:
        for name in ("voices", "my voices", "new\nline"):
            folder = tmp_path / name
            folder.mkdir()
            with pytest.raises(AudioNotFoundError) as caught:
                load(f"{folder}/")
            advice = f"is a folder; pass the files in it, for example {str(folder)!r}/*.wav"
            assert str(caught.value) == f"{str(folder) + '/'!r} {advice}"

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
    def test_a_file_that_may_not_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").touch(mode=0)
        with pytest.raises(AudioNotFoundError, match=r"Permission denied; check its permissions$"):
            load(tmp_path / "a.wav")

    def test_a_circle_of_links(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(AudioNotFoundError, match="symbolic links"):
            load(tmp_path / "a")

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.wav")
        with pytest.raises(AudioNotFoundError, match="a pipe or a device"):
            load(tmp_path / "pipe.wav")

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
    def test_a_device_is_not_read(self, device: str) -> None:
        with pytest.raises(AudioNotFoundError, match="a pipe or a device"):
            load(device)

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", refuse)  # root may open everything
        with pytest.raises(AudioNotFoundError, match="Permission denied"):
            load(tmp_path / "secret.wav")

    def test_a_file_whose_reading_fails(self) -> None:
        with pytest.raises(AudioDecodeError, match="cannot be read"):
            load("/proc/self/mem")


class _Failing(io.BytesIO):
    """A file on a network that goes away after some bytes."""

    def __init__(self, data: bytes, n_good_reads: int) -> None:
        super().__init__(data)
        self.n_good_reads = n_good_reads

    def read(self, n_bytes: int | None = -1, /) -> bytes:
        self.n_good_reads -= bool(n_bytes)
        if self.n_good_reads < 0:
            raise RuntimeError("the network is gone")
        return super().read(n_bytes)


class _Interrupted(io.BytesIO):
    """A file during whose n-th read Ctrl-C is pressed."""

    def __init__(self, data: bytes, n_reads: int) -> None:
        super().__init__(data)
        self.n_reads = n_reads

    def read(self, n_bytes: int | None = -1, /) -> bytes:
        self.n_reads -= 1
        if self.n_reads == 0:
            signal.raise_signal(signal.SIGINT)
        return super().read(n_bytes)


class TestFileObjects:
    @pytest.mark.parametrize("n_reads", [1, 4, 8])
    @pytest.mark.parametrize("name", ["wav", "mp3", "flac", "mp4"])
    def test_ctrl_c_is_not_lost_in_a_decoder(
        self, name: str, n_reads: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            load(_Interrupted(RECORDINGS[name], n_reads))
        assert signal.getsignal(signal.SIGINT) is handler
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("n_good_reads", [0, 1, 3])
    @pytest.mark.parametrize("name", ["wav", "mp3", "flac", "mp4"])
    def test_an_error_of_the_callers_file_becomes_ours(
        self, name: str, n_good_reads: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(AudioDecodeError, match="network is gone") as caught:
            load(_Failing(RECORDINGS[name], n_good_reads))
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "Traceback" not in capfd.readouterr().err

    def test_an_error_in_the_middle_leaves_a_flagged_part(self) -> None:
        data = written(np.tile(VOICE, 20), 16_000, "WAV")
        waveform = load(_Failing(data, 30))
        assert waveform.warnings == ("truncated",)
        assert 0 < waveform.seconds < 20 * SECONDS

    def test_a_text_file_a_closed_one_and_a_pipe_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.wav").write_bytes(RECORDINGS["wav"])
        closed = io.BytesIO()
        closed.close()
        reader, writer = os.pipe()
        with (tmp_path / "a.wav").open(encoding="latin-1") as text, os.fdopen(reader, "rb") as pipe:
            os.close(writer)
            for source in (text, closed, pipe):
                with pytest.raises(InvalidWaveformError, match="mode 'rb'"):
                    load(source)  # type: ignore[arg-type]


class TestValues:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
    @pytest.mark.parametrize(
        ("container", "encoding"), [("WAV", "FLOAT"), ("AIFF", "FLOAT"), ("CAF", "DOUBLE")]
    )
    def test_a_file_with_impossible_values(self, bad: float, container: str, encoding: str) -> None:
        samples = np.tile(VOICE, 20).astype(np.float64)
        samples[160_000:] = bad
        with pytest.raises(InvalidWaveformError, match=r"at 10\.000 s there is"):
            load(written(samples, 16_000, container, encoding))

    @pytest.mark.parametrize("rate", [1, 3_999, 655_350, 2**31 - 1])
    def test_a_header_with_an_impossible_rate(self, rate: int) -> None:
        data = bytearray(RECORDINGS["wav"])
        struct.pack_into("<I", data, 24, rate)
        with pytest.raises(AudioTooLargeError, match="4000 to 384000 Hz"):
            load(bytes(data))

    @pytest.mark.parametrize("n_channels", [0, 33, 1_000, 65_535])
    def test_a_header_with_impossible_channels(self, n_channels: int) -> None:
        data = bytearray(RECORDINGS["wav"])
        struct.pack_into("<H", data, 22, n_channels)
        with pytest.raises((AudioDecodeError, AudioTooLargeError)):
            load(bytes(data))


class TestSize:
    def test_a_small_file_that_decodes_to_much_is_stopped(self) -> None:
        bomb = written(np.zeros((3_000_000, 8), np.int16), 48_000, "FLAC")
        assert len(bomb) < 60_000
        with open_audio(bomb, limits=Limits(max_decoded_bytes=8 * 2**20)) as stream:
            blocks: list[np.ndarray] = []
            with pytest.raises(AudioTooLargeError, match="may decode to 8 MiB"):
                blocks.extend(stream)
        assert 0 < sum(map(len, blocks)) < 6 * 16_000

    def test_memory_stays_flat_over_a_long_recording(self, tmp_path: Path) -> None:
        with soundfile.SoundFile(tmp_path / "long.flac", "w", 48_000, 1, "PCM_16") as file:
            for _ in range(5):
                file.write(np.zeros(48_000 * 60, np.int16))  # 5 minutes are 58 MB when decoded
        script = (
            "import pathlib, re, sys; from speech_emotion.audio import open_audio\n"
            "status = pathlib.Path('/proc/self/status')  # ru_maxrss would count the parent's memory too\n"
            "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1])\n"
            "with open_audio(sys.argv[1]) as stream:\n"
            "    blocks = iter(stream); n = len(next(blocks)); before = peak()\n"
            "    n += sum(map(len, blocks))\n"
            "print(n, before, peak())"
        )
        answer = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "long.flac"], capture_output=True, check=True, text=True
        )
        n_samples, before_kib, after_kib = map(int, answer.stdout.split())
        assert n_samples == 5 * 60 * 16_000
        assert after_kib - before_kib < 16 * 1024
        assert after_kib < 250 * 1024

    def test_failures_leak_no_open_file(self, tmp_path: Path) -> None:
        (tmp_path / "cut.flac").write_bytes(RECORDINGS["flac"][:100])
        (tmp_path / "rate.wav").write_bytes(RECORDINGS["wav"][:24] + b"\1\0\0\0" + RECORDINGS["wav"][28:])
        (tmp_path / "silent.mp4").write_bytes(media.encoded(None, 16_000, "mp4", video=True))
        before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for path in tmp_path.iterdir():
            for _ in range(20):
                with pytest.raises(AudioError):
                    load(path)
        assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class TestAnyBytes:
    @settings(max_examples=100)
    @given(
        name=st.sampled_from(sorted(RECORDINGS)),
        edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
        keep=st.floats(0.2, 1),
    )
    def test_damage_gives_our_errors_or_finite_samples(
        self, name: str, edits: list[tuple[float, bytes]], keep: float
    ) -> None:
        data = bytearray(RECORDINGS[name])
        for place, piece in edits:
            start = int(place**3 * len(data))  # more often in the header
            data[start : start + len(piece)] = piece
        try:
            waveform = load(
                bytes(data[: int(keep * len(data))]), limits=Limits(max_seconds=60, max_decoded_bytes=2**26)
            )
        except AudioError:
            return
        assert np.isfinite(waveform.samples).all()

    @settings(max_examples=200)
    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"RIFF", b"OggS", b"fLaC", b"ID3\4\0", b"\xff\xfb", b"\x1a\x45\xdf\xa3"]),
    )
    def test_noise_is_never_a_foreign_error(self, data: bytes, magic: bytes) -> None:
        with pytest.raises(AudioError):
            load(magic + data)

    def test_c_libraries_print_no_traceback(self, capfd: pytest.CaptureFixture[str]) -> None:
        for name, data in RECORDINGS.items():
            if name != "mp3":  # libmpg123 writes a warning of its own
                for n_bytes in (30, len(data) // 2):
                    try:
                        load(data[:n_bytes])
                    except AudioError:
                        continue
        captured = capfd.readouterr()
        assert captured.out + captured.err == ""
