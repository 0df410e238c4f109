"""Whole sounds over real HTTP: the numbers of the classifier, and every refusal with its status."""

import gc
import json
import re
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
from speech_emotion.classifier import Classifier, load
from speech_emotion.errors import ConfigError
from speech_emotion.prediction import Prediction
from speech_emotion.server import RestLimits, create_app
from speech_emotion.shipped import ShippedModel
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


def test_models_names_the_one_that_answers_and_those_in_the_package(two_models: list[ShippedModel]) -> None:
    classifier = load("second")
    with served(create_app(classifier, origins=["https://example.org"])) as server, server.http() as line:
        line.request("GET", "/models", headers=PAGE)
        answer = line.getresponse()
        document = json.loads(answer.read())
        _, prediction, _ = server.post("/predict", VOICE)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://example.org")
    assert document.pop("shipped") == [
        {"name": "first", "purpose": "long talks", "default": True},
        {"name": "second", "purpose": "short talks", "default": False},
    ]
    assert document == {"model": "second", "model_sha256": classifier.info.sha256, "version": __version__}
    assert prediction == classifier.predict(VOICE).to_dict() | document


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
        (b"hello, this is not a sound at all", 415, "audio_decode"),
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
        ("?channels=left", "mix or separate, not 'left'"),
        ("?track=0x1", "a whole number from 1"),
        ("?track=0", "a whole number from 1"),
        ("?track=99999999999999999999", "a whole number from 1 to 99999"),
    ],
)
def test_wrong_settings_are_named(server: Served, query: str, message: str) -> None:
    status, answer, _ = server.post(f"/timeline{query}", VOICE)
    assert (status, answer["error"]) == (400, "config")
    assert message in answer["message"]


def test_separate_channels_have_an_answer_each(server: Served, classifier: Classifier) -> None:
    stereo = np.stack([sounds.voice(5.2), sounds.voice(5.2, f0=260)], axis=1)
    call = sounds.wav(stereo)
    status, answer, _ = server.post("/predict?channels=separate", call)
    expected = [one.to_dict() for one in classifier.predict(call, channels="separate")]
    assert (status, answer["channels"]) == (200, expected)
    assert [one["channel"] for one in expected] == ["left", "right"]
    _, answer, _ = server.post("/timeline?channels=separate", call)
    assert answer["windows"] == [one.to_dict() for one in classifier.timeline(call, channels="separate")]
    status, answer, _ = server.post("/predict?channels=separate", sounds.wav(np.zeros((99, 9), np.float32)))
    assert (status, answer["error"]) == (413, "audio_too_large")


def test_a_track_that_is_not_there_is_named(server: Served, classifier: Classifier) -> None:
    assert server.post("/predict?track=1", VOICE)[1]["label"] == classifier.predict(VOICE).label
    status, answer, _ = server.post("/predict?track=2", VOICE)
    assert (status, answer["error"]) == (415, "audio_decode")


def test_pages_of_other_hosts_are_refused(server: Served) -> None:
    status, answer, _ = server.post("/predict", VOICE, {"Origin": "https://elsewhere.example"})
    assert (status, answer["error"]) == (403, "origin")
    assert server.post("/predict", VOICE, {"Origin": f"http://{server.address}"})[0] == 200


PAGE = {"Origin": "https://example.org"}


def test_pages_of_named_hosts_may_read_every_answer(classifier: Classifier) -> None:
    limits = RestLimits(max_waiting=0)
    with served(create_app(classifier, origins=["https://example.org"])) as server:
        for body, status in ((VOICE, 200), (b"no sound", 415)):
            found, _, headers = server.post("/predict", body, PAGE)
            assert (found, headers["Access-Control-Allow-Origin"]) == (status, "https://example.org")
            assert "Origin" in headers["Vary"]
        status, _, headers = server.post("/predict", VOICE, {"Origin": "https://elsewhere.example"})
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
        assert server.post("/predict", VOICE)[2]["Access-Control-Allow-Origin"] is None
    with served(create_app(classifier, rest_limits=limits, origins=["https://example.org"])) as server:
        status, _, headers = server.post("/predict", VOICE, PAGE)
        assert (status, headers["Access-Control-Expose-Headers"]) == (503, "Retry-After")


@pytest.mark.parametrize("path", ["/predict", "/timeline"])
def test_a_browser_that_asks_first_is_told(classifier: Classifier, path: str) -> None:
    """The type audio/wav makes it ask."""

    def asked(origin: str, method: str = "POST") -> tuple[int, str | None]:
        with server.http() as line:
            wish = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
            line.request("OPTIONS", path, headers={"Origin": origin} | wish)
            answer = line.getresponse()
            return answer.status, answer.headers["Access-Control-Allow-Origin"]

    with served(create_app(classifier, origins=["https://example.org"])) as server:
        assert asked("https://example.org") == (200, "https://example.org")
        assert asked("https://example.org", "DELETE")[0] == 400
        for other in (
            "https://elsewhere.example",
            "https://example.org.evil.test",
            "http://example.org",
            "null",
        ):
            assert asked(other) == (400, None)


@pytest.mark.parametrize("origin", ["*", "https://*.example.org", "https://example.org/", "example.org", ""])
def test_an_origin_that_no_page_has_is_refused(classifier: Classifier, origin: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 'https://example\.org', not .*without a path"):
        create_app(classifier, origins=["https://example.org", origin])


# Forms, as `curl -F file=@clip.wav` sends them


BOUNDARY = "------------------------d74496d66958873e"
AS_FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form; each part is what its Content-Disposition says, and its content."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
    joined = b"".join(
        f"{head}{said}\r\nContent-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n"
        for said, content in parts
    )
    return joined + f"--{BOUNDARY}--\r\n".encode()


FILE = 'name="file"; filename="clip.wav"'


@pytest.mark.parametrize("said", [FILE, 'name="sound"; filename="ä;\\".wav"', 'name=""; filename=""'])
@pytest.mark.parametrize("path", ["/predict", "/timeline?hop_seconds=0.5"])
def test_the_file_of_a_form_is_answered_like_the_body(server: Served, said: str, path: str) -> None:
    status, answer, _ = server.post(path, form((said, VOICE)), AS_FORM)
    assert (status, answer) == (200, server.post(path, VOICE)[1])


def test_a_form_in_small_pieces_is_answered_as_well(server: Served) -> None:
    body = form((FILE, VOICE))
    pieces = (body[start : start + 997] for start in range(0, len(body), 997))
    assert server.post("/predict", pieces, AS_FORM)[:2] == server.post("/predict", VOICE)[:2]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (form(), "It has no file"),
        (form((FILE, VOICE), (FILE, VOICE)), "Too many files"),
        (form((FILE, VOICE), ('name="model"', b"whisper-1")), "Too many fields"),
        (form(('name="file"', VOICE)), "Too many fields"),
        (form(('filename="clip.wav"', VOICE)), '"name" must be provided'),
        (VOICE, "Invalid multipart data"),
        (b"", "last boundary is missing"),
    ],
)
def test_another_form_is_refused_with_both_ways_to_send_a_sound(
    server: Served, body: bytes, complaint: str
) -> None:
    status, answer, _ = server.post("/predict", body, AS_FORM)
    assert (status, answer["error"]) == (400, "form")
    assert re.search(f"{complaint}.*-F file=@clip.wav.*curl --data-binary @clip.wav", answer["message"])


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("n_missing", [3, 30, 100_000])
def test_a_form_that_was_cut_is_not_answered_and_its_file_is_closed(server: Served, n_missing: int) -> None:
    status, answer, _ = server.post("/predict", form((FILE, VOICE))[:-n_missing], AS_FORM)
    assert (status, answer["error"]) == (400, "form")
    assert "last boundary is missing" in answer["message"]
    gc.collect()  # would warn of a file that is still open


def test_a_form_without_a_boundary_is_refused(server: Served) -> None:
    status, answer, _ = server.post("/predict", form((FILE, VOICE)), {"Content-Type": "multipart/form-data"})
    assert (status, answer["error"]) == (400, "form")


def test_what_is_no_sound_in_a_form_is_refused_like_the_body(server: Served) -> None:
    for content in (b"hello, this is not a sound at all", b""):
        assert (
            server.post("/predict", form((FILE, content)), AS_FORM)[:2]
            == server.post("/predict", content)[:2]
        )


def test_curl_says_that_a_body_is_a_form_of_another_kind(server: Served) -> None:
    """As it does with --data-binary; the body is the sound all the same."""
    said = {"Content-Type": "application/x-www-form-urlencoded"}
    assert server.post("/predict", VOICE, said)[:2] == server.post("/predict", VOICE)[:2]


def test_a_form_keeps_the_limits(classifier: Classifier) -> None:
    limits = RestLimits(max_body_bytes=len(VOICE) + 1_000, body_seconds=3.0)
    with served(create_app(classifier, rest_limits=limits)) as server:
        assert server.post("/predict", form((FILE, VOICE)), AS_FORM)[0] == 200
        large = form((FILE, VOICE + bytes(2_000)))
        for body in (large, iter([large[:200_000], large[200_000:]])):
            status, answer, _ = server.post("/predict", body, AS_FORM)
            assert (status, answer["error"]) == (413, "too_big")
        with server.socket() as line:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {AS_FORM['Content-Type']}\r\n"
            line.sendall(f"{head}Content-Length: {len(VOICE)}\r\n\r\n".encode() + large[:1_000])
            assert b"408" in line.recv(200)


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
    large = sounds.wav(
        np.zeros(40 * 48_000, np.float32), 48_000
    )  # the parser of forms would keep 1 MB in memory
    for body in (VOICE, VOICE[:20_000], b"no sound at all"):
        for path in ("/predict", "/timeline"):
            server.post(path, body)
    assert server.post("/predict", form((FILE, large)), AS_FORM)[0] == 200
    assert server.post("/predict", form((FILE, large), (FILE, large)), AS_FORM)[0] == 400
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: n_open_files() <= n_opened)  # the last connection is closed


def n_open_files() -> int:
    """Of this process; 0 where the system does not tell."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
