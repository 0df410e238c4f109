"""Who may ask. In: a key from a request. Out: the client it belongs to, or none.

A key is 256 random bits, so its plain sha256 cannot be guessed back: slow password hashes protect weak secrets, which
these are not. Files hold only the hashes. Every comparison takes the same time.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from speech_emotion.errors import ConfigError
from speech_emotion.files import read_regular_file, write_atomically

ENVIRONMENT: Final = "SPEECH_EMOTION_API_KEY"
MIN_LENGTH: Final = 20  # of a key that somebody made up
MAX_BYTES: Final = 2**20
PER_MINUTE: Final = 1200
STREAMS: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """A client, and what it may use.

    Attributes:
        name: What logs and jobs call it.
        sha256: The digest of its key.
        per_minute: How many requests it may send in a minute.
        streams: How many live streams it may have at once.
    """

    name: str
    sha256: str
    per_minute: int = PER_MINUTE
    streams: int = STREAMS


class Keys:
    """All clients, and how much each has asked for lately."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        self._left: dict[str, tuple[float, float]] = {}  # name → requests left, and when that was so

    def __bool__(self) -> bool:
        return bool(self._keys)

    @classmethod
    def read(cls, path: Path | None, from_environment: str | None) -> Self:
        """The keys of a file that `add` wrote, and one from the environment.

        Raises:
            ConfigError: The file is none of keys, or the key in the environment is too short.
        """
        keys = [] if path is None else _read(path)
        if from_environment:
            if len(from_environment) < MIN_LENGTH:
                raise ConfigError(
                    f"the key in {ENVIRONMENT} has {len(from_environment)} characters; use {MIN_LENGTH} or more, such "
                    f"as {secrets.token_urlsafe(24)}"
                )
            keys.append(Key("environment", _digest(from_environment)))
        return cls(keys)

    def find(self, key: str) -> Key | None:
        """The client of a key. As many steps whether there is one or not."""
        digest = _digest(key)
        found = [one for one in self._keys if hmac.compare_digest(one.sha256, digest)]
        return found[0] if found else None

    def seconds_until_free(self, key: Key) -> float:
        """Count one request of `key`: 0, or the seconds until it may send another one."""
        now = time.monotonic()
        left, before = self._left.get(key.name, (float(key.per_minute), now))
        left = min(float(key.per_minute), left + (now - before) * key.per_minute / 60)
        is_free = left >= 1
        self._left[key.name] = (left - 1 if is_free else left, now)
        return 0.0 if is_free else (1 - left) * 60 / key.per_minute


def add(path: Path, name: str) -> str:
    """Make a key, add its hash to a file, and return it: nobody can read it again.

    Raises:
        ConfigError: `name` is taken or cannot be one, or the file cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a key: up to 64 letters, digits, dots, - and _")
    keys = _read(path) if path.exists() else []
    if any(key.name == name for key in keys):
        raise ConfigError(f"{path} has a key {name!r} already; choose another name, or delete its entry")
    key = f"se_{secrets.token_urlsafe(32)}"
    document = {"keys": [asdict(one) for one in [*keys, Key(name, _digest(key))]]}
    try:
        write_atomically(path, json.dumps(document, indent=1).encode())
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Choose another path") from error
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> list[Key]:
    try:
        document = json.loads(read_regular_file(path, MAX_BYTES))
        return [_parse(entry) for entry in document["keys"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(
            f"{path} is not a file of keys ({error}); make one with: speech-emotion serve --keys {path} --add-key NAME"
        ) from error


def _parse(entry: dict[str, Any]) -> Key:
    key = Key(**entry)
    numbers = (key.per_minute, key.streams)
    if not _NAME.fullmatch(key.name) or not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        raise ValueError("a key has a name and a sha256")
    if not all(type(number) is int and number > 0 for number in numbers):
        raise ValueError("per_minute and streams are whole numbers above 0")
    return key
