"""The command line. In: arguments. Out: text, JSON or CSV on stdout, complaints on stderr, an exit code.

Exit codes: 0 success, 1 some inputs failed or a split leaks, 2 wrong usage, 130 interrupted.
A verb's module is imported when the verb is called, and verbs import what is heavy inside themselves: so a prediction
loads nothing of training, and `--help` stays quick.
"""

import io
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup

from speech_emotion.cli.shared import complain
from speech_emotion.errors import SpeechEmotionError
from speech_emotion.version import __version__

_USE = ("predict", "batch", "enrol", "info", "serve")


_MODULES = {  # verb → the module of this folder that holds it
    "predict": "predict",
    "batch": "batch",
    "enrol": "enrol",
    "info": "info",
    "serve": "serve",
    "corpora": "corpora",
    "train": "train",
    "evaluate": "evaluate",
    "robustness": "evaluate",
    "enrolment": "evaluate",
    "report": "evaluate",
    "audit": "audit",
    "export": "export",
}


class _Verbs(TyperGroup):
    """The verbs, each imported when it is asked for. Help shows them in two groups."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(_MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        wanted = [cmd_name] if cmd_name in _MODULES else list(_MODULES)  # all of them, to suggest one
        for name in wanted:
            if name not in self.commands:
                module = typer.Typer(rich_markup_mode=None)
                module.add_typer(import_module(f"{__name__}.{_MODULES[name]}").verbs)
                group = typer.main.get_group(module)
                _hide_types(group)
                self.commands.update(group.commands)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        helps = {name: self.get_command(ctx, name) for name in _MODULES}
        width = formatter.width - 6 - max(map(len, helps))
        research = [name for name in helps if name not in _USE]
        for heading, names in {"Use it": _USE, "Research": research}.items():
            with formatter.section(heading):
                formatter.write_dl([(name, helps[name].get_short_help_str(width)) for name in names])


def _hide_types(command: Any) -> None:
    """Leave the types of arguments out of the help: typer would print `FILE <list[str]>`."""
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            setattr(parameter, "display_type_rich", lambda ctx: None)  # noqa: ARG005, B010
    for verb in getattr(command, "commands", {}).values():
        _hide_types(verb)


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
