"""The timeline as a picture. In: predictions. Out: a PNG."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, TextIO

import altair as alt
import numpy as np
import pandas  # noqa: F401 - Altair fails if another thread has only half imported it

from speech_emotion.formats.look import ABSTENTIONS, colours
from speech_emotion.formats.rows import Outcome
from speech_emotion.prediction import Prediction
from speech_emotion.text import printable
from speech_emotion.version import PROGRAM

MAX_BANDS: Final = 300  # of a timeline; in a longer one, neighbours are averaged
AXIS_PIXELS: Final = 52  # left of every row, so that the time axes line up
PICTURE_SCALE: Final = 2.0  # pixels per point
MAX_NAME: Final = 60  # characters, in the title of a picture
STRIP: Final = 0.06  # of a timeline's height, marks answers that are not sure

_PLAIN: Final[dict[str, Any]] = {"titleFontWeight": "normal"}
_LEFT: Final[dict[str, Any]] = {
    **_PLAIN,
    "minExtent": AXIS_PIXELS,
    "maxExtent": AXIS_PIXELS,
    "titleX": 8 - AXIS_PIXELS,
}


def write_png(outcomes: Iterable[Outcome], out: TextIO, columns: Sequence[str]) -> None:  # noqa: ARG001
    """Draw the answers of one recording, a row of the picture per channel; raises the error of one that has one."""
    predictions, source = [], ""
    for outcome in outcomes:
        if outcome.error:
            raise type(outcome.error)(f"{outcome.source}: {outcome.error}") from outcome.error
        if outcome.prediction:
            predictions.append(outcome.prediction)
            source = outcome.source
    out.buffer.write(png(predictions, short(source), PROGRAM))


def png(predictions: Sequence[Prediction], title: str, subtitle: str) -> bytes:
    """The timeline as a PNG."""
    import vl_convert  # loads a JavaScript engine, which takes a second: only on demand

    labels = next((list(one.probabilities) for one in predictions if one.probabilities), [])
    channels: dict[str | None, list[Prediction]] = {}
    for one in sorted(predictions, key=lambda one: one.start_seconds):
        channels.setdefault(one.channel, []).append(one)
    rows = [
        _stacked(of_channel, labels).properties(width=900, height=220, title=channel or "")
        for channel, of_channel in channels.items()
    ]
    head = alt.TitleParams(printable(title), subtitle=printable(subtitle), anchor="start")
    chart = alt.vconcat(*rows).properties(title=head, padding=16).configure_view(strokeWidth=0)
    image: bytes = vl_convert.vegalite_to_png(chart.to_json(), scale=PICTURE_SCALE)
    return image


def short(name: str) -> str:
    """`name`, cut in the middle to MAX_NAME characters."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}…{name[1 - MAX_NAME // 2 :]}"


def _stacked(predictions: Sequence[Prediction], labels: Sequence[str]) -> alt.Chart:
    found = bands(predictions)
    rows = [row for band in found for row in _stack(band, labels)]
    used = {row["emotion"] for row in rows}
    known = [name for name in (*labels, *ABSTENTIONS) if name in used]
    colour = colours(labels)
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect()
        .encode(
            x=_time_axis(found[-1]["end"]),
            x2="end:Q",
            y=alt.Y(
                "low:Q",
                title="probability",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(labelExpr="100 * datum.value + ' %'", tickCount=2, **_LEFT),
            ),
            y2="high:Q",
            color=alt.Color(
                "emotion:N",
                scale=alt.Scale(domain=known, range=[colour[name] for name in known]),
                legend=_legend(),
            ),
        )
    )
    return chart


def _legend() -> alt.Legend:
    return alt.Legend(
        title=None,
        orient="bottom",
        columns=5,
        symbolType="square",
        labelExpr="replace(datum.label, '_', ' ')",
    )


def _time_axis(seconds: float) -> alt.X:
    # labelBound: a label beyond the end would make this row narrower than the others.
    axis = alt.Axis(labelExpr=_CLOCK, labelBound=True, labelOverlap=True, **_PLAIN)
    scale = alt.Scale(domain=[0, seconds], nice=False)
    return alt.X("start:Q", scale=scale, title="time", axis=axis)


_CLOCK: Final = (  # as `text.clock` writes it
    "(datum.value >= 3600 ? floor(datum.value / 3600) + ':' + (datum.value % 3600 < 600 ? '0' : '') : '') + "
    "floor(datum.value % 3600 / 60) + ':' + (datum.value % 60 < 10 ? '0' : '') + format(datum.value % 60, '.3~r')"
)


def bands(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Predictions as bands that do not overlap: in windows that do, borders lie midway between the middles."""
    starts, ends = [predictions[0].start_seconds], []
    for one, following in pairwise(predictions):
        if following.start_seconds >= one.end_seconds:
            ends.append(one.end_seconds)
            starts.append(following.start_seconds)
        else:
            border = (_middle(one) + _middle(following)) / 2
            ends.append(border)
            starts.append(border)
    ends.append(predictions[-1].end_seconds)
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
    reasons = {p.abstained for p in predictions}
    abstained = reasons.pop() if len(reasons) == 1 else None
    if not shares:
        abstained = abstained or "no_speech"
    return {"start": start, "end": end, "shares": shares, "abstained": abstained}


def _stack(band: dict[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One row per emotion, from the bottom up, with a strip on top if not sure; one grey row without probabilities."""
    row = {"start": round(band["start"], 3), "end": round(band["end"], 3)}
    if not band["shares"]:
        return [row | {"emotion": band["abstained"], "low": 0.0, "high": 1.0}]
    rows, low = [], 0.0
    for label in labels:
        high = min(low + band["shares"][label], 1.0)
        rows.append(row | {"emotion": label, "low": low, "high": high})
        low = high
    if band["abstained"] == "not_sure":  # last, so drawn over the others
        rows.append(row | {"emotion": "not_sure", "low": 1 - STRIP, "high": 1.0})
    return rows


def _middle(prediction: Prediction) -> float:
    return (prediction.start_seconds + prediction.end_seconds) / 2
