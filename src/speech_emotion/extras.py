"""Optional parts: import a module of an extra, or say how to install it."""

import importlib
import shlex
import sys
from pathlib import Path
from types import ModuleType

from speech_emotion.errors import MissingExtraError


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import `module`, or raise MissingExtraError with the command that brings its extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{needed_for} needs {(error.name or module).partition('.')[0]}, which is not installed. "
            f"In a copy of the project, install it with: {_python()} -m pip install '.[{extra}]'"
        ) from error


def _python() -> str:
    """This very Python as one types it: without the way to where one stands."""
    python = Path(sys.executable or "python")
    here = Path.cwd()
    return shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))
