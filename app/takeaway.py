"""What can be taken along. In: hearings, the model, seconds of a profile. Out: JSON, CSV, a picture, code.

Every document says which model made it, with which settings, so that it can be made again.
"""

import csv
import io
import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import altair as alt
import charts
from hearing import Hearing

import speech_emotion
from speech_emotion import Prediction
from speech_emotion.model_info import ModelInfo
from speech_emotion.server.http import REST_LIMITS
from speech_emotion.text import guard, printable

PICTURE_SCALE: Final = 2.0  # pixels a point
MOST_NAME: Final = 60  # letters


def json_document(hearings: Sequence[Hearing], info: ModelInfo, profile_seconds: float | None) -> str:
    """All answers and all windows of a session."""
    sounds = [
        {
            "source": hearing.name,
            "sha256": hearing.sha256,
            "seconds": round(hearing.seconds, 3),
            **(hearing.answer.to_dict() if hearing.answer else _error(hearing)),
            "windows": [window.to_dict() for window in hearing.windows],
        }
        for hearing in hearings
    ]
    document = {**_made_by(info, profile_seconds), "sounds": sounds}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)


def csv_table(hearings: Sequence[Hearing], info: ModelInfo, profile_seconds: float | None) -> str:
    """A row a sound and a row a window of it; `part` tells which."""
    empty = Prediction({}, 0.0, 0.0, abstained="no_speech").to_row()
    columns = ["source", "part", *empty, *info.labels, "error", "message", *_flat(info, profile_seconds)]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in _rows(hearings):
        cells = row | _flat(info, profile_seconds)
        writer.writerow(
            {key: guard(printable(cell)) if isinstance(cell, str) else cell for key, cell in cells.items()}
        )
    return out.getvalue()


def picture(hearing: Hearing, info: ModelInfo, profile_seconds: float | None) -> bytes:
    """The timeline as a PNG, drawn as on the page."""
    import vl_convert  # brings a JavaScript engine: a second, and only for whoever asks for a picture

    title = alt.TitleParams(
        f"{_short(hearing.name)}: {hearing.answer}",
        subtitle=f"speech-emotion {speech_emotion.__version__}, model {info.name} ({info.sha256[:12]}), windows of "
        f"{info.window_seconds:g} s, one every {info.hop_seconds:g} s"
        + (f", profile of {profile_seconds:.0f} s" if profile_seconds else ""),
        anchor="start",
    )
    chart = charts.timeline(hearing.windows, info.labels, height=220)
    chart = chart.properties(title=title, width=900, padding=16)
    png: bytes = vl_convert.vegalite_to_png(chart.to_json(), scale=PICTURE_SCALE)
    return png


def _short(name: str) -> str:
    """`name` with an end that tells it apart, in a line of a picture."""
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME // 2]}…{name[1 - MOST_NAME // 2 :]}"


def python_snippet(name: str, *, with_profile: bool, is_long: bool) -> str:
    """Code that gives the answer of the page again."""
    lines = ["import speech_emotion as ser", "", "classifier = ser.load()"]
    voice = ""
    if with_profile:
        lines.append('me = ser.SpeakerProfile.load("my-voice.json")')
        voice = ", profile=me"
    lines.append(f"print(classifier.predict({name!r}{voice}))")
    if is_long:
        lines.append(f"for window in classifier.timeline({name!r}{voice}):")
        lines.append("    print(window)")
    return "\n".join(lines)


def curl_snippet(name: str, page_url: str, *, is_long: bool) -> str:
    """The same over the network, from the server of the page."""
    verbs = ["predict", *(["timeline"] if is_long else [])]
    address = page_url.rstrip("/") + "/api/"
    return "\n".join(
        f"curl --data-binary @{shlex.quote(name)} {shlex.quote(address + verb)}" for verb in verbs
    )


def fits_rest(n_bytes: int, seconds: float) -> bool:
    """Whether that server takes a sound of this size."""
    return n_bytes <= REST_LIMITS.max_body_bytes and seconds <= REST_LIMITS.audio.max_seconds


def _rows(hearings: Sequence[Hearing]) -> Iterator[dict[str, Any]]:
    for hearing in hearings:
        if hearing.answer is None:
            yield {"source": hearing.name, "part": "whole", **_error(hearing)}
            continue
        yield {"source": hearing.name, "part": "whole", **hearing.answer.to_row()}
        for window in hearing.windows:
            yield {"source": hearing.name, "part": "window", **window.to_row()}


def _error(hearing: Hearing) -> dict[str, str]:
    error = hearing.error
    return {"error": error.code, "message": str(error)} if error else {}


def _made_by(info: ModelInfo, profile_seconds: float | None) -> dict[str, Any]:
    return {
        "program": f"speech-emotion {speech_emotion.__version__}",
        "model": {"name": info.name, "sha256": info.sha256, "commit": info.commit, "licence": info.licence},
        "settings": {
            "window_seconds": info.window_seconds,
            "hop_seconds": info.hop_seconds,
            "thresholds": dict(info.thresholds),
            "profile_seconds": profile_seconds,
        },
    }


def _flat(info: ModelInfo, profile_seconds: float | None) -> dict[str, str | float | None]:
    return {
        "program": f"speech-emotion {speech_emotion.__version__}",
        "model": info.name,
        "model_sha256": info.sha256,
        "window_seconds": info.window_seconds,
        "hop_seconds": info.hop_seconds,
        "profile_seconds": profile_seconds,
    }
