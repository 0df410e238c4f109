"""Charts of an answer. In: predictions, envelope and log-mel. Out: Altair charts. All functions are pure.

Waveform, spectrogram and timeline have left axes of the same width, so that their time axes line up. `in_words` is the
text alternative of a timeline.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas  # noqa: F401 - imported before Altair, which fails if another thread has only half imported it
from PIL import Image

from speech_emotion import Prediction
from speech_emotion.labels import ICONS

# Neighbours differ in lightness, for people with red-green blindness. No meaning is carried by colour alone.
COLOURS: Final[Mapping[str, str]] = {
    "neutral": "#667a8e",
    "calm": "#2a9d8f",
    "happy": "#f2b632",
    "sad": "#3d6fb6",
    "angry": "#d1495b",
    "fearful": "#7b4fa6",
    "disgust": "#6a8d2f",
    "surprised": "#f3843e",
    "not_sure": "#c2ab87",
    "no_speech": "#adb3ba",
    "too_short": "#adb3ba",
}
# Of other labels, by their place among the model's.
MORE_COLOURS: Final = ("#607d8b", "#b5838d", "#4f772d", "#e07a5f", "#457b9d", "#9a8c98", "#bc6c25", "#5e548e")
ABSTENTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "not_sure": ("🤔", "not sure"),
    "no_speech": ("🔇", "no speech"),
    "too_short": ("⏱️", "too short"),
}
MAX_BANDS: Final = 300  # of a timeline; in a longer one, neighbours are averaged
AXIS_PIXELS: Final = 52  # left of every chart, so that the time axes line up
TIME_PIXELS: Final = 50  # below the last chart, for its time axis
INK: Final = "currentColor"  # the page's text colour in every theme; needs charts drawn as SVG
STRIP: Final = 0.06  # of a timeline's height, marks answers that are not sure
MIN_TOP: Final = -9.0  # natural-log power; if the loudest cell is below this, the picture is dark
# Black, violet, red, yellow, from quiet to loud; lightness increases too.
_HEAT: Final = np.array(
    [[0, 0, 4], [49, 18, 59], [122, 28, 109], [187, 55, 84], [237, 105, 37], [252, 181, 25], [252, 255, 164]]
)

FloatArray = npt.NDArray[np.float32]
AnyFloats = npt.NDArray[np.floating[Any]]


def colours(labels: Sequence[str]) -> dict[str, str]:
    """The colour of each label of a model and of each abstention."""
    others = [label for label in labels if label not in COLOURS]
    more = {label: MORE_COLOURS[place % len(MORE_COLOURS)] for place, label in enumerate(others)}
    return {**COLOURS, **more}


def icon(label: str) -> str:
    """The icon of an emotion."""
    return ICONS.get(label, "🔊")


def title(prediction: Prediction) -> str:
    """`😠 angry` or `🤔 not sure`."""
    if prediction.abstained:
        return " ".join(ABSTENTIONS[prediction.abstained])
    return f"{icon(prediction.label or '')} {prediction.label}"


def title_with_share(prediction: Prediction) -> str:
    """`😠 angry 94 %`; without a confidence the title alone."""
    return title(prediction) + (f" {percent(prediction.confidence)}" if prediction.confidence else "")


def ranked(prediction: Prediction) -> list[tuple[str, float]]:
    """Every emotion with its probability, the most probable first."""
    return sorted(prediction.probabilities.items(), key=lambda item: -item[1])


def percent(share: float) -> str:
    """`42 %`; 0 and 100 % only for exactly 0 and 1."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 < share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def bars(prediction: Prediction) -> alt.Chart:
    """One bar per emotion, the most probable first; names and numbers are the axis labels."""
    shares = ranked(prediction)
    names = [f"{icon(label)} {label}  {percent(share)}" for label, share in shares]
    colour = colours(list(prediction.probabilities))
    rows = [
        {"emotion": name, "probability": share, "colour": colour[label]}
        for name, (label, share) in zip(names, shares, strict=True)
    ]
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(cornerRadiusEnd=4, height={"band": 0.72}, aria=False)
        .encode(
            y=alt.Y(
                "emotion:N",
                sort=names,
                title=None,
                axis=alt.Axis(labelFontSize=14, labelLimit=240, ticks=False, domain=False, labelColor=INK),
            ),
            x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1]), axis=None),
            color=alt.Color("colour:N", scale=None),
            tooltip=alt.value(None),
        )
        .properties(height=30 * len(rows), usermeta=_SVG)
        .configure_view(strokeWidth=0)
    )
    return chart


def timeline(
    predictions: Sequence[Prediction], labels: Sequence[str], *, height: int = 170, legend: bool = True
) -> alt.Chart:
    """The probabilities over time, stacked; grey where there is no answer. A click selects `at`, the start in s."""
    bands = _bands(predictions)
    rows = [row for band in bands for row in _stack(band, labels)]
    used = {row["emotion"] for row in rows}
    known = [name for name in (*labels, *ABSTENTIONS) if name in used]
    colour = colours(labels)
    at = alt.selection_point(name="at", fields=["start"], toggle=False, empty=False)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect(cursor="pointer", aria=False)
        .encode(
            x=_time_axis("start", bands[-1]["end"]),
            x2="end:Q",
            y=alt.Y(
                "low:Q",
                title="probability",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=2, **_LEFT),
            ),
            y2="high:Q",
            color=alt.Color(
                "emotion:N",
                scale=alt.Scale(domain=known, range=[colour[name] for name in known]),
                legend=alt.Legend(
                    title=None,
                    orient="bottom",
                    columns=5,
                    symbolType="square",
                    labelExpr="replace(datum.label, '_', ' ')",
                )
                if legend
                else None,
            ),
            tooltip=["time:N", "answer:N", "emotion:N", alt.Tooltip("share:N", title="probability")],
        )
        .add_params(at)
        .properties(height=height, padding=_PADDING, usermeta=_SVG)
        .configure_view(strokeWidth=0)
    )
    return chart


def legend(predictions: Sequence[Prediction], labels: Sequence[str]) -> str:
    """The legend of a timeline as HTML that wraps: all `labels`, and the abstentions that occur."""
    reasons = {band["abstained"] for band in _bands(predictions)}
    names = [*labels, *(reason for reason in ABSTENTIONS if reason in reasons)]
    colour = colours(labels)
    chips = [
        f"<span class='se-chip'><i style='background:{colour[name]}'></i>{html.escape(name.replace('_', ' '))}</span>"
        for name in names
    ]
    return f"<div class='se-legend' aria-hidden='true'>{''.join(chips)}</div>"


def waveform(envelope: FloatArray, seconds: float, *, height: int = 70) -> alt.Chart:
    """The minimum and maximum sample over time; envelope (n, 2)."""
    step = seconds / max(len(envelope), 1)
    rows = [
        {"start": (i + 0.5) * step, "low": round(float(low), 4), "high": round(float(high), 4)}
        for i, (low, high) in enumerate(envelope)
    ]
    loudest = max(float(np.abs(envelope).max(initial=0)), 1e-3)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_area(color="#5b80b8", line={"strokeWidth": 0.5, "color": "#5b80b8"}, aria=False)
        .encode(
            x=_time_axis("start", seconds, hidden=True),
            y=alt.Y(
                "low:Q",
                title="wave",
                scale=alt.Scale(domain=[-loudest, loudest], nice=False),
                axis=alt.Axis(labels=False, ticks=False, domain=False, **_LEFT),
            ),
            y2="high:Q",
        )
        .properties(height=height, padding=_PADDING, usermeta=_SVG)
        .configure_view(strokeWidth=0)
        .configure_axis(grid=False)
    )
    return chart


def spectrogram(
    log_mel: AnyFloats, seconds: float, *, height: int = 120, is_last: bool = False
) -> alt.LayerChart:
    """The model's log-mel input (n_mels, n_frames), low bands at the bottom; is_last: with a time axis."""
    picture = alt.Chart(alt.InlineData(values=[{"url": heat_map(log_mel)}])).mark_image(
        align="left",
        baseline="top",
        aspect=False,
        width=alt.ExprRef("width"),
        height=alt.ExprRef("height"),
        aria=False,
    )
    picture = picture.encode(x=alt.value(0), y=alt.value(0), url="url:N")
    corners: list[dict[str, float]] = [{"start": 0, "band": 1}, {"start": seconds, "band": len(log_mel)}]
    axes = (
        alt.Chart(alt.InlineData(values=corners))
        .mark_point(opacity=0, aria=False)
        .encode(
            x=_time_axis("start", seconds, hidden=not is_last),
            y=alt.Y(
                "band:Q",
                title="mel band",
                scale=alt.Scale(domain=[0, len(log_mel)], nice=False),
                axis=alt.Axis(values=[1, len(log_mel)], **_LEFT),
            ),
        )
    )
    layers = (picture + axes).properties(
        height=height + (TIME_PIXELS if is_last else 0), padding=_PADDING, usermeta=_SVG
    )
    chart: alt.LayerChart = layers.configure_view(strokeWidth=0).configure_axis(grid=False)
    return chart


def heat_map(log_mel: AnyFloats) -> str:
    """A PNG of (n_mels, n_frames) as a data URL: the 60 dB below the loudest cell; silence is dark."""
    top = max(float(log_mel.max(initial=-99)), MIN_TOP)
    share = np.clip((log_mel[::-1].astype(np.float32) - top) / 13.8 + 1, 0, 1)  # 60 dB in natural-log power
    stops = np.linspace(0, 1, len(_HEAT))
    pixels = np.stack([np.interp(share, stops, _HEAT[:, channel]) for channel in range(3)], axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def in_words(predictions: Sequence[Prediction]) -> str:
    """The timeline as a sentence: how long each answer lasts, the longest first."""
    seconds: dict[str, float] = {}
    for band in _bands(predictions):
        name = ABSTENTIONS[band["abstained"]][1] if band["abstained"] else band["best"]
        seconds[name] = seconds.get(name, 0.0) + band["end"] - band["start"]
    lasting = [
        f"{name} for {time:.1f} s" for name, time in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return "Timeline: " + ", ".join(lasting) + "."


def clock(seconds: float) -> str:
    """`1:05.2`, with hours only if there are any: `1:02:05.0`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


_SVG: Final = {"embedOptions": {"renderer": "svg"}}
_PADDING: Final = {"left": 0, "right": 12, "top": 2, "bottom": 2}
_INKED: Final[dict[str, Any]] = {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal"}
_LEFT: Final[dict[str, Any]] = {
    **_INKED,
    "minExtent": AXIS_PIXELS,
    "maxExtent": AXIS_PIXELS,
    "titleX": 8 - AXIS_PIXELS,
}


def _time_axis(field: str, seconds: float, *, hidden: bool = False) -> alt.X:
    shown = not hidden
    # labelBound: a label beyond the end would make this chart narrower than the ones above it.
    axis = alt.Axis(
        labels=shown,
        ticks=shown,
        domain=shown,
        labelExpr=_CLOCK,
        labelBound=True,
        labelOverlap=True,
        **_INKED,
    )
    title = None if hidden else "time, minutes : seconds"
    return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, seconds], nice=False), title=title, axis=axis)


_CLOCK: Final = (
    "floor(datum.value / 60) + ':' + (datum.value % 60 < 10 ? '0' : '') + format(datum.value % 60, '.3~r')"
)


def _bands(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Overlapping windows as bands that touch: borders lie midway between the middles of neighbours."""
    middles = [(p.start_seconds + p.end_seconds) / 2 for p in predictions]
    borders = [(a + b) / 2 for a, b in pairwise(middles)]
    starts = [predictions[0].start_seconds, *borders]
    ends = [*borders, predictions[-1].end_seconds]
    step = -(-len(predictions) // MAX_BANDS)
    return [
        _band(predictions[i : i + step], starts[i], ends[min(i + step, len(ends)) - 1])
        for i in range(0, len(predictions), step)
    ]


def _band(predictions: Sequence[Prediction], start: float, end: float) -> dict[str, Any]:
    scored = [p for p in predictions if p.probabilities]
    shares = {
        label: float(np.mean([p.probabilities[label] for p in scored]))
        for label in (scored[0].probabilities if scored else ())
    }
    best = max(shares, key=shares.__getitem__) if shares else ""
    reasons = {p.abstained for p in predictions}
    abstained = reasons.pop() if len(reasons) == 1 else None
    if not shares:
        abstained = abstained or "no_speech"
    return {"start": start, "end": end, "shares": shares, "best": best, "abstained": abstained}


def _stack(band: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row per emotion, from the bottom up, with a strip on top if not sure; one grey row without probabilities."""
    icon, text = ABSTENTIONS.get(band["abstained"], ("", band["best"]))
    row = {"start": round(band["start"], 3), "end": round(band["end"], 3)}
    row |= {"time": f"{clock(band['start'])} to {clock(band['end'])}", "answer": f"{icon} {text}".strip()}
    if not band["shares"]:
        return [row | {"emotion": band["abstained"], "low": 0.0, "high": 1.0, "share": "–"}]
    rows, low = [], 0.0
    for label in labels:
        high = min(low + band["shares"][label], 1.0)
        rows.append(
            row | {"emotion": label, "low": low, "high": high, "share": percent(band["shares"][label])}
        )
        low = high
    if band["abstained"] == "not_sure":  # last, so drawn over the others
        rows.append(row | {"emotion": "not_sure", "low": 1 - STRIP, "high": 1.0, "share": "–"})
    return rows
