"""Which web pages may connect. In: the headers of a request. Out: yes or no."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from speech_emotion.errors import ConfigError

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


def check(origins: Collection[str]) -> None:
    """Refuse what can never be the origin of a page, such as a pattern or an address with a path.

    Raises:
        ConfigError: One of `origins` is not a scheme with a host.
    """
    for origin in origins:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/*\s]+", origin):
            raise ConfigError(
                "an origin is a scheme with a host, and a port if it is not the usual one, such as "
                f"'https://example.org', not {origin!r}; name each one, without a path"
            )


def is_allowed(connection: "HTTPConnection", origins: Collection[str]) -> bool:
    """Whether a request comes from a page of this host, from one of `origins`, or from no browser at all."""
    origin = connection.headers.get("origin")  # only browsers send one
    host = connection.headers.get("host", "").lower()
    return origin is None or origin in origins or origin.lower().partition("://")[2] == host
