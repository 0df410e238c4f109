"""The verb `predict`: what the model answers."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from speech_emotion.cli.shared import ModelOption, complain, progress
from speech_emotion.cli.sources import opened
from speech_emotion.errors import SpeechEmotionError

if TYPE_CHECKING:
    from speech_emotion.audio import Channels, Source
    from speech_emotion.classifier import Classifier
    from speech_emotion.formats import Outcome, Writer
    from speech_emotion.inputs import NamedSource
    from speech_emotion.prediction import Prediction

verbs = typer.Typer()

SoundsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Sound files, folders of them, quoted wildcards, or - for stdin."),
]
TrackOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Audio track to read, from 1; default: the file's default track."),
]
ChannelsOption = Annotated[
    Literal["mix", "separate"],
    typer.Option(help="Score the mix of all channels, or each one: left and right of a call."),
]
ProfileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Speaker profile written by `enrol`.")
]


@verbs.command()
def predict(
    sources: SoundsArgument = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Print one answer per window instead of one per file.")
    ] = False,
    hop: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Time between the answers of --timeline; default: the model's."),
    ] = None,
    format_name: Annotated[
        str, typer.Option("--format", metavar="NAME", help="How answers are written: text, json or csv.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Short for --format csv.")] = False,
    model: ModelOption = None,
    profile: ProfileOption = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Answer relative to the voice heard so far in each recording.")
    ] = False,
    track: TrackOption = None,
    channels: ChannelsOption = "mix",
    demo: Annotated[bool, typer.Option("--demo", help="Use the bundled synthetic voices.")] = False,
) -> None:
    """Tell which emotion each FILE expresses."""
    sounds = _sounds(sources or [], demo)
    if hop is not None and not timeline:
        raise typer.BadParameter("--hop is the time between the answers of --timeline; add --timeline")
    from speech_emotion.classifier import load
    from speech_emotion.formats import columns

    name, write = _writer([format_name, *["json"] * as_json, *["csv"] * as_csv])
    classifier = load(model)
    classifier.info.with_hop(hop)  # refused once, not once per file
    relative_to = _relative_to(classifier, profile, adapt)
    answer = partial(classifier.windows, hop_seconds=hop) if timeline else partial(_whole, classifier)
    failed: list[str] = []
    is_document = name != "text" and sys.stdout.isatty()  # a bar would break its lines
    with nullcontext() if len(sounds) == 1 or is_document else progress("predicting") as on_file:
        settings = {"track": track, "channels": channels, **relative_to}
        outcomes = _outcomes(sounds, partial(answer, **settings), failed, on_file)
        write(outcomes, sys.stdout, columns(classifier.info.labels, channels))
    if failed:
        complain(f"{len(failed)} of {len(sounds)} failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _relative_to(classifier: "Classifier", profile: Path | None, adapt: bool) -> dict[str, Any]:
    """The setting that says what answers are relative to, refused once if the model cannot take it."""
    from speech_emotion.profile import SpeakerProfile, require_enrolment

    if adapt and profile:
        raise typer.BadParameter("with --profile, answers are relative to it; leave out either it or --adapt")
    if adapt:
        require_enrolment(classifier.info)
        return {"adapt": "recording"}
    if profile is None:
        return {}
    voice = SpeakerProfile.load(profile)
    voice.for_model(classifier.info)
    return {"profile": voice}


def _writer(names: Sequence[str]) -> tuple[str, "Writer"]:
    """The one format that the options `names` ask for, and its function; text is what is left when none does."""
    from speech_emotion.formats import WRITERS

    asked = sorted({name for name in names if name != "text"}) or ["text"]
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} are two formats; choose one")
    if asked[0] not in WRITERS:
        raise typer.BadParameter(f"--format must be one of {', '.join(WRITERS)}; got {asked[0]!r}")
    return asked[0], WRITERS[asked[0]]


def _sounds(arguments: Sequence[str], demo: bool) -> "list[NamedSource]":
    """Every sound to answer on; where the bundled voices lie is of no interest."""
    from speech_emotion.inputs import NamedSource, expand

    voices = sorted((Path(__file__).parents[1] / "assets").glob("demo-*.flac")) if demo else []
    sounds = [*expand(arguments), *(NamedSource(path.name, str(path)) for path in voices)]
    if not sounds:
        raise typer.BadParameter("give at least one sound file, or --demo")
    return sounds


def _whole(
    classifier: "Classifier",
    source: "Source",
    *,
    channels: "Channels",
    **settings: Any,
) -> "Iterable[Prediction]":
    """One answer, or one per channel."""
    if channels == "separate":
        return classifier.predict(source, channels="separate", **settings)
    return [classifier.predict(source, **settings)]


def _outcomes(
    sounds: "Sequence[NamedSource]",
    answer: "Callable[[Source], Iterable[Prediction]]",
    failed: list[str],
    on_file: Callable[[int, int], None] | None,
) -> Iterator["Outcome"]:
    """Answer on each sound in turn, as it is read; those that cannot be read are also added to `failed`."""
    from speech_emotion.formats import Outcome

    on_file = on_file or (lambda *_: None)
    on_file(0, len(sounds))
    for n_done, (name, path, missing) in enumerate(sounds, start=1):
        try:
            if missing:
                raise missing
            with opened(path) as source:
                for prediction in answer(source):
                    yield Outcome(name, [prediction])
        except SpeechEmotionError as error:
            failed.append(f"{name} ({error.code})")
            yield Outcome(name, [], error)
        on_file(n_done, len(sounds))
