"""The one gate for sound. In: a path, bytes, a binary file, or an array and its rate. Out: mono float32 at 16 kHz.

`load` answers with a Waveform; `open_audio` streams the same samples in blocks, so that ten hours need no more
memory than ten seconds. What the sound is, is decided by its content, and every limit holds while decoding.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import soxr

from speech_emotion._decoders import ArrayDecoder, Chunk, Decoder, open_decoder
from speech_emotion.errors import (
    AudioDecodeError,
    AudioNotFoundError,
    AudioTooLargeError,
    AudioTooShortError,
    InvalidWaveformError,
)

FloatArray = npt.NDArray[np.float32]
Source = str | os.PathLike[str] | bytes | BinaryIO | npt.NDArray[Any]

SAMPLE_RATE = 16_000
LARGEST_SAMPLE = 100.0  # full scale is 1; 40 dB above it is not sound but a number of another kind
FULL_SCALE = 0.98  # A-law and mu-law end here
CLIPPED_SHARE = 1e-3
QUIET_PEAK = 0.005  # 7 bits of a 16-bit recording
CANCELLED_POWER = 0.1  # of what channels that have nothing in common would leave


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest sound that is accepted; kept while decoding, whatever the header says."""

    max_seconds: float = 24 * 3600.0
    max_decoded_bytes: int = 64 * 2**30  # as float32, all channels, before mixing
    max_channels: int = 32
    min_rate: int = 4_000
    max_rate: int = 384_000


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A whole sound: `samples` (n_samples,) float32 at 16 kHz, finite; `warnings` are words such as "clipped"."""

    samples: FloatArray
    warnings: tuple[str, ...]
    source_rate: int
    n_channels: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def load(source: Source, *, sample_rate: int | None = None, limits: Limits = Limits()) -> Waveform:
    """Decode all of `source`; an array brings its `sample_rate`, a file has its own."""
    with open_audio(source, sample_rate=sample_rate, limits=limits) as stream:
        blocks = list(stream)
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return Waveform(samples, stream.warnings, stream.source_rate, stream.n_channels)


def open_audio(source: Source, *, sample_rate: int | None = None, limits: Limits = Limits()) -> "AudioStream":
    """Open `source` for reading block by block; use it in a `with` statement."""
    if isinstance(source, np.ndarray):
        return AudioStream(_array_decoder(source, sample_rate), limits)
    if sample_rate is not None:
        raise InvalidWaveformError(
            "sample_rate belongs to an array; a file has its own. Leave sample_rate out"
        )
    file, is_ours = _binary_file(source)
    try:
        return AudioStream(open_decoder(file), limits, file if is_ours else None)
    except BaseException:
        if is_ours:
            file.close()
        raise


class AudioStream:
    """Mono float32 blocks at 16 kHz. `warnings` is complete once the blocks have been read."""

    def __init__(self, decoder: Decoder, limits: Limits, file: BinaryIO | None = None) -> None:
        self._decoder, self._limits, self._file = decoder, limits, file
        self._is_cut_short = False
        self._resampler = Resampler(decoder.sample_rate, decoder.n_channels, limits=limits)
        self.source_rate, self.n_channels = decoder.sample_rate, decoder.n_channels

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._resampler.warnings, *(["truncated"] if self._is_cut_short else []))

    def __iter__(self) -> Iterator[FloatArray]:
        n_samples = 0
        try:
            for chunk in self._decoder.chunks():
                n_samples += len(chunk)
                self._keep_limits(n_samples)
                block = self._resampler.push(chunk)
                if len(block):
                    yield block
        except AudioDecodeError:
            if not n_samples:
                raise
            self._is_cut_short = True
        if not n_samples:
            raise AudioTooShortError("this recording has no samples; record or export it again")
        self._is_cut_short = self._is_cut_short or self._decoder.is_cut_short(n_samples)
        block = self._resampler.finish()
        if len(block):
            yield block

    def _keep_limits(self, n_samples: int) -> None:
        seconds = n_samples / self.source_rate
        if seconds > self._limits.max_seconds:
            raise AudioTooLargeError(
                f"a recording may be {self._limits.max_seconds:g} s long and this one is longer; cut it into parts"
            )
        if n_samples * self.n_channels * 4 > self._limits.max_decoded_bytes:
            raise AudioTooLargeError(
                f"a recording may decode to {self._limits.max_decoded_bytes / 2**20:g} MiB and this one is larger "
                f"({self.n_channels} channels at {self.source_rate} Hz); cut it into parts or save it as mono"
            )

    def close(self) -> None:
        self._decoder.close()
        if self._file:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class Resampler:
    """Chunks at any rate and number of channels → mono float32 at 16 kHz; the chunk sizes change no bit of it."""

    def __init__(self, sample_rate: int, n_channels: int = 1, *, limits: Limits = Limits()) -> None:
        _check_rate(sample_rate, limits)
        _check_channels(n_channels, limits)
        self.sample_rate, self.n_channels = int(sample_rate), n_channels
        self._soxr = None if sample_rate == SAMPLE_RATE else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1)
        self._levels = _Levels()
        self._n_samples = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._levels.warnings(self.n_channels)

    def push(self, chunk: Chunk) -> FloatArray:
        """Mix and resample `chunk`, (n_samples,) or (n_samples, n_channels) of int16, int32 or float."""
        _check_array(chunk)
        chunk = chunk.reshape(len(chunk), -1)
        if chunk.shape[1] != self.n_channels:
            raise InvalidWaveformError(
                f"each chunk must have {self.n_channels} channels, this one has {chunk.shape[1]}; start a new stream"
            )
        chunk = self._as_float(chunk)
        mono: FloatArray = chunk.mean(axis=1) if self.n_channels > 1 else chunk[:, 0]
        self._levels.add(chunk, mono)
        self._n_samples += len(chunk)
        return mono if self._soxr is None else self._soxr.resample_chunk(mono)

    def finish(self) -> FloatArray:
        """The last samples, which waited for what would follow."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._soxr is None else self._soxr.resample_chunk(nothing, last=True)

    def _as_float(self, chunk: Chunk) -> FloatArray:
        if chunk.dtype.kind == "i":
            return chunk.astype(np.float32, order="C") / np.float32(-float(np.iinfo(chunk.dtype).min))
        if len(chunk) and not max(chunk.max(), -chunk.min()) <= LARGEST_SAMPLE:  # NaN compares false
            bad = int(np.argmin((np.abs(chunk) <= LARGEST_SAMPLE).all(axis=1)))
            raise InvalidWaveformError(
                f"samples must be finite, with full scale at 1; found {chunk[bad].tolist()} at second "
                f"{(self._n_samples + bad) / self.sample_rate:.3f}. Divide integers by 32768, or remove what is broken"
            )
        return np.array(chunk, np.float32, order="C")


class _Levels:
    """What loudness says about a recording, counted as it passes."""

    def __init__(self) -> None:
        self._n_values = self._n_full_scale = 0
        self._power = self._mono_power = self._mono_peak = 0.0

    def add(self, chunk: FloatArray, mono: FloatArray) -> None:
        if not len(chunk):
            return
        self._n_values += chunk.size
        self._n_full_scale += int(np.count_nonzero(np.abs(chunk) >= FULL_SCALE))
        self._power += float(np.square(chunk).mean(axis=1).sum())
        self._mono_power += float(np.square(mono).sum())
        self._mono_peak = max(self._mono_peak, float(np.abs(mono).max()))

    def warnings(self, n_channels: int) -> tuple[str, ...]:
        found = {
            "clipped": self._n_full_scale > CLIPPED_SHARE * self._n_values,
            "quiet": self._mono_peak < QUIET_PEAK,
            "phase_cancelled": n_channels > 1
            and self._mono_power < CANCELLED_POWER / n_channels * self._power,
        }
        return tuple(word for word, is_so in found.items() if is_so)


def _array_decoder(samples: Chunk, sample_rate: int | None) -> ArrayDecoder:
    if sample_rate is None:
        raise InvalidWaveformError(
            "an array needs its rate: pass sample_rate=48_000, or whatever it was recorded at"
        )
    _check_array(samples)
    if not len(samples):
        raise InvalidWaveformError("the array is empty; pass at least one sample")
    return ArrayDecoder(samples.reshape(len(samples), -1), sample_rate)


def _check_array(samples: Chunk) -> None:
    if samples.dtype.kind != "f" and samples.dtype not in (np.int16, np.int32):
        raise InvalidWaveformError(
            f"samples must be int16, int32 or float, not {samples.dtype}; convert with samples.astype('float32')"
        )
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise InvalidWaveformError(
            f"an array must have the shape (n_samples,) or (n_samples, n_channels), not {samples.shape}; "
            "reshape it, or pass one recording at a time"
        )


def _check_rate(sample_rate: int, limits: Limits) -> None:
    if not isinstance(sample_rate, (int, np.integer)) or isinstance(sample_rate, bool):
        raise InvalidWaveformError(
            f"sample_rate must be a whole number of Hz, not {sample_rate!r}; try 16_000"
        )
    if not limits.min_rate <= sample_rate <= limits.max_rate:
        raise AudioTooLargeError(
            f"the sample rate must be {limits.min_rate} to {limits.max_rate} Hz, not {sample_rate}; "
            "resample the recording, or correct its header"
        )


def _check_channels(n_channels: int, limits: Limits) -> None:
    if n_channels > limits.max_channels:
        raise AudioTooLargeError(
            f"a recording may have {limits.max_channels} channels, this one has {n_channels}; mix it first, "
            "and if it is an array of shape (n_channels, n_samples), pass its transpose"
        )


def _binary_file(source: Any) -> tuple[BinaryIO, bool]:
    """A seekable file for `source`, and whether it is ours to close."""
    import io

    if isinstance(source, (str, os.PathLike)):
        return _open_file(os.fspath(source)), True
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), True
    if not hasattr(source, "read") or not hasattr(source, "seek"):
        raise InvalidWaveformError(
            f"a sound must be a path, bytes, a binary file or a NumPy array, not {type(source).__name__}"
        )
    return source, False


def _open_file(path: str) -> BinaryIO:
    """Open a regular file; a pipe or device is refused at once instead of waited for."""
    import stat

    def without_waiting(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        file = open(path, "rb", opener=without_waiting)  # noqa: SIM115
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioNotFoundError(
            f"cannot open {path!r}: {reason}; check the name and its permissions"
        ) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise AudioNotFoundError(
            f"{path!r} is not a regular file but a pipe or device; save the sound to a file first"
        )
    return file
