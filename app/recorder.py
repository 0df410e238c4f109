"""A recorder that says beforehand why a browser may refuse it the microphone."""

from typing import Final
from urllib.parse import urlsplit

import streamlit as st
from streamlit.typing import UploadedFile

HOME: Final = ("localhost", "127.0.0.1", "::1")


def recorder(label: str, *, key: str) -> UploadedFile | None:
    """What was recorded, at the microphone's own rate; None while there is nothing."""
    page = urlsplit(st.context.url or "")
    if page.scheme == "http" and page.hostname not in HOME:
        port = f":{page.port}" if page.port else ""
        st.warning(
            "Browsers give pages the microphone only over https or from localhost, and this page came over plain "
            f"http. Open it through https, or on the computer that runs it as `http://localhost{port}`.",
            icon="🔒",
        )
    return st.audio_input(label, sample_rate=None, key=key)
