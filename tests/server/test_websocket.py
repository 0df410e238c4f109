"""Live sound over a real WebSocket: the numbers of the timeline, and every fault with its close code."""

import asyncio
import io
import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds
from serving import PATIENCE, Served, served, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

import speech_emotion
from speech_emotion.classifier import Classifier
from speech_emotion.cores import n_cores
from speech_emotion.errors import MissingExtraError
from speech_emotion.server import LiveLimits, create_app, scheduling
from speech_emotion.stream import EmotionStream

RATE = 48_000
VOICE = sounds.voice(6.3, RATE)
OTHER = sounds.voice(6.3, RATE, f0=260)
CHUNK = RATE // 10
SETTINGS = {"sample_rate": RATE, "format": "f32le"}
FINISH = json.dumps({"type": "finish"})
Messages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def live(tuned: Classifier) -> Iterator[Served]:
    with served(create_app(tuned)) as server:
        yield server


def begun(line: ClientConnection, **settings: Any) -> dict[str, Any]:
    """Send the settings; the answer to them."""
    line.send(json.dumps(SETTINGS | settings))
    answer: dict[str, Any] = json.loads(line.recv(timeout=PATIENCE))
    return answer


def rest(line: ClientConnection) -> tuple[Messages, int]:
    """All messages until the connection is closed, and the code it is closed with."""
    messages = []
    try:
        while True:
            message = json.loads(line.recv(timeout=PATIENCE))
            messages += [message] if message["type"] != "lag" else []  # this machine may be slow now
    except ConnectionClosed as error:
        return messages, error.rcvd.code if error.rcvd else 1006


def send_in_chunks(line: ClientConnection, samples: np.ndarray, n_chunk: int = CHUNK) -> None:
    for start in range(0, len(samples), n_chunk):
        line.send(samples[start : start + n_chunk].tobytes())


def expected(classifier: Classifier, samples: np.ndarray, **options: Any) -> Messages:
    """The timeline as the route tells it: without the warnings of the whole, which come at the end."""
    timeline = classifier.timeline(samples, sample_rate=RATE, **options)
    return [{"type": "prediction"} | answer.to_dict() | {"warnings": []} for answer in timeline]


def without_count(messages: Messages) -> Messages:
    return [{key: value for key, value in message.items() if key != "n_samples"} for message in messages]


def limit_for(server: Served) -> float:
    """A second, and more where this machine is slow now: no exchange of settings takes that long."""
    started = time.monotonic()
    with server.websocket() as line:
        begun(line)
    return round(1 + 10 * (time.monotonic() - started), 1)


def has_room(server: Served) -> bool:
    with server.websocket() as line, suppress(ConnectionClosed):
        return begun(line)["type"] == "ready"
    return False


# What it answers


def test_it_says_what_it_will_do(live: Served, tuned: Classifier) -> None:
    with live.websocket() as line:
        assert begun(line, hop_seconds=0.25) == {
            "type": "ready",
            "version": speech_emotion.__version__,
            "model": "stand-in",
            "model_sha256": tuned.info.sha256,
            "labels": list(speech_emotion.EMOTIONS),
            "window_seconds": 3.0,
            "hop_seconds": 0.25,
            "min_seconds": 0.5,
            "profile": False,
        }
    with live.websocket() as line:
        assert begun(line)["hop_seconds"] == 1.0  # the model's own pace


@pytest.mark.parametrize(("form", "dtype"), [("f32le", "<f4"), ("s16le", "<i2")])
@pytest.mark.parametrize("hop", [None, 0.5])
@pytest.mark.parametrize("n_chunk", [777, CHUNK, 100_000])
def test_the_numbers_are_those_of_the_timeline(
    live: Served, tuned: Classifier, form: str, dtype: str, hop: float | None, n_chunk: int
) -> None:
    samples = VOICE if form == "f32le" else (VOICE * 32_767).astype(np.int16)
    with live.websocket() as line:
        begun(line, format=form, hop_seconds=hop)
        send_in_chunks(line, samples.astype(dtype), n_chunk)
        line.send(FINISH)
        messages, code = rest(line)
    assert code == 1000
    assert messages[-1] == {"type": "end", "n_samples": len(samples), "warnings": []}
    assert without_count(messages[:-1]) == expected(tuned, samples, hop_seconds=hop)
    counts = [message["n_samples"] for message in messages]
    assert counts == sorted(counts)


@pytest.mark.parametrize(("n_channels", "names"), [(2, ["left", "right"]), (3, ["1", "2", "3"])])
def test_separate_channels_have_answers_of_their_own(
    live: Served, tuned: Classifier, n_channels: int, names: list[str]
) -> None:
    call = np.stack([sounds.voice(4.3, RATE, f0=140 + 60 * n) for n in range(n_channels)], axis=1)
    asked: dict[str, Any] = {"channels": "separate"} | ({} if n_channels == 2 else {"n_channels": n_channels})
    with live.websocket() as line:
        assert begun(line, **asked)["channels"] == names
        send_in_chunks(line, call)
        line.send(FINISH)
        messages, code = rest(line)
    assert (code, messages[-1]["n_samples"]) == (1000, len(call))
    assert without_count(messages[:-1]) == expected(tuned, call, channels="separate")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"channels": "left"}, "config"),
        ({"channels": []}, "config"),
        ({"n_channels": 9}, "config"),
        ({"n_channels": True}, "config"),
        ({"n_channels": 3}, "protocol"),
    ],
)
def test_channels_that_cannot_be(live: Served, settings: dict[str, Any], code: str) -> None:
    with live.websocket() as line:
        begun(line, **settings) if code == "protocol" else line.send(json.dumps(SETTINGS | settings))
        line.send(np.zeros(1_000, np.float32).tobytes())
        messages, _ = rest(line)
    assert messages[-1]["code"] == code


@pytest.mark.parametrize(("form", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_the_numbers_of_a_call_are_those_of_its_file(
    live: Served, tuned: Classifier, form: str, subtype: str
) -> None:
    """8 kHz telephony, a packet of 20 ms a message; the file is decoded by libsndfile."""
    call = sounds.voice(6.3, 8_000)
    file = io.BytesIO()
    soundfile.write(file, call, 8_000, format="RAW", subtype=subtype)
    packets = np.frombuffer(file.getvalue(), np.uint8)
    with live.websocket() as line:
        begun(line, sample_rate=8_000, format=form, hop_seconds=0.5)
        send_in_chunks(line, packets, 160)
        line.send(FINISH)
        messages, code = rest(line)
    answers = tuned.timeline(sounds.wav(call, 8_000, subtype=subtype), hop_seconds=0.5)
    assert (code, messages[-1]["n_samples"]) == (1000, len(call))
    assert without_count(messages[:-1]) == [
        {"type": "prediction"} | answer.to_dict() | {"warnings": []} for answer in answers
    ]


def test_an_answer_comes_once_its_window_is_full(live: Served) -> None:
    with live.websocket() as line:
        begun(line, hop_seconds=0.5)
        send_in_chunks(line, VOICE[: 4 * RATE])
        first, second = (json.loads(line.recv(timeout=PATIENCE)) for _ in range(2))
        assert (first["start_seconds"], first["end_seconds"]) == (0.0, 3.0)
        assert 3 * RATE <= first["n_samples"] <= 3 * RATE + CHUNK
        assert (second["start_seconds"], second["end_seconds"]) == (0.5, 3.5)
        assert second["n_samples"] - first["n_samples"] == RATE // 2


def test_a_profile_tunes_the_answers(live: Served, tuned: Classifier) -> None:
    profile = tuned.enrol(sounds.voice(24, f0=150), sample_rate=16_000)
    with live.websocket() as line:
        assert begun(line, profile=profile.to_dict())["profile"] is True
        send_in_chunks(line, VOICE)
        line.send(FINISH)
        messages, _ = rest(line)
    tuned_answers = expected(tuned, VOICE, profile=profile)
    assert without_count(messages[:-1]) == tuned_answers != expected(tuned, VOICE)


def test_silence_clipping_and_too_little_are_told(live: Served) -> None:
    with live.websocket() as line:
        begun(line)
        send_in_chunks(line, np.zeros(4 * RATE, np.float32))
        assert json.loads(line.recv(timeout=PATIENCE))["abstained"] == "no_speech"
    with live.websocket() as line:
        begun(line)
        send_in_chunks(line, np.clip(VOICE[: RATE // 5] * 20, -1, 1))
        line.send(FINISH)
        (answer, end), code = rest(line)
    assert (answer["abstained"], end["warnings"], code) == ("too_short", ["clipped"], 1000)


def test_nothing_at_all_is_too_short(live: Served) -> None:
    with live.websocket() as line:
        begun(line)
        line.send(b"")
        line.send(FINISH)
        (answer, end), code = rest(line)
    assert (answer["abstained"], end["n_samples"], code) == ("too_short", 0, 1000)


def test_two_at_once_do_not_mix(live: Served, tuned: Classifier) -> None:
    with live.websocket() as one, live.websocket() as other:
        begun(one, hop_seconds=0.5)
        begun(other, hop_seconds=0.5)
        for start in range(0, len(VOICE), CHUNK):
            one.send(VOICE[start : start + CHUNK].tobytes())
            other.send(OTHER[start : start + CHUNK].tobytes())
        one.send(FINISH)
        other.send(FINISH)
        of_one, of_other = rest(one)[0], rest(other)[0]
    assert without_count(of_one[:-1]) == expected(tuned, VOICE, hop_seconds=0.5)
    assert without_count(of_other[:-1]) == expected(tuned, OTHER, hop_seconds=0.5)


def test_many_at_once_lose_nothing(live: Served, tuned: Classifier) -> None:
    clips = [sounds.voice(4.2, RATE, f0=90 + 15 * index) for index in range(12)]
    answers: dict[int, Messages] = {}

    def talk(index: int) -> None:
        with live.websocket() as line:
            begun(line)
            send_in_chunks(line, clips[index])
            line.send(FINISH)
            answers[index] = rest(line)[0]

    threads = [threading.Thread(target=talk, args=(index,)) for index in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, clip in enumerate(clips):
        assert without_count(answers[index][:-1]) == expected(tuned, clip)
        assert answers[index][-1]["n_samples"] == len(clip)


# What it refuses


def text(**settings: Any) -> str:
    return json.dumps(SETTINGS | settings)


NAN, INF = np.float32("nan").tobytes(), np.float32("inf").tobytes()
START = text()
FAULTS: dict[str, tuple[list[str | bytes], int, str, str]] = {
    "samples first": ([VOICE[:100].tobytes()], 1003, "protocol", "first message must be JSON"),
    "no JSON": (["hello"], 1003, "protocol", "first message must be JSON"),
    "no object": (["[48000]"], 1003, "protocol", "first message must be JSON"),
    "deep JSON": (["[" * 100_000], 1003, "protocol", "first message must be JSON"),
    "finish first": ([FINISH], 1003, "config", "no setting 'type'; known are sample_rate"),
    "unknown key": ([text(samplerate=1)], 1003, "config", "'samplerate'; did you mean 'sample_rate'"),
    "no rate": (['{"format": "f32le"}'], 1003, "invalid_waveform", "whole number above 0, not 0"),
    "rate as text": ([text(sample_rate="48000")], 1003, "invalid_waveform", "whole number above 0"),
    "rate too low": ([text(sample_rate=1)], 1003, "audio_too_large", "4000 to 384000 Hz"),
    "rate too high": ([text(sample_rate=2**31)], 1003, "audio_too_large", "4000 to 384000 Hz"),
    "no format": (
        ['{"sample_rate": 48000}'],
        1003,
        "config",
        "format must be f32le or s16le or mulaw or alaw",
    ),
    "format": ([text(format="mp3")], 1003, "config", "format must be f32le or s16le or mulaw or alaw"),
    "format as list": (
        [text(format=["f32le"])],
        1003,
        "config",
        "format must be f32le or s16le or mulaw or alaw",
    ),
    "hop": ([text(hop_seconds=0.05)], 1003, "config", "0.25 to 3 s, not 0.05"),
    "hop as text": ([text(hop_seconds="x" * 9_000)], 1003, "config", "0.25 to 3 s"),
    "hop NaN": ([text(hop_seconds=float("nan"))], 1003, "config", "0.25 to 3 s"),
    "hop beyond the window": ([text(hop_seconds=3.1)], 1003, "config", "0.25 to 3 s"),
    "half a letter": ([text(**{"\ud800": 1})], 1003, "config", r"no setting '\\ud800'"),
    "half a letter in a profile": ([text(profile={"\ud800": 1})], 1003, "model", "not a speaker profile"),
    "half a letter of a profile": (
        [text(profile={"format_version": 1, "\ud800": 1})],
        1003,
        "model",
        r"differ in 'created_by', .*, '\\ud800'",
    ),
    "profile": ([text(profile={"mean": []})], 1003, "model", "not a speaker profile"),
    "profile as text": ([text(profile="me.json")], 1003, "model", "not a speaker profile"),
    "odd bytes": ([START, b"\0" * 401], 1003, "protocol", "4 bytes and 401 came"),
    "odd byte of 16 bits": ([text(format="s16le"), b"\0"], 1003, "protocol", "2 bytes and 1 came"),
    "NaN": ([START, bytes(4_000) + NAN], 1003, "invalid_waveform", r"at 0\.021 s there is nan"),
    "infinity": ([START, INF], 1003, "invalid_waveform", r"at 0\.000 s there is inf"),
    "huge sample": ([START, np.float32(1e38).tobytes()], 1003, "invalid_waveform", "full scale is 1"),
    "settings twice": ([START, START], 1003, "protocol", "after the settings come binary samples"),
    "chatter": ([START, "hello"], 1003, "protocol", "after the settings come binary samples"),
    "too much": ([START, bytes(2**19 + 4)], 1009, "too_big", "524288 bytes, not 524292"),
    "too long": ([text(sample_rate=4_000, format="s16le"), bytes(40_002)], 1009, "too_big", "5 s of sound"),
    "too long settings": ([" " * (2**19 + 1)], 1009, "too_big", "524288 bytes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_closes(live: Served, name: str) -> None:
    sent, close_code, error_code, complaint = FAULTS[name]
    with live.websocket() as line:
        for message in sent:
            line.send(message)
        messages, code = rest(line)
    assert code == close_code
    (error,) = [message for message in messages if message["type"] != "ready"]
    assert (error["type"], error["code"]) == ("error", error_code)
    assert re.search(complaint, error["message"])
    assert len(error["message"]) <= 500


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mean": [0.0], "deviation": [1.0]}, "1 means and 1 deviations"),
        ({"mean": [1e30] * 16}, "no voice has the numbers of this profile"),
        ({"deviation": [1e-30] * 16}, "no voice has the numbers of this profile"),
    ],
)
def test_a_profile_that_the_model_cannot_take_is_refused(
    live: Served, tuned: Classifier, change: dict[str, Any], complaint: str
) -> None:
    profile = tuned.enrol(sounds.voice(12), sample_rate=16_000).to_dict()
    with live.websocket() as line:
        error = begun(line, profile=profile | change)
        assert (error["type"], error["code"]) == ("error", "model")
        assert complaint in error["message"]
        assert rest(line) == ([], 1003)


def test_a_profile_of_another_model_is_refused(live: Served, tuned: Classifier) -> None:
    profile = tuned.enrol(sounds.voice(12), sample_rate=16_000).to_dict() | {"model_sha256": "0" * 64}
    with live.websocket() as line:
        error = begun(line, profile=profile)
        assert (error["type"], error["code"]) == ("error", "model")
        assert "made with another model" in error["message"]
        assert rest(line) == ([], 1003)


def test_after_every_fault_it_still_answers(live: Served, tuned: Classifier) -> None:
    with live.websocket() as good:
        begun(good)
        send_in_chunks(good, VOICE[: 2 * RATE])
        for sent, *_ in FAULTS.values():
            with live.websocket() as bad:
                for message in sent:
                    bad.send(message)
                rest(bad)
        send_in_chunks(good, VOICE[2 * RATE :])
        good.send(FINISH)
        messages, code = rest(good)
    assert code == 1000
    # 2 * RATE is a multiple of CHUNK, so nothing was cut differently
    assert without_count(messages[:-1]) == expected(tuned, VOICE)


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://127.0.0.1:1", "file://"])
def test_a_page_from_elsewhere_is_turned_away(live: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        live.websocket(origin=origin)
    assert refused.value.response.status_code == 403


def test_its_own_page_and_named_ones_are_welcome(live: Served, tuned: Classifier) -> None:
    with live.websocket(origin=f"http://{live.address}") as line:
        assert begun(line)["type"] == "ready"
    with served(create_app(tuned, origins=["https://example.org"])) as server:
        with server.websocket(origin="https://example.org") as line:
            assert begun(line)["type"] == "ready"
        with pytest.raises(InvalidStatus):
            server.websocket(origin="https://example.com")


def test_a_client_that_comes_when_it_is_full_may_come_back(tuned: Classifier) -> None:
    with served(create_app(tuned, limits=LiveLimits(max_connections=2))) as server:
        with server.websocket() as one, server.websocket() as two:
            begun(one)
            begun(two)
            with server.websocket() as three:
                (error,), code = rest(three)
            assert (error["code"], code) == ("busy", 1013)
            assert "try again later" in error["message"]
        with server.websocket() as four:
            assert begun(four)["type"] == "ready"


def test_a_client_that_says_nothing_is_not_waited_for(live: Served, tuned: Classifier) -> None:
    limit = limit_for(live)
    with served(create_app(tuned, limits=LiveLimits(idle_seconds=limit))) as server:
        for begin in (False, True):
            with server.websocket() as line:
                if begin:
                    begun(line)
                (error,), code = rest(line)
            assert (error["code"], code) == ("idle", 1008)
            assert f"no message came for {limit:g} s" in error["message"]


def test_a_client_that_drips_does_not_stay_forever(tuned: Classifier) -> None:
    with (
        served(create_app(tuned, limits=LiveLimits(max_seconds=2.0))) as server,
        server.websocket() as line,
    ):
        begun(line)
        with suppress(ConnectionClosed):
            for _ in range(200):
                line.send(bytes(4))
                time.sleep(0.05)
        (error,), code = rest(line)
    assert (error["code"], code) == ("too_long", 1008)


def test_a_client_that_takes_no_answers_is_left(
    live: Served, tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket of a reader who sleeps fills up; here it is full at once."""
    n_sent, limit = 0, limit_for(live)

    async def send_text(self: Any, message: str) -> None:
        nonlocal n_sent
        n_sent += 1
        if n_sent > 1:
            await asyncio.sleep(600)

    monkeypatch.setattr("starlette.websockets.WebSocket.send_text", send_text)
    with (
        served(create_app(tuned, limits=LiveLimits(idle_seconds=limit))) as server,
        server.websocket() as line,
    ):
        line.send(START)
        send_in_chunks(line, VOICE[: 4 * RATE])
        started = time.monotonic()
        assert rest(line)[0] == []
        assert time.monotonic() - started < 60
    assert n_sent == 3  # ready, an answer, and the complaint


@pytest.mark.parametrize("n_chunks", [0, 1, 30, 31, 45])
@pytest.mark.parametrize("begin", [False, True])
def test_a_line_may_break_at_any_moment(tuned: Classifier, n_chunks: int, begin: bool) -> None:
    with served(create_app(tuned, limits=LiveLimits(max_connections=1))) as server:
        with server.websocket() as line:
            if begin:
                line.send(START)
                send_in_chunks(line, VOICE[: n_chunks * CHUNK])
            line.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: has_room(server))


# What it costs


class Blocked:
    """Streams that wait until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        push = EmotionStream.push

        def wait(stream: EmotionStream, chunk: Any) -> Any:
            self.entered.set()
            assert self.released.wait(PATIENCE)
            return push(stream, chunk)

        monkeypatch.setattr(EmotionStream, "push", wait)


def test_a_flood_is_slowed_down_and_lost_is_nothing(
    live: Served, tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends faster than the server scores fills its own buffers, not the server's."""
    flood = np.tile(VOICE, 20)[: 120 * RATE]  # 23 MB as floats, two minutes in no time
    blocked = Blocked(monkeypatch)
    n_sent = 0

    def send() -> None:
        nonlocal n_sent
        for start in range(0, len(flood), CHUNK):
            line.send(flood[start : start + CHUNK].tobytes())
            n_sent += 1
        line.send(FINISH)

    def sends_no_more() -> bool:
        before = n_sent
        time.sleep(0.3)
        return n_sent == before

    with live.websocket() as line:
        begun(line, hop_seconds=3.0)
        sender = threading.Thread(target=send)
        sender.start()
        assert blocked.entered.wait(PATIENCE)
        wait_until(sends_no_more)
        assert sender.is_alive()
        (protocol,) = live.uvicorn.server_state.connections
        waiting = [len(message.get("bytes") or b"") for message in list(protocol.queue._queue)]
        assert sum(waiting) <= 2**20
        blocked.released.set()
        messages, code = rest(line)
        sender.join()
    assert (code, messages[-1]["n_samples"]) == (1000, len(flood))
    assert without_count(messages[:-1]) == expected(tuned, flood, hop_seconds=3.0)


class Turns:
    """How many samples a stream is given at once, and how many streams at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_samples: list[int] = []
        self.n_at_once: list[int] = []
        n_now = 0
        push = EmotionStream.push

        def count(stream: EmotionStream, chunk: Any) -> Any:
            nonlocal n_now
            n_now += 1
            self.n_samples.append(len(chunk))
            self.n_at_once.append(n_now)
            time.sleep(0.01)
            try:
                return push(stream, chunk)
            finally:
                n_now -= 1

        monkeypatch.setattr(EmotionStream, "push", count)


def test_a_long_message_takes_turns(live: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second of sound a turn, then it is the next one's: none waits for all of another's message."""
    turns = Turns(monkeypatch)
    with live.websocket() as line:
        begun(line, sample_rate=4_000, format="s16le", hop_seconds=0.25)
        line.send((sounds.voice(5.0, 4_000) * 32_767).astype("<i2").tobytes())
        line.send(FINISH)
        messages, code = rest(line)
    assert (code, messages[-1]["n_samples"]) == (1000, 20_000)
    assert turns.n_samples == [400] * 50


def test_live_and_whole_sounds_share_the_cores(
    live: Served, tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(monkeypatch)
    body = sounds.wav(sounds.voice(8.0))

    def talk() -> None:
        with live.websocket() as line:
            begun(line)
            send_in_chunks(line, VOICE)
            line.send(FINISH)
            rest(line)

    def ask() -> None:
        assert live.post("/timeline", body)[0] == 200

    threads = [threading.Thread(target=work) for work in (talk, ask) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= max(turns.n_at_once) <= n_cores()
    assert max(turns.n_samples) <= RATE / 10


def test_a_client_that_leaves_keeps_the_core_until_the_thread_is_done(
    live: Served, tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ends at its time limit leaves a thread behind that cannot be stopped."""
    limit = limit_for(live)
    monkeypatch.setattr(scheduling, "n_cores", lambda: 1)
    blocked = Blocked(monkeypatch)
    with (
        served(create_app(tuned, limits=LiveLimits(max_seconds=limit))) as server,
        server.websocket() as line,
    ):
        begun(line)
        line.send(VOICE[:CHUNK].tobytes())
        assert blocked.entered.wait(PATIENCE)
        with pytest.raises(TimeoutError):
            line.recv(timeout=limit + 0.5)
        blocked.released.set()
        (error,), code = rest(line)
        assert (error["code"], code) == ("too_long", 1008)


def test_scoring_holds_up_no_other(live: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(monkeypatch)
    with live.websocket() as slow, live.websocket() as quick:
        begun(slow)
        slow.send(VOICE[:CHUNK].tobytes())
        assert blocked.entered.wait(PATIENCE)
        assert begun(quick)["type"] == "ready"
        blocked.released.set()


def test_a_server_that_stops_says_so(tuned: Classifier) -> None:
    with served(create_app(tuned)) as server, server.websocket() as line:
        begun(line)
        send_in_chunks(line, VOICE[: 4 * RATE])
        server.uvicorn.should_exit = True
        assert rest(line)[1] == 1012  # "service restart"
        wait_until(lambda: not server.thread.is_alive())


KNOWN_LINES = (
    r"connection (open|closed)",
    r"127\.0\.0\.1:\d+ - \"WebSocket /stream\" \[accepted\]",
    r"Using selector: \w+",
)


def test_no_sound_is_logged(live: Served, tuned: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    """The log says that a client came and went, and nothing else."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.WARNING)  # the client's own
    profile = tuned.enrol(sounds.voice(12), sample_rate=16_000)
    with live.websocket() as line:
        begun(line, profile=profile.to_dict())
        send_in_chunks(line, VOICE[: 4 * RATE])
        line.send(bytes(3))
        messages, code = rest(line)
    assert (messages[0]["type"], messages[-1]["code"], code) == ("prediction", "protocol", 1003)
    lines = [record.getMessage() for record in caplog.records]
    assert any("accepted" in line for line in lines)
    assert [line for line in lines if not any(re.fullmatch(known, line) for known in KNOWN_LINES)] == []
    assert not [record for record in caplog.records if record.exc_info]


def test_without_the_extra_it_says_what_to_install(
    tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(MissingExtraError, match=r"The server needs starlette.*\[serve\]"):
        create_app(tuned)
