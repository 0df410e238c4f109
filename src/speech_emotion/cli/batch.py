"""The verb `batch`: answers on many sounds, as files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech_emotion.cli.predict import ChannelsOption, HopOption, ProfileOption
from speech_emotion.cli.shared import ModelOption, complain, progress, require_writable
from speech_emotion.errors import ConfigError

if TYPE_CHECKING:
    from speech_emotion.batch.engines import Engine
    from speech_emotion.batch.part import Settings
    from speech_emotion.batch.plan import Plan
    from speech_emotion.batch.stores import Folder
    from speech_emotion.batch.summary import Note

verbs = typer.Typer()


InputsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        help="Sounds, folders of them, quoted wildcards, tables of paths (.csv, .tsv, .parquet, .jsonl), "
        "and s3://, gs:// or az:// URIs of these.",
    ),
]
FormatOption = Annotated[
    str, typer.Option("--format", metavar="NAME", help="Format of the parts: parquet, csv or jsonl.")
]
TimelineOption = Annotated[
    bool, typer.Option("--timeline", help="Write one row per window instead of one per sound.")
]
EngineOption = Annotated[
    str, typer.Option(metavar="NAME", help="What spreads the work: pool (processes here) or ray.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Worker processes; default: one per core.")
]
AddressOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Ray cluster; default: a Ray on this machine.")
]


@verbs.command()
def batch(
    inputs: InputsArgument,
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder or URI to write the answers to.")],
    format_name: FormatOption = "parquet",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report for a browser.")] = None,
    timeline: TimelineOption = False,
    hop: HopOption = None,
    channels: ChannelsOption = "mix",
    model: ModelOption = None,
    profile: ProfileOption = None,
    engine: EngineOption = "pool",
    workers: WorkersOption = None,
    address: AddressOption = None,
) -> None:
    """Answer every INPUT into tables. Given again, goes on where it was stopped."""
    from speech_emotion.extras import require

    require("pyarrow", extra="batch", needed_for="batch")
    from speech_emotion.batch import stores, summary
    from speech_emotion.batch.engines import engine as engine_called
    from speech_emotion.batch.outputs import ENCODERS
    from speech_emotion.batch.plan import open_plan

    if hop is not None and not timeline:
        raise typer.BadParameter("--hop is the time between the answers of --timeline; add --timeline")
    if format_name not in ENCODERS:
        raise typer.BadParameter(f"--format must be one of {', '.join(ENCODERS)}; got {format_name!r}")
    try:
        spread = engine_called(engine, workers=workers, address=address)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if html:
        require_writable(html.parent)
    folder = stores.folder(out)
    settings = _settings(model, profile, timeline=timeline, channels=channels, hop_seconds=hop)
    found = _answered(partial(open_plan, inputs, folder, settings, format_name), folder, spread)
    for line in summary.lines(found):
        typer.echo(line)
    typer.echo(f"Written: {folder}", err=True)
    if html:
        from speech_emotion.batch.report import write_html

        write_html(found, settings, html)
        typer.echo(f"Written: {html}", err=True)
    if found.n_failed:
        raise typer.Exit(1)


def _settings(model: str | None, profile: Path | None, **how: Any) -> "Settings":
    """How inputs are answered."""
    from speech_emotion.batch.part import Settings
    from speech_emotion.classifier import load
    from speech_emotion.profile import SpeakerProfile

    return Settings(load(model), profile=SpeakerProfile.load(profile) if profile else None, **how)


def _answered(open_plan: "Callable[[], Plan]", folder: "Folder", engine: "Engine") -> "Note":
    """Do what is missing; whatever stops it, say how to go on."""
    from speech_emotion.batch.run import run

    is_begun = False
    try:
        with folder.locked():
            plan = open_plan()
            is_begun = True
            if plan.n_done:
                complain(f"{plan.n_done:,} of {len(plan.inputs):,} inputs were answered before")
            with progress("answering", with_rate=True) as on_inputs:
                return run(plan, engine, on_inputs)
    except (KeyboardInterrupt, OSError) as error:
        if is_begun:
            stopped = "Interrupted" if isinstance(error, KeyboardInterrupt) else "Stopped"
            complain(f"{stopped}: what is in {folder} is kept. To go on, give the same command again.")
        raise
