"""The verb `predict`: what the model answers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from speech_emotion.cli.shared import ModelOption, complain, progress
from speech_emotion.cli.sources import Progress, opened
from speech_emotion.errors import SpeechEmotionError

if TYPE_CHECKING:
    from speech_emotion.audio import Source
    from speech_emotion.classifier import Classifier
    from speech_emotion.formats import Outcome, Writer
    from speech_emotion.inputs import NamedSource
    from speech_emotion.prediction import Prediction
    from speech_emotion.segments import Segment

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
FORMATS = "text, json, jsonl, csv, srt, webvtt, audacity, textgrid, rttm, html or png"
TimelineOption = Annotated[
    bool, typer.Option("--timeline", help="Print one answer per window instead of one per file.")
]
HopOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Time between the answers of --timeline; default: the model's."),
]
MergeOption = Annotated[
    bool, typer.Option("--merge", help="Merge the windows of --timeline into stretches of one emotion.")
]
SegmentsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="SEGMENTS",
        help="Print one answer per given segment: RTTM, SRT, WebVTT, Audacity labels, TextGrid, CSV or JSON.",
    ),
]
PerSpeakerOption = Annotated[
    bool,
    typer.Option("--profile-per-speaker", help="Enrol each speaker of --segments first, from the same FILE."),
]
FormatOption = Annotated[
    str, typer.Option("--format", metavar="NAME", help=f"Format of the output: {FORMATS}.")
]
JsonFormatOption = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
CsvFormatOption = Annotated[bool, typer.Option("--csv", help="Short for --format csv.")]
ProfileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Speaker profile written by `enrol`.")
]
AdaptOption = Annotated[
    bool, typer.Option("--adapt", help="Answer relative to the voice heard so far in each recording.")
]
DemoOption = Annotated[bool, typer.Option("--demo", help="Use the bundled synthetic voices.")]


@verbs.command()
def predict(
    sources: SoundsArgument = None,
    timeline: TimelineOption = False,
    hop: HopOption = None,
    merge: MergeOption = False,
    segments: SegmentsOption = None,
    profile_per_speaker: PerSpeakerOption = False,
    format_name: FormatOption = "text",
    as_json: JsonFormatOption = False,
    as_csv: CsvFormatOption = False,
    model: ModelOption = None,
    profile: ProfileOption = None,
    adapt: AdaptOption = False,
    track: TrackOption = None,
    channels: ChannelsOption = "mix",
    demo: DemoOption = False,
) -> None:
    """Tell which emotion each FILE expresses."""
    _refuse_for_windows(timeline=timeline, hop=hop, merge=merge)
    _refuse_for_segments(segments, timeline=timeline, adapt=adapt, profile=profile, own=profile_per_speaker)
    sounds = _sounds(sources or [], demo)
    from speech_emotion.classifier import load
    from speech_emotion.formats import columns

    name, write = _writer([format_name, *["json"] * as_json, *["csv"] * as_csv], len(sounds))
    given = _segments(segments, len(sounds))
    classifier = load(model)
    classifier.info.with_hop(hop)  # refused once, not once per file
    voice = {"profile": "per_speaker"} if profile_per_speaker else _relative_to(classifier, profile, adapt)
    settings = {"track": track, "channels": channels, **voice}
    answer: Callable[[Source], Iterator[tuple[Segment | None, Prediction]]]
    if given:
        answer = partial(classifier.segments, segments=given, **settings)
    elif timeline:
        answer = partial(_windows, classifier, merge=merge, hop_seconds=hop, **settings)
    else:
        answer = partial(_whole, classifier, **settings)
    failed: list[str] = []
    is_quick = len(sounds) == 1 and not (timeline or given)
    is_document = name != "text" and sys.stdout.isatty()  # a bar would break its lines
    with nullcontext() if is_quick or is_document else progress("predicting", in_bytes=True) as on_bytes:
        outcomes = _outcomes(sounds, answer, failed, Progress(sounds, on_bytes))
        write(outcomes, sys.stdout, columns(classifier.info.labels, channels, segments=bool(given)))
    if failed:
        complain(f"{len(failed)} of {len(sounds)} failed: {', '.join(failed)}")
        raise typer.Exit(1)


def _refuse_for_windows(*, timeline: bool, hop: float | None, merge: bool) -> None:
    """Refuse what only a timeline can do."""
    if hop is not None and not timeline:
        raise typer.BadParameter("--hop is the time between the answers of --timeline; add --timeline")
    if merge and not timeline:
        raise typer.BadParameter("--merge merges the windows of --timeline; add --timeline")


def _refuse_for_segments(
    segments: Path | None, *, timeline: bool, adapt: bool, profile: Path | None, own: bool
) -> None:
    """Refuse what does not go with given segments, or only with them."""
    if segments and timeline:
        raise typer.BadParameter("--segments answers per segment and --timeline per window; choose one")
    if segments and adapt:
        raise typer.BadParameter(
            "--adapt follows one voice; with --segments, leave it out or use --profile-per-speaker"
        )
    if own and not segments:
        raise typer.BadParameter("--profile-per-speaker is for the speakers of --segments; add --segments")
    if own and profile:
        raise typer.BadParameter("--profile and --profile-per-speaker are two ways; choose one")


def _segments(path: Path | None, n_sounds: int) -> "list[Segment] | None":
    """The given segments, if any, which belong to one recording."""
    if path is None:
        return None
    from speech_emotion.segments.reader import read_segments

    if n_sounds > 1:
        raise typer.BadParameter(f"--segments are those of one recording, not of {n_sounds}; give one FILE")
    return read_segments(path)


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


def _writer(names: Sequence[str], n_sounds: int) -> tuple[str, "Writer"]:
    """The one format that the options `names` ask for, and its function; text is what is left when none does."""
    from speech_emotion.formats import ONE_RECORDING, WRITERS

    asked = sorted({name for name in names if name != "text"}) or ["text"]
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} are two formats; choose one")
    (name,) = asked
    if name not in WRITERS:
        raise typer.BadParameter(f"--format must be one of {', '.join(WRITERS)}; got {name!r}")
    if name in ONE_RECORDING and n_sounds > 1:
        raise typer.BadParameter(f"--format {name} describes one recording, not {n_sounds}; give one FILE")
    if name == "png" and sys.stdout.isatty():
        raise typer.BadParameter("--format png is a picture; redirect it with > timeline.png")
    return name, WRITERS[name]


def _sounds(arguments: Sequence[str], demo: bool) -> "list[NamedSource]":
    """Every sound to answer on; where the bundled voices lie is of no interest."""
    from speech_emotion.inputs import NamedSource, expand

    voices = sorted((Path(__file__).parents[1] / "assets").glob("demo-*.flac")) if demo else []
    sounds = [*expand(arguments), *(NamedSource(path.name, str(path)) for path in voices)]
    if not sounds:
        raise typer.BadParameter("give at least one sound file, or --demo")
    return sounds


def _whole(
    classifier: "Classifier", source: "Source", **settings: Any
) -> "Iterator[tuple[None, Prediction]]":
    """One answer, or one per channel."""
    answers = classifier.predict(source, **settings)
    yield from ((None, answer) for answer in (answers if isinstance(answers, tuple) else (answers,)))


def _windows(
    classifier: "Classifier", source: "Source", *, merge: bool, **settings: Any
) -> "Iterator[tuple[None, Prediction]]":
    """One answer per window, or per stretch of one emotion."""
    windows = classifier.windows(source, **settings)
    yield from ((None, answer) for answer in (classifier.merge(windows) if merge else windows))


def _outcomes(
    sounds: "Sequence[NamedSource]",
    answer: "Callable[[Source], Iterator[tuple[Segment | None, Prediction]]]",
    failed: list[str],
    shown: Progress,
) -> Iterator["Outcome"]:
    """Answer on each sound in turn, as it is read; those that cannot be read are also added to `failed`."""
    from speech_emotion.formats import Outcome

    for name, path, missing in sounds:
        try:
            if missing:
                raise missing
            with opened(path) as file, shown.of(file, path) as source:
                for segment, prediction in answer(source):
                    yield Outcome(name, prediction, segment=segment)
        except SpeechEmotionError as error:
            failed.append(f"{name} ({error.code})")
            yield Outcome(name, error=error)
