"""A worker whose decoder does on purpose what a decoder may do by mistake. In: bodies named after faults."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import sounds

from speech_emotion.server import scoring, worker

open_audio = scoring.open_audio


def faulty(body: bytes, **options: Any) -> Any:
    """As `open_audio`, but for the bodies of the tests."""
    match body[:8].rstrip():
        case b"SEGFAULT":
            ctypes.string_at(0)
        case b"HANG":
            time.sleep(600)
        case b"SPIN":
            while True:
                pass
        case b"MEMORY":
            bytearray(8 * 2**30)
        case b"KILLED":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"ONCE":  # hangs, and leaves a mark; the next worker reads a voice
            try:
                Path(body[8:].decode()).mkdir()
            except FileExistsError:
                return open_audio(sounds.wav(sounds.voice(4.0)), **options)
            time.sleep(600)
        case b"NONSENSE":
            for descriptor in range(3, 20):
                with suppress(OSError):
                    os.write(descriptor, b"\0\0\0\4\0\0\0\0nope")
            time.sleep(600)
        case b"MISTAKE":
            raise RuntimeError("a mistake of ours")
    return open_audio(body, **options)


scoring.open_audio = faulty  # type: ignore[assignment]
worker.main()
