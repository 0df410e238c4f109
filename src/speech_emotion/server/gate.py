"""What every request passes first. In: an ASGI scope. Out: the app's answer, or a problem document.

Host, origin and key are checked before a byte of the body is read. Every answer carries a request id; the log has one
line of JSON for it, without query, sound, file name, address or key.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Collection, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from speech_emotion.errors import SpeechEmotionError
from speech_emotion.server import origins as allowed
from speech_emotion.server.keys import Key, Keys
from speech_emotion.server.metrics import Metrics
from speech_emotion.server.problems import MEDIA_TYPE, ProblemError, from_error

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN: Final = ("/healthz", "/readyz")  # for probes, which know neither the host's name nor a key
DESCRIPTION: Final = ("/", "/docs", "/openapi.json")  # without a key
SMALL_BODY: Final = 2**20  # of a refused request: read and dropped, so that the connection can be used again
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_JOB: Final = re.compile(r"/v1/jobs/[^/]+")
_LOG = logging.getLogger("speech_emotion.access")


class Gate:
    """Middleware around the service.

    Args:
        app: What answers.
        keys: Who may ask; none for everybody.
        hosts: The names that the header Host may have; none for any.
        origins: Other hosts whose pages may ask.
        metrics: What counts.
        paths: The patterns of all addresses: what else is asked for is no label and not logged.
    """

    def __init__(
        self,
        app: "ASGIApp",
        *,
        keys: Keys,
        hosts: Collection[str],
        origins: Collection[str],
        metrics: Metrics,
        paths: Collection[str],
    ) -> None:
        self._app, self._keys, self._hosts, self._origins, self._metrics = app, keys, hosts, origins, metrics
        self._paths = paths

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request or a WebSocket; pass on what is neither."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            await self._pass(scope, receive, answer)
        except ProblemError as error:
            await self._refuse(answer, error)
        except SpeechEmotionError as error:
            await self._refuse(answer, from_error(error))
        except Exception as error:
            if answer.status:  # begun already: nothing better can be said
                raise
            _LOG.exception("a mistake of the server", extra={"fields": {"request_id": answer.request_id}})
            detail = f"it is in the server's log under {answer.request_id}"
            await self._refuse(answer, ProblemError("internal", f"{type(error).__name__}; {detail}"))
        finally:
            self._note(scope, answer)

    async def _pass(self, scope: "Scope", receive: "Receive", answer: "_Answer") -> None:
        from starlette.requests import ClientDisconnect, HTTPConnection

        connection = HTTPConnection(scope)
        if scope["path"] not in OPEN:
            self._check_host(connection)
            if not allowed.is_allowed(connection, self._origins):
                raise ProblemError("origin", "pages of other hosts are not answered")
        scope["state"]["client"], scope["state"]["key"] = self._client(connection)
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.has_gone = True

    def _check_host(self, connection: "HTTPConnection") -> None:
        """A page whose name leads to this address (DNS rebinding) has another Host."""
        host = connection.headers.get("host", "").lower()
        name = re.sub(r":\d*$", "", host)
        if self._hosts and name not in self._hosts:
            raise ProblemError(
                "host", f"this server is not called {name[:80]!r}; use its own name or address"
            )

    def _client(self, connection: "HTTPConnection") -> tuple[str, Key | None]:
        """Whose request it is: a key, or else an address."""
        if not self._keys or connection.scope["path"] in (*OPEN, *DESCRIPTION):
            return (connection.client.host if connection.client else ""), None
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            raise ProblemError("key_missing", "this server wants a key: Authorization: Bearer KEY")
        key = self._keys.find(given.strip())
        if key is None:
            raise ProblemError(
                "key_unknown", "the key is not one of this server; ask whoever runs it for one"
            )
        if seconds := self._keys.seconds_until_free(key):
            raise ProblemError(
                "rate",
                f"this key may send {key.per_minute} requests per minute; send the next one later",
                int(seconds) + 1,
            )
        return key.name, key

    async def _refuse(self, answer: "_Answer", problem: ProblemError) -> None:
        from starlette.responses import Response

        answer.code = problem.code
        self._metrics.refused(problem.code)
        if answer.status or answer.is_accepted:
            return
        content = json.dumps(problem.document(answer.request_id)).encode()
        headers = problem.headers | ({"Connection": "close"} if answer.has_large_body else {})
        await Response(content, problem.status, headers, MEDIA_TYPE)(answer.scope, _nothing, answer.send)

    def _note(self, scope: "Scope", answer: "_Answer") -> None:
        """Count a request and log it."""
        path = scope["path"]
        pattern = "/v1/jobs/{id}" if _JOB.fullmatch(path) else path
        route = pattern if pattern in self._paths else "other"
        status = answer.status or (499 if answer.has_gone else 0)
        seconds = time.monotonic() - answer.started
        if scope["type"] == "http":
            self._metrics.answered(route, status, seconds)
        if path in OPEN:  # every few seconds, from probes
            return
        fields = {
            "request_id": answer.request_id,
            "method": scope.get("method", "WEBSOCKET"),
            "route": route,
            "status": status,
            "milliseconds": round(1000 * seconds, 1),
            "key": getattr(scope["state"].get("key"), "name", None),
            "code": answer.code,
        }
        _LOG.info(
            "request", extra={"fields": {name: value for name, value in fields.items() if value is not None}}
        )


class _Answer:
    """What becomes of one request."""

    def __init__(self, scope: "Scope", send: "Send") -> None:
        self.scope, self._send = scope, send
        self.started = time.monotonic()
        self.status = 0
        self.code: str | None = None
        self.is_accepted = self.has_gone = False
        given = _header(scope, b"x-request-id")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = self.request_id

    @property
    def has_large_body(self) -> bool:
        """Whether more than a little may still come: then the connection ends with the answer."""
        length = _header(self.scope, b"content-length") or "0"
        is_small = length.isdecimal() and int(length) <= SMALL_BODY
        return not is_small or bool(
            _header(self.scope, b"transfer-encoding") or _header(self.scope, b"expect")
        )

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass on a message of the app, with the request id in its head."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
        if message["type"] == "websocket.accept":
            self.is_accepted, self.status = True, 101
        if "headers" in message or message["type"] == "websocket.accept":
            named = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", []), named]
        await self._send(message)


def _header(scope: "Scope", name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}
