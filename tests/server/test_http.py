"""Whole sounds over real HTTP: the numbers of the classifier, and every refusal with its status."""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
from serving import Served, served, wait_until

from speech_emotion import __version__
from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier
from speech_emotion.prediction import Prediction
from speech_emotion.server import RestLimits, create_app
from speech_emotion.stream import EmotionStream

VOICE = sounds.wav(sounds.voice(5.2, 22_050), 22_050)
OTHER = sounds.wav(sounds.voice(5.2, 22_050, f0=260), 22_050)


@pytest.fixture(scope="module")
def server(classifier: Classifier) -> Iterator[Served]:
    with served(create_app(classifier)) as running:
        yield running


def test_predict_is_what_the_classifier_says(server: Served, classifier: Classifier) -> None:
    status, answer, _ = server.post("/predict", VOICE)
    assert status == 200
    model = {"model": "stand-in", "version": __version__, "model_sha256": classifier.info.sha256}
    assert answer == {**classifier.predict(VOICE).to_dict(), **model}


@pytest.mark.parametrize(("query", "hop"), [("", None), ("?hop_seconds=0.5", 0.5)])
def test_timeline_is_what_the_classifier_says(
    server: Served, classifier: Classifier, query: str, hop: float | None
) -> None:
    status, answer, _ = server.post(f"/timeline{query}", VOICE)
    expected = [window.to_dict() for window in classifier.timeline(VOICE, hop_seconds=hop)]
    assert (status, answer["windows"]) == (200, expected)
    assert len(expected) > 2


def test_warnings_come_along_and_silence_is_no_error(server: Served) -> None:
    status, answer, _ = server.post("/predict", sounds.wav(np.zeros(32_000, np.float32)))
    assert (status, answer["label"], answer["abstained"]) == (200, None, "no_speech")
    assert answer["warnings"] == ["quiet"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"hello, this is no sound at all", 415, "audio_decode"),
        (b"", 415, "audio_decode"),
        (sounds.wav(np.zeros(0, np.float32)), 422, "audio_too_short"),
        (sounds.wav(np.full(9_000, np.nan, np.float32), subtype="FLOAT"), 422, "invalid_waveform"),
        (sounds.wav(np.zeros(100, np.float32), 1), 413, "audio_too_large"),
    ],
)
def test_what_is_no_sound_is_refused(server: Served, body: bytes, status: int, code: str) -> None:
    found, answer, _ = server.post("/predict", body)
    assert (found, answer["error"]) == (status, code)
    assert len(answer["message"]) > 20


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?hop=1", "no setting 'hop'"),
        ("?hop_seconds=often", "a number"),
        ("?hop_seconds=99", "0.25 to 3 s"),
        ("?hop_seconds=0.05", "0.25 to 3 s, not 0.05"),
    ],
)
def test_wrong_settings_are_named(server: Served, query: str, message: str) -> None:
    status, answer, _ = server.post(f"/timeline{query}", VOICE)
    assert (status, answer["error"]) == (400, "config")
    assert message in answer["message"]


def test_pages_of_other_hosts_are_refused(server: Served) -> None:
    status, answer, _ = server.post("/predict", VOICE, {"Origin": "https://elsewhere.example"})
    assert (status, answer["error"]) == (403, "origin")
    assert server.post("/predict", VOICE, {"Origin": f"http://{server.address}"})[0] == 200


def test_a_body_is_counted_before_it_is_held(classifier: Classifier) -> None:
    with served(create_app(classifier, rest_limits=RestLimits(max_body_bytes=1_000))) as server:
        with server.http() as line:
            line.putrequest("POST", "/predict")
            line.putheader("Content-Length", "1000000000")
            line.endheaders()  # and not one byte of it
            assert line.getresponse().status == 413
        chunks = iter([b"x" * 600, b"x" * 600])  # without a length
        assert server.post("/predict", chunks)[:1] == (413,)


def test_a_sound_that_decodes_to_too_much_is_refused(classifier: Classifier) -> None:
    with served(create_app(classifier, rest_limits=RestLimits(audio=Limits(max_seconds=5.0)))) as server:
        status, answer, _ = server.post("/predict", VOICE)
    assert (status, answer["error"]) == (413, "audio_too_large")


def test_a_client_that_never_finishes_sending_is_told_and_holds_up_no_other(classifier: Classifier) -> None:
    answers: list[Any] = []

    def is_busy() -> bool:
        answers.append(server.post("/predict", VOICE))
        return bool(answers[-1][0] == 503)

    with served(create_app(classifier, rest_limits=RestLimits(body_seconds=3.0, max_waiting=1))) as server:
        with server.socket() as line:
            line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
            wait_until(is_busy)
            _, answer, headers = answers[-1]
            assert (answer["error"], headers["Retry-After"]) == ("busy", "5")
            assert b"408" in line.recv(200)
        assert server.post("/predict", VOICE)[0] == 200


def test_a_client_that_hangs_up_leaves_room(classifier: Classifier) -> None:
    with served(create_app(classifier, rest_limits=RestLimits(max_waiting=1))) as server:
        for _ in range(3):
            with server.socket() as line:
                line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngone")
        wait_until(lambda: server.post("/predict", VOICE)[0] == 200)


def test_many_at_once_get_their_own_answers(server: Served, classifier: Classifier) -> None:
    expected = {body: classifier.predict(body).to_dict()["probabilities"] for body in (VOICE, OTHER)}
    bodies = [VOICE, OTHER] * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: server.post("/predict", body), bodies))
    assert [answer["probabilities"] for _, answer, _ in answers] == [expected[body] for body in bodies]


LONG = sounds.wav(np.tile(sounds.voice(20.0), 6))


LONG_TURNS = 1200


class Slow:
    """Streams that take `seconds` per turn, until they are `released`; their turns are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.n_turns = 0
        self.released = threading.Event()
        push = EmotionStream.push

        def wait(stream: EmotionStream, chunk: Any) -> Any:
            self.n_turns += 1
            self.released.wait(seconds)
            return push(stream, chunk)

        monkeypatch.setattr(EmotionStream, "push", wait)


def seconds_of(server: Served) -> float:
    """How long this machine takes for VOICE now."""
    started = time.monotonic()
    assert server.post("/predict", VOICE)[0] == 200
    return time.monotonic() - started


def test_scoring_has_an_end(server: Served, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    n_turns_of_each: list[int] = []
    limit = round(1 + 20 * seconds_of(server), 1)
    slow = Slow(monkeypatch, seconds=limit / 100)  # twelve times the limit for all of LONG
    with served(create_app(classifier, rest_limits=RestLimits(max_seconds=limit))) as limited:
        status, answer, headers = limited.post("/timeline", LONG)
        n_turns = slow.n_turns
        assert (status, answer["error"], headers["Retry-After"]) == (503, "too_long", "5")
        assert f"no answer within {limit:g} s; send a shorter sound" in answer["message"]
        assert 1 <= n_turns < LONG_TURNS
        slow.released.set()
        for _ in range(2):
            assert limited.post("/predict", VOICE)[0] == 200
            n_turns_of_each.append(slow.n_turns - n_turns)
            n_turns = slow.n_turns
        assert n_turns_of_each[0] == n_turns_of_each[1]  # the long sound had no more


def test_a_client_that_hangs_up_gets_no_more_turns(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch, seconds=0.02)
    with served(create_app(classifier, rest_limits=RestLimits(max_waiting=1))) as server:
        with server.http() as line:
            line.request("POST", "/predict", LONG)
            wait_until(lambda: slow.n_turns)
        wait_until(lambda: server.post("/predict", VOICE)[0] == 200)  # there is room again
        assert slow.n_turns < LONG_TURNS


def test_a_server_that_stops_leaves_no_thread_at_work(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch, seconds=0.02)
    before = set(threading.enumerate())
    with served(create_app(classifier), timeout_graceful_shutdown=1) as server, server.socket() as line:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LONG)}\r\n\r\n"
        line.sendall(head.encode() + LONG)
        wait_until(lambda: slow.n_turns)
        server.uvicorn.should_exit = True
        wait_until(lambda: not server.thread.is_alive())
    assert set(threading.enumerate()) <= before
    assert slow.n_turns < LONG_TURNS


def test_the_loop_is_free_while_an_answer_is_written(
    server: Served, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes of answers are a megabyte of JSON: it is made outside of the event loop."""
    threads: list[str] = []
    to_dict = Prediction.to_dict

    def remember(prediction: Prediction) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return to_dict(prediction)

    monkeypatch.setattr(Prediction, "to_dict", remember)
    for path in ("/predict", "/timeline"):
        assert server.post(path, VOICE)[0] == 200
    assert len(threads) > 3
    assert server.thread.name not in threads


def test_nothing_of_a_sound_is_left(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    n_opened = n_open_files()
    for body in (VOICE, VOICE[:20_000], b"no sound at all"):
        for path in ("/predict", "/timeline"):
            server.post(path, body)
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: n_open_files() <= n_opened)  # the last connection is closed


def n_open_files() -> int:
    """Of this process; 0 where the system does not tell."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
