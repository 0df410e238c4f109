"""The page; Streamlit runs this script at every visit and every click."""

import about
import listen
import microphone
import profile_panel
import session
import shared
import streamlit as st

STYLE = """
<style>
.block-container { max-width: 1080px; padding-top: 3rem; }
.se-card { display: flex; gap: 1rem; align-items: center; padding: 1rem 1.2rem; border-left: .5rem solid;
  border-radius: .5rem; background: color-mix(in srgb, currentColor 6%, transparent); }
.se-icon { font-size: 3.2rem; line-height: 1; }
.se-answer { font-size: 2rem; font-weight: 700; line-height: 1.15; }
.se-name { padding: 1rem 0 0; overflow-wrap: anywhere; }
.se-legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding-left: 52px; font-size: .85rem; }
.se-chip i { display: inline-block; width: .8em; height: .8em; border-radius: .2em; margin-right: .4em; }
[data-testid="stCaptionContainer"] * { color: inherit; }
[data-testid="stCaptionContainer"] { opacity: .85; }
[data-testid="stAudioInput"] > div { height: auto; min-height: 4.25rem; white-space: normal; }
.se-line { opacity: .85; }
</style>
"""

st.set_page_config("speech-emotion", page_icon="🎙️", layout="wide")
st.html(STYLE)
state = session.current()
info = shared.classifier(state.model).info
about.header(state, info)
if about.notice(info):
    listening, microphone_live, my_voice, model = st.tabs(
        ["🎧 Listen", "🎙️ Live", "👤 My voice", "ℹ️ Model and limits"]
    )
    with listening:
        place = listen.tab(state, info)
    with microphone_live:
        microphone.tab(state, info)
    with my_voice:
        profile_panel.tab(state, info)
    with model:
        about.page(info)
    listen.work(state, place)
