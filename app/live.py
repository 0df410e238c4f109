"""Live sound on the page. In: the microphone of a browser. Out: answers while it is on, and a LiveSession at the end.

The element is live.html, live.css and live.js, sent inline with the page. The browser talks to the route `/stream`
of speech_emotion.server, which app.py mounts beside the page; no sound passes through this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import streamlit as st

from speech_emotion import Prediction, SpeakerProfile
from speech_emotion.formats import cards


def _asset(kind: str) -> str:
    return Path(__file__).with_suffix(f".{kind}").read_text(encoding="utf-8")


_element = st.components.v2.component(
    "speech_emotion_live", html=_asset("html"), css=cards.STYLE + _asset("css"), js=_asset("js")
)


HOP_SECONDS: Final = 0.5  # between answers


@dataclass(frozen=True, slots=True)
class LiveSession:
    """The answers from Start to Stop.

    warnings: of the audio gate, about the whole session. profile_seconds: seconds of speech in the profile that was
    used, if any. problem: why the session ended, unless by Stop. has_sound: whether its sound was sent as well.
    """

    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...]
    seconds: float
    sample_rate: int
    hop_seconds: float
    model: str
    model_sha256: str
    profile_seconds: float | None
    problem: str | None
    has_sound: bool = False


def panel(
    *,
    colours: Mapping[str, str],
    icons: Mapping[str, str],
    labels_text: Mapping[str, str],
    path: str,
    profile: SpeakerProfile | None = None,
    sound_path: str = "",
) -> LiveSession | None:
    """Start, Mute and Stop, the level, the current answer and those of the last minute.

    The page reruns when a session ends; a rerun for any other reason does not disturb it.

    Args:
        colours: colour of each emotion and of "not_sure", "no_speech" and "too_short".
        icons: drawing of each of them, as SVG.
        labels_text: text of each of them; a label without a text is shown as it is.
        path: of the routes of the model, from the next Start on.
        profile: used from the next Start on.
        sound_path: where the sound of a session is sent when it ends; nowhere if empty.

    Returns:
        The session that ended last, if any.
    """

    def keep() -> None:  # a callback runs before the page, whose run another click may interrupt
        if document := st.session_state.live.session:
            st.session_state.live_session = _session(document)

    _element(
        key="live",
        data={
            "path": f"{path}/stream",
            "hop_seconds": HOP_SECONDS,
            "sound_path": sound_path,
            "profile": profile.to_dict() if profile else None,
            "colours": dict(colours),
            "icons": dict(icons),
            "labels": dict(labels_text),
        },
        on_session_change=keep,
    )
    session: LiveSession | None = st.session_state.get("live_session")
    return session


def _session(document: dict[str, Any]) -> LiveSession:
    """The document that live.js hands over, in which answers have the keys of `Prediction.to_dict`."""
    predictions = tuple(
        Prediction(
            answer["probabilities"],
            answer["start_seconds"],
            answer["end_seconds"],
            answer["abstained"],
            tuple(answer["warnings"]),
            tuple(answer["emotions"]),
        )
        for answer in document["answers"]
    )
    facts = {name: value for name, value in document.items() if name not in ("answers", "warnings")}
    return LiveSession(predictions, tuple(document["warnings"]), **facts)
