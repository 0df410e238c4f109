"""The tab "Live": answers while the microphone is on, and the whole session to download."""

from dataclasses import replace

import answers
import charts
import live
import shared
import streamlit as st
from analysis import Analysis
from session import Session

from speech_emotion import Classifier
from speech_emotion.formats import picture
from speech_emotion.model_info import ModelInfo

TEXTS = {reason: text for reason, (_, text) in picture.ABSTENTIONS.items()}


def tab(state: Session, info: ModelInfo) -> None:
    """The panel and, once a session has ended, its answers."""
    st.markdown(
        f"Speak, and get two answers per second. Each is about the last {info.window_seconds:g} s, so the first one "
        "takes that long."
        + (
            " From the next Start on, answers are tuned to your voice."
            if state.active_profile
            else " Make a profile in the tab *My voice* to tune them to you."
        )
    )
    icons = {label: picture.icon(label) for label in info.labels}
    ended = live.panel(
        colours=picture.colours(info.labels),
        icons=icons | {reason: icon for reason, (icon, _) in picture.ABSTENTIONS.items()},
        labels_text=TEXTS,
        path=shared.route(state.model),
        profile=state.active_profile,
    )
    if ended and ended.predictions:
        if ended.model_sha256 == info.sha256:
            _show(ended, shared.classifier(state.model))
        else:
            st.caption("The last session was answered by another model. Choose that one to see its answers.")


def _show(ended: live.LiveSession, classifier: Classifier) -> None:
    """The answers of a session that has ended."""
    # Warnings are known only at the end, and concern every answer.
    windows = tuple(replace(window, warnings=ended.warnings) for window in ended.predictions)
    info, answer = classifier.info, classifier.pool(windows)
    st.markdown(
        f"**The last session:** {charts.title_with_share(answer)}, over {picture.clock(ended.seconds)}"
        + (", tuned to your voice" if ended.profile_seconds else "")
    )
    if ended.problem:
        st.warning(answers.escape(f"It was not ended by Stop. {ended.problem}"), icon="⚠️")
    st.altair_chart(picture.timeline(windows, info.labels, legend=False), alt=charts.in_words(windows))
    st.html(charts.legend(windows, info.labels))
    with st.expander(f"The {len(windows)} answers as a table"):
        answers.segment_table(windows, key="live-table")
    for name in ended.warnings:
        st.warning(answers.warning(name), icon="⚠️")
    whole = Analysis("live", "", ended.seconds, answer, windows)
    settings = info.with_hop(ended.hop_seconds)
    answers.download_buttons([whole], whole, settings, ended.profile_seconds, stem="speech-emotion-live")
