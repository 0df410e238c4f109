"""Recordings as cameras, phones and browsers write them, made by PyAV."""

import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

FORMATS = {  # name: (container, codec)
    "mp4": ("mp4", "aac"),
    "m4a": ("ipod", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "webm": ("webm", "libopus"),
    "mkv": ("matroska", "pcm_s16le"),
    "aac": ("adts", "aac"),
    "wma": ("asf", "wmav2"),
    "avi": ("avi", "pcm_u8"),
    "mp3": ("mp3", "libmp3lame"),
    "flac.mkv": ("matroska", "flac"),
    "alac.m4a": ("ipod", "alac"),
}
OTHERS = {  # not at all rates: the first two at 8 kHz, mono
    "amr": ("amr", "libopencore_amrnb"),
    "3gp": ("3gp", "libopencore_amrnb"),
    "g722.wav": ("wav", "g722"),
    "flac.oga": ("ogg", "flac"),
    "flv": ("flv", "aac"),
}


def encoded(
    samples: npt.NDArray[np.float32] | None,
    sample_rate: int,
    suffix: str,
    *,
    video: bool = False,
    options: dict[str, str] | None = None,
    bit_rate: int = 64_000,
) -> bytes:
    """The bytes of a file of `samples`, (n_samples,) or (n_samples, 2), with a video of ten frames beside them."""
    container, codec = (FORMATS | OTHERS)[suffix]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / suffix
        with av.open(path, "w", format=container, options=options or {}) as file:
            pictures = file.add_stream("libvpx" if suffix == "webm" else "mpeg4", rate=10) if video else None
            if samples is not None:
                layout = "mono" if samples.ndim == 1 else "stereo"
                sound = file.add_stream(codec, rate=sample_rate, layout=layout)
            if pictures:
                _write_video(file, pictures)
            if samples is not None:
                _write_sound(file, sound, samples, sample_rate, bit_rate)
        return path.read_bytes()


def _write_video(file: Any, stream: Any) -> None:
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for index in range(10):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * index, np.uint8))
        file.mux(stream.encode(picture))
    file.mux(stream.encode())


def _write_sound(
    file: Any, stream: Any, samples: npt.NDArray[np.float32], sample_rate: int, bit_rate: int = 64_000
) -> None:
    codec = stream.codec_context
    codec.bit_rate = bit_rate
    codec.open(strict=False)
    resampler = av.AudioResampler(
        codec.format, codec.layout, sample_rate, frame_size=codec.frame_size or 1024
    )
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "flt", codec.layout)
    frame.sample_rate, frame.pts = sample_rate, 0
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        file.mux(stream.encode(part))
    file.mux(stream.encode())


def two_tracks(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], *, default: int) -> bytes:
    """A Matroska file of two tracks, (n_samples,) at 16 kHz each, of which number `default` is the default one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tracks.mkv"
        with av.open(path, "w", format="matroska") as file:
            tracks = [file.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
            for number, track in enumerate(tracks, start=1):
                track.disposition = av.stream.Disposition.default if number == default else 0
            for track, samples in zip(tracks, (first, second), strict=True):
                _write_sound(file, track, samples, 16_000)
        return path.read_bytes()
