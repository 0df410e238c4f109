"""Optional parts. In: the name of a module. Out: the module, or an error that says how to install it."""

import importlib
import shlex
import sys
from pathlib import Path
from types import ModuleType

from speech_emotion.errors import MissingExtraError


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        module: The module to import.
        extra: The extra of this package that brings it.
        needed_for: What needs it, as the subject of the message.

    Raises:
        MissingExtraError: It is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{needed_for} needs {(error.name or module).partition('.')[0]}, which is not installed. "
            f"In a copy of the project, install it with: {_python()} -m pip install '.[{extra}]'"
        ) from error


def _python() -> str:
    """The path of this Python as the user would type it: relative if it is below the current folder."""
    python = Path(sys.executable or "python")
    here = Path.cwd()
    return shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))
