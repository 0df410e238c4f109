"""The live panel, a switch to remove it, and the session that it hands over."""

import json

import live
import shared
import streamlit as st

from speech_emotion import SpeakerProfile
from speech_emotion.labels import ICONS
from speech_emotion.shipped import MODELS

COLOURS = {"neutral": "#8d99ae", "calm": "#2a9d8f", "happy": "#f2b632", "sad": "#3d6fb6", "angry": "#d1495b"}
COLOURS |= {"fearful": "#7b4fa6", "disgust": "#6a8d2f", "surprised": "#f3843e", "not_sure": "#c9c3b8"}
COLOURS |= {"no_speech": "#dfe3e8", "too_short": "#dfe3e8"}

st.button("Run the page again")
profile = None
if st.checkbox("Use a profile"):
    info = shared.classifier(MODELS[0].name).info
    n_features = info.enrolment.n_features
    profile = SpeakerProfile(info.sha256, 40.0, 37, (0.0,) * n_features, (1.0,) * n_features, "a test")
if st.checkbox("Show the panel", value=True):
    with st.tabs(["Panel", "Other"])[0]:
        session = live.panel(
            colours=COLOURS,
            icons=ICONS | {"not_sure": "🤔", "no_speech": "🔇", "too_short": "⏱️"},
            labels_text={"not_sure": "not sure", "no_speech": "no speech", "too_short": "too short"},
            path=shared.route(MODELS[0].name),
            profile=profile,
        )
    st.text(f"Profile: {'yes' if profile else 'no'}")  # written after the panel was updated
    if session:
        names = ("seconds", "sample_rate", "hop_seconds", "profile_seconds", "problem")
        facts = {name: getattr(session, name) for name in names}
        answers = [answer.to_dict() for answer in session.predictions]
        st.code(json.dumps(facts | {"answers": answers, "warnings": session.warnings}))
