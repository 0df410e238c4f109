"""The player: one sound with its waveform, emotions, spectrogram, pitch and loudness on one axis of time.

In: a PlayableSound and the stretches of one emotion of each channel or speaker. Out: an element of the page. A click,
a key or a zoom stays in the browser: no run of the page follows. Links of the page to `#t=62.5` play from 62.5 s.

The element is player.html, player.css and player.js. The last is built from the .ts files beside it:
`npm ci && npm run build` in this folder.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import streamlit as st
from starlette.routing import Mount

from player import routes
from player.sound import PlayableSound, SoundWriter
from speech_emotion import Prediction
from speech_emotion.formats.look import colours

__all__ = ["Lane", "PlayableSound", "SoundWriter", "Stretch", "mount", "show"]


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_element = st.components.v2.component(
    "speech_emotion_player", html=_asset("player.html"), css=_asset("player.css"), js=_asset("player.js")
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one emotion.

    label: an emotion or "not_sure". confidence: its probability; None without one. note: more about it, such as what is
    said.
    """

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float | None = None
    note: str = ""

    @classmethod
    def of(cls, answer: Prediction, note: str = "") -> Self:
        """An answer with probabilities as a stretch."""
        maybe = "maybe " + " or ".join(answer.emotions) if answer.abstained else ""
        label = answer.abstained or answer.label or ""
        notes = "; ".join(filter(None, [maybe, note]))
        return cls(answer.start_seconds, answer.end_seconds, label, answer.confidence, notes)


@dataclass(frozen=True, slots=True)
class Lane:
    """The stretches of one channel or speaker, in order; `name` is "" if there is only one."""

    name: str
    stretches: tuple[Stretch, ...]

    @classmethod
    def of(cls, name: str, answers: Iterable[Prediction]) -> Self:
        """The lane of `answers`, as `speech_emotion.merge.merge` gives them. What holds no speech stays empty."""
        return cls(name, tuple(Stretch.of(answer) for answer in answers if answer.probabilities))


def mount() -> Mount:
    """The routes of the sounds, for the server of the page."""
    return routes.mount(_path())


def show(
    sound: PlayableSound, lanes: Sequence[Lane], *, labels: Sequence[str], name: str, key: str = "player"
) -> None:
    """The player.

    Args:
        sound: What it plays. The caller holds it as long as the page shows it.
        lanes: If there are as many as channels, each stands below its channel; else all below the waveforms.
        labels: The emotions in the order of their rows; those that occur in no lane have none.
        name: What the sound is called.
        key: Of the element. With the same key, another sound takes the place of the one before.
    """
    _element(key=key, data=document(sound, lanes, labels=labels, name=name))


def document(
    sound: PlayableSound, lanes: Sequence[Lane], *, labels: Sequence[str], name: str
) -> dict[str, Any]:
    """What the browser gets; `Data` in data.ts."""
    present = {stretch.label for lane in lanes for stretch in lane.stretches}
    rows = [label for label in (*labels, "not_sure") if label in present]
    colour = colours(labels)
    return {
        "name": name,
        "url": f"{_path()}/{sound.token}",
        "seconds": sound.seconds,
        "channels": list(sound.names),
        "peak_seconds": sound.peak_seconds,
        "labels": [{"id": label, "text": label.replace("_", " "), "colour": colour[label]} for label in rows],
        "lanes": [
            {
                "name": lane.name,
                "stretches": [
                    [
                        round(one.start_seconds, 3),
                        round(one.end_seconds, 3),
                        one.label,
                        one.confidence,
                        one.note,
                    ]
                    for one in lane.stretches
                ],
            }
            for lane in lanes
        ],
    }


def _path() -> str:
    base = st.get_option("server.baseUrlPath").strip("/")
    return f"/{base}/player" if base else "/player"
