"""Documents to download. In: analyses, the model, seconds of a profile. Out: what `formats` writes, JSON, code.

JSON, CSV and picture name the model and the settings that made them.
"""

import io
import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

from analysis import Analysis

from speech_emotion.formats import WRITERS, Outcome, columns, error_fields, write_table
from speech_emotion.merge import merge
from speech_emotion.model_info import ModelInfo
from speech_emotion.server.http import REST_LIMITS
from speech_emotion.version import PROGRAM

ANNOTATIONS: Final = {  # format → what its program calls it, and the end of a file's name
    "srt": ("SubRip", ".srt"),
    "webvtt": ("WebVTT", ".vtt"),
    "audacity": ("Audacity labels", ".txt"),
    "textgrid": ("Praat TextGrid", ".TextGrid"),
    "rttm": ("RTTM", ".rttm"),
}


def json_document(analyses: Sequence[Analysis], info: ModelInfo, profile_seconds: float | None) -> str:
    """Every answer and window in `analyses`, with the model and the settings."""
    sounds = [
        {
            "source": analysis.name,
            "sha256": analysis.sha256,
            "seconds": round(analysis.seconds, 3),
            **(analysis.answer.to_dict() if analysis.answer else _error(analysis)),
            "windows": [window.to_dict() for window in analysis.windows],
        }
        for analysis in analyses
    ]
    document = {**_origin(info, profile_seconds), "sounds": sounds}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)


def csv_table(analyses: Sequence[Analysis], info: ModelInfo, profile_seconds: float | None) -> str:
    """One row per sound and one per window; the column `part` tells them apart."""
    origin = _flat(_origin(info, profile_seconds))
    source, *rest = columns(info.labels)
    out = io.StringIO()
    write_table((row | origin for row in _rows(analyses)), [source, "part", *rest, *origin], out)
    return out.getvalue()


def picture(analysis: Analysis, info: ModelInfo, profile_seconds: float | None) -> bytes:
    """The timeline as a PNG, drawn as on the page."""
    from speech_emotion.formats.picture import png, short

    settings = (
        f"{PROGRAM}, model {info.name} ({info.sha256[:12]}), windows of {info.window_seconds:g} s, "
        f"one every {info.hop_seconds:g} s"
        + (f", profile of {profile_seconds:.0f} s" if profile_seconds else "")
    )
    return png(analysis.windows, f"{short(analysis.name)}: {analysis.answer}", settings)


def annotations(analysis: Analysis, info: ModelInfo, name: str) -> str:
    """The stretches of one emotion as subtitles or labels.

    Args:
        analysis: An analysis with windows.
        info: The model.
        name: The format, of `speech_emotion.formats.WRITERS`.
    """
    out = io.StringIO()
    stretches = merge(analysis.windows, info.thresholds)
    WRITERS[name]((Outcome(analysis.name, one) for one in stretches), out, columns(info.labels))
    return out.getvalue()


def python_snippet(name: str, model: str, *, with_profile: bool, is_long: bool) -> str:
    """Python code that reproduces the answer of the page."""
    lines = ["import speech_emotion as ser", "", f'classifier = ser.load("{model}")']
    voice = ""
    if with_profile:
        lines.append('me = ser.SpeakerProfile.load("my-voice.json")')
        voice = ", profile=me"
    lines.append(f"print(classifier.predict({name!r}{voice}))")
    if is_long:
        lines.append(f"for window in classifier.timeline({name!r}{voice}):")
        lines.append("    print(window)")
    return "\n".join(lines)


def curl_snippet(name: str, address: str, *, is_long: bool) -> str:
    """Shell commands that get the same answer from the routes of the model at `address`."""
    verbs = ["predict", *(["timeline"] if is_long else [])]
    return "\n".join(
        f"curl --data-binary @{shlex.quote(name)} {shlex.quote(address + verb)}" for verb in verbs
    )


def fits_rest(n_bytes: int, seconds: float) -> bool:
    """Whether the server of the page accepts a sound of this size over HTTP."""
    return n_bytes <= REST_LIMITS.max_body_bytes and seconds <= REST_LIMITS.audio.max_seconds


def _rows(analyses: Sequence[Analysis]) -> Iterator[dict[str, Any]]:
    for analysis in analyses:
        whole = analysis.answer.to_row() if analysis.answer else _error(analysis)
        yield {"source": analysis.name, "part": "whole", **whole}
        for window in analysis.windows:
            yield {"source": analysis.name, "part": "window", **window.to_row()}


def _error(analysis: Analysis) -> dict[str, str]:
    return error_fields(analysis.error) if analysis.error else {}


def _origin(info: ModelInfo, profile_seconds: float | None) -> dict[str, Any]:
    """Program, model and settings, as JSON states them."""
    return {
        "program": PROGRAM,
        "model": {"name": info.name, "sha256": info.sha256, "commit": info.commit, "licence": info.licence},
        "settings": {
            "window_seconds": info.window_seconds,
            "hop_seconds": info.hop_seconds,
            "thresholds": dict(info.thresholds),
            "profile_seconds": profile_seconds,
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
