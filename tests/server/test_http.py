"""Whole sounds over real HTTP: the numbers of the classifier, and every refusal with its status."""

import http.client
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sounds
import standin
from serving import Served, served

from speech_emotion import __version__
from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier, load
from speech_emotion.prediction import Prediction
from speech_emotion.server import create_app
from speech_emotion.server import http as routes_of_sounds
from speech_emotion.server.http import RestLimits
from speech_emotion.stream import EmotionStream

VOICE = sounds.wav(sounds.voice(5.2, 22_050), 22_050)
OTHER = sounds.wav(sounds.voice(5.2, 22_050, f0=260), 22_050)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    path = tmp_path_factory.mktemp("model") / "stand-in.onnx"
    path.write_bytes(standin.model_bytes())
    return load(path)


@pytest.fixture(scope="module")
def server(classifier: Classifier) -> Iterator[Served]:
    with served(create_app(classifier)) as running:
        yield running


def post(
    server: Served, path: str, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, Any, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection(server.address, timeout=20)) as line:
        line.request("POST", path, body, headers or {})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers


def test_predict_is_what_the_classifier_says(server: Served, classifier: Classifier) -> None:
    status, answer, _ = post(server, "/predict", VOICE)
    assert status == 200
    model = {"model": "stand-in", "version": __version__, "model_sha256": classifier.info.sha256}
    assert answer == {**classifier.predict(VOICE).to_dict(), **model}


@pytest.mark.parametrize(("query", "hop"), [("", None), ("?hop_seconds=0.5", 0.5)])
def test_timeline_is_what_the_classifier_says(
    server: Served, classifier: Classifier, query: str, hop: float | None
) -> None:
    status, answer, _ = post(server, f"/timeline{query}", VOICE)
    expected = [window.to_dict() for window in classifier.timeline(VOICE, hop_seconds=hop)]
    assert (status, answer["windows"]) == (200, expected)
    assert len(expected) > 2


def test_warnings_come_along_and_silence_is_no_error(server: Served) -> None:
    status, answer, _ = post(server, "/predict", sounds.wav(np.zeros(32_000, np.float32)))
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
    found, answer, _ = post(server, "/predict", body)
    assert (found, answer["error"]) == (status, code)
    assert len(answer["message"]) > 20


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?hop=1", "no setting 'hop'"),
        ("?hop_seconds=often", "a number"),
        ("?hop_seconds=99", "0.25 to 3 s"),
        ("?hop_seconds=0.05", "0.25 to 3 s over the network, not 0.05"),
    ],
)
def test_wrong_settings_are_named(server: Served, query: str, message: str) -> None:
    status, answer, _ = post(server, f"/timeline{query}", VOICE)
    assert (status, answer["error"]) == (400, "config")
    assert message in answer["message"]


def test_pages_of_other_hosts_are_refused(server: Served) -> None:
    status, answer, _ = post(server, "/predict", VOICE, {"Origin": "https://elsewhere.example"})
    assert (status, answer["error"]) == (403, "origin")
    assert post(server, "/predict", VOICE, {"Origin": f"http://{server.address}"})[0] == 200


def test_a_body_is_counted_before_it_is_held(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(classifier, monkeypatch, RestLimits(max_body_bytes=1_000)) as server:
        with closing(http.client.HTTPConnection(server.address, timeout=20)) as line:
            line.putrequest("POST", "/predict")
            line.putheader("Content-Length", "1000000000")
            line.endheaders()  # and not one byte of it
            assert line.getresponse().status == 413
        chunks = iter([b"x" * 600, b"x" * 600])  # without a length
        assert post(server, "/predict", chunks)[:1] == (413,)


def test_a_sound_that_decodes_to_too_much_is_refused(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with limited(classifier, monkeypatch, RestLimits(audio=Limits(max_seconds=5.0))) as server:
        status, answer, _ = post(server, "/predict", VOICE)
    assert (status, answer["error"]) == (413, "audio_too_large")


def test_who_never_finishes_sending_is_told_and_nobody_waits_for_them(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    with limited(classifier, monkeypatch, RestLimits(body_seconds=3.0, max_waiting=1)) as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
            while (refused := post(server, "/predict", VOICE))[0] != 503:  # until it has been noticed
                time.sleep(0.02)
            _, answer, headers = refused
            assert (answer["error"], headers["Retry-After"]) == ("busy", "5")
            assert b"408" in line.recv(200)
        assert post(server, "/predict", VOICE)[0] == 200


def test_who_hangs_up_leaves_room(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    with limited(classifier, monkeypatch, RestLimits(max_waiting=1)) as server:
        host, port = server.address.split(":")
        for _ in range(3):
            with socket.create_connection((host, int(port)), timeout=20) as line:
                line.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngone")
                time.sleep(0.05)
        deadline = time.monotonic() + 10
        while (status := post(server, "/predict", VOICE)[0]) != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert status == 200


def test_many_at_once_get_their_own_answers(server: Served, classifier: Classifier) -> None:
    expected = {body: classifier.predict(body).to_dict()["probabilities"] for body in (VOICE, OTHER)}
    bodies = [VOICE, OTHER] * 6
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: post(server, "/predict", body), bodies))
    assert [answer["probabilities"] for _, answer, _ in answers] == [expected[body] for body in bodies]


LONG = sounds.wav(np.tile(sounds.voice(20.0), 6))


class Slow:
    """Streams that take their time, a tenth of what they hear; how often they are given something is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_turns = 0
        push = EmotionStream.push

        def wait(stream: EmotionStream, chunk: Any) -> Any:
            self.n_turns += 1
            time.sleep(0.1 * len(chunk) / 16_000)
            return push(stream, chunk)

        monkeypatch.setattr(EmotionStream, "push", wait)

    def wait_until_begun(self) -> None:
        deadline = time.monotonic() + 10
        while not self.n_turns:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def has_stopped(self) -> bool:
        before = self.n_turns
        time.sleep(0.5)
        return self.n_turns == before


def test_listening_has_an_end(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with limited(classifier, monkeypatch, RestLimits(max_seconds=1.0)) as server:
        status, answer, headers = post(server, "/timeline", LONG)
        assert (status, answer["error"], headers["Retry-After"]) == (503, "too_long", "5")
        assert "no answer within 1 s; send a shorter sound" in answer["message"]
        assert slow.has_stopped()
        assert 1 <= slow.n_turns < 1200
        assert post(server, "/predict", VOICE)[0] == 200


def test_who_hangs_up_is_not_listened_to(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    with closing(http.client.HTTPConnection(server.address, timeout=20)) as line:
        line.request("POST", "/predict", LONG)
        slow.wait_until_begun()
    time.sleep(0.2)
    assert slow.has_stopped()
    assert slow.n_turns < 1200


def test_a_server_that_stops_leaves_no_thread_at_work(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    with served(create_app(classifier), timeout_graceful_shutdown=1) as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as line:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LONG)}\r\n\r\n"
            line.sendall(head.encode() + LONG)
            slow.wait_until_begun()
            server.uvicorn.should_exit = True
            server.thread.join(timeout=5)
            assert not server.thread.is_alive()
    assert slow.has_stopped()


def test_the_loop_is_free_while_an_answer_is_written(
    server: Served, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes of answers are a megabyte of JSON: it is made where it holds nobody up."""
    threads: list[str] = []
    to_dict = Prediction.to_dict

    def remember(prediction: Prediction) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        return to_dict(prediction)

    monkeypatch.setattr(Prediction, "to_dict", remember)
    for path in ("/predict", "/timeline"):
        assert post(server, path, VOICE)[0] == 200
    assert len(threads) > 3
    assert server.thread.name not in threads


def test_nothing_of_a_sound_is_left(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    n_opened = n_open_files()
    for body in (VOICE, VOICE[:20_000], b"no sound at all"):
        for path in ("/predict", "/timeline"):
            post(server, path, body)
    assert list(tmp_path.iterdir()) == []
    deadline = time.monotonic() + 10
    while n_open_files() > n_opened:  # until the last connection is closed
        assert time.monotonic() < deadline
        time.sleep(0.05)


def n_open_files() -> int:
    """Of this process; 0 where the system does not tell."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def limited(classifier: Classifier, monkeypatch: pytest.MonkeyPatch, limits: RestLimits) -> Any:
    """A server with other limits."""
    routes = routes_of_sounds.routes
    monkeypatch.setattr(routes_of_sounds, "routes", lambda *arguments: routes(*arguments, limits))
    return served(create_app(classifier))
