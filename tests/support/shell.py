"""Runs the verbs of the command line in the process of the test."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from speech_emotion import cli


class Shell:
    """Runs verbs in this process, in a folder with a few sounds: exit code, stdout, stderr."""

    def __init__(
        self, folder: Path, model: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ):
        self.folder, self.model, self.capture, self.patch = folder, model, capture, patch

    def __call__(self, verb: str, *arguments: str) -> tuple[int, str, str]:
        takes_none = verb == "info" or "--model" in arguments
        model = [] if takes_none else ["--model", str(self.model)]
        self.patch.setattr(sys, "argv", ["speech-emotion", verb, *arguments, *model])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = self.capture.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        _, out, _ = self("predict", "--json", *arguments)
        rows: list[dict[str, Any]] = json.loads(out, parse_constant=pytest.fail)
        return rows
