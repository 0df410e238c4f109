"""The table of docs/formats.md: every encoding in it is written, and read with and without PyAV as its row says."""

import shutil
import sys
from pathlib import Path

import encoded_set
import media
import pytest
import soundfile
from encoded_set import Setting
from sounds import voice

from speech_emotion.audio import load
from speech_emotion.errors import MissingExtraError

pytestmark = pytest.mark.skipif(not encoded_set.HAS_FFMPEG, reason="ffmpeg writes the files")

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats.md"
SECONDS = 1.0
AAC, MP3, ALAC, MP2 = "-c:a aac", "-c:a libmp3lame", "-c:a alac", "-c:a mp2"
FLOATS = ["-c:a pcm_s16be", "-c:a pcm_s24be", "-c:a pcm_f32be"]
BITS = [f"-c:a pcm_{kind}" for kind in ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")]

WRITTEN = {  # (container, encodings) → suffix, options of ffmpeg for each encoding
    ("WAV", "8, 16, 24, 32 bits, float, double"): ("wav", BITS),
    ("WAV", "A-law, µ-law"): ("wav", ["-c:a pcm_alaw", "-c:a pcm_mulaw"]),
    ("WAV", "IMA ADPCM, Microsoft ADPCM, GSM 6.10"): (
        "wav",
        ["-c:a adpcm_ima_wav", "-c:a adpcm_ms", "-ar 8000 -c:a libgsm_ms"],
    ),
    ("WAV", "MP3"): ("wav", [MP3]),
    ("WAV", "G.722, G.723.1, G.726"): (
        "wav",
        ["-c:a g722", "-ar 8000 -c:a g723_1 -b:a 6300", "-ar 8000 -c:a g726 -b:a 32k"],
    ),
    ("RF64, Wave64", "16 bits"): ("wav", ["-rf64 always", "-f w64"]),
    ("NIST SPHERE", "16 bits"): ("sph", []),
    ("AIFF", "16, 24 bits, float"): ("aiff", FLOATS),
    ("AU", "16 bits, µ-law"): ("au", ["-c:a pcm_s16be", "-c:a pcm_mulaw"]),
    ("CAF", "16 bits, float, A-law"): ("caf", ["-c:a pcm_s16le", "-c:a pcm_f32be", "-c:a pcm_alaw"]),
    ("CAF", "Apple Lossless, IMA4, Opus"): ("caf", [ALAC, "-c:a adpcm_ima_qt", "-c:a libopus"]),
    ("FLAC", "16, 24 bits"): ("flac", ["-c:a flac", "-c:a flac -sample_fmt s32"]),
    ("Ogg", "Vorbis, Opus"): ("ogg", ["-c:a libvorbis", "-c:a libopus"]),
    ("Ogg", "FLAC, Speex"): ("ogg", ["-c:a flac", "-c:a libspeex"]),
    ("MP3", "MP3, MP2"): ("mp3", [MP3, "-c:a mp2 -f mp2"]),
    ("AMR", "AMR-NB"): ("amr", []),
    ("AAC", "AAC"): ("aac", [AAC]),
    ("MP4, M4A, MOV, 3GP", "AAC, Apple Lossless, MP3"): (
        "mp4",
        [AAC, "-f ipod -c:a aac", "-f mov -c:a aac", "-f 3gp -c:a aac", ALAC, MP3],
    ),
    ("Matroska, WebM", "AAC, MP3, Opus, Vorbis, FLAC"): (
        "mkv",
        [AAC, MP3, "-f webm -c:a libopus", "-f webm -c:a libvorbis", "-c:a flac"],
    ),
    ("FLV", "AAC, MP3"): ("flv", [AAC, "-ar 22050 -c:a libmp3lame"]),
    ("AVI", "16 bits, MP3"): ("avi", ["-c:a pcm_s16le", MP3]),
    ("WMA", "WMA 1, WMA 2"): ("wma", ["-c:a wmav1", "-c:a wmav2"]),
    ("AC-3", "AC-3"): ("ac3", ["-ar 44100 -c:a ac3"]),
    ("WavPack", "WavPack"): ("wv", ["-c:a wavpack"]),
    ("RealMedia", "AC-3"): ("rm", ["-ar 44100 -c:a ac3"]),
    ("MPEG transport stream", "AAC, MP2"): ("ts", [AAC, MP2]),
    ("MPEG program stream", "MP2"): ("mpg", [MP2]),
}


def table() -> dict[tuple[str, str], tuple[bool, bool]]:
    """(container, encodings) → whether it is read without and with the extra."""
    first = DOCUMENT.read_text(encoding="utf-8").split("\n## ")[0]
    lines = (line for line in first.splitlines() if line.startswith("| ") and "`media`" not in line)
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {
        (container, encodings): (core == "yes", extra == "yes") for container, encodings, core, extra in rows
    }


def written(folder: Path, suffix: str, options: list[str]) -> list[Path]:
    """A file for each encoding, at 16 kHz unless its options say otherwise."""
    source = folder / "source.wav"
    soundfile.write(source, voice(SECONDS, 16_000), 16_000)
    if suffix == "amr":
        path = folder / "voice.amr"
        path.write_bytes(media.encoded(voice(SECONDS, 8_000), 8_000, "amr"))
        return [path]
    if suffix == "sph":
        path = folder / "voice.sph"
        soundfile.write(path, voice(SECONDS, 16_000), 16_000, format="NIST", subtype="PCM_16")
        return [path]
    settings = [Setting(str(index), suffix, option) for index, option in enumerate(options)]
    return encoded_set.encode(source, settings)


def test_the_table_has_every_row_that_is_proven() -> None:
    assert list(table()) == list(WRITTEN)


@pytest.mark.parametrize(("row", "reads"), table().items(), ids=[" ".join(row) for row in table()])
def test_a_row_of_the_table(
    row: tuple[str, str], reads: tuple[bool, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path, *WRITTEN[row])
    assert reads[1]
    for path in paths:
        waveform = load(path)
        assert waveform.seconds == pytest.approx(SECONDS, abs=0.12), path  # codecs fill their last frame
        assert not {"truncated", "unfinished"} & set(waveform.warnings), path
    monkeypatch.setitem(sys.modules, "av", None)
    for path in paths:
        if reads[0]:
            load(path)
        else:
            with pytest.raises(MissingExtraError, match=r"^Reading .* needs av, .*\[media\]"):
                load(path)


@pytest.mark.parametrize(
    ("suffix", "options", "name"),
    [
        ("ogg", "-c:a libspeex", "Speex in Ogg"),
        ("ogg", "-c:a flac", "FLAC in Ogg"),
        ("caf", "-c:a libopus", "Opus in CAF"),
        ("caf", "-c:a alac", "Apple Lossless in CAF"),
        ("wav", "-c:a g722", "G.722 in WAV"),
        ("wav", "-ar 8000 -c:a g723_1 -b:a 6300", r"G.723.1 in WAV"),
        ("wav", "-ar 8000 -c:a g726 -b:a 32k", "G.726 in WAV"),
        ("flv", "-c:a aac", "FLV"),
        ("amr", "", "AMR"),
    ],
)
def test_without_the_extra_the_codec_is_named(
    suffix: str, options: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, suffix, [options])[0]
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=f"^Reading {name} files needs av"):
        load(path)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path, "amr", [])[0]
    shutil.move(path, tmp_path / "voice.mp3")
    assert load(tmp_path / "voice.mp3").seconds == pytest.approx(SECONDS, abs=0.05)
