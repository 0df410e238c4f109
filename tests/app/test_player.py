"""The player without a browser: pitch, loudness and spectrogram, the sound on disk, its routes, and what is sent."""

import asyncio
import gc
import io
import json
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import player
import pytest
import soundfile
import sounds
from player import acoustics, routes
from player.closeup import Range, closeup
from player.sound import PEAK_SAMPLES, RATE, PlayableSound, SoundWriter, find
from starlette.applications import Starlette

from speech_emotion import Prediction

FOLDER = Path(player.__file__).parent


def tone(hz: float, seconds: float = 1.0, level: float = 0.3) -> np.ndarray:
    """A sine."""
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def written(samples: np.ndarray, names: tuple[str, ...] = ("",), n_pieces: int = 1) -> PlayableSound:
    """`samples` as a sound that arrived in pieces."""
    writer = SoundWriter(names)
    for piece in np.array_split(samples, n_pieces):
        writer.push(piece)
    return writer.finish()


def as_frames(samples: np.ndarray, size: int) -> np.ndarray:
    """Half of the frames that fit."""
    centres = np.arange(size, len(samples) - size, size // 2)
    return acoustics.frames_at((samples * 32767).astype(np.int16), centres, size)


# Pitch, loudness and spectrogram


@pytest.mark.parametrize("hz", [65.0, 110.0, 233.3, 440.0, 490.0])
def test_the_pitch_of_a_sine_is_its_frequency(hz: float) -> None:
    found = acoustics.pitch(as_frames(tone(hz), acoustics.PITCH_FRAME))
    np.testing.assert_allclose(found, hz, rtol=0.002)


def test_the_pitch_is_the_fundamental_even_if_it_is_missing() -> None:
    harmonics = tone(300) + tone(450) + tone(600)  # of 150 Hz
    found = acoustics.pitch(as_frames(harmonics, acoustics.PITCH_FRAME))
    np.testing.assert_allclose(found, 150, rtol=0.002)


def test_the_pitch_of_a_voice_that_glides_is_followed() -> None:
    voice = sounds.voice(4.0, f0=140.0)
    centres = np.arange(2000, 62_000, 160)
    frames = acoustics.frames_at((voice * 32767).astype(np.int16), centres, acoustics.PITCH_FRAME)
    found = acoustics.pitch(frames)
    t = centres / RATE
    true = 140 * (1 + 0.12 * np.sin(2 * np.pi * 0.7 * t) + 0.02 * np.sin(2 * np.pi * 5.3 * t))
    is_voiced = np.sin(2 * np.pi * 2 * t) ** 2 > 0.6  # the middle of the syllables
    cents = np.abs(1200 * np.log2(found / true))
    assert np.isfinite(found[is_voiced]).mean() > 0.8
    assert np.nanpercentile(cents[is_voiced], 95) < 50


def test_noise_and_silence_have_no_pitch() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    assert np.isnan(acoustics.pitch(as_frames(noise, acoustics.PITCH_FRAME))).mean() > 0.95
    assert np.isnan(acoustics.pitch(np.zeros((3, acoustics.PITCH_FRAME), np.float32))).all()


def test_loudness_is_the_root_mean_square_in_decibels() -> None:
    found = acoustics.loudness(as_frames(tone(1000, level=0.1), acoustics.PITCH_FRAME))
    np.testing.assert_allclose(found, 20 * np.log10(0.1 / np.sqrt(2)), atol=0.05)
    assert acoustics.loudness(np.zeros((1, 1024), np.float32))[0] == acoustics.SILENCE_DB


@pytest.mark.slow
def test_the_log_mel_is_that_of_the_models_front_end() -> None:
    torch = pytest.importorskip("torch")
    from speech_emotion.training.networks.frontend import LogMel

    voice = np.round(sounds.voice(1.0) * 32767).astype(np.int16)
    front_end = LogMel(n_mels=acoustics.N_MELS, n_fft=acoustics.MEL_FRAME, hop=320, fmin_hz=acoustics.LOW_HZ)
    expected = front_end(torch.from_numpy(voice.astype(np.float32) / 32768)[None])[0].T.numpy()
    centres = np.arange(len(expected)) * 320 + acoustics.MEL_FRAME // 2
    found = acoustics.log_mel(acoustics.frames_at(voice, centres, acoustics.MEL_FRAME))
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_hertz_and_mel_are_inverse() -> None:
    hz = np.array([50.0, 440.0, 999.0, 1001.0, 8000.0])
    np.testing.assert_allclose(acoustics.hz_of(acoustics.mel_of(hz)), hz)


# The sound on disk


def test_the_sound_is_a_wav_that_others_read() -> None:
    voice = sounds.voice(1.23)
    sound = written(voice, n_pieces=7)
    samples, rate = soundfile.read(io.BytesIO(sound.content.tobytes()), dtype="float32")
    assert rate == RATE
    assert sound.seconds == len(voice) / RATE
    np.testing.assert_allclose(samples, voice, atol=1e-4)


def test_how_a_sound_arrives_changes_nothing() -> None:
    voice = np.stack([sounds.voice(1.5), sounds.voice(1.5, f0=220.0)], axis=1)
    one, other = (written(voice, ("left", "right"), n) for n in (1, 13))
    assert one.content.tobytes() == other.content.tobytes()
    np.testing.assert_array_equal(one.peaks, other.peaks)


def test_peaks_are_the_smallest_and_largest_samples() -> None:
    voice = sounds.voice(1.0, peak=0.05)  # a faint one uses the whole range too
    sound = written(voice)
    assert sound.peaks.shape == (1, 100, 2)
    assert np.abs(sound.peaks.astype(int)).max() == 127
    columns = voice.reshape(-1, PEAK_SAMPLES) / sound.heights[0] * 127
    np.testing.assert_allclose(sound.peaks[0, :, 0], columns.min(axis=1), atol=0.6)
    np.testing.assert_allclose(sound.peaks[0, :, 1], columns.max(axis=1), atol=0.6)


def test_a_quiet_channel_is_seen_beside_a_loud_one_and_an_empty_one_is_not() -> None:
    voice = sounds.voice(1.0, peak=0.5)
    sound = written(np.stack([voice, voice / 20, voice / 2000], axis=1), ("left", "right", "3"))
    loud, quiet, empty = np.abs(sound.peaks.astype(int)).max(axis=(1, 2))
    assert loud == quiet == 127
    assert empty <= 3
    near = closeup(sound, Range(0.1, 0.2, 1000))
    assert near.peaks.shape[0] == 3
    assert np.abs(near.peaks[2].astype(int)).max() <= 3
    assert np.abs(near.peaks[1].astype(int)).max() > 60


def test_a_click_is_seen_in_the_peaks_of_three_hours() -> None:
    writer = SoundWriter()
    for minute in range(180):
        block = np.zeros(60 * RATE, np.float32)
        if minute == 90:
            block[RATE] = 0.5
        writer.push(block)
    sound = writer.finish()
    assert sound.seconds == 3 * 3600
    assert sound.peaks.nbytes <= 600_000
    (column,) = np.flatnonzero(sound.peaks[0, :, 1])
    assert column == int((90 * 60 + 1) / sound.peak_seconds)


def test_a_sound_of_two_channels_keeps_them_apart() -> None:
    both = np.stack([sounds.voice(1.0), 0.1 * sounds.voice(1.0)], axis=1)
    file = io.BytesIO()
    soundfile.write(file, both, RATE, format="WAV", subtype="PCM_16")
    sound = PlayableSound.of(file.getvalue(), separate=True)
    assert sound.names == ("left", "right")
    assert sound.heights[0] > 5 * sound.heights[1]
    assert PlayableSound.of(file.getvalue()).names == ("",)


def test_a_sound_is_gone_when_nobody_holds_it() -> None:
    sound = written(tone(200, 0.1))
    token = sound.token
    assert find(token) is sound
    del sound
    gc.collect()
    assert find(token) is None


# A closer look


def test_a_closeup_shows_where_the_voice_is() -> None:
    sound = written(np.concatenate([np.zeros(RATE, np.float32), tone(200), np.zeros(RATE, np.float32)]))
    found = closeup(sound, Range(0.0, 3.0, 300))
    is_tone = slice(105, 195)
    assert np.isnan(found.pitch[:95]).all()
    np.testing.assert_allclose(found.pitch[is_tone], 200, rtol=0.01)
    np.testing.assert_allclose(found.loudness[is_tone], 20 * np.log10(0.3 / np.sqrt(2)), atol=0.1)
    brightest = found.spectrogram[::-1, 150].argmax()  # bands from the lowest
    edges = acoustics.hz_of(np.linspace(*acoustics.mel_of(np.array([50.0, 8000.0])), 66))
    assert edges[brightest] < 200 < edges[brightest + 2]
    assert found.spectrogram[:, :95].max() == 0


def test_a_closeup_of_a_channel_is_of_that_channel() -> None:
    sound = written(np.stack([tone(150), tone(310)], axis=1), ("left", "right"))
    for channel, hz in enumerate((150, 310)):
        found = closeup(sound, Range(0.2, 0.8, 50, channel))
        np.testing.assert_allclose(found.pitch, hz, rtol=0.005)


def test_a_closeup_of_the_closest_has_peaks_of_its_own() -> None:
    sound = written(tone(100))
    found = closeup(sound, Range(0.1, 0.2, 1000))
    assert found.peaks.shape == (1, 1000, 2)
    part = sound.samples[1600:3200, 0] / 32768 / sound.heights[0] * 127
    assert found.peaks[0, :, 1].max() == round(part.max())
    assert closeup(sound, Range(0.0, 1.0, 50)).peaks.shape == (1, 0, 2)


@pytest.mark.parametrize("seconds", [0.01, 0.5, 20.0])
def test_a_closeup_beyond_the_ends_is_one_within_them(seconds: float) -> None:
    sound = written(tone(200, seconds))
    found = closeup(sound, Range(-5.0, 1e9, 10**9))
    assert len(found.pitch) == len(found.loudness) == found.spectrogram.shape[1] <= 3000
    assert len(found.to_bytes()) < 400_000


def test_the_scale_of_brightness_is_that_of_the_whole_sound() -> None:
    sound = written(np.concatenate([tone(200, level=0.5), tone(200, level=0.05)]))
    loud, faint = closeup(sound, Range(0.2, 0.8, 50)), closeup(sound, Range(1.2, 1.8, 50))
    assert loud.spectrogram.max() > 250
    assert abs(int(faint.spectrogram.max()) - 255 * 40 / 60) < 8  # 20 dB of 60 below


# Routes


def asked(path: str, **headers: str) -> httpx.Response:
    """The answer to a request for `path` below the player's routes."""

    async def ask() -> httpx.Response:
        server = httpx.ASGITransport(Starlette(routes=[routes.mount("/player")]))
        async with httpx.AsyncClient(transport=server, base_url="http://page") as client:
            return await client.get(f"/player/{path}", headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ("bytes=0-", 0, None),
        ("bytes=44-99", 44, 100),
        ("bytes=-10", -10, None),
        ("bytes=100-9999999", 100, None),
    ],
)
def test_a_part_of_the_sound(given: str, start: int, end: int | None) -> None:
    sound = written(tone(200))
    whole = sound.content.tobytes()
    answer = asked(f"{sound.token}/sound.wav", range=given)
    assert answer.status_code == 206
    assert answer.content == whole[start:end]
    first = start % len(whole)
    expected = f"bytes {first}-{first + len(answer.content) - 1}/{len(whole)}"
    assert answer.headers["content-range"] == expected


def test_the_whole_sound_is_kept_by_no_cache() -> None:
    sound = written(tone(200))
    answer = asked(f"{sound.token}/sound.wav")
    assert (answer.status_code, answer.content) == (200, sound.content.tobytes())
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["bytes=99999999-", "bytes=5-4", "bytes=-", "bytes=0-1,4-5", "lines=1-2"])
def test_a_range_that_is_none(given: str) -> None:
    sound = written(tone(200, 0.1))
    answer = asked(f"{sound.token}/sound.wav", range=given)
    assert answer.status_code == 416


@pytest.mark.parametrize("what", ["sound.wav", "peaks", "closeup?from=0&to=1&columns=10"])
def test_a_sound_that_is_gone(what: str) -> None:
    answer = asked(f"no-such-token/{what}")
    assert answer.status_code == 404
    assert answer.text == "This sound is no longer on the page."


@pytest.mark.parametrize("query", ["", "from=0&to=nan&columns=5", "from=0&to=1&columns=many"])
def test_a_closeup_of_what_is_no_range(query: str) -> None:
    sound = written(tone(200, 0.1))
    assert asked(f"{sound.token}/closeup?{query}").status_code == 400


def test_peaks_and_closeups_are_bytes() -> None:
    sound = written(tone(200))
    assert asked(f"{sound.token}/peaks").content == sound.peaks.tobytes()
    answer = asked(f"{sound.token}/closeup?from=0&to=1&columns=40&channel=")
    n_columns, n_bands, n_peaks = np.frombuffer(answer.content[:12], "<i4")
    assert (n_columns, n_bands, n_peaks) == (40, acoustics.N_MELS, 0)
    pitch = np.frombuffer(answer.content[12 : 12 + 4 * 40], "<f4")
    np.testing.assert_allclose(pitch, 200, rtol=0.01)
    assert len(answer.content) == 12 + 8 * 40 + 40 * acoustics.N_MELS


# What the browser gets


def test_the_document_has_the_stretches_of_speech_and_the_rows_that_occur() -> None:
    shares = {"neutral": 0.2, "angry": 0.7, "sad": 0.1}
    answers = [
        Prediction(shares, 0.0, 2.0),
        Prediction({}, 2.0, 5.0, "no_speech"),
        Prediction(shares, 5.0, 9.0, "not_sure", emotions=("angry", "neutral")),
    ]
    sound = written(tone(200))
    lane = player.Lane.of("agent", answers)
    document = player.document(sound, [lane], labels=tuple(shares), name="call.wav")
    assert json.loads(json.dumps(document)) == document
    assert [label["id"] for label in document["labels"]] == ["angry", "not_sure"]
    assert document["lanes"] == [
        {
            "name": "agent",
            "stretches": [
                [0.0, 2.0, "angry", 0.7, ""],
                [5.0, 9.0, "not_sure", None, "maybe angry or neutral"],
            ],
        }
    ]


def test_the_script_is_small() -> None:
    assert (FOLDER / "player.js").stat().st_size < 30_000


@pytest.mark.slow
def test_the_script_is_what_the_source_gives(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not installed; install it with: sudo apt-get install npm")
    for path in [*FOLDER.glob("*.ts"), *FOLDER.glob("*.json")]:
        shutil.copy(path, tmp_path)
    ready = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True
    )
    if ready.returncode:
        pytest.skip(f"npm could not install the tools that build the script: {ready.stderr[-300:]}")
    for command in ("check", "build"):
        done = subprocess.run([npm, "run", command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "player.js").read_text() == (FOLDER / "player.js").read_text()
