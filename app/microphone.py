"""The tab "Live": the microphone as it speaks, and what was answered to take along."""

import answers
import charts
import live
import shared
import streamlit as st
from hearing import Hearing
from session import Session

from speech_emotion import EMOTIONS
from speech_emotion.model_info import ModelInfo

ICONS = {label: charts.icon(label) for label in EMOTIONS} | {
    reason: icon for reason, (icon, _) in charts.ABSTENTIONS.items()
}
WORDS = {reason: words for reason, (_, words) in charts.ABSTENTIONS.items()}


def tab(state: Session, info: ModelInfo) -> None:
    st.markdown(
        f"Speak, and read along twice a second. Each answer is about the last {info.window_seconds:g} s, so the first "
        "one takes as long as that."
        + (
            " Tuned to your voice."
            if state.active_profile
            else " It gets to know a voice in the tab *My voice*."
        )
    )
    heard = live.panel(colours=charts.COLOURS, icons=ICONS, labels_text=WORDS, profile=state.active_profile)
    if heard and heard.predictions:
        _show(heard, state, info)


def _show(heard: live.Session, state: Session, info: ModelInfo) -> None:
    """All of a session, once it is over."""
    answer = shared.classifier().pool(heard.predictions)
    share = f" {charts.percent(answer.confidence)}" if answer.confidence else ""
    st.markdown(f"**All {charts.clock(heard.seconds)} of it:** {charts.title(answer)}{share}")
    st.altair_chart(
        charts.timeline(heard.predictions, info.labels, legend=False), alt=charts.in_words(heard.predictions)
    )
    st.html(charts.legend(heard.predictions, info.labels))
    for warning in heard.warnings:
        st.warning(answers.WARNINGS.get(warning, warning), icon="⚠️")
    profile = state.profile if heard.has_profile else None
    hearing = Hearing("live", "", heard.seconds, answer, heard.predictions)
    settings = info.with_hop(heard.hop_seconds)
    answers.take_along(
        [hearing], hearing, settings, profile.seconds if profile else None, stem="speech-emotion-live"
    )
