"""Charts of a sound. In: predictions, envelope and log-mel. Out: Altair charts. All functions are pure.

Waveform, spectrogram and timeline have left axes of the same width, so that their time axes line up. `in_words` is the
text alternative of a timeline.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import numpy as np
import numpy.typing as npt
from PIL import Image

from speech_emotion import Prediction
from speech_emotion.formats import picture
from speech_emotion.formats.look import ABSTENTIONS, colours, name
from speech_emotion.text import clock

TIME_PIXELS: Final = 50  # below the last chart, for its time axis
MIN_TOP: Final = -9.0  # natural-log power; if the loudest cell is below this, the picture is dark
# Black, violet, red, yellow, from quiet to loud; lightness increases too.
_HEAT: Final = np.array(
    [[0, 0, 4], [49, 18, 59], [122, 28, 109], [187, 55, 84], [237, 105, 37], [252, 181, 25], [252, 255, 164]]
)

FloatArray = npt.NDArray[np.float32]
AnyFloats = npt.NDArray[np.floating[Any]]


def legend(predictions: Sequence[Prediction], labels: Sequence[str]) -> str:
    """The legend of a timeline as HTML that wraps: all `labels`, and the abstentions that occur."""
    reasons = {band["abstained"] for band in picture.bands(predictions)}
    keys = [*labels, *(reason for reason in ABSTENTIONS if reason in reasons)]
    colour = colours(labels)
    chips = [
        f"<span class='se-chip'><i style='background:{colour[key]}'></i>{html.escape(name(key))}</span>"
        for key in keys
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
            x=picture.time_axis("start", seconds, hidden=True),
            y=alt.Y(
                "low:Q",
                title="wave",
                scale=alt.Scale(domain=[-loudest, loudest], nice=False),
                axis=alt.Axis(labels=False, ticks=False, domain=False, **picture.LEFT),
            ),
            y2="high:Q",
        )
        .properties(height=height, padding=picture.PADDING, usermeta=picture.SVG)
        .configure_view(strokeWidth=0)
        .configure_axis(grid=False)
    )
    return chart


def spectrogram(
    log_mel: AnyFloats, seconds: float, *, height: int = 120, is_last: bool = False
) -> alt.LayerChart:
    """The model's log-mel input (n_mels, n_frames), low bands at the bottom; is_last: with a time axis."""
    image = alt.Chart(alt.InlineData(values=[{"url": heat_map(log_mel)}])).mark_image(
        align="left",
        baseline="top",
        aspect=False,
        width=alt.ExprRef("width"),
        height=alt.ExprRef("height"),
        aria=False,
    )
    image = image.encode(x=alt.value(0), y=alt.value(0), url="url:N")
    corners: list[dict[str, float]] = [{"start": 0, "band": 1}, {"start": seconds, "band": len(log_mel)}]
    axes = (
        alt.Chart(alt.InlineData(values=corners))
        .mark_point(opacity=0, aria=False)
        .encode(
            x=picture.time_axis("start", seconds, hidden=not is_last),
            y=alt.Y(
                "band:Q",
                title="mel band",
                scale=alt.Scale(domain=[0, len(log_mel)], nice=False),
                axis=alt.Axis(values=[1, len(log_mel)], **picture.LEFT),
            ),
        )
    )
    layers = (image + axes).properties(
        height=height + (TIME_PIXELS if is_last else 0), padding=picture.PADDING, usermeta=picture.SVG
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
    for band in picture.bands(predictions):
        key = name(band["abstained"] or band["best"])
        seconds[key] = seconds.get(key, 0.0) + band["end"] - band["start"]
    lasting = [f"{key} for {clock(time)}" for key, time in sorted(seconds.items(), key=lambda item: -item[1])]
    return "Timeline: " + ", ".join(lasting) + "."
