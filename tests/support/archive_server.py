"""A web server on this machine that serves an archive as badly as it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """One answer of the server: what it serves, and what it does wrong."""

    body: bytes = b""
    etag: str | None = '"v1"'
    status: int | None = None  # instead of what the request deserves
    sends: int | None = None  # bytes, then the line is cut
    claims: int | None = None  # a Content-Length that is not true; -1: none at all
    ignores_range: bool = False
    ignores_if_range: bool = False
    starts_late: int = 0  # bytes left out at the start of a part
    waits_seconds: float = 0.0  # before the body


@dataclass
class ArchiveServer:
    url: str = ""
    answers: list[Answer] = field(default_factory=list)  # the last one repeats
    requests: list[dict[str, str]] = field(default_factory=list)
    n_sent: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ranges(self) -> list[str | None]:
        return [headers.get("range") for headers in self.requests]


@contextmanager
def serving(*answers: Answer) -> Iterator[ArchiveServer]:
    server = ArchiveServer(answers=list(answers))
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                answer = server.answers[min(len(server.requests), len(server.answers) - 1)]
                server.requests.append({name.lower(): value for name, value in self.headers.items()})
            self.close_connection = True
            start = self._start(answer)
            body = answer.body[start + (answer.starts_late if start else 0) :]
            self.send_response(answer.status or (206 if start else 200))
            if answer.etag is not None:
                self.send_header("ETag", answer.etag)
            if start:
                first = start + answer.starts_late
                self.send_header("Content-Range", f"bytes {first}-{len(answer.body) - 1}/{len(answer.body)}")
            if answer.claims != -1:
                self.send_header("Content-Length", str(len(body) if answer.claims is None else answer.claims))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.flush()
            server.stop.wait(answer.waits_seconds)
            sent = body[: answer.sends]
            with lock:
                server.n_sent += len(sent)
            with suppress(OSError):
                self.wfile.write(sent)

        def _start(self, answer: Answer) -> int:
            wanted = self.headers.get("Range")
            if not wanted or answer.ignores_range:
                return 0
            if self.headers.get("If-Range") != answer.etag and not answer.ignores_if_range:
                return 0
            return int(wanted.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_port}/archive.zip?download=1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
