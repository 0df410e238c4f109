"""The verb `audit`: does a split leak?"""

from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.cli.shared import progress
from speech_emotion.errors import ConfigError
from speech_emotion.text import printable

verbs = typer.Typer()


@verbs.command()
def audit(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A CSV file: path, label, speaker and fold of every clip.")
    ],
    audio_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder that TABLE's paths are relative to; compares the recordings too."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the findings as JSON.")] = None,
) -> None:
    """Check a split for leaks. Exit code 1 if there are any."""
    from speech_emotion.evaluation.audit.rules import audit

    try:
        with progress("reading") as on_clip:
            found = audit(table, audio_root, progress=on_clip)
        if out:
            found.write(out)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    for line in found.lines():
        typer.echo(printable(line))
    if out:
        typer.echo(f"Written: {out}", err=True)
    if found.leaks:
        raise typer.Exit(1)
