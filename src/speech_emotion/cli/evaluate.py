"""The verbs `evaluate`, `robustness`, `enrolment` and `report`: scores of exported models, and their pages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.cli.shared import (
    CorporaOption,
    CorpusFolder,
    CorpusOption,
    ProtocolOption,
    command_line,
    print_tables,
    progress,
    require_writable,
)
from speech_emotion.errors import ConfigError

verbs = typer.Typer()

RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN", help="Run folders of one recipe, or one exported .onnx.")
]
ResultsArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of results.")]
OutOption = Annotated[Path, typer.Option(metavar="FOLDER", help="The folder of results.")]


@verbs.command()
def evaluate(
    runs: RunsArgument, corpus: CorporaOption, protocol: ProtocolOption, out: OutOption = Path("results")
) -> None:
    """Score models on speakers they were not trained on. Writes OUT/CORPUS-PROTOCOL-MODEL.json and .csv."""
    from speech_emotion.evaluation.score import make_plan

    if len({one.name for one in corpus}) < len(corpus):
        raise typer.BadParameter("--corpus names a corpus twice")
    require_writable(out)
    for one in corpus if len(corpus) > 1 else ():  # all are refused before the first is scored
        make_plan(runs, one.corpus, one.folder, protocol)
    for one in corpus:
        _evaluate(runs, one, protocol, out)


def _evaluate(runs: list[Path], corpus: CorpusFolder, protocol: str, out: Path) -> None:
    from speech_emotion.evaluation.report import page
    from speech_emotion.evaluation.result import summarise
    from speech_emotion.evaluation.score import score_protocol, write_answers

    with progress(f"scoring {corpus.name}") as on_clip:
        evaluation = score_protocol(runs, corpus.corpus, corpus.folder, protocol, progress=on_clip)
    result = summarise(evaluation, command=command_line("evaluate", runs, corpus, protocol))
    written = result.write(out)
    write_answers(evaluation, written.with_suffix(".csv"))
    print_tables(page.terminal_table(result))
    typer.echo(f"Written: {written} and {written.with_suffix('.csv').name}", err=True)


@verbs.command()
def robustness(
    runs: RunsArgument,
    corpus: CorpusOption,
    protocol: ProtocolOption,
    noise: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also add the recorded noise in this folder.")
    ] = None,
    out: OutOption = Path("results"),
) -> None:
    """Score models in degraded sound (noise, telephone, codecs, room). Writes OUT/robustness."""
    from speech_emotion.evaluation.report.robustness import robustness_table
    from speech_emotion.evaluation.robustness import measure
    from speech_emotion.evaluation.score import make_plan

    require_writable(out)
    options = ["--noise", str(noise)] if noise else []
    command = command_line("robustness", runs, corpus, protocol, *options)
    with progress("scoring") as on_clip:
        plan = make_plan(runs, corpus.corpus, corpus.folder, protocol)
        found = measure(plan, command=command, noise=noise, progress=on_clip)
    _print_written(robustness_table(found), found.write(out))


@verbs.command()
def enrolment(
    runs: RunsArgument, corpus: CorpusOption, protocol: ProtocolOption, out: OutOption = Path("results")
) -> None:
    """Score models with profiles of the tested voices. Writes OUT/enrolled."""
    from speech_emotion.evaluation.enrolment import measure
    from speech_emotion.evaluation.score import make_plan

    require_writable(out)
    command = command_line("enrolment", runs, corpus, protocol)
    with progress("scoring") as on_clip:
        plan = make_plan(runs, corpus.corpus, corpus.folder, protocol)
        found = measure(plan, command=command, progress=on_clip)
    _print_written(found.lines(), found.write(out))


@verbs.command()
def report(results: ResultsArgument = Path("results")) -> None:
    """Write the pages and pictures of the results in FOLDER."""
    from speech_emotion.evaluation.report.page import write_report

    if not results.is_dir():
        raise ConfigError(
            f"{results}: there is no such folder. Write results into it with: speech-emotion evaluate"
        )
    require_writable(results)
    for path in write_report(results):
        typer.echo(str(path))


def _print_written(lines: Iterable[str], written: Path) -> None:
    for line in lines:
        typer.echo(line)
    typer.echo(f"Written: {written}", err=True)
