"""Live answers that are late: who is told, who may not connect any more, who has to go."""

import json
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import sounds
from serving import PATIENCE, Served, served, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from speech_emotion.classifier import Classifier
from speech_emotion.server import LiveLimits, create_app, websocket
from speech_emotion.stream import EmotionStream

SETTINGS = json.dumps({"sample_rate": 16_000, "format": "f32le"})
CHUNK = sounds.voice(0.1).tobytes()


class Clock:
    """A clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(websocket.time, "monotonic", lambda: self.now)
        self.lag = websocket._Lag()

    def message(self, after: float, takes: float, seconds: float = 0.1) -> float:
        """A message that comes `after` seconds, and takes some to score; the lag then."""
        self.lag.wait()
        self.now += after
        self.lag.begin(seconds)
        self.now += takes
        self.lag.end(seconds)
        return round(self.lag.seconds, 6)


def test_the_lag_of_one_who_speaks_is_what_scoring_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert [clock.message(after=0.07, takes=0.03) for _ in range(50)] == [0.03] * 50


def test_the_lag_grows_while_scoring_is_slower_than_speech_and_then_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    assert [clock.message(after=0.0, takes=0.15) for _ in range(4)] == [0.15, 0.2, 0.25, 0.3]
    assert [clock.message(after=0.0, takes=0.05) for _ in range(3)] == [0.25, 0.2, 0.15]
    clock.lag.wait()
    clock.now += 0.5  # it waits for sound: nobody is behind
    assert clock.lag.seconds == 0.0


def test_silence_and_haste_are_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.message(after=0.07, takes=0.03)
    assert clock.message(after=30.0, takes=0.03) == 0.03  # a pause of the client
    assert max(clock.message(after=0.0, takes=0.03) for _ in range(50)) <= 0.03  # a file, sent at once


def begun(line: ClientConnection) -> None:
    line.send(SETTINGS)
    assert json.loads(line.recv(timeout=PATIENCE))["type"] == "ready"


def test_late_answers_are_announced_and_nobody_else_comes_in(
    tuned: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, released = threading.Event(), threading.Event()
    push = EmotionStream.push

    def wait(stream: EmotionStream, chunk: Any) -> Any:
        entered.set()
        assert released.wait(PATIENCE)
        return push(stream, chunk)

    monkeypatch.setattr(EmotionStream, "push", wait)
    with (
        served(create_app(tuned, limits=LiveLimits(max_lag_seconds=0.3))) as server,
        server.websocket() as late,
    ):
        begun(late)
        late.send(CHUNK)
        assert entered.wait(PATIENCE)
        time.sleep(1.2)
        with server.websocket() as other:
            assert json.loads(other.recv(timeout=PATIENCE))["code"] == "busy"
        released.set()
        message = json.loads(late.recv(timeout=PATIENCE))
        assert message["type"] == "lag"
        assert message["seconds"] >= 1.2
        wait_until(lambda: has_room(server))  # it has caught up


def has_room(server: Served) -> bool:
    with server.websocket() as line, suppress(ConnectionClosed):  # before the settings were sent
        line.send(SETTINGS)
        return bool(json.loads(line.recv(timeout=PATIENCE))["type"] == "ready")
    return False


def test_where_all_are_late_the_newest_goes(tuned: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket._Lag, "seconds", property(lambda _: 0.0))
    with (
        served(create_app(tuned, limits=LiveLimits(max_lag_seconds=0.3))) as server,
        server.websocket() as first,
        server.websocket() as second,
    ):
        begun(first)
        begun(second)
        monkeypatch.setattr(websocket._Lag, "seconds", property(lambda _: 1.0))
        first.send(CHUNK)
        assert json.loads(first.recv(timeout=PATIENCE))["type"] == "lag"
        second.send(CHUNK)
        assert json.loads(second.recv(timeout=PATIENCE))["code"] == "busy"
        monkeypatch.setattr(websocket._Lag, "seconds", property(lambda _: 0.0))
        first.send(CHUNK)
        assert json.loads(first.recv(timeout=PATIENCE)) == {"type": "lag", "seconds": 0.0}


def test_in_a_full_house_the_newest_of_the_crowd_makes_room_for_another_client(tuned: Classifier) -> None:
    app = create_app(tuned, limits=LiveLimits(max_connections=2))

    async def named(scope: Any, receive: Any, send: Any) -> None:
        """Whose a connection is, as the gate of the service says it."""
        scope["state"] = {"client": dict(scope["headers"]).get(b"x-client", b"").decode()}
        await app(scope, receive, send)

    def connected(server: Served, client: str) -> ClientConnection:
        line = contexts.enter_context(server.websocket(additional_headers={"X-Client": client}))
        with suppress(ConnectionClosed):  # refused already
            line.send(SETTINGS)
        return line

    def first(line: ClientConnection) -> Any:
        return json.loads(line.recv(timeout=PATIENCE))

    with served(named) as server, ExitStack() as contexts:
        crowd = [connected(server, "crowd") for _ in range(2)]
        assert [first(line)["type"] for line in crowd] == ["ready", "ready"]
        assert first(connected(server, "crowd"))["code"] == "busy"
        assert first(connected(server, "other"))["type"] == "ready"
        crowd[1].send(CHUNK)
        assert first(crowd[1])["code"] == "busy"
        crowd[0].send(CHUNK)
        crowd[0].send('{"type": "finish"}')
        assert first(crowd[0])["type"] == "prediction"
