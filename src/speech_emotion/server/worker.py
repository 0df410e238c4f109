"""A process that decodes and scores. In: requests on stdin. Out: answers on stdout. Started by lanes.py.

A file that makes a decoder crash, hang or take all memory costs this process and the one request that it works on.
Its limits of memory and processor time are those of the operating system. What goes through the pipes is JSON and
plain bytes: nothing is unpickled.
"""

import json
import math
import os
import struct
import sys
import time
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier, load
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.server import scoring
from speech_emotion.server.problems import from_error
from speech_emotion.server.scoring import ANSWERS, Bounds, LongSoundError, Settings

HEADER: Final = struct.Struct("!II")  # bytes of JSON, then of content
PROGRESS_SECONDS: Final = 0.5  # between two reports


def pack(document: Mapping[str, Any], content: bytes = b"") -> bytes:
    """The head of a message; `content` follows it."""
    text = json.dumps(document).encode()
    return HEADER.pack(len(text), len(content)) + text


def main() -> None:
    """Answer requests until stdin ends."""
    options = json.loads(sys.argv[1])
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # libraries write to both: no line of theirs may reach the pipe or a log
        os.dup2(silence, stream)
    _keep_limits(options)
    classifier = _load(channel, options)
    worker = _Worker(classifier, channel)
    while head := sys.stdin.buffer.read(HEADER.size):
        n_text, n_content = HEADER.unpack(head)
        request = json.loads(sys.stdin.buffer.read(n_text))
        worker.answer(request, sys.stdin.buffer.read(n_content))


def _load(channel: BinaryIO, options: Mapping[str, Any]) -> Classifier:
    """The model, or the end of this process."""
    try:
        classifier = load(options["model"])
        if classifier.info.sha256 != options["sha256"]:
            raise SpeechEmotionError("the model file has changed; start the server again")
    except SpeechEmotionError as error:
        channel.write(pack({"kind": "broken", "detail": str(error)}))
        sys.exit(1)
    channel.write(pack({"kind": "ready"}))
    return classifier


def _keep_limits(options: Mapping[str, Any]) -> None:
    """Take the rights and the memory that scoring does not need from this process."""
    if sys.platform == "win32":
        return
    import resource

    os.nice(options["nice"])
    if sys.platform == "linux":  # others refuse a limit below what libraries have reserved
        resource.setrlimit(resource.RLIMIT_AS, (options["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it writes no file


def _allow_cpu_seconds(seconds: float) -> None:
    """From now on. After that the system ends this process with SIGXCPU."""
    if sys.platform == "win32":
        return
    import resource

    used = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (used, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class _Worker:
    """Answers one request after the other."""

    def __init__(self, classifier: Classifier, channel: BinaryIO) -> None:
        self._classifier, self._channel = classifier, channel

    def answer(self, request: Mapping[str, Any], body: bytes) -> None:
        """Write the answer, or why there is none."""
        _allow_cpu_seconds(request["cpu_seconds"])
        try:
            content, seconds = self._score(request, body)
            self._write({"kind": "answer", "seconds": seconds}, content)
        except LongSoundError as error:
            self._write({"kind": "long", "work_seconds": error.work_seconds})
        except SpeechEmotionError as error:
            problem = from_error(error)
            self._write({"kind": "problem", "code": problem.code, "detail": problem.detail})
        except MemoryError:  # what is left may be in pieces: the next request gets a new process
            detail = "this sound needs too much memory; send a shorter one"
            self._write({"kind": "last", "code": "too_costly", "detail": detail})
            sys.exit(1)
        except Exception as error:  # noqa: BLE001 - a mistake of ours costs this request and no other
            detail = f"scoring failed with {type(error).__name__}; report it with the request id"
            self._write({"kind": "problem", "code": "internal", "detail": detail})

    def _score(self, request: Mapping[str, Any], body: bytes) -> tuple[bytes, float]:
        settings = Settings.from_dict(request["settings"])
        limits = Limits(**request["limits"])
        total = scoring.duration(body, settings, limits) if request["progress"] else 0.0
        reported, seconds = -math.inf, 0.0
        for turn in scoring.turns(
            self._classifier,
            ANSWERS[request["answer"]],
            body,
            settings,
            Bounds(
                limits,
                max_work_seconds=request["max_work_seconds"] or math.inf,
                measured_work_seconds=request["measured_work_seconds"],
            ),
        ):
            if isinstance(turn, bytes):
                return turn, seconds
            seconds = turn
            if total and time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                self._write({"kind": "progress", "share": min(1.0, seconds / total)})
        raise AssertionError("the last turn is the answer")

    def _write(self, document: Mapping[str, Any], content: bytes = b"") -> None:
        self._channel.write(pack(document, content) + content)


if __name__ == "__main__":
    main()
