"""Which web pages may connect. In: the headers of a request. Out: yes or no."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


def is_allowed(connection: "HTTPConnection", origins: Collection[str]) -> bool:
    """Whether a request comes from a page of this host, from one of `origins`, or from no browser at all."""
    origin = connection.headers.get("origin")  # only browsers send one
    host = connection.headers.get("host", "").lower()
    return origin is None or origin in origins or origin.lower().partition("://")[2] == host
