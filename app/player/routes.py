"""Where the browser gets a sound and its pictures. In: requests with the token of a PlayableSound. Out: bytes.

The page mounts these routes on its own server. An address is known only to the page it was sent to, and nothing is
kept by the browser after the page.
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from player.closeup import Range, closeup
from player.sound import PlayableSound, find

CHUNK: Final = 2**17  # bytes; 4 s of one channel
PRIVATE: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


def mount(path: str) -> Mount:
    """The routes below `path`: /TOKEN/sound.wav, /TOKEN/peaks and /TOKEN/closeup."""
    return Mount(
        path,
        routes=[
            Route("/{token}/sound.wav", _sound),
            Route("/{token}/peaks", _peaks),
            Route("/{token}/closeup", _closeup),
        ],
    )


def _sound(request: Request) -> Response:
    """The WAV, or the part of it that a Range header asks for."""
    sound = find(request.path_params["token"])
    if sound is None:
        return _gone()
    size = len(sound.content)
    headers = PRIVATE | {"accept-ranges": "bytes"}
    start, end = 0, size
    if given := request.headers.get("range"):
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", given.strip())
        if asked is None or not any(asked.groups()):
            return PlainTextResponse("This server knows one range of bytes.", 416, headers)
        first, last = asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= end:
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size}"})
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    body = _pieces(sound.content, start, end)
    return StreamingResponse(body, 206 if given else 200, headers, "audio/wav")


def _pieces(content: npt.NDArray[np.uint8], start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, CHUNK):
        yield content[at : min(at + CHUNK, end)].tobytes()


def _peaks(request: Request) -> Response:
    """The peaks of the whole sound, int8 (n_channels, n_columns, 2)."""
    sound = find(request.path_params["token"])
    return _bytes(sound.peaks.tobytes()) if sound else _gone()


def _closeup(request: Request) -> Response:
    """A closer look at from, to, columns and channel; `Closeup.to_bytes`."""
    sound = find(request.path_params["token"])
    if sound is None:
        return _gone()
    try:
        wanted = _range(request, sound)
    except (KeyError, ValueError):
        return PlainTextResponse("Pass from and to in seconds, columns and, if any, channel.", 400, PRIVATE)
    return _bytes(closeup(sound, wanted).to_bytes())


def _range(request: Request, sound: PlayableSound) -> Range:
    query = request.query_params
    start, end = float(query["from"]), float(query["to"])
    if not (np.isfinite(start) and np.isfinite(end)):
        raise ValueError
    channel = query.get("channel")
    return Range(start, end, int(query["columns"]), int(channel) if channel else None).within(sound)


def _bytes(content: bytes) -> Response:
    return Response(content, 200, PRIVATE, "application/octet-stream")


def _gone() -> Response:
    return PlainTextResponse("This sound is no longer on the page.", 404, PRIVATE)
