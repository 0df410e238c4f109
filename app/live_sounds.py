"""The sound of a live session, from the browser to the page. In: PUT requests with a ticket. Out: WAV files, once each.

A page hands out a ticket that cannot be guessed, and only a request with one is kept.
"""

import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

MAX_BYTES: Final = 200 << 20  # of a sound; live.js sends none that is larger
MAX_TICKETS: Final = 1000  # of pages that are open; the oldest are forgotten

_sounds: dict[str, bytes | None] = {}


def ticket() -> str:
    """A new ticket."""
    made = secrets.token_urlsafe(24)
    _sounds[made] = None
    while len(_sounds) > MAX_TICKETS:
        del _sounds[next(iter(_sounds))]
    return made


def take(given: str) -> bytes | None:
    """The sound that came with a ticket, which is used up; None if none came."""
    return _sounds.pop(given, None)


async def receive(request: Request) -> Response:
    """Keep the body of a request whose path ends in a ticket: 204, or 404 without a ticket, or 413 if too large."""
    given = request.path_params["ticket"]
    if given not in _sounds:
        return Response(status_code=404)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return Response(status_code=413)
    if given not in _sounds:
        return Response(status_code=404)
    _sounds[given] = bytes(body)
    return Response(status_code=204)
