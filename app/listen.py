"""The first tab: add sounds, follow their analysis, read the answers."""

import time
from typing import Final

import answers
import calls
import corrections
import downloads
import inputs
import many
import session
import shared
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion.model_info import ModelInfo
from speech_emotion.text import clock, percent

PATIENCE_SECONDS: Final = 0.4  # to wait for a new sound: a short one is answered when the page is drawn first
POLL_SECONDS: Final = 0.5
REDRAW_SECONDS: Final = 1.0  # at least, between two drawings because of new answers


def tab(state: Session, info: ModelInfo) -> None:
    """Everything that is known so far, and how far the rest is."""
    inputs.bar(state)
    state.forget_old()
    _work(state)
    inputs.problems(state)
    _status(state)
    found = [(sound, analysis) for sound in state.sounds if (analysis := state.found(sound))]
    with answers.slot(bool(found)):
        if found:
            with answers.slot(len(found) > 1):
                if len(found) > 1:
                    many.show(state, found, _chosen(state, found)[0], info)
            sound, analysis = _chosen(state, found)
            state.seen = sound.id
            _one(sound, analysis, state, info)
    state.drawn_at = time.monotonic()


def _work(state: Session) -> None:
    """Let the worker do what is missing, and wait a moment for what is new."""
    patience = time.monotonic() + PATIENCE_SECONDS
    state.collect()
    new = state.worker.give(state.tasks())
    while new & state.tasks().keys() and state.worker.wait(patience - time.monotonic()):
        state.collect()
        new |= state.worker.give(state.tasks())


def _status(state: Session) -> None:
    """How far the analysis is, or what was cancelled."""
    # What was finished since `_work` is on the page only after another run, which the bar asks for.
    is_unfinished = state.worker.is_busy or state.worker.has_news
    with answers.slot(is_unfinished):
        if is_unfinished:
            _progress(state)
    missing = [
        sound.name for sound in state.sounds if sound.sha256 in state.cancelled and not state.found(sound)
    ]
    with answers.slot(bool(missing)):
        if missing:
            with st.container(horizontal=True, vertical_alignment="center"):
                several = f"{len(missing)} of {len(state.sounds)} sounds"
                st.text(f"Cancelled: {several if len(missing) > 1 else missing[0]}")
                st.button("Resume", on_click=state.cancelled.clear)


@st.fragment(run_every=POLL_SECONDS)
def _progress(state: Session) -> None:
    """The bar. It runs by itself, and draws the whole page again when there is news."""
    worker = state.worker
    worker.give(state.tasks())  # goes on after the connection was lost
    if not worker.is_busy or (worker.has_news and time.monotonic() - state.drawn_at > REDRAW_SECONDS):
        st.rerun()
    now = worker.progress
    parts = [f"Analysing … {percent(now.share)}"]
    if now.n_all > 1:
        parts.append(f"{now.n_done + 1} of {now.n_all}")
    if now.seconds_total:
        done, total = (clock(seconds, tenths=False) for seconds in (now.seconds_done, now.seconds_total))
        parts.append(f"{done} of about {total} of sound")
    if now.seconds_left is not None:
        parts.append(f"about {clock(now.seconds_left, tenths=False)} left")
    with st.container(horizontal=True, vertical_alignment="center", key="progress"):
        st.progress(now.share, " · ".join(parts))
        st.button("Cancel", on_click=state.cancel)


def _chosen(state: Session, found: list[tuple[Sound, Analysis]]) -> tuple[Sound, Analysis]:
    """The sound to show: the first of the newest with speech, else the chosen one, else the first with an answer."""
    by_id = {sound.id: (sound, analysis) for sound, analysis in found}
    for sound_id in state.newest:
        answer = by_id[sound_id][1].answer if sound_id in by_id else None
        if answer and answer.probabilities:
            state.choose(sound_id)
            break
    if state.chosen in by_id:
        return by_id[state.chosen]
    if state.seen in by_id:  # until the chosen one is analysed
        return by_id[state.seen]
    return next((pair for pair in found if pair[1].answer), found[0])


def _one(sound: Sound, analysis: Analysis, state: Session, info: ModelInfo) -> None:
    """The chosen sound: its answer, what to do with it, how it sounds, and how to get the answer elsewhere."""
    answers.heading(analysis)
    if analysis.answer is None:
        return
    channels, utterances = calls.parts(sound, state)
    is_tuned = state.active_profile is not None
    with st.container():
        if channels:
            calls.channels(channels, analysis, info, is_tuned=is_tuned)
        else:
            plain = state.analyses.get(state.key(sound)) if is_tuned else None
            answers.card_and_bars(analysis, info, is_tuned=is_tuned, plain=plain)
    left, right = st.columns([2, 3], gap="large")
    with left:
        corrections.ask(sound, state, info)
    with right:
        downloads.buttons(state, sound, analysis, info)
    answers.advice(analysis)
    calls.summary(analysis, channels, info)
    playable = state.playable(sound, "channels" if channels else "")
    calls.play(playable, analysis, channels, utterances, info)
    with answers.slot(bool(utterances)):
        if utterances:
            calls.utterances(utterances)
    _code(sound, analysis, state, has_channels=bool(channels))


def _code(sound: Sound, analysis: Analysis, state: Session, *, has_channels: bool) -> None:
    with st.expander("The same answer in Python, or with curl"):
        if sound.id == state.recording:
            st.caption("Download the recording first.")
        profile = state.active_profile
        is_long = len(analysis.windows) > 1
        path = session.sample_path(sound.id) if sound.id in session.SAMPLES else sound.name
        st.code(
            downloads.python_snippet(
                path,
                state.model,
                with_profile=profile is not None,
                is_long=is_long,
                has_channels=has_channels,
            ),
            language="python",
        )
        if profile:
            st.caption("Profiles cannot be used over HTTP.")
        elif not downloads.fits_rest(len(sound.data), analysis.seconds):
            st.caption("Over HTTP a sound is limited to 25 MB and 600 s; this one is larger.")
        else:
            address = f"{(st.context.url or '').rstrip('/')}/{shared.api(state.model)}/"
            snippet = downloads.curl_snippet(path, address, is_long=is_long, has_channels=has_channels)
            st.code(snippet, language="bash")
