"""What `-` names: a sound from stdin. In: a path or `-`. Out: what the reader takes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from speech_emotion.errors import AudioNotFoundError

STDIN: Final = "-"
MAX_STDIN_BYTES: Final = 4 * 2**30


@contextmanager
def opened(path: str) -> Iterator[str | BinaryIO]:
    """What the reader takes: the path, or for `-` what comes from stdin until its end."""
    if path != STDIN:
        yield path
        return
    if sys.stdin is None:
        raise AudioNotFoundError("stdin is closed; pipe a sound into it, or name a file")
    from speech_emotion.inputs import spooled

    with spooled(sys.stdin.buffer, "stdin", MAX_STDIN_BYTES) as file:
        yield file
