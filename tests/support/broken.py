"""Requests that are not what they say, for tests and benchmarks/serve_load.py. In: a source of chance. Out: bytes."""

import io
import random
import struct
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import soundfile

HOST = b"Host: 127.0.0.1\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
UPGRADE = (
    b"GET /v1/stream HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SETTINGS = b'{"sample_rate": 16000, "format": "f32le"}'
TEXT, BINARY, PING = 1, 2, 9


def request(rng: random.Random, clips: Sequence[bytes]) -> bytes:
    """A request with something wrong in it: HTTP, a form, frames of a WebSocket, a sound, or a bomb."""
    kind = rng.choice([_http, _form, _frames, _sound, _bomb])
    return kind(rng, clips)


def _http(rng: random.Random, _: Sequence[bytes]) -> bytes:
    noise = rng.randbytes(rng.randrange(1, 2_000))
    post = b"POST /v1/predict HTTP/1.1\r\n"
    return rng.choice(
        [
            noise,
            b"GET /v1/models HTTP/1.1\r\n" + noise,
            b"GET /v1/models HTTP/9.9\r\n" + HOST + b"\r\n",
            b"GET /v1/models HTTP/1.1\r\n\r\n",  # no Host
            b"GET /" + noise.replace(b" ", b"") + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /v1/jobs/%ff%00%2e%2e HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /v1/jobs/" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /v1/models HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
            b"POST /v1/predict?hop_seconds=nan&track=%F0%9F%98%80 HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 0\r\n\r\n",
            b"POST /v1/predict?segments="
            + b"0-1," * 900
            + b" HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 0\r\n\r\n",
            post + HOST + b"Content-Length: -1\r\n\r\n" + noise,
            post + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + noise,
            post + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + noise,
            post + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + noise,
            post + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + noise,
            post + HOST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(noise) + noise,
        ]
    )


def _form(rng: random.Random, clips: Sequence[bytes]) -> bytes:
    noise = rng.randbytes(rng.randrange(1, 2_000))
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = rng.choice(
        [
            file + noise,
            file + rng.choice(clips),
            file * 50 + b"\r\n--b--\r\n",
            file.replace(b"name", noise[:50]) + b"x\r\n--b--\r\n",
            file.replace(b'"file"', b'"profile"') + noise + b"\r\n--b--\r\n",
            file.replace(b'"file"', b'"profile"') + b"[" * 100_000 + b"\r\n--b--\r\n",
            b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\n--b--\r\n",
            noise,
            b"",
        ]
    )
    form = rng.choice(
        [FORM, FORM.replace(b"; boundary=b", b""), FORM.replace(b"boundary=b", b"boundary=" + b"b" * 9_000)]
    )
    return b"POST /v1/predict HTTP/1.1\r\n" + HOST + form + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _sound(rng: random.Random, clips: Sequence[bytes]) -> bytes:
    clip = bytearray(rng.choice(clips)[:20_000])
    for _ in range(rng.randrange(20)):
        clip[rng.randrange(len(clip))] = rng.randrange(256)
    return _post(bytes(clip))


def _post(body: bytes) -> bytes:
    return b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _bomb(rng: random.Random, _: Sequence[bytes]) -> bytes:
    return rng.choice(bombs())


@cache
def bombs() -> tuple[bytes, ...]:
    """Small requests that want to become large: sounds, and a compressed message of a WebSocket."""
    silence = np.zeros(3600 * 8_000, np.int16)
    hour, channels = io.BytesIO(), io.BytesIO()
    soundfile.write(hour, silence, 8_000, format="FLAC")
    soundfile.write(channels, silence[: 8 * 2**21].reshape(-1, 8), 96_000, format="FLAC")
    claim = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    squeezed = deflate.compress(bytes(100 * 2**20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    return (
        _post(hour.getvalue()),
        _post(channels.getvalue()),
        _post(claim + b"data\xf0\xff\xff\xff" + bytes(1_000)),
        _post(claim + struct.pack("<4sI", b"data", 64) + bytes(64)),
        UPGRADE + extension + frame(TEXT, SETTINGS) + frame(BINARY, squeezed[:-4], first_bits=0xC0),
    )


def _frames(rng: random.Random, _: Sequence[bytes]) -> bytes:
    noise = rng.randbytes(rng.randrange(1, 2_000))
    begun = UPGRADE + b"\r\n" + rng.choice([b"", frame(TEXT, SETTINGS)])
    return begun + rng.choice(
        [
            noise,
            frame(TEXT, noise),
            frame(TEXT, b"[" * 100_000),
            frame(TEXT, b'{"sample_rate": 1e999, "format": "f32le"}'),
            frame(TEXT, b'{"sample_rate": 16000, "format": "f32le", "profile": {}}'),
            frame(BINARY, noise),
            frame(BINARY, b"\xff\xff\xff\x7f" * 1_000),  # NaN
            frame(BINARY, bytes(2**19 + 4)),
            frame(TEXT, SETTINGS, first_bits=0) + frame(TEXT, SETTINGS),  # unfinished, then another
            frame(PING, noise),
            frame(0, noise),
            frame(TEXT, noise, first_bits=0xF0),
            b"\x82\xff" + (2**62).to_bytes(8, "big") + bytes(4),
            b"\x82\x05plain",  # no mask
        ]
    )


def frame(opcode: int, payload: bytes, first_bits: int = 0x80) -> bytes:
    """A frame of a WebSocket, masked with zeros."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    else:
        size = b"\xfe" + struct.pack("!H", length) if length < 2**16 else b"\xff" + struct.pack("!Q", length)
    return bytes([first_bits | opcode]) + size + bytes(4) + payload
