"""The verb `export`: from a finished training to a sealed model file."""

from pathlib import Path
from typing import Annotated

import typer

verbs = typer.Typer()


@verbs.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of one finished training.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The .onnx to write; its checksum and model card go beside it."),
    ],
    calibration: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run folder whose temperature and thresholds are used.")
    ] = None,
    result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Result file to quote in the model card.")
    ] = None,
) -> None:
    """Write the .onnx of a training, its sha256 and its model card."""
    from speech_emotion.extras import require

    require("torch", extra="train", needed_for="Export")
    from speech_emotion.training.export.ship import ship

    info = ship(run, out, calibration=calibration, result=result)
    typer.echo(
        f"{out}: {info.n_parameters:,} parameters, {info.size_bytes / 1e6:.2f} MB, sha256 {info.sha256}"
    )
