"""The command line. In: arguments. Out: text, JSON or CSV on stdout, complaints on stderr, an exit code.

Exit codes: 0 success, 1 some inputs failed or a split leaks, 2 wrong usage, 130 interrupted.
Verbs import what is heavy inside themselves, so that `--help` stays quick.
"""

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from speech_emotion.cli import audit, corpora, enrol, evaluate, export, predict, train
from speech_emotion.cli.shared import complain
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.version import __version__

_USE = ("predict", "enrol", "info")


class _Verbs(TyperGroup):
    """Help with the verbs in two groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        width = formatter.width - 6 - max(map(len, self.commands))
        research = [name for name in self.commands if name not in _USE]
        for heading, names in {"Use it": _USE, "Research": research}.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(width)) for name in names])


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (predict, enrol, corpora, train, evaluate, audit, export):
    app.add_typer(module.verbs)


def main() -> None:
    """The console script: our errors become one line on stderr; a closed pipe or Ctrl-C ends quietly."""
    _open_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except SpeechEmotionError as error:
        complain(f"{error} ({error.code})")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that has gone, a closed pipe
        _drop_output()
        if not isinstance(error, BrokenPipeError):  # `… | head` has read enough
            complain(f"{error.filename or 'the output'}: {error.strerror or error}")
        sys.exit(1)


def _open_streams() -> None:
    """Let both streams take any text: neither a narrow encoding nor `>&-` may turn 😄 into a traceback."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Where stdout takes nothing any more, let the interpreter's last flush end quietly."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"speech-emotion {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Tell which emotion a voice expresses, from the sound alone."""
