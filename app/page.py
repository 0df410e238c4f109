"""The page; Streamlit runs this script at every visit and every click."""

from pathlib import Path

import about
import browser
import compare
import corrections
import listen
import microphone
import profile_panel
import session
import shared
import streamlit as st

from speech_emotion.formats import cards

HERE = Path(__file__).parent
STYLE = f"<style>{cards.STYLE}{(HERE / 'style.css').read_text(encoding='utf-8')}</style>"

st.set_page_config("speech-emotion", page_icon=str(HERE / "icon.png"), layout="wide")
st.html(STYLE)
state = session.current()
info = shared.classifier(state.model).info
about.header(state)
if about.notice(info):
    listening, microphone_live, comparing, my_voice, model = st.tabs(
        ["Listen", "Live", "Compare", "My voice", "Model and limits"]
    )
    with listening:
        listen.tab(state, info)
        corrections.overview(state, info)
    with microphone_live:
        microphone.tab(state, info)
    with comparing:
        compare.tab(state, info)
    with my_voice:
        profile_panel.tab(state, info)
    with model:
        about.page(info)
browser.follow(is_worth_keeping=state.is_worth_keeping, notice_read=bool(st.session_state.get("notice_read")))
