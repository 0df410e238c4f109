"""A real server on a loopback port, in a thread of this process, for as long as a `with` statement lasts."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.sync.client import ClientConnection, connect

PATIENCE = 60.0  # seconds; only a test that fails waits as long


@dataclass
class Served:
    """Where the server listens, the uvicorn behind it, and how to talk to it."""

    address: str
    uvicorn: uvicorn.Server
    thread: threading.Thread

    def post(
        self, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """POST `body`: the status, the JSON of the answer, its headers."""
        with self.http() as line:
            line.request("POST", path, body, headers or {})
            answer = line.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers

    def http(self) -> closing[http.client.HTTPConnection]:
        """A connection for a request in parts."""
        return closing(http.client.HTTPConnection(self.address, timeout=PATIENCE))

    def socket(self) -> socket.socket:
        """A connection for a request that is no whole one."""
        host, port = self.address.split(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def websocket(self, path: str = "/stream", **options: Any) -> ClientConnection:
        """A WebSocket."""
        return connect(f"ws://{self.address}{path}", **options)


@contextmanager
def served(app: Any, **options: Any) -> Iterator[Served]:
    """`app` on a free port; `options` are those of `uvicorn.Config`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        options = {"log_level": "info", "ws": "websockets-sansio", "lifespan": "off"} | options
        server = uvicorn.Server(uvicorn.Config(app, port=port, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield Served(f"127.0.0.1:{port}", server, thread)
        finally:
            server.should_exit = True
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive()


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait for a state, however long a loaded machine takes to it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
