"""The service, in a thread of this process or as the command that people type."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving import PATIENCE, Served, served, wait_until

from speech_emotion.server.protocols import HttpProtocol, WebSocketProtocol
from speech_emotion.server.service import ServiceOptions, create_service

FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_worker.py"))]


@contextmanager
def service(options: ServiceOptions) -> Iterator[Served]:
    """The service on a free port, once it can score."""
    with served(
        create_service(options), lifespan="on", http=HttpProtocol, ws=WebSocketProtocol, timeout_keep_alive=30
    ) as running:
        wait_until(lambda: get(running, "/readyz")[0] == 200)
        yield running


def get(server: Served, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
    """A request without a body: the status, the JSON of the answer if it is one, the headers."""
    with server.http() as line:
        line.request(method, path, headers=headers)
        answer = line.getresponse()
        content = answer.read()
        is_json = "json" in (answer.headers["Content-Type"] or "")
        return answer.status, json.loads(content) if is_json else content, answer.headers


def finished(server: Served, path: str, **headers: str) -> dict[str, Any]:
    """The document of a job, once it is done."""
    found: list[dict[str, Any]] = []

    def is_done() -> bool:
        found.append(get(server, path, **headers)[1])
        return found[-1]["status"] in ("COMPLETED", "FAILED")

    wait_until(is_done)
    return found[-1]


@contextmanager
def command(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`speech-emotion serve` with a free port: the process, and its HOST:PORT once it can score."""
    line = [sys.executable, "-m", "speech_emotion", "serve", "--port", "0", *arguments]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip().removeprefix("http://")
            assert address
            server = Served(address, None, None)  # type: ignore[arg-type]
            wait_until(lambda: get(server, "/readyz")[0] == 200)
            yield process, address
        finally:
            process.kill()
            process.wait(PATIENCE)
