"""Hundreds of small recordings as the world's encoders write them, made by ffmpeg, and how long ffmpeg finds them.

In: a folder. Out: files in it, each an encoder × a mode × a container × what happened to it afterwards.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import soundfile
from sounds import voice

SECONDS = 2.3
CUT_AT = 0.63
BATCH = 40
TOLERANCE = 0.05
LONGEST_FRAME = 600  # samples of an MP3 frame at low rates, more than the tolerance at 8 kHz
HAS_FFMPEG = shutil.which("ffmpeg") is not None


class Setting(NamedTuple):
    """One way to encode: a name, how the file's name ends, and ffmpeg's options for it."""

    name: str
    suffix: str
    options: str


def _mp3() -> Iterator[Setting]:
    for mode in ("-b:a 32k", "-b:a 64k", "-q:a 2", "-q:a 7", "-b:a 64k -abr 1", "-b:a 64k -reservoir 0"):
        for xing in (0, 1):
            yield Setting(f"mp3 {mode} xing {xing}", "mp3", f"-c:a libmp3lame {mode} -write_xing {xing}")
    yield Setting("mp3 in wav", "wav", "-c:a libmp3lame -b:a 64k")
    yield Setting("mp2", "mp2", "-c:a mp2 -b:a 64k")


PCM = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw")
AAC_IN = ("aac", "m4a", "mp4", "mov", "mkv", "3gp", "flv", "ts")
CORE = [
    *_mp3(),
    *(Setting(f"vorbis {q}", "ogg", f"-c:a libvorbis -q:a {q}") for q in (0, 3, 8)),
    *(
        Setting(f"opus {ms} ms", "opus", f"-c:a libopus -b:a 24k -frame_duration {ms}")
        for ms in ("2.5", "20", "60")
    ),
    Setting("opus vbr off", "ogg", "-c:a libopus -b:a 64k -vbr off"),
    *(Setting(f"flac {n}", "flac", f"-c:a flac -compression_level {n}") for n in (0, 8)),
    Setting("flac 24", "flac", "-c:a flac -sample_fmt s32"),
    *(Setting(f"wav {codec}", "wav", f"-c:a {codec}") for codec in PCM),
    *(Setting(f"wav {codec}", "wav", f"-c:a {codec}") for codec in ("adpcm_ima_wav", "adpcm_ms")),
    Setting("rf64", "wav", "-rf64 always"),
    *(Setting(f"aiff {codec}", "aiff", f"-c:a {codec}") for codec in ("pcm_s16be", "pcm_s24be", "pcm_f32be")),
    *(Setting(f"au {codec}", "au", f"-c:a {codec}") for codec in ("pcm_s16be", "pcm_mulaw")),
    *(Setting(f"caf {codec}", "caf", f"-c:a {codec}") for codec in ("pcm_s16le", "pcm_f32be", "pcm_alaw")),
]
MEDIA = [
    *(Setting(f"aac {suffix}", suffix, "-c:a aac -b:a 64k") for suffix in AAC_IN),
    *(Setting(f"alac {suffix}", suffix, "-c:a alac") for suffix in ("m4a", "caf")),
    Setting("mp3 flv", "flv", "-c:a libmp3lame"),
    Setting("mp3 mkv", "mkv", "-c:a libmp3lame"),
    Setting("mp3 mp4", "mp4", "-c:a libmp3lame"),
    Setting("opus webm", "webm", "-c:a libopus"),
    Setting("vorbis webm", "webm", "-c:a libvorbis"),
    Setting("opus caf", "caf", "-c:a libopus"),
    Setting("ima4 caf", "caf", "-c:a adpcm_ima_qt"),
    Setting("ogg flac", "oga", "-c:a flac"),
    Setting("wma", "wma", "-c:a wmav2"),
    Setting("avi", "avi", "-c:a pcm_s16le"),
    Setting("ac3", "ac3", "-c:a ac3"),
    Setting("wavpack", "wv", "-c:a wavpack"),
]
JOINED = (".mp3", ".ogg", ".opus", ".flac", ".m4a", ".mkv", ".wav")
ONLY_AT = {  # encoders that take few rates: MP3 in FLV, AC-3; MPEG layer 2; and narrow-band telephony
    "mp3 flv": (22_050, 44_100),
    "ac3": (32_000, 44_100, 48_000),
    "mp2": (22_050, 24_000, 16_000, 32_000, 44_100, 48_000),
    "mp3 mp4": (16_000, 22_050, 32_000, 44_100, 48_000),
}
TELEPHONY = {  # at one rate, mono
    8_000: [
        Setting("g726", "wav", "-c:a g726 -b:a 32k"),
        Setting("g723.1", "wav", "-c:a g723_1 -b:a 6300"),
        Setting("gsm wav", "wav", "-c:a libgsm_ms"),
        Setting("speex 8", "spx", "-c:a libspeex"),
    ],
    16_000: [Setting("g722", "wav", "-c:a g722"), Setting("speex 16", "spx", "-c:a libspeex")],
}
INDEX_AT_THE_END = (".m4a", ".mp4", ".mov", ".3gp")
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


def encode_all(folder: Path, rates: tuple[int, ...], n_channels: tuple[int, ...] = (1, 2)) -> list[Path]:
    """Every setting at every rate that it takes, as files in `folder`."""
    made = []
    for rate in rates:
        for channels in n_channels:
            source = folder / f"source {rate} {channels}.wav"
            soundfile.write(source, voice(SECONDS, rate), rate)
            settings = [setting for setting in CORE + MEDIA if _takes(setting, rate)]
            made += encode(source, settings + (TELEPHONY.get(rate, []) if channels == 1 else []), channels)
            source.unlink()
    return made


def encode(source: Path, settings: list[Setting], channels: int = 1) -> list[Path]:
    """A file for each setting beside `source`, all by one process of ffmpeg."""
    targets, arguments = [], []
    for setting in settings:
        target = source.with_name(f"{source.stem} {setting.name}.{setting.suffix}")
        arguments += ["-ac", str(channels), *setting.options.split(), str(target)]
        targets.append(target)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *arguments], check=True)
    return targets


def everything(folder: Path, rates: tuple[int, ...], n_channels: tuple[int, ...] = (1, 2)) -> list[Path]:
    """Every setting, what may become of each, and the mono ones joined as ffmpeg joins them."""
    made = encode_all(folder, rates, n_channels)
    changed = [changed for path in made for changed in variants(path)]
    return made + changed + [joined(path) for path in made if path.suffix in JOINED and " 1 " in path.name]


def verdict(path: Path, seconds: float | None, warnings: tuple[str, ...], by_ffmpeg: float) -> str:
    """What to think of a reader that found `seconds` in a file, None if it refuses it, and gave `warnings`.

    "right", "told" (another length, but it says so), "lost" (shorter, and silent about it), "longer", "refused", or
    "false alarm" (it calls a whole file cut).
    """
    if by_ffmpeg == 0:  # then nobody knows
        return "right"
    if seconds is None:
        return "refused"
    is_whole = not path.stem.endswith((" cut", " from the middle"))
    is_double = path.stem.endswith((" twice", " joined"))
    lengths = [by_ffmpeg, SECONDS * (2 if is_double else 1)] if is_whole else [by_ffmpeg]
    tolerance = max(TOLERANCE, LONGEST_FRAME / int(path.stem.split()[1]))
    if any(abs(seconds - length) <= tolerance for length in lengths):
        return "false alarm" if is_whole and "truncated" in warnings else "right"
    if "truncated" in warnings:
        return "told"
    return "lost" if seconds < by_ffmpeg else "longer"


def _takes(setting: Setting, rate: int) -> bool:
    if "opus" in setting.name:
        return rate in OPUS_RATES
    return rate in ONLY_AT.get(setting.name, (rate,))


def variants(path: Path) -> list[Path]:
    """`path` as it becomes: twice in a row, cut, behind a tag or zeros, from the middle of a frame."""
    data, made = path.read_bytes(), {}
    suffix = path.suffix
    if suffix in (".mp3", ".mp2", ".ogg", ".opus", ".spx", ".oga", ".flac", ".aac"):
        made["twice"] = data + data
    if suffix not in INDEX_AT_THE_END and not path.name.endswith(("alac caf.caf", "opus caf.caf")):
        made["cut"] = data[: int(CUT_AT * len(data))]
    if suffix in (".mp3", ".mp2"):
        made["behind a tag"] = b"ID3\x03\0\0\0\0\x10\0" + bytes(2048) + data
        made["behind zeros"] = bytes(5000) + data
        made["from the middle"] = data[len(data) // 3 + 7 :]
        made["before a tag"] = data + b"APETAGEX" + bytes(range(256)) * 8
    for name, content in made.items():
        path.with_name(f"{path.stem} {name}{suffix}").write_bytes(content)
    return [path.with_name(f"{path.stem} {name}{suffix}") for name in made]


def joined(path: Path) -> Path:
    """`path` twice, as `ffmpeg -f concat -c copy` joins it."""
    playlist = path.with_suffix(".txt")
    playlist.write_text(f"file '{path}'\n" * 2)
    target = path.with_name(f"{path.stem} joined{path.suffix}")
    copy = ["-f", "concat", "-safe", "0", "-i", playlist, "-c", "copy", target]
    subprocess.run(["ffmpeg", "-v", "quiet", "-y", *copy], check=True)
    playlist.unlink()
    return target


def seconds_by_ffmpeg(paths: list[Path], folder: Path) -> dict[Path, float]:
    """How long ffmpeg finds each file when it decodes it; 0 where it cannot."""
    if len(paths) > BATCH or not _decode(paths, folder):
        if len(paths) == 1:
            return {paths[0]: 0.0}
        half = len(paths) // 2
        return seconds_by_ffmpeg(paths[:half], folder) | seconds_by_ffmpeg(paths[half:], folder)
    found = {}
    for index, path in enumerate(paths):
        raw = folder / f"{index}.raw"
        found[path] = raw.stat().st_size / 32_000
        raw.unlink()
    return found


def _decode(paths: list[Path], folder: Path) -> bool:
    inputs = [word for path in paths for word in ("-i", str(path))]
    outputs = []
    for index in range(len(paths)):
        outputs += [
            "-map",
            f"{index}:a:0",
            "-ac",
            "1",
            "-ar",
            "16000",
            "-f",
            "s16le",
            str(folder / f"{index}.raw"),
        ]
    command = ["ffmpeg", "-v", "quiet", "-y", "-max_error_rate", "1", *inputs, *outputs]
    return subprocess.run(command, check=False).returncode == 0
