"""The tab "Live": the microphone as it speaks, and what was answered to take along."""

from dataclasses import replace

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
            " From the next Start on, tuned to your voice."
            if state.active_profile
            else " Make a profile in the tab *My voice* to tune it to you."
        )
    )
    heard = live.panel(colours=charts.COLOURS, icons=ICONS, labels_text=WORDS, profile=state.active_profile)
    if heard and heard.predictions:
        _show(heard, info)


def _show(heard: live.Session, info: ModelInfo) -> None:
    """All of a session, once it is over."""
    # What the gate noticed is known at the end only, and is about every answer.
    windows = tuple(replace(window, warnings=heard.warnings) for window in heard.predictions)
    answer = shared.classifier().pool(windows)
    share = f" {charts.percent(answer.confidence)}" if answer.confidence else ""
    words = charts.in_words(windows)
    st.markdown(
        f"**The session that ended:** {charts.title(answer)}{share}, over all {charts.clock(heard.seconds)} of it"
        + (", tuned to your voice" if heard.profile_seconds else "")
    )
    if heard.problem:
        st.warning(answers.plain(f"It did not end by Stop. {heard.problem}"), icon="⚠️")
    st.altair_chart(charts.timeline(windows, info.labels, legend=False), alt=words)
    st.html(charts.legend(windows, info.labels))
    with st.expander(f"The {len(windows)} answers as a table"):
        st.dataframe(
            [answers.segment(window) for window in windows],
            hide_index=True,
            key="live-table",
            column_config={"confidence": answers.share_column()},
            alt=words,
        )
    for word in heard.warnings:
        st.warning(answers.warning(word), icon="⚠️")
    hearing = Hearing("live", "", heard.seconds, answer, windows)
    settings = info.with_hop(heard.hop_seconds)
    answers.take_along([hearing], hearing, settings, heard.profile_seconds, stem="speech-emotion-live")
