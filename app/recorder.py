"""A recorder that explains beforehand why a browser may refuse the microphone."""

from typing import Final
from urllib.parse import urlsplit

import browser
import streamlit as st
from streamlit.typing import UploadedFile

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


def recorder(label: str, *, key: str) -> UploadedFile | None:
    """The recording, at the microphone's own rate; None without one."""
    page = urlsplit(st.context.url or "")
    if page.scheme == "http" and page.hostname not in LOCAL_HOSTS:
        port = f":{page.port}" if page.port else ""
        st.warning(
            "Browsers allow the microphone only over https or from localhost, but this page was opened over plain "
            f"http. Open it over https, or on the computer that serves it as `http://localhost{port}`.",
            icon=":material/lock:",
        )
    recording = st.audio_input(label, sample_rate=None, key=key)
    browser.microphone_advice(key=f"microphone-for-{key}")
    return recording
