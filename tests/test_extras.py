"""What an optional part says when it is missing."""

import shlex
import sys
from pathlib import Path

import pytest

from speech_emotion.errors import MissingExtraError
from speech_emotion.extras import require


@pytest.mark.parametrize(
    ("python", "typed"),
    [
        ("{here}/.venv/bin/python", ".venv/bin/python"),
        ("/opt/my python/bin/python3", "'/opt/my python/bin/python3'"),
        ("", "python"),
    ],
)
def test_the_advice_works_where_the_reader_stands(
    python: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", python.format(here=Path.cwd()))
    with pytest.raises(MissingExtraError) as raised:
        require("no_such_part.core", extra="media", needed_for="WebM")
    message = str(raised.value)
    assert message.startswith("WebM needs no_such_part, which is not installed. In a copy of the project, ")
    assert message.endswith(f"install it with: {typed} -m pip install '.[media]'")


def test_the_python_of_the_advice_runs() -> None:
    with pytest.raises(MissingExtraError) as raised:
        require("no_such_part", extra="media", needed_for="WebM")
    python, *words = shlex.split(str(raised.value).partition("with: ")[2])
    assert Path.cwd() / python == Path(sys.executable)
    assert words == ["-m", "pip", "install", ".[media]"]


def test_a_part_that_is_there_is_imported() -> None:
    assert require("json.decoder", extra="media", needed_for="WebM").__name__ == "json.decoder"
