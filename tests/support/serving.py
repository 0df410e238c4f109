"""A real server on a loopback port, in a thread of this process, for as long as a `with` statement lasts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn


@dataclass
class Served:
    """Where it listens, and the uvicorn behind it."""

    address: str
    uvicorn: uvicorn.Server
    thread: threading.Thread


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
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Served(f"127.0.0.1:{port}", server, thread)
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive()
