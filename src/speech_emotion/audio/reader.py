"""Read a sound. In: a path, bytes, a binary file, or an array and its rate. Out: mono float32 at 16 kHz.

`load` returns a whole Waveform; `open_audio` streams the same samples in blocks, so that ten hours need no more
memory than ten seconds. The content decides what a source is, not its name. Limits are checked while decoding.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Literal, NoReturn, Self, get_args

import numpy as np
import soxr

from speech_emotion.audio.decoders import ArrayDecoder, Chunk, Decoder, open_decoder
from speech_emotion.audio.quality import FloatArray, Levels
from speech_emotion.audio.sources import PlainSource, Source, resolve
from speech_emotion.errors import (
    AudioDecodeError,
    AudioNotFoundError,
    AudioTooLargeError,
    AudioTooShortError,
    ConfigError,
    InvalidWaveformError,
)

Channels = Literal["mix", "separate"]

SAMPLE_RATE = 16_000
_SUFFIXES = """
    .wav .w64 .rf64 .flac .ogg .oga .opus .spx .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .sph .m4a .m4b .aac .ac3 .eac3
    .wma .wv .amr .awb .rm .mka .weba .mp4 .m4v .mov .3gp .mkv .webm .flv .avi .mpg .mpeg .mts .m2ts
"""
AUDIO_SUFFIXES = frozenset(
    _SUFFIXES.split()
)  # of sounds in a folder; without .ts, which is rather TypeScript
LARGEST_SAMPLE = 100.0  # full scale is 1; 40 dB louder is another kind of number, such as 16-bit integers
_DO_NOT_WAIT = getattr(os, "O_NONBLOCK", 0)  # Windows has no such flag and no such files


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest sound that is accepted, whatever its header says.

    Attributes:
        max_seconds: Longest duration in seconds.
        max_decoded_bytes: Largest size in bytes of all channels as float32, before they are mixed.
        max_channels: Largest number of channels.
        min_rate: Lowest sample rate in Hz.
        max_rate: Highest sample rate in Hz.
    """

    max_seconds: float = 24 * 3600.0
    max_decoded_bytes: int = 64 * 2**30
    max_channels: int = 32
    min_rate: int = 4_000
    max_rate: int = 384_000


LOCAL_LIMITS = Limits()


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A whole sound.

    Attributes:
        samples: (n_samples,) float32 at 16 kHz, mono, all finite. Full scale is 1.
        warnings: What is wrong with the recording: "clipped", "quiet", "noisy", "phase_cancelled", "truncated",
            "channels_differ", "unfinished", "other_tracks".
        source_rate: The sample rate of the source in Hz.
        n_channels: The number of channels of the source.
    """

    samples: FloatArray
    warnings: tuple[str, ...]
    source_rate: int
    n_channels: int

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return len(self.samples) / SAMPLE_RATE


def load(
    source: Source,
    *,
    sample_rate: int | None = None,
    sample_format: str | None = None,
    limits: Limits = LOCAL_LIMITS,
    track: int | None = None,
) -> Waveform:
    """Decode a whole sound.

    Args:
        source: The sound, in any form that `Classifier` names.
        sample_rate: The rate of an array or of raw samples in Hz. A file has its own.
        sample_format: The format of raw samples; see `Classifier`.
        limits: The largest sound to accept.
        track: Which audio track of a file to read, from 1; None for its default track.

    Raises:
        AudioError: The sound cannot be read or exceeds `limits`; see `speech_emotion.errors`.
    """
    with open_audio(
        source, sample_rate=sample_rate, sample_format=sample_format, limits=limits, track=track
    ) as stream:
        samples = np.concatenate([np.zeros(0, np.float32), *stream])
        return Waveform(samples, stream.warnings, stream.source_rate, stream.n_channels)


def open_audio(
    source: Source,
    *,
    sample_rate: int | None = None,
    sample_format: str | None = None,
    limits: Limits = LOCAL_LIMITS,
    track: int | None = None,
    channels: Channels = "mix",
) -> "AudioStream":
    """Open a sound to read it block by block, in a `with` statement.

    Examples:
        >>> with open_audio("hello.wav") as stream:
        ...     n_samples = sum(len(block) for block in stream)

    Args:
        source: The sound, in any form that `Classifier` names.
        sample_rate: The rate of an array or of raw samples in Hz. A file has its own.
        sample_format: The format of raw samples; see `Classifier`.
        limits: The largest sound to accept.
        track: Which audio track of a file to read, from 1; None for its default track.
        channels: "mix" for their mean, "separate" to keep them apart.

    Returns:
        An iterator over blocks of float32 at 16 kHz, (n_samples,) or, with "separate", (n_samples, n_channels).

    Raises:
        AudioError: The sound cannot be read or exceeds `limits`, now or while blocks are read.
        ConfigError: There is no such `sample_format`, or no such way to take `channels`.
    """
    plain, rate = resolve(source, sample_rate, sample_format)
    with ExitStack() as resources:
        decoder = _decoder_of(plain, rate, track, resources)
        resampler = resampler_for(decoder.sample_rate, decoder.n_channels, channels, limits)
        return AudioStream(decoder, resampler, limits, resources.pop_all())


class AudioStream:
    """An iterator over blocks of float32 at 16 kHz, made by `open_audio`. Close it after use."""

    def __init__(
        self,
        decoder: Decoder,
        resampler: "Resampler | SeparateResampler",
        limits: Limits,
        resources: ExitStack,
    ) -> None:
        self._decoder, self._resampler, self._limits, self._resources = decoder, resampler, limits, resources
        self._is_damaged = False
        self._of_file: tuple[str, ...] = ()
        self._blocks = self._read()

    @property
    def source_rate(self) -> int:
        """The sample rate of the source in Hz."""
        return self._decoder.sample_rate

    @property
    def n_channels(self) -> int:
        """The number of channels of the source."""
        return self._decoder.n_channels

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the recording so far; complete once all blocks are read."""
        return self._with_file(self._resampler.warnings)

    @property
    def warnings_of(self) -> dict[str | None, tuple[str, ...]]:
        """The same for each channel, by its name; the mix has the name None."""
        return {name: self._with_file(words) for name, words in self._resampler.warnings_of.items()}

    def _with_file(self, of_levels: tuple[str, ...]) -> tuple[str, ...]:
        damage = ("truncated",) if self._is_damaged else ()
        return tuple(dict.fromkeys((*of_levels, *damage, *self._of_file)))  # each once

    def __iter__(self) -> Iterator[FloatArray]:
        return self._blocks

    def _read(self) -> Iterator[FloatArray]:
        for chunk in self._checked_chunks():
            block = self._resampler.push(chunk)
            if len(block):
                yield block
        block = self._resampler.finish()
        if len(block):
            yield block

    def _checked_chunks(self) -> Iterator[Chunk]:
        n_samples = 0
        try:
            for chunk in self._decoder.chunks():
                n_samples += len(chunk)
                self._check_size(n_samples)
                yield chunk
        except AudioDecodeError:
            if not n_samples:
                raise
            self._is_damaged = True
        self._of_file = self._decoder.warnings()  # it reads the file, which may be closed later
        if not n_samples:
            raise AudioTooShortError("this recording has no samples; record or export it again")

    def _check_size(self, n_samples: int) -> None:
        limits = self._limits
        if n_samples > limits.max_seconds * self.source_rate:
            raise AudioTooLargeError(
                f"a recording may last {limits.max_seconds:g} s and this one is longer; cut it into parts"
            )
        if n_samples * self.n_channels * 4 > limits.max_decoded_bytes:
            raise AudioTooLargeError(
                f"a recording may decode to {limits.max_decoded_bytes / 2**20:g} MiB and this one, with "
                f"{self.n_channels} channels at {self.source_rate} Hz, is larger; mix it down or cut it up"
            )

    def close(self) -> None:
        """Close what `open_audio` opened. A file object that was passed in stays open."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Resampler:
    """Chunks at any rate → mono float32 at 16 kHz. How the chunks are cut changes no bit of the result.

    Raises:
        InvalidWaveformError: `sample_rate` is not a positive whole number.
        AudioTooLargeError: The rate or the number of channels exceeds `limits`.
    """

    def __init__(self, sample_rate: int, n_channels: int = 1, *, limits: Limits = LOCAL_LIMITS) -> None:
        _check_rate(sample_rate, limits)
        _check_channels(n_channels, limits)
        self.sample_rate, self.n_channels = int(sample_rate), n_channels
        self._soxr = None
        if sample_rate != SAMPLE_RATE:
            self._soxr = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, quality="HQ")
        self._levels = Levels(sample_rate)
        self._n_samples = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the levels so far; see quality.py."""
        return self._levels.warnings

    @property
    def warnings_of(self) -> dict[str | None, tuple[str, ...]]:
        """The same by channel: None is the mix."""
        return {None: self.warnings}

    def push(self, chunk: Chunk) -> FloatArray:
        """Mix and resample a chunk.

        Args:
            chunk: (n_samples,) or (n_samples, n_channels) of int16, int32 or float with full scale at 1.

        Returns:
            (n,) float32 at 16 kHz. Resampling holds some samples back until the next chunk, or `finish`.

        Raises:
            InvalidWaveformError: The type, the shape or a sample is not as above.
        """
        samples = self._as_float(_checked_array(chunk))
        mono: FloatArray = samples.mean(axis=1) if self.n_channels > 1 else samples[:, 0]
        self._levels.add(samples, mono)
        self._n_samples += len(samples)
        return mono if self._soxr is None else self._soxr.resample_chunk(mono)

    def finish(self) -> FloatArray:
        """Return the samples that `push` held back."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._soxr is None else self._soxr.resample_chunk(nothing, last=True)

    def _as_float(self, chunk: Chunk) -> FloatArray:
        """A copy as float32 with full scale at 1."""
        _require_channels(chunk, self.n_channels)
        if chunk.dtype.kind == "i":
            return chunk.astype(np.float32, order="C") / np.float32(-float(np.iinfo(chunk.dtype).min))
        if len(chunk) and not max(chunk.max(), -chunk.min()) <= LARGEST_SAMPLE:  # not <=, because of NaN
            self._refuse_first_bad(chunk)
        return np.array(chunk, np.float32, order="C")

    def _refuse_first_bad(self, chunk: Chunk) -> NoReturn:
        row, column = np.argwhere(~(np.abs(chunk) <= LARGEST_SAMPLE))[0]
        seconds = (self._n_samples + row) / self.sample_rate
        raise InvalidWaveformError(
            f"samples must be finite, full scale is 1, but at {seconds:.3f} s there is {chunk[row, column]}; "
            "repair the recording, or divide by 32768 if these are 16-bit numbers"
        )


class SeparateResampler:
    """A `Resampler` for each channel: gives (n, n_channels). Each channel has the samples of its own mono file."""

    def __init__(self, sample_rate: int, n_channels: int, *, limits: Limits = LOCAL_LIMITS) -> None:
        _check_channels(n_channels, limits)
        self.sample_rate, self.n_channels = sample_rate, n_channels
        self._mono = {name: Resampler(sample_rate, limits=limits) for name in channel_names(n_channels)}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the levels of any channel so far."""
        return tuple(dict.fromkeys(word for words in self.warnings_of.values() for word in words))

    @property
    def warnings_of(self) -> dict[str | None, tuple[str, ...]]:
        """The same for each channel, by its name."""
        return {name: one.warnings for name, one in self._mono.items()}

    def push(self, chunk: Chunk) -> FloatArray:
        """Resample a chunk (n_samples, n_channels) as `Resampler.push` does."""
        samples = _checked_array(chunk)
        _require_channels(samples, self.n_channels)
        columns = np.split(samples, self.n_channels, axis=1)
        return np.stack([one.push(c) for one, c in zip(self._mono.values(), columns, strict=True)], axis=1)

    def finish(self) -> FloatArray:
        """Return the samples that `push` held back."""
        return np.stack([one.finish() for one in self._mono.values()], axis=1)


def resampler_for(
    sample_rate: int, n_channels: int, channels: Channels, limits: Limits = LOCAL_LIMITS
) -> Resampler | SeparateResampler:
    """The resampler for a way to take `channels`.

    Raises:
        ConfigError: There is no such way.
        AudioError: As of `Resampler`.
    """
    if channels not in get_args(Channels):
        raise ConfigError(f"channels must be {' or '.join(get_args(Channels))}, not {channels!r:.40}")
    kind = SeparateResampler if channels == "separate" else Resampler
    return kind(sample_rate, n_channels, limits=limits)


def channel_names(n_channels: int) -> tuple[str, ...]:
    """What separate channels are called: mono; left and right; 1, 2, 3 …."""
    few = {1: ("mono",), 2: ("left", "right")}
    return few.get(n_channels) or tuple(str(number) for number in range(1, n_channels + 1))


def _require_channels(chunk: Chunk, n_channels: int) -> None:
    if chunk.shape[1] != n_channels:
        raise InvalidWaveformError(
            f"a chunk must have {n_channels} channels, not {chunk.shape[1]}; open another stream"
        )


def _decoder_of(
    source: PlainSource, sample_rate: int | None, track: int | None, resources: ExitStack
) -> Decoder:
    if isinstance(source, np.ndarray):
        if track is not None:
            raise InvalidWaveformError("track is for files, an array has no tracks; leave track out")
        return _array_decoder(source, sample_rate)
    file = resources.enter_context(_opened(source))
    if sample_rate is not None:
        raise InvalidWaveformError(
            "sample_rate is for arrays, a file has its own; leave sample_rate out, or name the sample_format of bytes"
        )
    decoder = open_decoder(file, track)
    resources.callback(decoder.close)
    return decoder


def _array_decoder(samples: Chunk, sample_rate: int | None) -> ArrayDecoder:
    if sample_rate is None:
        raise InvalidWaveformError("an array needs its rate; pass for example sample_rate=48_000")
    samples = _checked_array(samples)
    if not len(samples):
        raise InvalidWaveformError("the array must have samples and is empty; pass a recording")
    return ArrayDecoder(samples, sample_rate)


def _checked_array(samples: Chunk) -> Chunk:
    """`samples` as (n_samples, n_channels)."""
    samples = np.asarray(samples)  # no subclass such as a matrix or a masked array
    if samples.dtype.kind != "f" and samples.dtype.newbyteorder("=") not in (np.int16, np.int32):
        raise InvalidWaveformError(
            f"samples must be int16, int32 or float, not {samples.dtype}; convert them first"
        )
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise InvalidWaveformError(
            f"the shape must be (n_samples,) or (n_samples, n_channels), not {samples.shape}; "
            "pass one recording at a time"
        )
    return samples[:, np.newaxis] if samples.ndim == 1 else samples


def _check_rate(sample_rate: int, limits: Limits) -> None:
    is_number = isinstance(sample_rate, int | np.integer) and not isinstance(sample_rate, bool)
    if not is_number or sample_rate < 1:
        raise InvalidWaveformError(
            f"sample_rate must be a whole number above 0, not {sample_rate!r}; pass for example 48_000"
        )
    if not limits.min_rate <= sample_rate <= limits.max_rate:
        raise AudioTooLargeError(
            f"the sample rate must be {limits.min_rate} to {limits.max_rate} Hz, not {sample_rate}; "
            "resample the recording, or correct its header"
        )


def _check_channels(n_channels: int, limits: Limits) -> None:
    if not 1 <= n_channels <= limits.max_channels:
        raise AudioTooLargeError(
            f"a recording may have 1 to {limits.max_channels} channels, not {n_channels}; mix it down, "
            "or pass the transpose of an array of shape (n_channels, n_samples)"
        )


def _opened(source: str | os.PathLike[str] | bytes | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """`source` as a seekable binary file; only what is opened here is closed at the end."""
    if isinstance(source, str | os.PathLike):
        return open_file(os.fsdecode(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source)
    try:
        is_binary = source.seekable() and source.read(0) == b""
    except (AttributeError, TypeError, ValueError, OSError):
        is_binary = False
    if not is_binary:
        is_file = hasattr(source, "read")
        raise InvalidWaveformError(
            f"a sound must be a path, bytes, a seekable binary file or a NumPy array, not {type(source).__name__}; "
            + ("open it with mode 'rb', and pass .read() of a pipe" if is_file else "pass a NumPy array")
        )
    return nullcontext(source)


def open_file(path: str) -> BinaryIO:
    """Open a regular file. Opening a pipe would wait for its writer; here nothing blocks.

    Raises:
        AudioNotFoundError: There is no such file, or it is a folder, a pipe or a device, or may not be read.
    """
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _DO_NOT_WAIT))  # noqa: SIM115
    except (OSError, ValueError) as error:
        if os.path.isdir(path):  # noqa: PTH112 - which also takes names that cannot be
            inside = f"{path.rstrip(os.sep)!r}/*.wav"
            raise AudioNotFoundError(
                f"{path!r} is a folder; pass the files in it, for example {inside}"
            ) from error
        reason = getattr(error, "strerror", None) or str(error)
        advice = "check its permissions" if isinstance(error, PermissionError) else "check its name"
        raise AudioNotFoundError(f"cannot open {path!r}: {reason}; {advice}") from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise AudioNotFoundError(f"{path!r} is a pipe or a device, not a file; save the sound to a file first")
