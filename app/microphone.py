"""The tab "Live": answers while the microphone is on, and the whole session to hear and download."""

import hashlib
from dataclasses import replace

import answers
import calls
import downloads
import live
import live_sounds
import shared
import streamlit as st
from analysis import Analysis, Sound
from player import PlayableSound
from session import Session

from speech_emotion.formats import look
from speech_emotion.formats.summary import strip
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import clock


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
    if not state.ticket:
        state.ticket = live_sounds.ticket()
    keys = [*info.labels, *look.ABSTENTIONS]
    ended = live.panel(
        colours=look.colours(info.labels),
        icons={key: look.face(key) for key in keys},
        labels_text=dict(look.ABSTENTIONS),
        path=shared.route(state.model),
        profile=state.active_profile,
        sound_path=shared.from_root(f"live-sound/{state.ticket}"),
    )
    if ended and ended.predictions:
        if ended is not state.live:
            state.live, state.live_sound = ended, _kept(ended, state)
            st.rerun()  # the tab Listen shows the sound, and the panel needs another ticket
        if ended.model_sha256 == info.sha256:
            _show(ended, state, info)
        else:
            st.caption("The last session was answered by another model. Choose that one to see its answers.")


def _kept(ended: live.LiveSession, state: Session) -> tuple[Sound, PlayableSound] | None:
    """The sound of a session, which from now on is one of those in the tab Listen."""
    data = live_sounds.take(state.ticket) if ended.has_sound else None
    if data is None:
        return None
    state.ticket = ""
    state.n_live += 1
    sound = Sound.of(f"live {state.n_live}.wav", data, f"live-{hashlib.sha256(data).hexdigest()[:16]}")
    state.keep(sound)
    return sound, PlayableSound.of(data)


def _show(ended: live.LiveSession, state: Session, info: ModelInfo) -> None:
    """The answers of a session that has ended, and its sound."""
    # Warnings are known only at the end, and concern every answer.
    windows = tuple(replace(window, warnings=ended.warnings) for window in ended.predictions)
    answer = shared.classifier(state.model).pool(windows)
    sound = state.live_sound
    name, sha256 = (sound[0].name, sound[0].sha256) if sound else ("live", "")
    whole = Analysis(name, sha256, ended.seconds, answer, windows)
    tuned = ", tuned to your voice" if ended.profile_seconds else ""
    st.header(f"The last session: {clock(ended.seconds, tenths=False)}{tuned}", anchor=False)
    if ended.problem:
        st.warning(answers.escape(f"It was not ended by Stop. {ended.problem}"), icon=":material/warning:")
    answers.card_and_bars(whole, info, is_tuned=bool(tuned))
    answers.advice(whole)
    settings = info.with_hop(ended.hop_seconds)
    calls.summary(whole, (), settings)
    if sound:
        calls.play(sound[1], whole, (), None, settings, key="player-live")
        st.caption(f"The tab *Listen* has this sound too, as **{name}**.")
    else:
        st.html(strip(calls.stretches_of(whole, (), settings), ended.seconds))
    downloads.offer(
        downloads.Results([whole], settings, ended.profile_seconds), whole, stem="speech-emotion-live"
    )
