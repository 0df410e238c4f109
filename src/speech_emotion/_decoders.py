"""Decoders. In: a binary file and what it holds. Out: its rate, channels and blocks of samples, at its own rate.

Each decoder reads forward until nothing comes; the length a header promises is kept only to notice a cut file.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from speech_emotion._containers import Container, is_cut_short, sniff
from speech_emotion.errors import AudioDecodeError
from speech_emotion.extras import require

Chunk = npt.NDArray[Any]  # (n_samples, n_channels), int16, int32 or float

BLOCK_SAMPLES = 65_536
UNKNOWN_LENGTH = 2**48  # libsndfile answers 2**63 - 1 when a header does not say


class Decoder(Protocol):
    sample_rate: int
    n_channels: int

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end; AudioDecodeError where the data is damaged."""

    def is_cut_short(self, n_samples: int) -> bool:
        """Whether `n_samples`, all that came, is less than the file promised."""

    def close(self) -> None: ...


class ArrayDecoder:
    """Samples that are decoded already."""

    def __init__(self, samples: Chunk, sample_rate: int) -> None:
        self._samples = samples  # (n_samples, n_channels)
        self.sample_rate, self.n_channels = sample_rate, samples.shape[1]

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self._samples), BLOCK_SAMPLES):
            yield self._samples[start : start + BLOCK_SAMPLES]

    def is_cut_short(self, n_samples: int) -> bool:
        return n_samples < len(self._samples)

    def close(self) -> None:
        pass


def open_decoder(file: BinaryIO) -> Decoder:
    """The decoder for what `file` holds, judged by its content."""
    container = sniff(file)
    quiet = _CallableFromC(file)
    if container.demuxer is None:
        return SoundFileDecoder(quiet, container)
    return MediaDecoder(quiet, container)


class _CallableFromC:
    """A binary file for C libraries: an exception cannot cross them, so it is kept and reported afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: Exception | None = None
        file.seek(0)

    def read(self, n_bytes: int) -> bytes:
        try:
            return (self.file.read(n_bytes) or b"")[:n_bytes]
        except Exception as error:  # noqa: BLE001 - a foreign file object, called from C
            self.error = self.error or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.file.seek(offset, whence)
        except (OSError, ValueError):  # before the beginning: decoders of damaged files try that
            return self.file.tell()

    def tell(self) -> int:
        return self.file.tell()


class _ForwardSoundFile(soundfile.SoundFile):
    """soundfile seeks after every read, which fails on a cut FLAC and repeats stale samples on a cut MP3."""

    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    def __init__(self, file: _CallableFromC, container: Container) -> None:
        self._file, self._container = file, container
        try:
            self._sound = _ForwardSoundFile(file)
        except (soundfile.SoundFileError, TypeError) as error:
            raise self._damaged(error) from error
        self.sample_rate, self.n_channels = self._sound.samplerate, self._sound.channels

    def chunks(self) -> Iterator[Chunk]:
        while True:
            try:
                chunk = self._sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise self._damaged(error) from error
            if self._file.error:
                raise self._damaged(self._file.error) from self._file.error
            if not len(chunk):
                return
            yield chunk

    def is_cut_short(self, n_samples: int) -> bool:
        promised = self._sound.frames
        if n_samples < promised < UNKNOWN_LENGTH:
            return True
        return is_cut_short(self._file.file, self._container)

    def close(self) -> None:
        self._sound.close()

    def _damaged(self, error: Exception) -> AudioDecodeError:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        return AudioDecodeError(
            f"this {self._container.name} file is damaged or uses an encoding that is not supported ({reason}); "
            "export it again, as 16-bit WAV or FLAC"
        )


class MediaDecoder:
    """Containers of cameras, phones and browsers, through PyAV."""

    def __init__(self, file: _CallableFromC, container: Container) -> None:
        self._av = require("av", extra="media", needed_for=f"Reading {container.name} files")
        self._container = container
        self._first: Any = None
        try:
            self._media = self._av.open(file, format=container.demuxer, metadata_errors="ignore")
        except (self._av.error.FFmpegError, ValueError, OSError) as error:
            raise self._damaged(error) from error
        try:
            self._frames = self._decode()
            self._first = next(self._frames)
        except StopIteration:
            self._media.close()
            raise AudioDecodeError("no sound in the audio track") from None
        except BaseException:
            self._media.close()
            raise
        self.sample_rate, self.n_channels = self._first.sample_rate, self._first.layout.nb_channels

    def chunks(self) -> Iterator[Chunk]:
        yield self._samples(self._first)
        for frame in self._frames:
            yield self._samples(frame)

    def is_cut_short(self, n_samples: int) -> bool:
        return False

    def close(self) -> None:
        self._media.close()

    def _decode(self) -> Iterator[Any]:
        if not self._media.streams.audio:
            kind = "video" if self._media.streams.video else "file"
            raise AudioDecodeError(f"this {kind} has no audio track; pass a recording with sound")
        try:
            yield from self._media.decode(self._media.streams.audio[0])
        except (self._av.error.FFmpegError, ValueError, OSError) as error:
            raise self._damaged(error) from error

    def _samples(self, frame: Any) -> Chunk:
        samples: Chunk = frame.to_ndarray()
        if samples.dtype == np.uint8:
            samples = (samples.astype(np.int16) - 128) << 8
        return samples.T if frame.format.is_planar else samples.reshape(-1, self.n_channels)

    def _damaged(self, error: Exception) -> AudioDecodeError:
        return AudioDecodeError(f"this {self._container.name} file is damaged ({error}); export it again")
