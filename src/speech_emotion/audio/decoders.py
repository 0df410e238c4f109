"""Decoders. In: a binary file or an array. Out: its own rate and channels, and its samples block by block.

A decoder reads forward until nothing comes; what a header promises only serves to notice a cut file. soundfile reads
what it knows; PyAV, if it is installed, everything else.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from speech_emotion.audio.containers import OGG, Container, encoding, sniff
from speech_emotion.audio.parts import Part, parts
from speech_emotion.audio.slices import FileSlice, SeekableFile
from speech_emotion.audio.structure import is_cut_short, n_ogg_tracks, ogg_seconds
from speech_emotion.errors import AudioDecodeError
from speech_emotion.extras import require

Chunk = npt.NDArray[Any]  # (n_samples, n_channels) of int16, int32 or float

BLOCK_SAMPLES = 16_384  # 0.3 s at 48 kHz, and 2 MiB with 32 channels
SEAM_SECONDS = (
    0.06  # how much libsndfile may miss where Ogg streams were joined: half of the longest Opus packet
)
OGG_TOLERANCE = 0.1  # seconds
MAX_PARTS = 5_000  # 1 s; what is behind them is worth no more
UNKNOWN_LENGTH = 2**48  # libsndfile answers 2**63 - 1 where a header does not say


class Decoder(Protocol):
    """What reads one source: its `sample_rate` in Hz, its `n_channels`, and its samples in blocks."""

    sample_rate: int
    n_channels: int

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end; AudioDecodeError where the data is damaged."""

    def warnings(self) -> tuple[str, ...]:
        """Those of "truncated", "unfinished" and "other_tracks" that hold, once all blocks are read."""

    def close(self) -> None:
        """Release what the decoder opened."""


class ArrayDecoder:
    """An array, (n_samples, n_channels), whose samples are decoded already."""

    def __init__(self, samples: Chunk, sample_rate: int) -> None:
        self._samples = samples  # (n_samples, n_channels)
        self.sample_rate, self.n_channels = sample_rate, samples.shape[1]

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end."""
        for start in range(0, len(self._samples), BLOCK_SAMPLES):
            yield self._samples[start : start + BLOCK_SAMPLES]

    def warnings(self) -> tuple[str, ...]:
        """Those of "truncated", "unfinished" and "other_tracks" that hold."""
        return ()

    def close(self) -> None:
        """Nothing is open."""


def open_decoder(file: SeekableFile, track: int | None = None) -> Decoder:
    """The decoder for what `file` holds, judged by its content.

    Args:
        file: A recording, or several one behind the other.
        track: Which of the audio tracks beside each other, from 1; None is the default track.

    Raises:
        AudioDecodeError: The content is not sound, is damaged, or has no such audio track.
        MissingExtraError: Its container or its encoding needs the extra "media".
    """
    try:
        whole = FileSlice(file)
    except Exception as error:  # a caller's file object may raise anything
        raise _unreadable(error) from error
    try:
        container, start = sniff(whole)
        return JoinedDecoder(parts(whole.slice(start), container), track)
    except AudioDecodeError:
        if whole.error:
            raise _unreadable(whole.error) from whole.error
        raise


class JoinedDecoder:
    """The recordings of one file, one behind the other. They must agree in rate and channels."""

    def __init__(self, recordings: Iterator[Part], track: int | None) -> None:
        self._recordings, self._track = recordings, track
        self._decoder = _open_part(next(recordings), track)
        self._warnings: tuple[str, ...] = ()
        self.sample_rate, self.n_channels = self._decoder.sample_rate, self._decoder.n_channels

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end."""
        yield from self._decoder.chunks()
        for n_before, part in enumerate(self._recordings, start=1):
            if n_before == MAX_PARTS:
                raise _damaged(part.container, f"more than {MAX_PARTS:,} recordings")
            self._warnings += self._decoder.warnings()
            self._decoder.close()
            self._decoder = _open_part(part, self._track)
            if (self._decoder.sample_rate, self._decoder.n_channels) != (self.sample_rate, self.n_channels):
                raise _damaged(part.container, "its rate or channels change midway")
            yield from self._decoder.chunks()

    def warnings(self) -> tuple[str, ...]:
        """Those of "truncated", "unfinished" and "other_tracks" that hold."""
        return self._warnings + self._decoder.warnings()

    def close(self) -> None:
        """Release what was opened."""
        self._decoder.close()


def _open_part(part: Part, track: int | None) -> Decoder:
    name = part.container.name
    if not part.container.is_core:
        return MediaDecoder(part, track, needed_for=f"Reading {name} files")
    try:
        decoder = SoundFileDecoder(part)
    except AudioDecodeError:
        codec = encoding(part.file, part.container)
        if codec is None or part.file.error:
            raise
        return MediaDecoder(part, track, needed_for=f"Reading {codec} in {name} files")
    if track in (None, 1):
        decoder.has_other_tracks = track is None and decoder.n_tracks > 1
        return decoder
    decoder.close()
    if decoder.n_tracks == 1:
        raise _no_such_track(track, 1)
    return MediaDecoder(part, track, needed_for=f"Reading another track of {name} files")


class _ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks after every read, which fails on a cut FLAC and repeats stale samples on a cut MP3.

    It also drops the samples of a read that ends in an error. Here the error is kept, in `code`, and what came before
    it returned: libsndfile calls it an error where Ogg streams were joined without new headers, and reads on behind it.
    """

    code = 0

    def seekable(self) -> bool:
        return False

    @property
    def _errorcode(self) -> int:
        self.code = int(super()._errorcode)
        return 0


class SoundFileDecoder:
    """WAV, RF64, FLAC, Ogg, Opus, MP3, AIFF, AU and CAF, through libsndfile."""

    has_other_tracks = False

    def __init__(self, part: Part) -> None:
        self._part, self._n_samples, self._n_seams, self._is_damaged = part, 0, 0, False
        self.n_tracks = n_ogg_tracks(part.file) if part.container is OGG else 1
        part.file.seek(0)
        with self._reporting_damage(), _ctrl_c_afterwards():
            self._sound = _ForwardSoundFile(part.file)
        self._n_wanted = self._sound.frames if part.n_samples is None else part.n_samples or UNKNOWN_LENGTH
        self.sample_rate, self.n_channels = self._sound.samplerate, self._sound.channels

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end."""
        with self._reporting_damage():
            while len(chunk := self._next_block()):
                self._n_samples += len(chunk)
                self._note_error()
                yield chunk
            self._note_error()
            if self._sound.code and not self._n_samples:
                raise soundfile.LibsndfileError(self._sound.code)

    def _note_error(self) -> None:
        """Ogg streams that were joined are whole, and what comes behind the last sample may be anything."""
        if self._sound.code and self._part.container is OGG:
            self._n_seams += 1
        elif self._sound.code:
            self._is_damaged |= self._n_samples < self._n_wanted

    def warnings(self) -> tuple[str, ...]:
        """Those of "truncated", "unfinished" and "other_tracks" that hold."""
        part = self._part
        n_found = self._n_samples + round(self._n_seams * SEAM_SECONDS * self.sample_rate)
        is_short = n_found < self._n_wanted < UNKNOWN_LENGTH or self._is_damaged or part.is_cut
        if part.container is OGG:
            is_short |= self._n_samples / self.sample_rate + OGG_TOLERANCE < ogg_seconds(part.file)
        return _named(
            truncated=is_short or is_cut_short(part.file, part.container),
            unfinished=part.is_unfinished,
            other_tracks=self.has_other_tracks,
        )

    def close(self) -> None:
        """Release what was opened."""
        self._sound.close()

    def _next_block(self) -> Chunk:
        with _ctrl_c_afterwards():
            block: Chunk = self._sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
        return block

    def _reporting_damage(self) -> AbstractContextManager[None]:
        return _reporting_damage(self._part, soundfile.LibsndfileError)


class MediaDecoder:
    """The containers of phones, browsers and cameras, and the codecs that libsndfile lacks, through PyAV."""

    def __init__(self, part: Part, track: int | None, *, needed_for: str) -> None:
        self._part, self._is_damaged = part, False
        part.file.seek(0)
        self._av = require("av", extra="media", needed_for=needed_for)
        with self._reporting_damage():
            self._media = self._av.open(part.file, format=part.container.demuxer, metadata_errors="ignore")
        try:
            self._open_track(track)
        except BaseException:
            self.close()
            raise

    def _open_track(self, track: int | None) -> None:
        tracks = self._media.streams.audio
        if not tracks:
            kind = "video" if self._media.streams.video else "file"
            raise AudioDecodeError(f"this {kind} has no audio track; pass a recording that has sound")
        if track is not None and not 1 <= track <= len(tracks):
            raise _no_such_track(track, len(tracks))
        is_default = (one for one in tracks if one.disposition & self._av.stream.Disposition.default)
        self._has_other_tracks = track is None and len(tracks) > 1
        self._frames = self._decoded(next(is_default, tracks[0]) if track is None else tracks[track - 1])
        with self._reporting_damage():
            self._first_frame = next(self._frames, None)
        if self._first_frame is None:
            if self._is_damaged:
                raise _damaged(self._part.container, "no packet can be decoded")
            raise AudioDecodeError("the audio track is empty; record or export it again")
        self.sample_rate = self._first_frame.sample_rate
        self.n_channels = self._first_frame.layout.nb_channels

    def _decoded(self, stream: Any) -> Iterator[Any]:
        """The frames of a track. Packets that are damaged are left out."""
        for packet in self._packets(stream):
            try:
                frames = packet.decode()
            except (self._av.error.InvalidDataError, self._av.error.PatchWelcomeError):
                self._is_damaged = True
            else:
                yield from frames

    def _packets(self, stream: Any) -> Iterator[Any]:
        """PyAV stumbles over the first packet of another track that begins midway; it can read on behind it."""
        is_at_end = False
        while not is_at_end:
            try:
                yield from self._media.demux(stream)
                is_at_end = True
            except IndexError:
                continue

    def chunks(self) -> Iterator[Chunk]:
        """Blocks until the end."""
        with self._reporting_damage():
            yield self._samples(self._first_frame)
            for frame in self._frames:
                yield self._samples(frame)

    def warnings(self) -> tuple[str, ...]:
        """Those of "truncated", "unfinished" and "other_tracks" that hold."""
        part = self._part
        is_short = self._is_damaged or part.is_cut or is_cut_short(part.file, part.container)
        return _named(truncated=is_short, unfinished=part.is_unfinished, other_tracks=self._has_other_tracks)

    def close(self) -> None:
        """Release what was opened."""
        self._media.close()

    def _samples(self, frame: Any) -> Chunk:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.n_channels):
            raise _damaged(self._part.container, "its rate or channels change midway")
        if frame.format.name.startswith("s64"):
            raise _damaged(self._part.container, "64-bit integers")
        samples: Chunk = frame.to_ndarray()
        if samples.dtype == np.uint8:
            samples = (samples.astype(np.int16) - 128) << 8
        return samples.T if frame.format.is_planar else samples.reshape(-1, self.n_channels)

    def _reporting_damage(self) -> AbstractContextManager[None]:
        return _reporting_damage(self._part, self._av.FFmpegError)


def _named(**found: bool) -> tuple[str, ...]:
    return tuple(name for name, is_so in found.items() if is_so)


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
def _reporting_damage(part: Part, kind: type[Exception]) -> Iterator[None]:
    """Translate errors of `kind`, which a decoder raises, and those that the file kept for us."""
    try:
        yield
    except kind as error:
        raise _damaged(part.container, part.file.error or error) from (part.file.error or error)
    if part.file.error:
        raise _damaged(part.container, part.file.error) from part.file.error


def _damaged(container: Container, error: Exception | str) -> AudioDecodeError:
    reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return AudioDecodeError(
        f"this {container.name} file is damaged or has an encoding that cannot be read "
        f"({reason.strip().rstrip('.')}); export it again as 16-bit WAV or FLAC"
    )


def _unreadable(error: Exception) -> AudioDecodeError:
    return AudioDecodeError(f"the file cannot be read ({error}); copy it to another place")


def _no_such_track(track: int | None, n_tracks: int) -> AudioDecodeError:
    return AudioDecodeError(f"there is no audio track {track}; the first is 1 and the last is {n_tracks}")
