"""The habits of other libraries: what they hold a sound in gives the samples of the plain array."""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds
import torch

from speech_emotion.audio import SAMPLE_FORMATS, decode_pcm, load
from speech_emotion.audio.sources import resolve
from speech_emotion.errors import AudioDecodeError, ConfigError, InvalidWaveformError

RATE = 24_000
VOICE = sounds.voice(1.0, RATE)
STEREO = np.stack([VOICE, VOICE / 2], axis=1)  # (n_samples, n_channels)
BYTES = sounds.wav(VOICE, RATE)


def samples(source: Any, **options: Any) -> np.ndarray:
    return load(source, **options).samples


MONO: dict[str, Any] = {
    "Gradio, SciPy": (RATE, VOICE),
    "soundfile, librosa": (VOICE, RATE),
    "a rate of NumPy": (np.int64(RATE), VOICE),
    "torchaudio": (torch.from_numpy(VOICE)[None], RATE),
    "a tensor in a pair": (RATE, torch.from_numpy(VOICE)),
    "a double": (RATE, torch.from_numpy(VOICE).double()),
    "datasets": {"path": "x.wav", "array": VOICE, "sampling_rate": RATE},
    "datasets, as lists": {"path": None, "array": VOICE.tolist(), "sampling_rate": RATE},
    "datasets, as tensors": {"array": torch.from_numpy(VOICE), "sampling_rate": torch.tensor(RATE)},
    "TorchCodec": SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(VOICE)[None], sample_rate=RATE)
    ),
}


@pytest.mark.parametrize("name", MONO)
def test_what_has_its_own_rate(name: str) -> None:
    expected = samples(VOICE, sample_rate=RATE)
    np.testing.assert_array_equal(samples(MONO[name]), expected)
    np.testing.assert_array_equal(samples(MONO[name], sample_rate=RATE), expected)
    with pytest.raises(InvalidWaveformError, match=r"its own rate, 24000, not 48000; leave sample_rate out"):
        samples(MONO[name], sample_rate=48_000)


def test_an_undecoded_row_of_a_dataset() -> None:
    expected = samples(BYTES)
    np.testing.assert_array_equal(samples({"bytes": BYTES, "path": "gone.wav"}), expected)
    np.testing.assert_array_equal(samples({"bytes": BYTES, "path": None}), expected)


def test_an_undecoded_row_with_a_path_alone(tmp_path: Any) -> None:
    (tmp_path / "x.wav").write_bytes(BYTES)
    row = {"bytes": None, "path": str(tmp_path / "x.wav")}
    np.testing.assert_array_equal(samples(row), samples(BYTES))


@pytest.mark.parametrize("row", [{}, {"array": VOICE}, {"samples": VOICE, "rate": RATE}, {"path": None}])
def test_a_mapping_that_holds_no_sound(row: Any) -> None:
    with pytest.raises(InvalidWaveformError, match=r'"array" and "sampling_rate".*pass the sound itself'):
        samples(row)


@pytest.mark.parametrize("pair", [(VOICE, VOICE), (RATE, RATE), (RATE,), (RATE, VOICE, 1), (RATE, None)])
def test_a_tuple_that_is_no_pair(pair: Any) -> None:
    with pytest.raises(InvalidWaveformError):
        samples(pair)


def test_a_tensor_has_its_channels_first() -> None:
    expected = samples(STEREO, sample_rate=RATE)
    np.testing.assert_array_equal(samples(torch.from_numpy(STEREO.T.copy()), sample_rate=RATE), expected)
    np.testing.assert_array_equal(samples((torch.from_numpy(STEREO.T.copy()), RATE)), expected)
    mono = samples(VOICE, sample_rate=RATE)
    np.testing.assert_array_equal(samples(torch.from_numpy(VOICE), sample_rate=RATE), mono)
    with pytest.raises(
        InvalidWaveformError, match=r"\(n_channels, n_samples\), .*not \(24000, 2\).*tensor\.T"
    ):
        samples(torch.from_numpy(STEREO), sample_rate=RATE)


def test_a_tensor_that_is_no_array_yet() -> None:
    learning = torch.from_numpy(VOICE).requires_grad_()
    for tensor in (learning, torch.from_numpy(VOICE).bfloat16(), torch.zeros(9, device="meta")):
        with pytest.raises(InvalidWaveformError, match=r"Tensor is not an array.*detach\(\)\.cpu\(\)"):
            samples(tensor, sample_rate=RATE)
    fixed = learning.detach().cpu().float().numpy()
    np.testing.assert_array_equal(samples(fixed, sample_rate=RATE), samples(VOICE, sample_rate=RATE))


def test_what_another_library_cannot_give() -> None:
    with pytest.raises(InvalidWaveformError, match="this list is not an array"):
        samples({"array": [[0.0], [0.0, 1.0]], "sampling_rate": RATE})

    def fail() -> None:
        raise RuntimeError("no packets")

    with pytest.raises(AudioDecodeError, match=r"cannot be decoded \(no packets\); pass its file"):
        samples(SimpleNamespace(get_all_samples=fail))


class Frame:
    """An array of another library, whose first axis is time as in NumPy."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return STEREO


def test_arrays_of_other_libraries() -> None:
    expected = samples(STEREO, sample_rate=RATE)
    np.testing.assert_array_equal(samples(Frame(), sample_rate=RATE), expected)


# Raw samples


@pytest.mark.parametrize(("sample_format", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_every_byte_of_g711_is_what_libsndfile_says(sample_format: str, subtype: str) -> None:
    every = bytes(range(256))
    options = {"format": "RAW", "subtype": subtype, "samplerate": 8_000, "channels": 1}
    expected, _ = soundfile.read(io.BytesIO(every), dtype="int16", **options)
    np.testing.assert_array_equal(decode_pcm(every, sample_format), expected)


RAW: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "f32le": ("FLOAT", lambda voice: voice.astype("<f4").tobytes()),
    "s16le": ("PCM_16", lambda voice: raw(voice, "PCM_16")),
    "mulaw": ("ULAW", lambda voice: raw(voice, "ULAW")),
    "alaw": ("ALAW", lambda voice: raw(voice, "ALAW")),
}


def raw(voice: np.ndarray, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, voice, RATE, format="RAW", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("sample_format", SAMPLE_FORMATS)
def test_raw_samples_are_those_of_the_file(sample_format: str) -> None:
    subtype, encode = RAW[sample_format]
    expected = samples(sounds.wav(VOICE, RATE, subtype=subtype))
    data = encode(VOICE)
    for form in (data, bytearray(data), memoryview(data)):
        found = samples(form, sample_rate=RATE, sample_format=sample_format)
        np.testing.assert_array_equal(found, expected)


def test_raw_samples_that_are_not() -> None:
    with pytest.raises(ConfigError, match=r"one of f32le, s16le, mulaw, alaw, not 'ulaw'"):
        samples(b"\0", sample_rate=RATE, sample_format="ulaw")
    with pytest.raises(ConfigError, match="not \\[\\]"):
        samples(b"\0", sample_rate=RATE, sample_format=[])
    with pytest.raises(InvalidWaveformError, match="2 bytes and 3 came"):
        samples(bytes(3), sample_rate=RATE, sample_format="s16le")
    with pytest.raises(InvalidWaveformError, match="needs its rate"):
        samples(bytes(4), sample_format="s16le")
    with pytest.raises(InvalidWaveformError, match="empty"):
        samples(b"", sample_rate=RATE, sample_format="s16le")
    with pytest.raises(InvalidWaveformError, match="name the sample_format of bytes"):
        samples(BYTES, sample_rate=RATE)
    for other in (VOICE, "call.raw", (RATE, VOICE)):
        with pytest.raises(InvalidWaveformError, match="must be the bytes of its samples"):
            samples(other, sample_rate=RATE, sample_format="s16le")


def test_plain_sources_pass_as_they_are() -> None:
    for source in ("x.wav", BYTES, io.BytesIO(BYTES), VOICE):
        assert resolve(source) == (source, None) if source is not VOICE else resolve(source)[0] is VOICE
