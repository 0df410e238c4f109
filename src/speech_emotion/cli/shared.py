"""What the verbs share: options, the progress bar, and checks that come before long work."""

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speech_emotion.errors import ConfigError, CorpusError
from speech_emotion.text import printable

if TYPE_CHECKING:
    from speech_emotion.corpora import Corpus
    from speech_emotion.corpora.prepare import PreparedDataset


@dataclass(frozen=True)
class CorpusFolder:
    """The value of `--corpus`: a published corpus and its folder, or a name and the table of one's own."""

    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.name}={self.path}"

    @property
    def is_table(self) -> bool:
        """Whether the recordings are one's own."""
        return self.path.suffix.lower() in (".csv", ".tsv") or self.path.is_file()

    @cached_property
    def corpus(self) -> "Corpus":
        """Its facts and its reader."""
        from speech_emotion import corpora
        from speech_emotion.corpora.own import read_table

        if self.is_table and self.name in corpora.names():
            raise CorpusError(
                f"{self.name} is a published corpus. Give its folder, or call the table otherwise."
            )
        return read_table(self.name, self.path) if self.is_table else corpora.get(self.name)

    @property
    def folder(self) -> Path:
        """Where the paths of its clips begin."""
        return self.path.parent if self.is_table else self.path


def _corpus_folder(text: str) -> CorpusFolder:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise typer.BadParameter(
            f"takes NAME=FOLDER, such as ravdess=downloads/ravdess, or NAME=TABLE.csv; got {text!r}"
        )
    return CorpusFolder(name, Path(path))


def known_protocol(name: str | None) -> str | None:
    """Callback of `--protocol`: the name of a split that exists, or wrong usage."""
    from speech_emotion.evaluation import splits

    try:
        return name if name in (None, "", *splits.OWN, *splits.SPANNING) else splits.protocol(name).name
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


ModelOption = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Name of a model that `info` lists, or an exported .onnx."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
CorpusOption = Annotated[
    CorpusFolder,
    typer.Option(
        metavar="NAME=PATH",
        parser=_corpus_folder,
        help="A corpus and the folder it is in, or a name and a table of your own recordings (CSV).",
    ),
]
CorporaOption = Annotated[
    list[CorpusFolder],
    typer.Option(
        metavar="NAME=PATH",
        parser=_corpus_folder,
        help="As for other verbs. Repeat it for each corpus of a recipe's [mixture], or to be scored.",
    ),
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
def progress(
    doing: str, *, in_bytes: bool = False, with_rate: bool = False
) -> Iterator[Callable[[int, int], None] | None]:
    """A callback (done, total) that moves a bar on stderr; None where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    amount = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    rate = [progress.TextColumn("{task.fields[rate]}")] if with_rate else []
    columns = (
        progress.TextColumn(doing),
        progress.BarColumn(),
        amount,
        *rate,
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True, soft_wrap=True)  # lines printed above the bar stay whole
    with progress.Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
    ) as display:
        task = display.add_task(doing, total=None, visible=False, rate="")  # until the total is known

        def show(done: int, total: int) -> None:
            speed = display.tasks[task].speed
            rate = f"{speed:.1f}/s" if speed else ""
            display.update(task, completed=done, total=total, visible=True, refresh=not done, rate=rate)

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


def prepare_corpus(given: CorpusFolder, out: Path, *, workers: int | None = None) -> "PreparedDataset":
    """Prepare the corpus, and say on stderr how many of its clips are missing."""
    from speech_emotion.corpora.prepare import prepare

    corpus = given.corpus
    with progress("preparing") as on_clip:
        dataset = prepare(corpus, given.folder, out, workers=workers, progress=on_clip)
    if (n_missing := corpus.n_clips - len(dataset)) > 0:
        advice = shlex.join(["speech-emotion", "corpora", "check", given.name, str(given.path)])
        complain(f"{n_missing} of {corpus.n_clips} {corpus.reference} clips are missing; see: {advice}")
    return dataset
