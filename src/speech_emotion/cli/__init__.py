"""The command line. In: arguments. Out: text, JSON or CSV on stdout, complaints on stderr, an exit code.

Exit codes: 0 all answered, 1 some inputs failed (named on stderr), 2 usage, 130 interrupted.
Every verb is thin and imports what is heavy inside itself, so that `--help` stays quick.
"""

import errno
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech_emotion.errors import SpeechEmotionError

if TYPE_CHECKING:
    from speech_emotion.corpora.prepare import PreparedDataset

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
corpora_app = typer.Typer(
    help="List, check, download and prepare corpora.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(corpora_app, name="corpora")

ModelOption = Annotated[
    Path | None, typer.Option("--model", metavar="FILE", help="An exported .onnx instead of the shipped one.")
]
CorpusArgument = Annotated[str, typer.Argument(metavar="NAME", help="One of `corpora list`.")]
CorpusFolderOption = Annotated[
    str, typer.Option("--corpus", metavar="NAME=FOLDER", help="A corpus and where it lies.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def main() -> None:
    """The console script: our errors become one line on stderr, a closed pipe or Ctrl-C ends quietly."""
    _open_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except SpeechEmotionError as error:
        complain(f"{error} ({error.code})")
        sys.exit(1)
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that has gone
        if isinstance(sys.stdout, io.TextIOWrapper) and not _can_flush(sys.stdout):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"{error.filename or 'the output'}: {error.strerror or error}")
        sys.exit(1)


def _can_flush(stream: io.TextIOWrapper) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _open_streams() -> None:
    """Let both streams take any text: neither a narrow encoding nor `>&-` may turn 😄 into a traceback."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """One line on stderr."""
    from speech_emotion.text import printable

    typer.echo(printable(text), err=True)


def _show_version(asked: bool) -> None:
    from speech_emotion.version import __version__

    if asked:
        typer.echo(f"speech-emotion {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Which emotion a voice expresses, from the sound alone."""


@app.command()
def predict(
    sources: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Sound files.")] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="One answer a window, not one a file.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How often --timeline answers; by default the model's pace."),
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A CSV table.")] = False,
    model: ModelOption = None,
    profile: Annotated[
        Path | None, typer.Option(metavar="JSON", help="Whose voice it is: what `enrol` wrote.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Answer on the bundled synthetic voices.")] = False,
) -> None:
    """The emotion of each FILE."""
    voices = _demo_voices() if demo else []
    sources = [*(sources or []), *voices]
    if not sources:
        raise typer.BadParameter("give at least one sound file, or --demo")
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv are two formats; choose one")
    if hop is not None and not timeline:
        raise typer.BadParameter("--hop is how often --timeline answers; add --timeline")
    from speech_emotion import formats
    from speech_emotion.classifier import load
    from speech_emotion.profile import SpeakerProfile

    classifier = load(model)
    classifier.info.with_hop(hop)  # one refusal, not one a file
    voice = SpeakerProfile.load(profile) if profile else None
    if voice:
        voice.for_model(classifier.info)  # the same
    failed: list[str] = []

    def outcomes() -> Iterator[formats.Outcome]:
        if progress:
            progress(0, len(sources))
        for n_done, source in enumerate(sources, start=1):
            name = Path(source).name if source in voices else source  # where those lie is of no interest
            try:
                predictions = (
                    classifier.timeline(source, profile=voice, hop_seconds=hop)
                    if timeline
                    else [classifier.predict(source, profile=voice)]
                )
            except SpeechEmotionError as error:
                failed.append(f"{name} ({error.code})")
                yield formats.Outcome(name, [], error)
            else:
                yield formats.Outcome(name, predictions)
            if progress:
                progress(n_done, len(sources))

    is_quick = len(sources) == 1
    is_document = (as_json or as_csv) and sys.stdout.isatty()  # a display would break its lines
    with nullcontext() if is_quick or is_document else _progress("listening") as progress:
        if as_json:
            formats.write_json(outcomes(), sys.stdout)
        elif as_csv:
            formats.write_csv(outcomes(), sys.stdout, classifier.info.labels)
        else:
            formats.write_text(outcomes(), sys.stdout)
    if failed:
        complain(f"{len(failed)} of {len(sources)} failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _demo_voices() -> list[str]:
    return [str(path) for path in sorted((Path(__file__).parents[1] / "assets").glob("demo-*.flac"))]


@app.command()
def enrol(
    sources: Annotated[
        list[str], typer.Argument(metavar="VOICE", help="30 to 60 s of one person's ordinary speech, in all.")
    ],
    out: Annotated[Path, typer.Option(metavar="JSON", help="The profile to write, for predict --profile.")],
    model: ModelOption = None,
) -> None:
    """Tune answers to a voice: how this person speaks, as a small file without any sound."""
    from speech_emotion.classifier import load

    profile = load(model).enrol(*sources)
    profile.save(out)
    typer.echo(f"{out}: {profile.seconds:.1f} s of speech")
    if profile.warnings:
        complain(
            f"Beware: {', '.join(profile.warnings).replace('_', ' ')}. 30 to 60 s of clean speech are best"
        )


@app.command()
def info(as_json: JsonOption = False, model: ModelOption = None) -> None:
    """What the model is, what it was trained on and how well it does."""
    from speech_emotion import formats
    from speech_emotion.classifier import load

    write = formats.write_info_json if as_json else formats.write_info
    write(load(model).info, sys.stdout)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/ravdess-cnn.toml.")],
    corpus: CorpusFolderOption,
    protocol: Annotated[
        str | None,
        typer.Option(help="Train one model a fold, such as luna5; without it, learn from everybody."),
    ] = None,
    fold: Annotated[list[int] | None, typer.Option(help="Only this fold; may be given again.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="May be given again; by default the recipe's.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Weights to start from: pretrained, fresh, or a file; by default the recipe's."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Without --protocol: its run folder, after whose heads for enrolled voices to fit one.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/RECIPE/PROTOCOL.")] = None,
    prepared: Annotated[Path, typer.Option(help="Where prepared corpora are kept.")] = Path("prepared"),
    device: Annotated[str, typer.Option(help="cpu or cuda; auto takes the GPU where there is one.")] = "auto",
) -> None:
    """Train the recipe; a run that was stopped goes on where it was."""
    from speech_emotion.extras import require

    require("torch", extra="train", needed_for="Training")
    from speech_emotion.evaluation import splits
    from speech_emotion.training import runs
    from speech_emotion.training.config import TrainConfig
    from speech_emotion.training.progress import EpochLines, choose_device

    name, folder = _corpus_folder(corpus)
    config = TrainConfig.load(recipe)
    if name != config.corpus:
        raise typer.BadParameter(f"{recipe} trains on {config.corpus}: --corpus {config.corpus}=FOLDER")
    config = config.with_init(init) if init else config
    split = splits.protocol(protocol) if protocol else None
    out = out or Path("runs") / recipe.stem / (protocol or "everybody")
    trainings = runs.plan(config, out, split, seed or [config.fit.seed], fold)
    device = choose_device(device)
    lines = EpochLines(trainings, typer.echo)
    dataset = _prepared(name, folder, prepared / name)
    with _progress("embedding") as on_copy:
        models = runs.train(
            trainings,
            dataset,
            references=calibration,
            device=device,
            on_epoch=lines,
            on_copy=on_copy or (lambda *_: None),
        )
    for model in models:
        typer.echo(str(model))
    if split:
        command = f"speech-emotion evaluate {out} --corpus {name}={folder} --protocol {split.name}"
        typer.echo(f"Next: {command}", err=True)


@app.command()
def evaluate(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run folders of one recipe, or one exported .onnx."),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(metavar="NAME=FOLDER", help="A corpus and where it lies.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="A named split, such as luna5.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where results go, by default results/; with --audit, a JSON file.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also renew this page and its figures from all results in OUT."),
    ] = None,
    conditions: Annotated[
        bool,
        typer.Option("--conditions", help="In noise, over the telephone, in a room …: OUT/robustness."),
    ] = False,
    noise: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --conditions, also in this recorded noise.")
    ] = None,
    enrolled: Annotated[
        bool,
        typer.Option(
            "--enrolled",
            help="With profiles of the tested voices, and of others of the corpus: OUT/enrolled.",
        ),
    ] = False,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Score nothing: does this split (path, label, speaker, fold) leak?"),
    ] = None,
    audio_root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="With --audit, also hear the recordings: its paths begin here."),
    ] = None,
) -> None:
    """Score the exported models on the speakers that they never heard, or audit a split."""
    if audit:
        if runs or corpus or protocol or page or conditions or noise or enrolled:
            raise typer.BadParameter(
                "--audit takes a table alone, with --audio-root and --out: leave the rest out"
            )
        _audit(audit, audio_root, out)
        return
    if audio_root:
        raise typer.BadParameter("--audio-root FOLDER goes with --audit")
    if not (runs and corpus and protocol):
        raise typer.BadParameter("give RUN, --corpus and --protocol, or --audit CSV")
    out = out or Path("results")
    from speech_emotion.evaluation import splits
    from speech_emotion.evaluation.report import page as results_page
    from speech_emotion.evaluation.result import summarise
    from speech_emotion.evaluation.score import score_protocol, write_answers

    name, folder = _corpus_folder(corpus)
    if protocol not in splits.names():
        raise typer.BadParameter(f"--protocol is one of {', '.join(splits.names())}; got {protocol!r}")
    if noise and not conditions:
        raise typer.BadParameter("--noise FOLDER goes with --conditions")
    if enrolled and (conditions or page):
        raise typer.BadParameter("--enrolled measures that alone: leave --conditions and --page out")
    _require_writable(out)
    if page:
        _require_writable(page.parent)
    if conditions:
        _evaluate_conditions(runs, corpus, protocol, noise, out, page)
        return
    if enrolled:
        _evaluate_enrolled(runs, corpus, protocol, out)
        return
    with _progress("listening") as progress:
        evaluation = score_protocol(runs, name, folder, protocol, progress=progress)
    words = ["speech-emotion", "evaluate", *map(str, runs), "--corpus", corpus, "--protocol", protocol]
    result = summarise(evaluation, command=shlex.join(words))
    written = result.write(out)
    write_answers(evaluation.answers, written.with_suffix(".csv"))
    _print(results_page.terminal_table(result))
    typer.echo(f"Written: {written} and {written.with_suffix('.csv').name}", err=True)
    if page:
        results_page.renew_page(out, page)
        typer.echo(f"Renewed: {page}", err=True)


def _require_writable(folder: Path) -> None:
    """Before hours of listening, not after."""
    from speech_emotion.errors import ConfigError

    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        for path in missing:  # nothing may come of it
            path.rmdir()
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written to ({error.strerror}). Choose another one."
        ) from error


def _audit(table: Path, audio_root: Path | None, out: Path | None) -> None:
    """Print what leaks in the split of `table`, and end with 1 where something does."""
    from speech_emotion.errors import ConfigError
    from speech_emotion.evaluation.audit.audit import audit
    from speech_emotion.text import printable

    try:
        with _progress("listening") as progress:
            found = audit(table, audio_root, progress=progress)
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


def _evaluate_enrolled(runs: list[Path], corpus: str, protocol: str, out: Path) -> None:
    from speech_emotion.evaluation import enrolment

    name, folder = _corpus_folder(corpus)
    words = ["speech-emotion", "evaluate", *map(str, runs), "--corpus", corpus, "--protocol", protocol]
    command = shlex.join([*words, "--enrolled"])
    with _progress("listening") as progress:
        found = enrolment.measure(runs, name, folder, protocol, command=command, progress=progress)
    written = found.write(out)
    for line in found.lines():
        typer.echo(line)
    typer.echo(f"Written: {written}", err=True)


def _evaluate_conditions(
    runs: list[Path], corpus: str, protocol: str, noise: Path | None, out: Path, page: Path | None
) -> None:
    from speech_emotion.evaluation import robustness

    name, folder = _corpus_folder(corpus)
    words = ["speech-emotion", "evaluate", *map(str, runs), "--corpus", corpus, "--protocol", protocol]
    words += ["--conditions", *(["--noise", str(noise)] if noise else [])]
    with _progress("listening") as progress:
        found = robustness.measure(
            runs, name, folder, protocol, command=shlex.join(words), noise=noise, progress=progress
        )
    written = found.write(out)
    typer.echo(robustness.robustness_table(written), nl=False)
    typer.echo(f"Written: {written}", err=True)
    if page:
        robustness.renew_page(out, page)
        typer.echo(f"Renewed: {page}", err=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The folder of one finished training.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .onnx to write; its card stands beside it.")],
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="A protocol's run folder whose mean temperature to take: for a model of everybody."
        ),
    ] = None,
    result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The result file whose score the card states.")
    ] = None,
) -> None:
    """Write the sealed .onnx of a training, its sha256 and its model card."""
    from speech_emotion.extras import require

    require("torch", extra="train", needed_for="Export")
    from speech_emotion.training.export.ship import ship

    info = ship(run, out, calibration=calibration, result=result)
    typer.echo(
        f"{out}: {info.n_parameters:,} parameters, {info.size_bytes / 1e6:.2f} MB, sha256 {info.sha256}"
    )


@corpora_app.command("list")
def list_corpora(as_json: JsonOption = False) -> None:
    """What can be read, and what each corpus holds."""
    import json

    from speech_emotion import corpora
    from speech_emotion.corpora import validate_report

    known = [corpora.get(name) for name in corpora.names()]
    if as_json:
        typer.echo(json.dumps([corpus.to_dict() for corpus in known], indent=2, ensure_ascii=False))
    else:
        _print(validate_report.overview(known))


@corpora_app.command()
def check(
    name: CorpusArgument,
    folder: Annotated[Path, typer.Argument(help="Where it lies, in any layout and audio format.")],
    allow_missing: Annotated[
        bool, typer.Option(help="Exit 0 although clips are missing or damaged.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it, as PNG or SVG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare FOLDER with the publication."""
    import json

    from speech_emotion import corpora
    from speech_emotion.corpora import validate, validate_report

    if picture:
        validate_report.require_picture()
    corpus = corpora.get(name)
    with _progress("listening") as progress:
        found = validate.check(corpus, folder, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print(validate_report.tables(found))
    if picture:
        validate_report.draw(found, picture)
        typer.echo(f"Drawn: {picture}", err=True)
    found.require_complete(allow_missing=allow_missing)


@corpora_app.command()
def download(
    name: CorpusArgument,
    folder: Annotated[Path | None, typer.Argument(help="The folder to make; by default ./NAME.")] = None,
) -> None:
    """Fetch, verify and unpack the publication."""
    from speech_emotion import corpora
    from speech_emotion.corpora.download import fetch

    corpus = corpora.get(name)
    typer.echo(f"{corpus.title}, {corpus.licence}. Please cite:\n  {corpus.citation}\n")
    with _progress("downloading", in_bytes=True) as progress:
        made = fetch(corpus, folder or Path(name), progress=progress)
    typer.echo(f"{len(corpus.scan(made))} clips in {made}")
    typer.echo(f"Next: speech-emotion corpora check {name} {made}")


@corpora_app.command()
def prepare(
    name: CorpusArgument,
    folder: Annotated[Path, typer.Argument(help="Where it lies, in any layout and audio format.")],
    out: Annotated[Path | None, typer.Argument(help="The folder to make; by default prepared/NAME.")] = None,
    features: Annotated[bool, typer.Option("--features", help="Write the feature matrices as well.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; by default one a core.", min=1)] = None,
) -> None:
    """Decode FOLDER once, into memory-mapped .npy files; a run that was stopped goes on where it was."""
    from speech_emotion.extras import require

    if features:
        require("torch", extra="train", needed_for="Computing features")
    out = out or Path("prepared") / name
    dataset = _prepared(name, folder, out, workers=workers)
    minutes = sum(map(dataset.seconds, range(len(dataset)))) / 60
    n_speakers = len(set(dataset.speakers.tolist()))
    speakers = "1 speaker" if n_speakers == 1 else f"{n_speakers} speakers"
    state = "" if dataset.is_new else " (up to date)"
    typer.echo(f"{out}: {len(dataset)} clips, {speakers}, {minutes:.1f} min{state}")
    if features:
        from speech_emotion.training.data.features import COLUMNS, prepare_features

        with _progress("computing") as progress:
            made = prepare_features(dataset, workers=workers, progress=progress)
        n_columns = sum(map(len, COLUMNS.values()))
        typer.echo(f"{out / 'features'}: {n_columns} columns, {made.offsets[-1]} frames")


def _prepared(name: str, folder: Path, out: Path, *, workers: int | None = None) -> "PreparedDataset":
    """Prepare the corpus, and say on stderr where it is not all that was published."""
    from speech_emotion import corpora
    from speech_emotion.corpora.prepare import prepare as prepare_corpus

    corpus = corpora.get(name)
    with _progress("preparing") as progress:
        dataset = prepare_corpus(corpus, folder, out, workers=workers, progress=progress)
    if (n_missing := corpus.n_clips - len(dataset)) > 0:
        advice = shlex.join(["speech-emotion", "corpora", "check", name, str(folder)])
        typer.echo(f"{n_missing} of {corpus.n_clips} published clips are missing; see: {advice}", err=True)
    return dataset


def _corpus_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise typer.BadParameter(
            f"--corpus takes NAME=FOLDER, such as ravdess=downloads/ravdess; got {text!r}"
        )
    return name, Path(folder)


@contextmanager
def _progress(doing: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A callback (done, in all) that moves a bar on stderr; None where nobody is watching."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    amount = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    columns = (progress.TextColumn(doing), progress.BarColumn(), amount, progress.TimeRemainingColumn())
    console = Console(stderr=True, soft_wrap=True)  # what is printed above the bar keeps its lines whole
    with progress.Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
    ) as display:
        task = display.add_task(doing, total=None, visible=False)  # until the total is known

        def show(done: int, total: int) -> None:
            display.update(task, completed=done, total=total, visible=True, refresh=not done)

        yield show


def _print(tables: Any) -> None:
    from rich.console import Console

    Console().print(tables)


if __name__ == "__main__":
    main()
