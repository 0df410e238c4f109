"""Start the service. In: options of the command line. Out: a server on a port, until it is told to stop."""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from speech_emotion.errors import ConfigError
from speech_emotion.extras import require
from speech_emotion.server import logs
from speech_emotion.server.keys import ENVIRONMENT, Keys
from speech_emotion.server.service import ServiceOptions, create_service

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from uvicorn import Config

KEEP_ALIVE_SECONDS: Final = 30  # longer than a Retry-After, so that patient clients find their connection
STOP_SECONDS: Final = 29  # to answer what was accepted
MAX_CONNECTIONS: Final = 1000
MAX_MESSAGE_BYTES: Final = 2**20  # of a WebSocket
MAX_HEAD_BYTES: Final = 16 * 1024
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: An address of this machine.
        port: A port; 0 for any free one.
        is_open: Whether people without a key may ask from other machines.
    """

    host: str
    port: int
    is_open: bool = False

    def check(self, keys: Keys) -> None:
        """Refuse to let everybody in by mistake.

        Raises:
            ConfigError: Other machines could ask, and there is no key.
        """
        if not keys and not self.is_open and not self._is_loopback:
            raise ConfigError(
                f"on {self.host} other machines could use this server, and it has no key. Set {ENVIRONMENT}, make keys "
                "with --keys FILE --add-key NAME, or say --no-key"
            )

    def host_names(self, more: Sequence[str]) -> tuple[str, ...]:
        """The names that a request may call this server; none for any."""
        if more or self._is_loopback:
            return (*LOOPBACK, self.host.lower(), *(name.lower() for name in more))
        return ()  # a page that makes a browser come here under another name has no key

    @property
    def _is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def default_jobs_folder() -> Path:
    """Where jobs are kept if nothing else is said."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "speech-emotion" / "jobs"


def serve(address: Address, options: ServiceOptions) -> None:
    """Serve until SIGTERM or Ctrl-C; then answer what was accepted, and stop.

    Args:
        address: Where to listen.
        options: What to serve.

    Raises:
        MissingExtraError: The extra "serve" is not installed.
        ConfigError: The address cannot be used.
        SpeechEmotionError: The model, the folder of jobs or an origin cannot be used.
    """
    require("uvicorn", extra="serve", needed_for="The server")
    import uvicorn

    address.check(options.keys)
    logs.configure()
    with _listener(address) as listener:
        app = create_service(options)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"http://{shown}:{port}\n")
        sys.stdout.flush()
        uvicorn.Server(_config(app)).run(sockets=[listener])


def _config(app: "Starlette") -> "Config":
    import uvicorn

    from speech_emotion.server.protocols import HttpProtocol, WebSocketProtocol

    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_MESSAGE_BYTES,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        access_log=False,  # it would keep addresses and queries; gate.py logs
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )


def _listener(address: Address) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError(
            f"{address.host}:{address.port} cannot be used ({error.strerror}); choose others with --host and --port"
        ) from error
    return listener
