"""The live panel, a way to take it off the page, and what it hands over when listening ends."""

import json

import live
import streamlit as st

from speech_emotion.labels import ICONS

COLOURS = {"neutral": "#8d99ae", "calm": "#2a9d8f", "happy": "#f2b632", "sad": "#3d6fb6", "angry": "#d1495b"}
COLOURS |= {"fearful": "#7b4fa6", "disgust": "#6a8d2f", "surprised": "#f3843e", "not_sure": "#c9c3b8"}
COLOURS |= {"no_speech": "#dfe3e8", "too_short": "#dfe3e8"}

st.button("Run the page again")
if st.checkbox("Show the panel", value=True):
    session = live.panel(
        colours=COLOURS,
        icons=ICONS | {"not_sure": "🤔", "no_speech": "🔇", "too_short": "⏱️"},
        labels_text={"not_sure": "not sure", "no_speech": "no speech", "too_short": "too short"},
    )
    if session:
        facts = {
            name: getattr(session, name) for name in ("seconds", "sample_rate", "hop_seconds", "problem")
        }
        answers = [answer.to_dict() for answer in session.predictions]
        st.code(json.dumps(facts | {"answers": answers, "warnings": session.warnings}))
