"""What the verbs share: options, the progress bar, and checks that come before long work."""

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech_emotion.errors import ConfigError
from speech_emotion.text import printable

if TYPE_CHECKING:
    from speech_emotion.corpora.prepare import PreparedDataset


@dataclass(frozen=True)
class CorpusFolder:
    """The value of `--corpus`: the name of a corpus and its folder."""

    name: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}={self.folder}"


def _corpus_folder(text: str) -> CorpusFolder:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise typer.BadParameter(f"takes NAME=FOLDER, such as ravdess=downloads/ravdess; got {text!r}")
    return CorpusFolder(name, Path(folder))


def known_protocol(name: str | None) -> str | None:
    """Callback of `--protocol`: the name of a split that exists, or wrong usage."""
    from speech_emotion.evaluation import splits

    try:
        return name and splits.protocol(name).name
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


ModelOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Use this exported .onnx, not the shipped model.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
CorpusOption = Annotated[
    CorpusFolder,
    typer.Option(metavar="NAME=FOLDER", parser=_corpus_folder, help="A corpus and the folder it is in."),
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=known_protocol,
        help="A named split, such as luna5; docs/training.md lists them.",
    ),
]


def complain(text: str) -> None:
    """Print one line on stderr."""
    typer.echo(printable(text), err=True)


def print_tables(tables: Any) -> None:
    """Print what rich can render."""
    from rich.console import Console

    Console().print(tables)


@contextmanager
def progress(doing: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A callback (done, total) that moves a bar on stderr; None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    amount = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    columns = (progress.TextColumn(doing), progress.BarColumn(), amount, progress.TimeRemainingColumn())
    console = Console(stderr=True, soft_wrap=True)  # lines printed above the bar stay whole
    with progress.Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
    ) as display:
        task = display.add_task(doing, total=None, visible=False)  # until the total is known

        def show(done: int, total: int) -> None:
            display.update(task, completed=done, total=total, visible=True, refresh=not done)

        yield show


def require_writable(folder: Path) -> None:
    """Raise ConfigError where `folder` cannot be written to: before hours of work, not after."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        for path in missing:  # the work may still fail and leave nothing to write
            path.rmdir()
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written to ({error.strerror}). Choose another one."
        ) from error


def command_line(verb: str, runs: Sequence[Path], corpus: CorpusFolder, protocol: str, *options: str) -> str:
    """The command that a result file records."""
    words = ["speech-emotion", verb, *map(str, runs), "--corpus", str(corpus), "--protocol", protocol]
    return shlex.join([*words, *options])


def prepare_corpus(name: str, folder: Path, out: Path, *, workers: int | None = None) -> "PreparedDataset":
    """Prepare the corpus, and say on stderr how many published clips are missing."""
    from speech_emotion import corpora
    from speech_emotion.corpora.prepare import prepare

    corpus = corpora.get(name)
    with progress("preparing") as on_clip:
        dataset = prepare(corpus, folder, out, workers=workers, progress=on_clip)
    if (n_missing := corpus.n_clips - len(dataset)) > 0:
        advice = shlex.join(["speech-emotion", "corpora", "check", name, str(folder)])
        complain(f"{n_missing} of {corpus.n_clips} published clips are missing; see: {advice}")
    return dataset
