"""Optional parts: import a module of an extra, or say which extra to install."""

import importlib
from types import ModuleType

from speech_emotion.errors import MissingExtraError


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import `module`, or raise MissingExtraError naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{needed_for} needs {module.partition('.')[0]}, which is not installed. "
            f"Install it with: pip install 'speech-emotion[{extra}]'"
        ) from error
