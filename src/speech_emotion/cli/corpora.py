"""The verbs `corpora …`: list, check, download and prepare corpora."""

from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.cli.shared import CorpusFolder, JsonOption, prepare_corpus, print_tables, progress

verbs = typer.Typer()
corpora_verbs = typer.Typer(no_args_is_help=True)
verbs.add_typer(corpora_verbs, name="corpora", help="List, check, download and prepare corpora.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A corpus of `corpora list`, or any name for a table.")
]
PathArgument = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="The folder of its recordings, or a table of your own (CSV)."),
]


@corpora_verbs.command("list")
def list_corpora(as_json: JsonOption = False) -> None:
    """List the corpora that can be read, and what each holds."""
    import json

    from speech_emotion import corpora
    from speech_emotion.corpora import validate_report

    known = [corpora.get(name) for name in corpora.names()]
    if as_json:
        typer.echo(json.dumps([corpus.to_dict() for corpus in known], indent=2, ensure_ascii=False))
    else:
        print_tables(validate_report.overview(known))


@corpora_verbs.command()
def check(
    name: NameArgument,
    path: PathArgument,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Exit 0 even if clips are missing or damaged.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a chart of the counts, as PNG or SVG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare PATH with what was published, or with its own table."""
    import json

    from speech_emotion.corpora import validate, validate_report

    if picture:
        validate_report.require_picture()
    given = CorpusFolder(name, path)
    with progress("checking") as on_clip:
        found = validate.check(given.corpus, given.folder, progress=on_clip)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        print_tables(validate_report.tables(found))
    if picture:
        validate_report.draw(found, picture)
        typer.echo(f"Drawn: {picture}", err=True)
    found.require_complete(allow_missing=allow_missing)


@corpora_verbs.command()
def download(
    name: NameArgument,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="The folder to create; default: ./NAME.")
    ] = None,
) -> None:
    """Fetch, verify and unpack what was published."""
    from speech_emotion import corpora
    from speech_emotion.corpora.download import fetch

    corpus = corpora.get(name)
    typer.echo(f"{corpus.title}, {corpus.licence}. Please cite:\n  {corpus.citation}\n")
    with progress("downloading", in_bytes=True) as on_bytes:
        made = fetch(corpus, folder or Path(name), progress=on_bytes)
    typer.echo(f"{len(corpus.scan(made))} clips in {made}")
    typer.echo(f"Next: speech-emotion corpora check {name} {made}")


@corpora_verbs.command()
def prepare(
    name: NameArgument,
    path: PathArgument,
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="The folder to create; default: prepared/NAME.")
    ] = None,
    features: Annotated[bool, typer.Option("--features", help="Also write the feature matrices.")] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Worker processes; default: one per core.")
    ] = None,
) -> None:
    """Decode PATH into memory-mapped .npy files. Resumes an interrupted run."""
    from speech_emotion.extras import require

    if features:
        require("torch", extra="train", needed_for="Computing features")
    out = out or Path("prepared") / name
    dataset = prepare_corpus(CorpusFolder(name, path), out, workers=workers)
    minutes = sum(map(dataset.seconds, range(len(dataset)))) / 60
    n_speakers = len(set(dataset.speakers.tolist()))
    speakers = "1 speaker" if n_speakers == 1 else f"{n_speakers} speakers"
    state = "" if dataset.is_new else " (up to date)"
    typer.echo(f"{out}: {len(dataset)} clips, {speakers}, {minutes:.1f} min{state}")
    if features:
        from speech_emotion.training.data.features import COLUMNS, prepare_features

        with progress("computing") as on_clip:
            made = prepare_features(dataset, workers=workers, progress=on_clip)
        n_columns = sum(map(len, COLUMNS.values()))
        typer.echo(f"{out / 'features'}: {n_columns} columns, {made.offsets[-1]} frames")
