"""The verb `enrol`: a profile of one person's voice."""

from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.cli.shared import ModelOption, complain

verbs = typer.Typer()


@verbs.command()
def enrol(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE", help="Recordings of one person's ordinary speech, 30 to 60 s in total."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The profile to write, as JSON.")],
    model: ModelOption = None,
) -> None:
    """Tune answers to one voice: write its speaker profile. The profile holds no sound."""
    from speech_emotion.classifier import load

    profile = load(model).enrol(*sources)
    profile.save(out)
    typer.echo(f"{out}: {profile.seconds:.1f} s of speech")
    if profile.warnings:
        warnings = ", ".join(profile.warnings).replace("_", " ")
        complain(f"Warning: {warnings}. 30 to 60 s of clean speech are best")
