"""One road: whatever door a sound comes in by, the same numbers or the same refusal come out."""

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds

import speech_emotion as ser
from speech_emotion import classifier as classifier_module
from speech_emotion import cli
from speech_emotion.classifier import Classifier
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.prediction import Prediction, pool

RATE = 48_000
INTEGERS = (sounds.voice(5.3, RATE) * 32_767).astype(np.int16)
FLOATS = INTEGERS.astype(np.float32) / 32_768


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    soundfile.write(path, INTEGERS, RATE, subtype="PCM_16")
    return path


@pytest.fixture
def shipped(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """The stand-in in the place of the shipped model, for the doors that take no other."""
    monkeypatch.setattr(classifier_module, "_default", lambda: classifier)
    return classifier


@pytest.fixture
def command(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[dict[str, Any]]]:
    def run(*arguments: str | Path) -> list[dict[str, Any]]:
        argv = ["speech-emotion", "predict", "--json", "--model", model_path, *arguments]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in argv])
        with pytest.raises(SystemExit):
            cli.main()
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return rows

    return run


def test_every_source_gives_the_same_numbers(shipped: Classifier, clip: Path) -> None:
    expected = shipped.predict(clip)
    assert expected.label is not None
    assert shipped.predict(str(clip)) == expected
    assert shipped.predict(clip.read_bytes()) == expected
    assert shipped.predict(io.BytesIO(clip.read_bytes())) == expected
    with clip.open("rb") as file:
        assert shipped.predict(file) == expected
    assert shipped.predict(INTEGERS, sample_rate=RATE) == expected
    assert shipped.predict(FLOATS, sample_rate=RATE) == expected
    assert shipped.predict(FLOATS[:, None], sample_rate=RATE) == expected
    assert shipped.predict((RATE, INTEGERS)) == expected
    assert shipped.predict((FLOATS, RATE)) == expected
    assert shipped.predict({"path": str(clip), "array": FLOATS, "sampling_rate": RATE}) == expected
    assert shipped.predict({"path": None, "bytes": clip.read_bytes()}) == expected
    assert shipped.predict(INTEGERS.tobytes(), sample_rate=RATE, sample_format="s16le") == expected
    assert shipped.predict(FLOATS.tobytes(), sample_rate=RATE, sample_format="f32le") == expected
    assert ser.predict(clip) == expected
    assert ser.predict(INTEGERS, sample_rate=RATE) == expected
    assert ser.predict(INTEGERS.tobytes(), sample_rate=RATE, sample_format="s16le") == expected


def test_timeline_and_stream_pool_to_the_same_numbers(shipped: Classifier, clip: Path) -> None:
    expected = shipped.predict(clip)
    assert pool(shipped.timeline(clip)) == expected
    for n_chunk in (777, 4_800, len(INTEGERS)):
        stream = shipped.stream(sample_rate=RATE)
        pieces = [INTEGERS[start : start + n_chunk] for start in range(0, len(INTEGERS), n_chunk)]
        streamed = [prediction for piece in pieces for prediction in stream.push(piece)] + stream.finish()
        assert streamed == shipped.timeline(clip)
        stream = shipped.stream(sample_rate=RATE, sample_format="s16le")
        raw = [prediction for piece in pieces for prediction in stream.push(piece.tobytes())]
        assert raw + stream.finish() == streamed
        assert pool(streamed) == expected


@pytest.mark.parametrize("hop", [0.05, 0.5, 0.7, 3.0])
def test_timeline_stream_and_command_agree_at_every_hop(
    shipped: Classifier, clip: Path, command: Callable[..., list[dict[str, Any]]], hop: float
) -> None:
    expected = shipped.timeline(clip, hop_seconds=hop)
    assert round(16_000 * (expected[1].start_seconds - expected[0].start_seconds)) == min(
        round(hop * 16_000), round(2.3 * 16_000)
    )
    for n_chunk in (777, 4_800, len(INTEGERS)):
        stream = shipped.stream(sample_rate=RATE, hop_seconds=hop)
        pieces = [INTEGERS[start : start + n_chunk] for start in range(0, len(INTEGERS), n_chunk)]
        assert [answer for piece in pieces for answer in stream.push(piece)] + stream.finish() == expected
    rows = [{"source": str(clip)} | answer.to_dict() for answer in expected]
    assert command("--timeline", "--hop", str(hop), clip) == rows


def test_the_command_gives_the_same_numbers(
    shipped: Classifier, clip: Path, command: Callable[..., list[dict[str, Any]]]
) -> None:
    expected = shipped.predict(clip)
    assert command(clip) == [{"source": str(clip)} | expected.to_dict()]
    rows = command("--timeline", clip)
    windows = [
        Prediction(row["probabilities"], row["start_seconds"], row["end_seconds"], row["abstained"])
        for row in rows
    ]
    assert pool(windows) == expected


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_each_of_separate_channels_is_answered_like_a_file_of_its_own(
    shipped: Classifier, tmp_path: Path, command: Callable[..., list[dict[str, Any]]], n_channels: int
) -> None:
    path, names = tmp_path / "call.wav", {1: ["mono"], 2: ["left", "right"], 3: ["1", "2", "3"]}[n_channels]
    delays = [0, RATE, 2 * RATE][:n_channels]
    samples = np.stack([np.roll(INTEGERS, delay) // (i + 1) for i, delay in enumerate(delays)], axis=1)
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    alone = [sounds.wav(column, RATE) for column in samples.T]
    expected = tuple(
        replace(shipped.predict(one), channel=name) for one, name in zip(alone, names, strict=True)
    )
    assert shipped.predict(path, channels="separate") == expected
    assert ser.predict(path, channels="separate") == expected
    assert shipped.predict(samples, sample_rate=RATE, channels="separate") == expected
    assert command("--channels", "separate", path) == [
        {"source": str(path)} | answer.to_dict() for answer in expected
    ]
    timelines = [shipped.timeline(one) for one in alone]
    windows = [
        replace(w, channel=name)
        for row in zip(*timelines, strict=True)
        for name, w in zip(names, row, strict=True)
    ]
    assert shipped.timeline(path, channels="separate") == windows
    rows = [{"source": str(path)} | window.to_dict() for window in windows]
    assert command("--timeline", "--channels", "separate", path) == rows
    stream = shipped.stream(sample_rate=RATE, channels="separate")
    pieces = [samples[start : start + 4_800] for start in range(0, len(samples), 4_800)]
    assert [answer for piece in pieces for answer in stream.push(piece)] + stream.finish() == windows


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("clip.wav", "sound")
    return file.getvalue()


def _matrix() -> bytes:
    file = io.BytesIO()
    np.save(file, FLOATS)
    return file.getvalue()


REFUSED = {
    "empty": (b"", "audio_decode"),
    "text": (b"dear diary", "audio_decode"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "audio_decode"),
    "archive": (_archive(), "audio_decode"),
    "matrix": (_matrix(), "audio_decode"),
    "header only": (sounds.wav(FLOATS[:0], RATE), "audio_too_short"),
    "nan": (sounds.wav(np.append(FLOATS, np.nan), RATE, subtype="FLOAT"), "invalid_waveform"),
    "infinite": (sounds.wav(np.append(FLOATS, np.inf), RATE, subtype="FLOAT"), "invalid_waveform"),
    "huge": (sounds.wav(np.append(FLOATS, 1e38), RATE, subtype="FLOAT"), "invalid_waveform"),
    "33 channels": (sounds.wav(np.zeros((99, 33), np.float32), RATE), "audio_too_large"),
    "2 kHz": (sounds.wav(FLOATS, 2_000), "audio_too_large"),
}


def refusal(door: Callable[[Any], object], source: Any) -> tuple[str, str]:
    with pytest.raises(SpeechEmotionError) as caught:
        door(source)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_every_door_refuses_alike(
    shipped: Classifier, tmp_path: Path, command: Callable[..., list[dict[str, Any]]], name: str
) -> None:
    data, code = REFUSED[name]
    path = tmp_path / f"{name}.wav"
    path.write_bytes(data)
    expected = refusal(shipped.predict, path)
    assert expected[0] == code
    for source in (path, str(path), data, io.BytesIO(data)):
        for door in (ser.predict, shipped.predict, shipped.timeline):
            assert refusal(door, source) == expected
    row = {"source": str(path), "error": expected[0], "message": expected[1]}
    assert command(path) == command("--timeline", path)[-1:] == [row]  # after the windows before the damage


@pytest.mark.parametrize("name", ["none.wav", "pipe.wav"])
def test_every_door_names_what_it_cannot_open(
    shipped: Classifier, tmp_path: Path, command: Callable[..., list[dict[str, Any]]], name: str
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    path = tmp_path / name
    expected = refusal(shipped.predict, path)
    assert expected[0] == "audio_not_found"
    for door in (ser.predict, shipped.predict, shipped.timeline):
        assert refusal(door, str(path)) == expected
    assert command(path) == [{"source": str(path), "error": expected[0], "message": expected[1]}]


@pytest.mark.parametrize("answer", ["no_speech", "too_short"])
def test_every_door_abstains_alike(
    shipped: Classifier, tmp_path: Path, command: Callable[..., list[dict[str, Any]]], answer: str
) -> None:
    samples = {"no_speech": np.zeros(2 * RATE, np.int16), "too_short": INTEGERS[: RATE // 10]}[answer]
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    expected = shipped.predict(path)
    assert (expected.abstained, expected.label) == (answer, None)
    assert ser.predict(path) == shipped.predict(samples, sample_rate=RATE) == expected
    assert shipped.timeline(path) == [expected]
    assert command(path) == command("--timeline", path) == [{"source": str(path)} | expected.to_dict()]
    stream = shipped.stream(sample_rate=RATE)
    (streamed,) = stream.push(samples) + stream.finish()
    assert (streamed.abstained, streamed.end_seconds) == (answer, expected.end_seconds)
