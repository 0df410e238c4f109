"""Live sound on the page. In: the microphone of a browser. Out: answers while it listens, and a Session at the end.

The element is live.html, live.css and live.js, sent inline with the page. The browser talks to the route `/stream`
of speech_emotion.server, which app.py mounts beside the page; nothing of the sound passes through here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from speech_emotion import Prediction, SpeakerProfile


def _asset(kind: str) -> str:
    return Path(__file__).with_suffix(f".{kind}").read_text(encoding="utf-8")


_element = st.components.v2.component(
    "speech_emotion_live", html=_asset("html"), css=_asset("css"), js=_asset("js")
)


@dataclass(frozen=True, slots=True)
class Session:
    """What was answered from Start to Stop.

    warnings: what the audio gate noticed over all of it. profile_seconds: speech in the profile that was used, if one
    was. problem: why it ended, when it was not by Stop.
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


def panel(
    *,
    colours: Mapping[str, str],
    icons: Mapping[str, str],
    labels_text: Mapping[str, str],
    profile: SpeakerProfile | None = None,
    hop_seconds: float = 0.5,
    key: str = "live",
) -> Session | None:
    """Start, Mute and Stop, the level, the answer now and those of the last minute; then the Session, once it is over.

    colours, icons, labels_text: how an emotion, "not_sure", "no_speech" and "too_short" look and are called; a label
    without a text is shown as it is. profile and hop_seconds count from the next Start on. The page reruns when
    listening ends; a rerun for any other reason does not disturb it.
    """
    kept = f"{key}-session"

    def keep() -> None:  # called before the page is run, which another click may end at any place
        if document := st.session_state[key].session:
            st.session_state[kept] = _session(document)

    base_path = st.get_option("server.baseUrlPath").strip("/")
    _element(
        key=key,
        data={
            "path": f"/{base_path}/api/stream" if base_path else "/api/stream",
            "hop_seconds": hop_seconds,
            "profile": profile.to_dict() if profile else None,
            "colours": dict(colours),
            "icons": dict(icons),
            "labels": dict(labels_text),
        },
        on_session_change=keep,
    )
    session: Session | None = st.session_state.get(kept)
    return session


def _session(document: dict[str, Any]) -> Session:
    """The document of live.js, where everything of one answer has the name that `Prediction` gives it."""
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
    return Session(predictions, tuple(document["warnings"]), **facts)
