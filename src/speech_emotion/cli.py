"""The command line. In: arguments. Out: text, JSON or CSV on stdout, complaints on stderr, an exit code.

Exit codes: 0 all answered, 1 some inputs failed (named on stderr), 2 usage, 130 interrupted.
Every verb is thin and imports what is heavy inside itself, so that `--help` stays quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from speech_emotion.errors import SpeechEmotionError

app = typer.Typer(
    help="Which emotion a voice expresses, from the sound alone.",
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
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def main() -> None:
    """The console script: our errors become one line on stderr, a closed pipe or Ctrl-C ends quietly."""
    try:
        app()
    except SpeechEmotionError as error:
        typer.echo(f"{printable(str(error))} ({error.code})", err=True)
        sys.exit(1)


def printable(text: str) -> str:
    """`text` on one line that cannot steer a terminal: control characters and stray bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@app.command()
def predict(
    sources: Annotated[list[str], typer.Argument(metavar="FILE...", help="Sound files.")],
    timeline: Annotated[bool, typer.Option("--timeline", help="One answer a window.")] = False,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A CSV table.")] = False,
    model: ModelOption = None,
) -> None:
    """The emotion of each FILE."""
    raise NotImplementedError


@app.command()
def info(as_json: JsonOption = False, model: ModelOption = None) -> None:
    """What the model is, what it was trained on and how well it does."""
    raise NotImplementedError


if __name__ == "__main__":
    main()
