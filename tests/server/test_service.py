"""The service over real HTTP and WebSocket: the numbers of the classifier, jobs, refusals, and what it protects."""

import errno
import json
import logging
import random
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import broken
import jsonschema
import numpy as np
import pytest
import sounds
from services import FAULTY, command, finished, get, service
from serving import PATIENCE, Served, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus

from speech_emotion.classifier import Classifier
from speech_emotion.errors import ConfigError
from speech_emotion.server import jobs, lanes, protocols
from speech_emotion.server.keys import Keys, add
from speech_emotion.server.problems import KINDS
from speech_emotion.server.service import ServiceOptions, create_service

VOICE = sounds.wav(sounds.voice(4.0))
OTHER = sounds.wav(sounds.voice(4.0, f0=260))
MEDIUM = sounds.wav(sounds.voice(12.0))
LONG = sounds.wav(np.tile(sounds.voice(13.0), 5))
BOUNDARY = "d74496d66958873e"
AS_FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """A form of files: the name of each part, its file name, its content."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
    joined = [
        f'{head}name="{name}"; filename="{file}"\r\n\r\n'.encode() + data + b"\r\n"
        for name, file, data in parts
    ]
    return b"".join(joined) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture(scope="module")
def model(tuned: Classifier) -> str:
    """The path of a model that takes profiles."""
    return str(tuned.__reduce_ex__(2)[2]["_model"]._source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def server(model: str, folder: Path) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "COMMAND", FAULTY)
        with service(ServiceOptions(folder, model, hosts=("127.0.0.1",), n_workers=2)) as running:
            yield running


@pytest.fixture(scope="module")
def described(server: Served) -> dict[str, Any]:
    found: dict[str, Any] = get(server, "/openapi.json")[1]
    return found


def conforms(described: dict[str, Any], path: str, status: int, answer: Any, method: str = "post") -> bool:
    """Whether an answer is what the description says of it. Raises what is different."""
    response = described["paths"][path][method]["responses"][str(status)]
    ((_, content),) = response["content"].items()
    jsonschema.validate(answer, {**content["schema"], "components": described["components"]})
    return True


# Answers


def test_predict_is_what_the_classifier_says(
    server: Served, tuned: Classifier, described: dict[str, Any]
) -> None:
    status, answer, headers = server.post("/v1/predict", VOICE)
    assert status == 200
    assert conforms(described, "/v1/predict", status, answer)
    by = {name: answer.pop(name) for name in ("version", "model", "model_sha256")}
    assert answer == tuned.predict(VOICE).to_dict()
    assert (by["model"], by["model_sha256"]) == ("stand-in", tuned.info.sha256)
    assert re.fullmatch("[0-9a-f]{16}", headers["X-Request-Id"])


def test_a_sound_of_the_second_lane_is_answered_at_once_as_well(
    server: Served, tuned: Classifier, described: dict[str, Any]
) -> None:
    status, answer, _ = server.post("/v1/timeline?hop_seconds=0.5", MEDIUM)
    assert conforms(described, "/v1/timeline", status, answer)
    assert answer["windows"] == [one.to_dict() for one in tuned.timeline(MEDIUM, hop_seconds=0.5)]


def test_channels_and_segments(server: Served, tuned: Classifier, described: dict[str, Any]) -> None:
    samples = sounds.voice(6.0)
    call = sounds.wav(np.stack([samples, sounds.voice(6.0, f0=260)], axis=1))
    status, answer, _ = server.post("/v1/predict?channels=separate", call)
    assert conforms(described, "/v1/predict", status, answer)
    assert answer["channels"] == [one.to_dict() for one in tuned.predict(call, channels="separate")]
    body = sounds.wav(samples, subtype="FLOAT")
    status, answer, _ = server.post("/v1/predict?segments=0-2.5,1.5-6", body)
    assert conforms(described, "/v1/predict", status, answer)
    for found, (start, end) in zip(answer["segments"], [(0.0, 2.5), (1.5, 6.0)], strict=True):
        part = samples[round(16_000 * start) : round(16_000 * end)]
        alone = tuned.predict(part, sample_rate=16_000).to_dict()
        assert found["probabilities"] == alone["probabilities"]
        assert (found["start_seconds"], found["end_seconds"]) == (start, end)
    for segments, status in (("2-1", 400), ("a-b", 400), ("1", 400), ("0-1,70-80", 422)):
        assert server.post(f"/v1/predict?segments={segments}", body)[0] == status


def test_a_form_may_have_a_profile(server: Served, tuned: Classifier) -> None:
    profile = tuned.enrol(sounds.voice(12, f0=200), sample_rate=16_000)
    document = json.dumps(profile.to_dict()).encode()
    body = form(("file", "a.wav", VOICE), ("profile", "me.json", document))
    status, answer, _ = server.post("/v1/predict", body, AS_FORM)
    expected = tuned.predict(VOICE, profile=profile)
    assert (status, answer["probabilities"]) == (200, dict(expected.probabilities))
    assert answer["probabilities"] != dict(tuned.predict(VOICE).probabilities)
    for wrong in (b"no profile", json.dumps(profile.to_dict() | {"model_sha256": "0" * 64}).encode()):
        body = form(("file", "a.wav", VOICE), ("profile", "me.json", wrong))
        status, answer, _ = server.post("/v1/predict", body, AS_FORM)
        assert (status, answer["code"]) == (422, "model")


def test_adapt_makes_answers_relative_to_the_voice_so_far(server: Served, tuned: Classifier) -> None:
    for path, sound in (("/v1/timeline", MEDIUM), ("/v1/jobs", MEDIUM)):
        query = "adapt=recording&task=timeline" if path == "/v1/jobs" else "adapt=recording"
        status, answer, _ = server.post(f"{path}?{query}", sound)
        if status == 202:
            answer = finished(server, answer["url"])["result"]
        expected = tuned.timeline(sound, adapt="recording")
        assert answer["windows"] == [one.to_dict() for one in expected]
        assert expected[-1].probabilities != tuned.timeline(sound)[-1].probabilities
    live = tuned.timeline(sounds.voice(5.0), sample_rate=16_000, adapt="recording")
    with server.websocket("/v1/stream") as line:
        line.send(json.dumps({"sample_rate": 16_000, "format": "f32le", "adapt": "recording"}))
        assert json.loads(line.recv(timeout=PATIENCE))["type"] == "ready"
        line.send(sounds.voice(5.0).tobytes())
        line.send('{"type": "finish"}')
        found = [json.loads(line.recv(timeout=PATIENCE)) for _ in live]
    assert [one["probabilities"] for one in found] == [dict(one.probabilities) for one in live]


def test_adapt_with_a_profile_or_segments_is_refused(server: Served, tuned: Classifier) -> None:
    profile = tuned.enrol(sounds.voice(12, f0=200), sample_rate=16_000)
    body = form(("file", "a.wav", VOICE), ("profile", "me.json", json.dumps(profile.to_dict()).encode()))
    asked = [
        ("adapt=recording", body, AS_FORM),
        ("adapt=recording&segments=0-2", VOICE, {}),
        ("adapt=yes", VOICE, {}),
    ]
    for query, sent, headers in asked:
        status, answer, _ = server.post(f"/v1/predict?{query}", sent, headers)
        assert (status, answer["code"]) == (400, "config")
        assert "adapt" in answer["detail"]


def test_of_several_files_a_bad_one_does_not_stop_the_rest(
    server: Served, tuned: Classifier, described: dict[str, Any]
) -> None:
    body = form(("file", "a.wav", VOICE), ("file", "bad.txt", b"no sound at all"), ("file", "b.wav", OTHER))
    status, answer, _ = server.post("/v1/predict", body, AS_FORM)
    assert conforms(described, "/v1/predict", status, answer)
    first, bad, last = answer["answers"]
    assert [one["name"] for one in answer["answers"]] == ["a.wav", "bad.txt", "b.wav"]
    assert bad["problem"]["code"] == "audio_decode"
    for found, sound in ((first, VOICE), (last, OTHER)):
        assert found["probabilities"] == dict(tuned.predict(sound).probabilities)


def test_many_at_once_get_their_own_answers_while_others_crash_the_workers(
    server: Served, tuned: Classifier
) -> None:
    expected = {body: dict(tuned.predict(body).probabilities) for body in (VOICE, OTHER)}
    bodies = [VOICE, OTHER, b"SEGFAULT", VOICE, OTHER, b"KILLED", VOICE, OTHER] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: server.post("/v1/predict", body), bodies))
    for body, (status, answer, headers) in zip(bodies, answers, strict=True):
        if body in expected:
            assert (status, answer["probabilities"]) == (200, expected[body])
        elif body == b"SEGFAULT":
            assert (status, answer["code"]) == (422, "crashed")
        else:
            assert (status, answer["code"], headers["Retry-After"]) == (503, "worker_lost", "1")


# Jobs


def test_a_long_sound_becomes_a_job_and_leaves_nothing_but_its_result(
    server: Served, tuned: Classifier, folder: Path, described: dict[str, Any]
) -> None:
    status, job, headers = server.post("/v1/predict", LONG)
    assert (status, headers["Location"]) == (202, job["url"])
    assert conforms(described, "/v1/predict", status, job)
    done = finished(server, job["url"])
    assert conforms(described, "/v1/jobs/{id}", 200, done, "get")
    assert (done["status"], done["progress"]) == ("COMPLETED", 1.0)
    assert done["result"]["probabilities"] == dict(tuned.predict(LONG).probabilities)
    assert list(folder.glob("*.sound")) == []
    assert get(server, job["url"], "DELETE")[0] == 204
    assert get(server, job["url"])[1]["code"] == "job_not_found"


def test_a_job_says_how_far_it_is_and_can_be_ended(
    server: Served, folder: Path, described: dict[str, Any]
) -> None:
    status, job, _ = server.post("/v1/jobs?task=timeline", b"HANG")
    assert conforms(described, "/v1/jobs", status, job)
    assert (status, job["task"], job["status"]) == (202, "timeline", "QUEUED")
    assert [path.stem for path in folder.glob("*.sound")] == [job["id"]]
    assert get(server, job["url"], "DELETE")[0] == 204
    assert list(folder.glob("*.sound")) == []
    _, after, _ = server.post("/v1/jobs", VOICE)
    assert finished(server, after["url"])["status"] == "COMPLETED"  # the worker that hung was replaced


def test_a_job_that_cannot_be_done_says_why(server: Served, folder: Path) -> None:
    for body, code in ((b"SEGFAULT", "crashed"), (b"no sound at all", "audio_decode")):
        done = finished(server, server.post("/v1/jobs", body)[1]["url"])
        assert (done["status"], done["problem"]["code"]) == ("FAILED", code)
    assert server.post("/v1/jobs", b"")[0] == 415
    assert server.post("/v1/jobs?task=dance", VOICE)[1]["code"] == "config"
    assert list(folder.glob("*.sound")) == []


def test_jobs_survive_the_server(model: str, tmp_path: Path, tuned: Classifier) -> None:
    sound = sounds.wav(np.tile(sounds.voice(20.0), 10))
    arguments = ("--jobs", str(tmp_path), "--model", model, "--workers", "1")
    with command(*arguments) as (process, address):
        server = Served(address, None, None)  # type: ignore[arg-type]
        urls = [server.post("/v1/jobs?task=timeline&hop_seconds=0.25", sound)[1]["url"]]
        urls.append(server.post("/v1/jobs", MEDIUM)[1]["url"])
        wait_until(lambda: get(server, urls[0])[1]["status"] != "QUEUED")
        process.kill()
    with command(*arguments) as (process, address):
        server = Served(address, None, None)  # type: ignore[arg-type]
        assert get(server, urls[0], "DELETE")[0] == 204
        done = finished(server, urls[1])
        assert done["result"]["probabilities"] == dict(tuned.predict(MEDIUM).probabilities)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    rows = sqlite3.connect(tmp_path / "jobs.sqlite3").execute("SELECT status FROM jobs").fetchall()
    assert rows == [("COMPLETED",)]


def test_a_job_under_which_the_server_died_again_and_again_is_not_tried_again(
    model: str, tmp_path: Path
) -> None:
    options = ServiceOptions(tmp_path, model, n_workers=1)
    with service(options) as server:
        url = server.post("/v1/jobs", VOICE)[1]["url"]
        finished(server, url)
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as rows:
        rows.execute("UPDATE jobs SET status = 'IN_PROGRESS', finished = NULL, result = NULL, attempts = 3")
    rows.close()
    with service(options) as server:
        job = get(server, url)[1]
    assert (job["status"], job["problem"]["code"]) == ("FAILED", "crashed")


def test_a_full_disk_refuses_jobs_and_nothing_else(
    server: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jobs, "write_atomically", full)
    status, answer, headers = server.post("/v1/jobs", VOICE)
    assert (status, answer["code"], headers["Retry-After"]) == (503, "storage", "60")
    assert server.post("/v1/predict", VOICE)[0] == 200


def test_two_servers_do_not_share_a_folder(server: Served, model: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"jobs cannot be kept there \(database is locked\). .*--jobs"):
        create_service(ServiceOptions(folder, model))


# Refusals


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/predict", b"hello, this is not a sound at all", 415, "audio_decode"),
        ("/v1/predict", sounds.wav(np.zeros(0, np.float32)), 422, "audio_too_short"),
        (
            "/v1/predict",
            sounds.wav(np.full(9_000, np.nan, np.float32), subtype="FLOAT"),
            422,
            "invalid_waveform",
        ),
        ("/v1/predict", sounds.wav(np.zeros(100, np.float32), 1), 413, "audio_too_large"),
        ("/v1/predict?hop=1", VOICE, 400, "config"),
        ("/v1/timeline?hop_seconds=99", VOICE, 400, "config"),
        ("/v1/nothing", VOICE, 404, "not_found"),
        ("/v1/models", VOICE, 405, "method"),
    ],
)
def test_refusals_are_problem_documents(
    server: Served, described: dict[str, Any], path: str, body: bytes, status: int, code: str
) -> None:
    found, answer, headers = server.post(path, body, {"X-Request-Id": "mine-1"})
    assert (found, answer["code"], answer["request_id"]) == (status, code, "mine-1")
    assert (headers["Content-Type"], headers["X-Request-Id"]) == ("application/problem+json", "mine-1")
    assert len(answer["detail"]) > 20
    assert (answer["title"], answer["next_step"]) == (KINDS[code].title, KINDS[code].next_step)
    jsonschema.validate(answer, described["components"]["schemas"]["Problem"])


def test_what_curl_sends_with_the_wrong_option_is_explained(server: Served) -> None:
    by_curl = {"Content-Type": "application/x-www-form-urlencoded"}
    mangled = VOICE.translate(None, b"\0\r\n")
    status, answer, _ = server.post("/v1/predict", mangled, by_curl)
    assert (status, answer["code"]) == (400, "form")
    assert "curl --data-binary @clip.wav" in answer["detail"]
    assert server.post("/v1/predict", VOICE, by_curl)[0] == 200


def test_every_refusal_of_the_description_is_explained_on_the_page(server: Served) -> None:
    status, page, headers = get(server, "/docs")
    assert (status, headers["Content-Security-Policy"]) == (
        200,
        "default-src 'none'; style-src 'unsafe-inline'",
    )
    assert [code for code in KINDS if f'id="{code}"' not in page.decode()] == []
    assert re.findall(rb'(?:src|href)="(?!openapi.json)[^"]*', page) == []


def test_examples_of_the_description_are_what_it_says(described: dict[str, Any]) -> None:
    n_examples = 0
    for operations in described["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    if "example" in content:
                        schema = {**content["schema"], "components": described["components"]}
                        jsonschema.validate(content["example"], schema)
                        n_examples += 1
    assert n_examples >= 5


def test_a_page_that_came_under_another_name_gets_nothing(server: Served) -> None:
    status, answer, _ = get(server, "/v1/models", Host="evil.example")
    assert (status, answer["code"]) == (400, "host")
    status, answer, _ = get(server, "/v1/models", Origin="https://evil.example")
    assert (status, answer["code"]) == (403, "origin")
    assert get(server, "/healthz", Host="10.0.0.7:8000")[0] == 200  # as a probe asks
    with (
        pytest.raises(InvalidStatus) as raised,
        server.websocket("/v1/stream", origin="https://evil.example"),
    ):
        pass
    assert raised.value.response.status_code == 403


# Keys


@pytest.fixture(scope="module")
def keyed(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("keyed")
    path = folder / "keys.json"
    given = {name: add(path, name) for name in ("shop", "game", "slow")}
    document = json.loads(path.read_text())
    document["keys"][2]["per_minute"] = 2
    document["keys"][1]["streams"] = 1
    path.write_text(json.dumps(document))
    with service(ServiceOptions(folder, model, keys=Keys.read(path, None), n_workers=1)) as running:
        yield running, given


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_asked_for_before_the_body(keyed: tuple[Served, dict[str, str]]) -> None:
    server, given = keyed
    with server.http() as line:
        line.putrequest("POST", "/v1/predict")
        line.putheader("Content-Length", str(20 * 2**20))
        line.endheaders()  # and not one byte of it
        answer = line.getresponse()
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="speech-emotion"')
        assert answer.headers["Connection"] == "close"
        assert json.loads(answer.read())["code"] == "key_missing"
    assert server.post("/v1/predict", VOICE, bearer("se_wrong"))[1]["code"] == "key_unknown"
    assert server.post("/v1/predict", VOICE, bearer(given["shop"]))[0] == 200
    assert get(server, "/metrics")[0] == 401
    assert get(server, "/healthz")[0] == 200


def test_a_huge_upload_without_a_key_is_hardly_read(keyed: tuple[Served, dict[str, str]]) -> None:
    server, _ = keyed
    n_sent = 0
    with server.socket() as line:
        line.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n")
        with suppress(OSError):
            while n_sent < 300_000_000:
                n_sent += line.send(bytes(65_536))
    assert n_sent < 8 * 2**20  # what the buffers of two sockets hold, of which the server reads less


def test_a_job_belongs_to_its_key(keyed: tuple[Served, dict[str, str]]) -> None:
    server, given = keyed
    _, job, _ = server.post("/v1/jobs", VOICE, bearer(given["shop"]))
    assert finished(server, job["url"], **bearer(given["shop"]))["status"] == "COMPLETED"
    for method in ("GET", "DELETE"):
        assert get(server, job["url"], method, **bearer(given["game"]))[1]["code"] == "job_not_found"


def test_a_key_has_a_rate(keyed: tuple[Served, dict[str, str]]) -> None:
    server, given = keyed
    statuses = [get(server, "/v1/models", **bearer(given["slow"]))[0] for _ in range(2)]
    status, answer, headers = get(server, "/v1/models", **bearer(given["slow"]))
    assert (statuses, status, answer["code"]) == ([200, 200], 429, "rate")
    assert 1 <= int(headers["Retry-After"]) <= 31


def test_a_stream_wants_a_key_and_a_key_has_so_many_streams(keyed: tuple[Served, dict[str, str]]) -> None:
    server, given = keyed
    with pytest.raises(InvalidStatus) as raised, server.websocket("/v1/stream"):
        pass
    assert raised.value.response.status_code == 401
    assert json.loads(raised.value.response.body)["code"] == "key_missing"
    options = {"additional_headers": bearer(given["game"])}
    settings = json.dumps({"sample_rate": 16_000, "format": "f32le"})
    with server.websocket("/v1/stream", **options) as one, server.websocket("/v1/stream", **options) as two:
        one.send(settings)
        assert json.loads(one.recv(timeout=PATIENCE))["type"] == "ready"
        assert json.loads(two.recv(timeout=PATIENCE))["code"] == "busy"


# What slow and broken clients cost


def test_a_connection_that_sends_half_a_head_is_closed(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "HEAD_SECONDS", 1.0)
    lines = [server.socket() for _ in range(20)]
    try:
        for number, line in enumerate(lines):
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
        for line in lines:
            assert line.recv(100) == b""
    finally:
        for line in lines:
            line.close()


def test_slow_senders_hold_no_place(server: Served) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nslow"
    lines = [server.socket() for _ in range(100)]
    try:
        for line in lines:
            line.sendall(head)
        assert server.post("/v1/predict", VOICE)[0] == 200
    finally:
        for line in lines:
            line.close()


def n_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def tasks(server: Served) -> float:
    (number,) = re.findall(rb"^speech_emotion_tasks (\S+)", get(server, "/metrics")[1], re.MULTILINE)
    return float(number)


def test_clients_that_hang_up_leave_nothing(server: Served) -> None:
    n_files, n_tasks = n_open_files(), tasks(server)
    for _ in range(30):
        with server.socket() as line:
            line.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(VOICE)
                + VOICE
            )
    wait_until(lambda: b'waiting{lane="clips"} 0.0' in get(server, "/metrics")[1])
    wait_until(lambda: n_open_files() <= n_files and tasks(server) <= n_tasks)
    assert server.post("/v1/predict", VOICE)[0] == 200


FRAMES = {
    "text that is no UTF-8": b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    "a reserved opcode": b"\x83\x80\x00\x00\x00\x00",
    "no mask": b"\x82\x01x",
    "too long": b"\x82\xff" + (2**40).to_bytes(8, "big") + bytes(4),
}


@pytest.mark.parametrize(
    "first", [b"", b"\x81\x82\x00\x00\x00\x00[]"], ids=["at once", "after a bad message"]
)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_broken_frames_leave_no_traceback(
    server: Served, caplog: pytest.LogCaptureFixture, first: bytes, frame: bytes
) -> None:
    handshake = (
        "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with server.socket() as line:
        line.sendall(handshake.encode())
        assert b"101" in line.recv(4_096)
        line.sendall(first + frame)
        while line.recv(4_096):
            pass
    assert get(server, "/healthz")[0] == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_nothing_that_is_sent_is_a_mistake_of_the_server(
    server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken HTTP, forms, frames and sounds, and bombs: refused, closed, or waited for, and no line of the log."""
    rng = random.Random(7)  # noqa: S311 - no secret

    def attack(data: bytes) -> bytes:
        with server.socket() as line:
            line.settimeout(0.5)
            with suppress(OSError):
                line.sendall(data)
                return line.recv(64)[9:12]
        return b"waits"

    attacks = [broken.request(rng, [VOICE, OTHER]) for _ in range(150)]
    attacks += broken.bombs()
    with ThreadPoolExecutor(8) as pool:
        found = Counter(pool.map(attack, attacks))
    assert {status for status in found if status.startswith(b"5")} <= {b"503"}
    assert found[b"400"] > 10
    assert found[b"101"] > 10
    assert server.post("/v1/predict", VOICE)[0] == 200
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_the_log_has_no_names_queries_or_keys(
    keyed: tuple[Served, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    server, given = keyed
    caplog.set_level(logging.INFO, "speech_emotion")
    body = form(("file", "secret-name.wav", VOICE))
    assert server.post("/v1/predict?hop_seconds=0.5", body, AS_FORM | bearer(given["shop"]))[0] == 200
    wait_until(lambda: any(record.name == "speech_emotion.access" for record in caplog.records))
    (fields,) = [record.fields for record in caplog.records if record.name == "speech_emotion.access"]
    assert (fields["route"], fields["status"], fields["key"]) == ("/v1/predict", 200, "shop")
    text = json.dumps(fields)
    for secret in ("secret-name", "hop_seconds", given["shop"], "127.0.0.1"):
        assert secret not in text
    assert get(server, "/a/secret/path")[0] == 401
    wait_until(lambda: b'route="other",status="401"' in get(server, "/metrics", **bearer(given["shop"]))[1])
    assert b"secret" not in get(server, "/metrics", **bearer(given["shop"]))[1]


def test_metrics_count(server: Served) -> None:
    text = get(server, "/metrics")[1].decode()
    for line in (
        r'speech_emotion_requests_total\{route="/v1/predict",status="200"\} \d+',
        r'speech_emotion_refusals_total\{code="audio_decode"\} \d+',
        r'speech_emotion_audio_seconds_total\{lane="clips"\} \d+',
        r'speech_emotion_workers_lost_total\{lane="clips"\} \d+',
        r'speech_emotion_request_seconds_count\{route="/v1/predict"\} \d+',
        r"speech_emotion_streams \d+",
    ):
        assert re.search(line, text), line
    assert "SEGFAULT" not in text


# The end


def test_a_server_that_is_told_to_stop_answers_what_it_accepted(model: str, tmp_path: Path) -> None:
    with command("--model", model, "--jobs", str(tmp_path)) as (process, address):
        server = Served(address, None, None)  # type: ignore[arg-type]
        with ThreadPoolExecutor(8) as pool, server.websocket("/v1/stream") as stream, ExitStack() as contexts:
            stream.send(json.dumps({"sample_rate": 16_000, "format": "f32le"}))
            assert json.loads(stream.recv(timeout=PATIENCE))["type"] == "ready"
            lines = [contexts.enter_context(server.http()) for _ in range(8)]
            for line in lines:
                line.request("POST", "/v1/predict", VOICE)
            time.sleep(0.2)  # all of them are accepted; some are answered
            process.send_signal(signal.SIGTERM)
            statuses = list(pool.map(lambda line: line.getresponse().status, lines))
            with pytest.raises(ConnectionClosed) as raised:
                stream.recv(timeout=PATIENCE)
        assert statuses == [200] * 8
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1001
        assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
        assert process.stderr is not None
        assert all(json.loads(line)["level"] == "info" for line in process.stderr)
