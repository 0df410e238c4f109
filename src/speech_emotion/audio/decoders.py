"""Decoders. In: a binary file or an array. Out: its own rate and channels, and its samples block by block.

A decoder reads forward until nothing comes; what a header promises only serves to notice a cut file.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from speech_emotion.audio.containers import Container, SeekableFile, is_cut_short, promises_length, sniff
from speech_emotion.errors import AudioDecodeError
from speech_emotion.extras import require

Chunk = npt.NDArray[Any]  # (n_samples, n_channels) of int16, int32 or float

BLOCK_SAMPLES = 16_384  # 0.3 s at 48 kHz, and 2 MiB with 32 channels
UNKNOWN_LENGTH = 2**48  # libsndfile answers 2**63 - 1 where a header does not say


class Decoder(Protocol):
    """What reads one source: its `sample_rate` in Hz, its `n_channels`, and its samples in blocks."""

    sample_rate: int
    n_channels: int

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end; AudioDecodeError where the data is damaged."""

    def is_cut_short(self, n_samples: int) -> bool:
        """Whether `n_samples`, the number that was read, is less than the source should have."""

    def close(self) -> None:
        """Release what the decoder opened."""


class ArrayDecoder:
    """An array, (n_samples, n_channels), whose samples are decoded already."""

    def __init__(self, samples: Chunk, sample_rate: int) -> None:
        self._samples = samples  # (n_samples, n_channels)
        self.sample_rate, self.n_channels = sample_rate, samples.shape[1]

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self._samples), BLOCK_SAMPLES):
            yield self._samples[start : start + BLOCK_SAMPLES]

    def is_cut_short(self, n_samples: int) -> bool:
        return n_samples < len(self._samples)

    def close(self) -> None:
        """Nothing is open."""


def open_decoder(file: SeekableFile) -> Decoder:
    """The decoder for what `file` holds, judged by its content.

    Raises:
        AudioDecodeError: The content is no sound, is damaged, or has no audio track.
        MissingExtraError: Its container needs the extra "media".
    """
    try:
        container = sniff(file)
    except AudioDecodeError:
        raise
    except Exception as error:  # a caller's file object may raise anything
        raise AudioDecodeError(f"the file cannot be read ({error}); copy it to another place") from error
    source = _CallableFromC(file)
    if container.demuxer is None:
        return SoundFileDecoder(source, container)
    return MediaDecoder(source, container)


class _CallableFromC:
    """A file for C libraries. No exception can pass through them, so reading ends and `error` says why."""

    def __init__(self, file: SeekableFile) -> None:
        self._file = file
        self.error: Exception | None = None
        self.seek(0)

    def read(self, n_bytes: int, /) -> bytes:
        try:
            return (self._file.read(n_bytes) or b"")[:n_bytes]
        except Exception as error:  # noqa: BLE001 - as above
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the beginning, as decoders of damaged files try
            return self.tell()

    def tell(self) -> int:
        return self._file.tell()


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks after every read, which fails on a cut FLAC and repeats stale samples on a cut MP3."""

    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """WAV, RF64, FLAC, Ogg, Opus, MP3, AIFF, AU and CAF, through libsndfile."""

    def __init__(self, file: _CallableFromC, container: Container) -> None:
        self._file, self._container = file, container
        with self._reporting_damage(), _ctrl_c_afterwards():
            self._sound = _ForwardSoundFile(file)
        self.sample_rate, self.n_channels = self._sound.samplerate, self._sound.channels

    def chunks(self) -> Iterator[Chunk]:
        with self._reporting_damage():
            while len(chunk := self._next_block()):
                yield chunk

    def is_cut_short(self, n_samples: int) -> bool:
        if n_samples < self._sound.frames < UNKNOWN_LENGTH and promises_length(self._file, self._container):
            return True
        return is_cut_short(self._file, self._container)

    def close(self) -> None:
        self._sound.close()

    def _next_block(self) -> Chunk:
        with _ctrl_c_afterwards():
            block: Chunk = self._sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
        return block

    def _reporting_damage(self) -> AbstractContextManager[None]:
        return _reporting_damage(self._file, self._container, soundfile.LibsndfileError)


class MediaDecoder:
    """The containers of phones, browsers and cameras, through PyAV."""

    def __init__(self, file: _CallableFromC, container: Container) -> None:
        self._file, self._container = file, container
        self._av = require("av", extra="media", needed_for=f"Reading {container.name} files")
        with self._reporting_damage():
            self._media = self._av.open(file, format=container.demuxer, metadata_errors="ignore")
        try:
            self._open_audio_track()
        except BaseException:
            self.close()
            raise

    def _open_audio_track(self) -> None:
        if not self._media.streams.audio:
            kind = "video" if self._media.streams.video else "file"
            raise AudioDecodeError(f"this {kind} has no audio track; pass a recording that has sound")
        with self._reporting_damage():
            self._frames = self._media.decode(self._media.streams.audio[0])
            self._first_frame = next(self._frames, None)
        if self._first_frame is None:
            raise AudioDecodeError("the audio track is empty; record or export it again")
        self.sample_rate = self._first_frame.sample_rate
        self.n_channels = self._first_frame.layout.nb_channels

    def chunks(self) -> Iterator[Chunk]:
        with self._reporting_damage():
            yield self._samples(self._first_frame)
            for frame in self._frames:
                yield self._samples(frame)

    def is_cut_short(self, n_samples: int) -> bool:  # noqa: ARG002 - these headers only estimate
        return is_cut_short(self._file, self._container)

    def close(self) -> None:
        self._media.close()

    def _samples(self, frame: Any) -> Chunk:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.n_channels):
            raise _damaged(self._container, "its rate or channels change midway")
        if frame.format.name.startswith("s64"):
            raise _damaged(self._container, "64-bit integers")
        samples: Chunk = frame.to_ndarray()
        if samples.dtype == np.uint8:
            samples = (samples.astype(np.int16) - 128) << 8
        return samples.T if frame.format.is_planar else samples.reshape(-1, self.n_channels)

    def _reporting_damage(self) -> AbstractContextManager[None]:
        return _reporting_damage(self._file, self._container, self._av.FFmpegError)


@contextmanager
def _ctrl_c_afterwards() -> Iterator[None]:
    """Hold Ctrl-C back: libsndfile reads through functions of soundfile, and cffi drops what is raised in them."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # nothing is raised here
        return
    came: list[Any] = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


@contextmanager
def _reporting_damage(file: _CallableFromC, container: Container, kind: type[Exception]) -> Iterator[None]:
    """Translate errors of `kind`, which a decoder raises, and those that the file kept for us."""
    try:
        yield
    except kind as error:
        raise _damaged(container, file.error or error) from (file.error or error)
    if file.error:
        raise _damaged(container, file.error) from file.error


def _damaged(container: Container, error: Exception | str) -> AudioDecodeError:
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return AudioDecodeError(
        f"this {container.name} file is damaged or has an encoding that cannot be read "
        f"({reason.strip().rstrip('.')}); export it again as 16-bit WAV or FLAC"
    )
