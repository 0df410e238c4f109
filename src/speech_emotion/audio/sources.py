"""The forms in which programs hold a sound. In: any of them. Out: what the reader takes, and its rate.

The reader takes paths, bytes, files and arrays. Here the habits of other libraries become one of these: the pair of
Gradio, the mapping of Hugging Face datasets, the tensor of PyTorch, and raw samples as telephony sends them. None of
these libraries is imported.
"""

import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from speech_emotion.errors import AudioDecodeError, ConfigError, InvalidWaveformError


class ArrayLike(Protocol):
    """Anything that NumPy can read as an array, such as a tensor."""

    def __array__(self) -> npt.NDArray[Any]: ...


PlainSource = str | os.PathLike[str] | bytes | BinaryIO | npt.NDArray[Any]
Source = PlainSource | ArrayLike | tuple[Any, Any] | Mapping[str, Any]

SAMPLE_FORMATS: Final[Mapping[str, np.dtype[Any]]] = {
    "f32le": np.dtype("<f4"),
    "s16le": np.dtype("<i2"),
    "mulaw": np.dtype("u1"),
    "alaw": np.dtype("u1"),
}
"""The formats of raw samples, and how one sample is stored: little-endian, or one byte of ITU-T G.711."""


def resolve(
    source: Source | npt.ArrayLike, sample_rate: int | None = None, sample_format: str | None = None
) -> tuple[PlainSource, Any]:
    """Return `source` as the reader takes it, and its rate in Hz, if it has one that the reader needs.

    Raises:
        InvalidWaveformError: `source` is incomplete, has another rate than `sample_rate`, or is not bytes although
            there is a `sample_format`.
        AudioDecodeError: `source` is a decoder that fails.
        ConfigError: There is no such `sample_format`.
    """
    if sample_format is not None:
        return decode_pcm(source, sample_format), sample_rate
    value, own_rate = _unpacked(source)
    if own_rate is not None and sample_rate not in (None, own_rate):
        raise InvalidWaveformError(
            f"this sound has its own rate, {own_rate}, not {sample_rate}; leave sample_rate out"
        )
    is_list = isinstance(value, list) and own_rate is not None
    if is_list or (hasattr(value, "__array__") and not isinstance(value, np.ndarray)):
        value = _array(value)
    return value, sample_rate if own_rate is None else own_rate


def decode_pcm(data: Any, sample_format: str) -> npt.NDArray[Any]:
    """Return raw samples of one channel as an array (n_samples,) of int16 or float32.

    Raises:
        InvalidWaveformError: `data` is not bytes, or not a whole number of samples.
        ConfigError: `sample_format` is none of `SAMPLE_FORMATS`.
    """
    if sample_format not in list(SAMPLE_FORMATS):
        raise ConfigError(
            f"sample_format must be one of {', '.join(SAMPLE_FORMATS)}, not {sample_format!r:.40}; "
            "leave it out for files and arrays"
        )
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidWaveformError(
            f"with sample_format a sound must be the bytes of its samples, not {type(data).__name__}; "
            "leave sample_format out for files and arrays"
        )
    dtype = SAMPLE_FORMATS[sample_format]
    if len(data) % dtype.itemsize:
        raise InvalidWaveformError(
            f"a sample of {sample_format} has {dtype.itemsize} bytes and {len(data)} came, which is not a whole number "
            "of samples; pass whole samples of one channel"
        )
    samples: npt.NDArray[Any] = np.frombuffer(data, dtype)
    return _G711[sample_format][samples] if sample_format in _G711 else samples


def _unpacked(source: Any) -> tuple[Any, Any]:
    """What is in a pair, a mapping or a decoder, and its rate; any other source as it is, without a rate.

    Gradio and SciPy have the rate of a pair first, soundfile, librosa and torchaudio second. Hugging Face datasets have
    a mapping, decoded or not, and from version 4 on a decoder of TorchCodec.
    """
    if isinstance(source, tuple) and len(source) == 2:
        is_first, is_second = (isinstance(value, int | float | np.number) for value in source)
        if is_first != is_second:
            return source[is_first], source[is_second]
    if isinstance(source, Mapping):
        if source.get("array") is not None and source.get("sampling_rate") is not None:
            rate = source["sampling_rate"]
            return source["array"], rate.item() if hasattr(rate, "item") else rate
        content = source.get("bytes")
        if content is None and (content := source.get("path")) is None:
            raise InvalidWaveformError(
                'a mapping must have "array" and "sampling_rate", or "bytes" or "path", as in Hugging Face datasets, '
                f"not {', '.join(map(repr, source))[:80] or 'nothing'}; pass the sound itself"
            )
        return content, None
    if hasattr(source, "get_all_samples"):
        try:
            samples = source.get_all_samples()
        except RuntimeError as error:
            raise AudioDecodeError(
                f"this sound cannot be decoded ({error}); pass its file instead"
            ) from error
        return samples.data, samples.sample_rate
    return source, None


def _array(value: Any) -> npt.NDArray[Any]:
    """A tensor, a list or the like as (n_samples,) or (n_samples, n_channels). PyTorch has the channels first."""
    try:
        samples = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # on another device, or with a gradient
        raise InvalidWaveformError(
            f"this {type(value).__name__} is not an array in memory ({error}); pass a NumPy array of float32, "
            "of a tensor tensor.detach().cpu().float().numpy()"
        ) from error
    is_tensor = any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__)
    if not is_tensor or samples.ndim != 2:
        return samples
    n_channels, n_samples = samples.shape
    if n_channels > max(n_samples, 1):
        raise InvalidWaveformError(
            f"a tensor has the shape (n_channels, n_samples), as torchaudio gives it, not {samples.shape}; "
            "pass its transpose, tensor.T"
        )
    return samples.T


def _mulaw() -> npt.NDArray[np.int16]:
    """What each byte of µ-law means (ITU-T G.711, table 2)."""
    code = ~np.arange(256, dtype=np.uint8).astype(np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw() -> npt.NDArray[np.int16]:
    """What each byte of A-law means (ITU-T G.711, table 1)."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    step, segment = (code & 0x0F) << 4, code >> 4 & 7
    magnitude = np.where(segment, (step + 0x108) << np.maximum(segment - 1, 0), step + 8)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_G711: Final = {"mulaw": _mulaw(), "alaw": _alaw()}
