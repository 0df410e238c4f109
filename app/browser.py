"""What only the browser can do: ask before work is lost, remember that the notice was read, find a microphone."""

from pathlib import Path
from typing import Final

import streamlit as st

COOKIE: Final = "speech_emotion_notice"

STYLE: Final = """
p { margin: 0; padding: .5rem .75rem; border-radius: .5rem; font-family: var(--st-font);
  color: var(--st-text-color); background: var(--st-yellow-background-color); }
[hidden] { display: none; }
"""
_element = st.components.v2.component(
    "speech_emotion_browser",
    html="<p data-part='advice' role='status' hidden>\n</p>",
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
    css=STYLE,
)


def follow(*, is_worth_keeping: bool, notice_read: bool) -> None:
    """Let the browser ask before it leaves a page with work in it, and remember the notice.

    Args:
        is_worth_keeping: Whether there is something that reloading would lose.
        notice_read: Whether the notice was read in this visit.
    """
    data = {"ask": is_worth_keeping, "cookie": COOKIE if notice_read else ""}
    _element(key="browser", data=data, height="content")


def microphone_advice(*, key: str) -> None:
    """A sentence where no microphone can be found; nothing where there is one."""
    _element(key=key, data={"microphone": True}, height="content")
