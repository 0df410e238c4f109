"""A sound that the player can play. In: samples at 16 kHz, in pieces. Out: a WAV without a name on disk, and its peaks.

Three hours take 350 MB as 16-bit samples, so they lie in a temporary file: it never has a name, and the operating
system removes it when the last user lets go of the sound or the process ends, however it ends. What the browser asks
for is read from there, so neither the server nor the browser holds the sound in memory.
"""

import secrets
import struct
import tempfile
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakValueDictionary, finalize

import numpy as np
import numpy.typing as npt

from speech_emotion import open_audio
from speech_emotion.audio import channel_names

RATE: Final = 16_000
HEADER: Final = 44  # bytes before the samples of a WAV
PEAK_SAMPLES: Final = RATE // 100  # of the finest column of peaks
MAX_PEAKS: Final = 300_000  # columns that a browser gets at once
MAX_ZOOM: Final = 32  # of a channel's waveform, which is 30 dB; the noise of an empty one stays a line

FloatArray = npt.NDArray[np.floating[Any]]


class PlayableSound:
    """A sound on the server that browsers may play while somebody holds this object. Made by `SoundWriter`.

    token: The secret part of its address.
    names: The names of its channels; of one channel "".
    seconds: Its duration.
    samples: (n_samples, n_channels) int16, read from disk on demand.
    peaks: (n_channels, n_columns, 2) int8: minimum and maximum of each column of `peak_seconds`; `heights` are 127.
    heights: (n_channels,), the amplitude that fills the height of each channel, full scale is 1: its loudest sample, so
        that a quiet voice can be seen, but no less than that of the loudest channel divided by MAX_ZOOM.
    """

    def __init__(self, file: Any, names: Sequence[str], peaks: npt.NDArray[np.int16]) -> None:
        self.token = secrets.token_urlsafe(16)
        self.names = tuple(names)
        self.content: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, "r")
        self.samples = self.content[HEADER:].view(np.int16).reshape(-1, len(self.names))
        self.seconds = len(self.samples) / RATE
        loudest = np.abs(peaks.astype(np.int32)).max(axis=(1, 2), initial=1) / 32768
        self.heights: FloatArray = np.maximum(loudest, loudest.max() / MAX_ZOOM).astype(np.float32)
        each = 1
        while peaks.shape[1] > MAX_PEAKS:
            peaks, each = _halved(peaks), each * 2
        self.peaks = in_heights(peaks, self.heights)
        self.peak_seconds = each * PEAK_SAMPLES / RATE
        _sounds[self.token] = self

    @staticmethod
    def of(data: bytes, *, separate: bool = False) -> "PlayableSound":
        """Decode the encoded sound `data`, as one channel or, if `separate`, with all of its channels.

        Raises:
            AudioError: The sound cannot be used.
        """
        with open_audio(data, channels="separate" if separate else "mix") as audio:
            writer = SoundWriter(channel_names(audio.n_channels) if separate else ("",))
            for block in audio:
                writer.push(block)
        return writer.finish()


_sounds: WeakValueDictionary[str, PlayableSound] = WeakValueDictionary()


def find(token: str) -> PlayableSound | None:
    """The sound with this token, while somebody holds it."""
    return _sounds.get(token)


class SoundWriter:
    """Writes a PlayableSound from the pieces of a sound as they pass.

    Args:
        names: The names of the channels.
    """

    def __init__(self, names: Sequence[str] = ("",)) -> None:
        self._names = tuple(names)
        self._file = tempfile.TemporaryFile(prefix="speech-emotion-")  # noqa: SIM115 - lives as long as the writer
        finalize(self, self._file.close)
        self._file.write(bytes(HEADER))
        self._n_bytes = 0
        self._rest = np.zeros((0, len(names)), np.int16)
        self._peaks: list[npt.NDArray[np.int16]] = []

    def push(self, samples: FloatArray) -> None:
        """Add the next samples, (n,) or (n, n_channels), full scale is 1."""
        scaled = np.round(samples.reshape(-1, len(self._names)) * 32767)
        new = np.clip(scaled, -32768, 32767).astype("<i2")
        self._n_bytes += self._file.write(new.tobytes())
        held = np.concatenate([self._rest, new])
        n_whole = len(held) // PEAK_SAMPLES * PEAK_SAMPLES
        self._measure(held[:n_whole])
        self._rest = held[n_whole:]

    def finish(self) -> PlayableSound:
        """The sound, which needs one sample at least."""
        if len(self._rest):
            n_missing = -len(self._rest) % PEAK_SAMPLES
            self._measure(np.pad(self._rest, ((0, n_missing), (0, 0)), "edge"))
        self._file.seek(0)
        self._file.write(_header(self._n_bytes, len(self._names)))
        self._file.flush()
        return PlayableSound(self._file, self._names, np.concatenate(self._peaks, axis=1))

    def _measure(self, samples: npt.NDArray[np.int16]) -> None:
        columns = samples.reshape(-1, PEAK_SAMPLES, len(self._names))
        self._peaks.append(np.stack([columns.min(axis=1), columns.max(axis=1)], axis=2).transpose(1, 0, 2))


def _header(n_bytes: int, n_channels: int) -> bytes:
    """The beginning of a WAV with `n_bytes` of 16-bit samples. More than it can state, browsers read to the end."""
    n_bytes = min(n_bytes, 2**32 - 1 - HEADER)
    kind = struct.pack("<HHIIHH", 1, n_channels, RATE, RATE * 2 * n_channels, 2 * n_channels, 16)
    parts = b"WAVE", b"fmt ", struct.pack("<I", len(kind)), kind, b"data", struct.pack("<I", n_bytes)
    return b"RIFF" + struct.pack("<I", HEADER - 8 + n_bytes) + b"".join(parts)


def in_heights(peaks: npt.NDArray[Any], heights: FloatArray) -> npt.NDArray[np.int8]:
    """Peaks (n_channels, n_columns, 2) of 16-bit samples, so that 127 is the height of their channel."""
    scaled: npt.NDArray[np.int8] = np.round(peaks * (127 / 32768 / heights.reshape(-1, 1, 1))).astype(np.int8)
    return scaled


def _halved(peaks: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    if peaks.shape[1] % 2:
        peaks = np.concatenate([peaks, peaks[:, -1:]], axis=1)
    pairs = peaks.reshape(peaks.shape[0], -1, 2, 2)
    return np.stack([pairs[..., 0].min(axis=2), pairs[..., 1].max(axis=2)], axis=2)
