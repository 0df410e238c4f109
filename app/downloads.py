"""Documents to download, and their buttons. In: analyses, the model, seconds of a profile. Out: what `formats` writes.

Report, JSON, CSV and picture name the model and the settings that made them.
"""

import io
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import about
import answers
import calls
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion import Prediction
from speech_emotion.formats import WRITERS, Outcome, columns, error_fields, report, write_table
from speech_emotion.model_info import ModelInfo
from speech_emotion.segments import Segment
from speech_emotion.server.http import REST_LIMITS
from speech_emotion.version import PROGRAM

ANNOTATIONS: Final = {  # format → what its program calls it, and the end of a file's name
    "srt": ("SubRip", ".srt"),
    "webvtt": ("WebVTT", ".vtt"),
    "audacity": ("Audacity labels", ".txt"),
    "textgrid": ("Praat TextGrid", ".TextGrid"),
    "rttm": ("RTTM", ".rttm"),
}


DIGITS: Final = 4  # of a probability in a table


class Results(NamedTuple):
    """What documents are made of: analyses with those of their channels and utterances, the model, the settings."""

    analyses: Sequence[Analysis]
    info: ModelInfo
    profile_seconds: float | None = None


def buttons(state: Session, sound: Sound, chosen: Analysis, info: ModelInfo) -> None:
    """Buttons that download all answers as a report and as tables, and those of the chosen sound in other formats."""
    profile = state.active_profile
    found = [complete(one, state) for one in state.sounds if state.found(one)]
    offer(
        Results(found, info, profile.seconds if profile else None),
        complete(sound, state) if chosen.answer else None,
        stem="speech-emotion",
    )


def complete(sound: Sound, state: Session) -> Analysis:
    """The analysis of a sound, with those of its channels and of its transcript where they are finished."""
    whole = state.found(sound) or Analysis(sound.name, sound.sha256)
    lanes, utterances = calls.parts(sound, state)
    return replace(whole, lanes=lanes, segments=utterances.segments if utterances else ())


def offer(results: Results, chosen: Analysis | None, *, stem: str) -> None:
    """The buttons; each file is made on demand, and its name begins with `stem`."""
    made: list[tuple[str, str, str, Callable[[], str | bytes]]] = [
        ("Report, HTML", ".html", "text/html", partial(html_report, results)),
        ("Answers, CSV", ".csv", "text/csv", partial(csv_table, results)),
        ("Answers, JSON", ".json", "application/json", partial(json_document, results)),
    ]
    with st.container(gap="xxsmall"):
        st.caption(f"Download all {len(results.analyses)}" if len(results.analyses) > 1 else "Download")
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            for label, ending, kind, make in made:
                name = f"{stem}{ending}"
                st.download_button(label, make, name, kind, on_click="ignore", key=name)
            if chosen and chosen.windows:
                with st.popover("More formats"):
                    _more(results, chosen, stem)


def _more(results: Results, chosen: Analysis, stem: str) -> None:
    """Buttons for the picture of the chosen sound, and for its stretches or utterances in each format."""
    st.caption(f"{answers.escape(chosen.name)}: stretches of one emotion, without the pauses")
    name = f"{stem}-timeline.png"
    draw = partial(picture, results, chosen)
    st.download_button("Timeline, PNG", draw, name, "image/png", on_click="ignore", key=name)
    for format_name, (title, ending) in ANNOTATIONS.items():
        make = partial(annotations, results, chosen, format_name)
        name = f"{stem}-emotions{ending}"
        st.download_button(title, make, name, "text/plain", on_click="ignore", key=name)


def html_report(results: Results) -> str:
    """All answers as one page without sound, to share."""
    origin = _flat(_origin(results))
    facts = [f"{key.replace('_', ' ')}: {value}" for key, value in origin.items() if value is not None]
    return report.document([_section(one, results) for one in results.analyses], facts)


def _section(analysis: Analysis, results: Results) -> report.Section:
    answer, info = analysis.answer, results.info
    caveat = partial(
        about.caveat, info=info, sound_name=analysis.name, is_tuned=results.profile_seconds is not None
    )
    if answer is None:
        problem = answers.explain(analysis.error) if analysis.error else ""
        return report.Section(analysis.name, problem=problem)
    remarks = [
        caveat(answer),
        *(answers.plain_warning(word) for word in answer.warnings),
    ]
    lanes = [
        report.Channel(f"{answers.capital(lane.name)} channel", lane.answer, caveat(lane.answer))
        for lane in analysis.lanes
        if lane.answer
    ]
    stretches: list[Prediction] = []
    if answers.has_timeline(analysis, info) and answer.probabilities:
        stretches = [
            one for lane in calls.stretches_of(analysis, analysis.lanes, info).values() for one in lane
        ]
    rows: list[tuple[Prediction, Segment | None]] = [(given, segment) for segment, given in analysis.segments]
    rows = rows or [(one, None) for one in stretches]
    shown = [remark for remark in remarks if remark]
    return report.Section(analysis.name, answer, "", analysis.seconds, stretches, rows, shown, lanes)


def json_document(results: Results) -> str:
    """Every answer, window, channel and utterance, with the model and the settings."""
    document = {**_origin(results), "sounds": [_sound(one) for one in results.analyses]}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)


def _sound(analysis: Analysis) -> dict[str, Any]:
    document: dict[str, Any] = {
        "source": analysis.name,
        "sha256": analysis.sha256,
        "seconds": round(analysis.seconds, 3),
        **(analysis.answer.to_dict() if analysis.answer else _error(analysis)),
        "windows": [window.to_dict() for window in analysis.windows],
    }
    if analysis.lanes:
        document["channels"] = [
            {**lane.answer.to_dict(), "windows": [window.to_dict() for window in lane.windows]}
            for lane in analysis.lanes
            if lane.answer
        ]
    if analysis.segments:
        document["utterances"] = [
            {"speaker": segment.speaker, "text": segment.text, **answer.to_dict()}
            for segment, answer in analysis.segments
        ]
    return document


def csv_table(results: Results) -> str:
    """One row per sound, window, channel and utterance; the column `part` tells them apart."""
    origin = _flat(_origin(results))
    source, *rest = columns(results.info.labels, "separate", segments=True)
    out = io.StringIO()
    rows = (row | origin for analysis in results.analyses for row in _rows(analysis))
    write_table(rows, [source, "part", *rest, *origin], out)
    return out.getvalue()


def picture(results: Results, analysis: Analysis) -> bytes:
    """The timeline as a PNG, a row per channel."""
    from speech_emotion.formats.picture import png, short

    info, seconds = results.info, results.profile_seconds
    settings = (
        f"{PROGRAM}, model {info.name} ({info.sha256[:12]}), windows of {info.window_seconds:g} s, "
        f"one every {info.hop_seconds:g} s" + (f", profile of {seconds:.0f} s" if seconds else "")
    )
    windows = [window for lane in analysis.lanes for window in lane.windows] or analysis.windows
    return png(windows, f"{short(analysis.name)}: {analysis.answer}", settings)


def annotations(results: Results, analysis: Analysis, name: str) -> str:
    """The utterances, or the stretches of one emotion, as subtitles or labels.

    Args:
        results: Which model answered.
        analysis: An analysis with windows.
        name: The format, of `speech_emotion.formats.WRITERS`.
    """
    out = io.StringIO()
    outcomes = [Outcome(analysis.name, answer, segment=segment) for segment, answer in analysis.segments]
    if not outcomes:
        lanes = calls.stretches_of(analysis, analysis.lanes, results.info)
        outcomes = [Outcome(analysis.name, one) for of_lane in lanes.values() for one in of_lane]
    WRITERS[name](outcomes, out, columns(results.info.labels))
    return out.getvalue()


def python_snippet(
    name: str, model: str, *, with_profile: bool, is_long: bool, has_channels: bool = False
) -> str:
    """Python code that reproduces the answer of the page, or with `has_channels` that for each channel."""
    lines = ["import speech_emotion as ser", "", f'classifier = ser.load("{model}")']
    settings = ""
    if with_profile:
        lines.append('me = ser.SpeakerProfile.load("my-voice.json")')
        settings = ", profile=me"
    if has_channels:
        settings += ', channels="separate"'
        lines.append(f"for channel in classifier.predict({name!r}{settings}):")
        lines.append("    print(channel)")
    else:
        lines.append(f"print(classifier.predict({name!r}{settings}))")
    if is_long:
        lines.append(f"for window in classifier.timeline({name!r}{settings}):")
        lines.append("    print(window)")
    return "\n".join(lines)


def curl_snippet(name: str, address: str, *, is_long: bool, has_channels: bool = False) -> str:
    """Shell commands that get the same answer, or that for each channel, from the routes of the model at `address`."""
    verbs = ["predict", *(["timeline"] if is_long else [])]
    if has_channels:
        verbs = [f"{verb}?channels=separate" for verb in verbs]
    return "\n".join(
        f"curl --data-binary @{shlex.quote(name)} {shlex.quote(address + verb)}" for verb in verbs
    )


def fits_rest(n_bytes: int, seconds: float) -> bool:
    """Whether the server of the page accepts a sound of this size over HTTP."""
    return n_bytes <= REST_LIMITS.max_body_bytes and seconds <= REST_LIMITS.audio.max_seconds


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    source = {"source": analysis.name}
    yield source | {"part": "whole"} | (_cells(analysis.answer) if analysis.answer else _error(analysis))
    for window in analysis.windows:
        yield source | {"part": "window"} | _cells(window)
    for lane in analysis.lanes:
        if lane.answer:
            yield source | {"part": "channel"} | _cells(lane.answer)
        for window in lane.windows:
            yield source | {"part": "window"} | _cells(window)
    for segment, answer in analysis.segments:
        said = {"speaker": segment.speaker, "text": segment.text}
        yield source | {"part": "utterance"} | said | _cells(answer)


def _cells(answer: Prediction) -> dict[str, Any]:
    """A row without digits that mean nothing."""
    return {
        key: round(value, DIGITS) if isinstance(value, float) else value
        for key, value in answer.to_row().items()
    }


def _error(analysis: Analysis) -> dict[str, str]:
    return error_fields(analysis.error) if analysis.error else {}


def _origin(results: Results) -> dict[str, Any]:
    """Program, model and settings, as JSON states them."""
    info = results.info
    return {
        "program": PROGRAM,
        "model": {"name": info.name, "sha256": info.sha256, "commit": info.commit, "licence": info.licence},
        "settings": {
            "window_seconds": info.window_seconds,
            "hop_seconds": info.hop_seconds,
            "thresholds": dict(info.thresholds),
            "profile_seconds": results.profile_seconds,
        },
    }


def _flat(origin: dict[str, Any]) -> dict[str, str | float | None]:
    """The same as cells of a table."""
    model, settings = origin["model"], origin["settings"]
    return {
        "program": origin["program"],
        "model": model["name"],
        "model_sha256": model["sha256"],
        **{key: settings[key] for key in ("window_seconds", "hop_seconds", "profile_seconds")},
    }
