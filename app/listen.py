"""The first tab: give it sounds, see how far it is, read the answers, take them along."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import answers
import charts
import session
import streamlit as st
import takeaway
from hearing import Hearing, Sound
from session import Key, Session

from speech_emotion.model_info import ModelInfo

HOME: Final = ("localhost", "127.0.0.1", "::1")


def tab(state: Session, info: ModelInfo) -> None:
    sounds = _given(state)
    if not sounds:
        st.info("Upload a sound, record one, or press one of the sample voices.", icon="👆")
        return
    hearings = _heard(state, sounds)
    if not hearings:
        return
    chosen = _table(hearings) if len(hearings) > 1 else hearings[0]
    plain = state.hearings.get((chosen.sha256, "")) if state.active_profile else None
    sound = next(sound for sound in sounds if sound.sha256 == chosen.sha256)
    answers.show(chosen, sound, info, without_profile=plain)
    _take_along(hearings, chosen, state, info)


def _given(state: Session) -> list[Sound]:
    """Every sound that is there now, each content once: from the uploader, the microphone, the samples."""
    upload, record = st.columns([3, 2], gap="large")
    with upload:
        whole_folder = st.toggle("Choose a whole folder", key="whole_folder")
        files = st.file_uploader(
            "Sounds or videos, as many as you like",
            accept_multiple_files="directory" if whole_folder else True,
            help="WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF, M4A, AAC, MP4, WebM, AVI, WMA: its content decides, "
            "not its name. For more than 200 MB use the command line: speech-emotion predict --timeline FILE",
            key=f"files-{whole_folder}",
        )
    with record:
        _record(state)
        st.markdown("Or try a synthetic sample voice:")
        with st.container(horizontal=True):
            for file_name, label in session.SAMPLES.items():
                if st.button(label, key=file_name):
                    state.keep(session.sample(file_name))
    sounds = {sound.sha256: sound for sound in [*state.take(files), *reversed(state.kept.values())]}
    if state.kept and st.button("Forget recordings and samples", type="tertiary", icon="🧹"):
        state.forget_all()
        st.session_state.pop("recording", None)
        st.rerun()
    return list(sounds.values())


def _record(state: Session) -> None:
    page = urlsplit(st.context.url or "")
    if page.scheme == "http" and page.hostname not in HOME:
        st.warning(
            "Browsers give pages the microphone only over https or from localhost, and this page came over plain http. "
            "Open it through https, or on the computer that runs it as http://localhost.",
            icon="🔒",
        )
    recording = st.audio_input("Record your voice", sample_rate=None, key="recording")
    if recording:
        sound = Sound.of("recording", recording)
        if sound.sha256 not in state.kept:
            n = sum(kept.name.startswith("recording") for kept in state.kept.values()) + 1
            state.keep(Sound(f"recording {n}.wav", sound.file, sound.n_bytes, sound.sha256))


def _heard(state: Session, sounds: Sequence[Sound]) -> list[Hearing]:
    """The hearings of `sounds`, worked out where they are not there yet, with progress, until somebody cancels."""
    mine = session.profile_key(state.active_profile)
    keys = {(sound.sha256, profile): sound for sound in sounds for profile in dict.fromkeys([mine, ""])}
    todo = [key for key in keys if key not in state.hearings and key not in state.cancelled]
    place = st.empty()
    if todo:
        with place.container(border=True):
            _work(state, todo, keys)
    place.empty()
    state.forget_old({sound.sha256 for sound in sounds})
    if stopped := [key for key in keys if key in state.cancelled]:
        names = ", ".join(dict.fromkeys(keys[key].name for key in stopped))
        with place.container(horizontal=True, vertical_alignment="center"):
            st.text(f"Cancelled: {names}")
            st.button("Go on", on_click=state.cancelled.clear)
    found = [(sound, state.hearings.get((sound.sha256, mine))) for sound in sounds]
    return [Hearing(**{**vars(hearing), "name": sound.name}) for sound, hearing in found if hearing]


def _work(state: Session, todo: list[Key], keys: dict[Key, Sound]) -> None:
    bar = st.progress(0.0, "Listening …")
    st.button("Cancel", on_click=state.cancel, args=(todo,), icon="✋")
    for n_done, key in enumerate(todo):
        analysis = state.work_on(key, keys[key])
        while analysis.hearing is None:
            analysis.step()
            bar.progress(
                (n_done + analysis.share_done) / len(todo),
                f"Listening … {charts.clock(analysis.seconds_done)} of sound"
                + (f", {n_done + 1} of {len(todo)}" if len(todo) > 1 else ""),
            )
        state.hearings[key] = analysis.hearing
        state.running = state.running_key = None


def _table(hearings: Sequence[Hearing]) -> Hearing:
    """A row a sound; the one that is chosen, or the first."""
    st.subheader("Your sounds", anchor=False)
    event: Any = st.dataframe(
        [_row(hearing) for hearing in hearings],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="sounds",
        column_config={"confidence": charts.share_column()},
        alt="One row a sound: its name, the answer with its confidence, the runner-up, its length, and remarks.",
    )
    rows = event.selection.rows
    st.caption("Choose a row to see and hear more of it.")
    return hearings[rows[0]] if rows and rows[0] < len(hearings) else hearings[0]


def _row(hearing: Hearing) -> dict[str, str | float | None]:
    answer = hearing.answer
    if answer is None:
        unknown = {"confidence": None, "runner-up": "", "length": ""}
        return {"sound": hearing.name, "answer": "❌ not readable", **unknown, "remarks": str(hearing.error)}
    return {
        "sound": hearing.name,
        "answer": charts.title(answer),
        "confidence": charts.hundredths(answer.confidence),
        "runner-up": answer.runner_up or "",
        "length": charts.clock(hearing.seconds),
        "remarks": ", ".join(answers.remarks(answer)),
    }


def _take_along(hearings: Sequence[Hearing], chosen: Hearing, state: Session, info: ModelInfo) -> None:
    profile = state.active_profile
    answers.take_along(hearings, chosen, info, profile.seconds if profile else None, stem="speech-emotion")
    if chosen.answer is None:
        return
    with st.expander("The same answer in Python, or with curl"):
        is_long = len(chosen.windows) > 1
        st.code(
            takeaway.python_snippet(chosen.name, with_profile=profile is not None, is_long=is_long),
            language="python",
        )
        if profile is None:
            st.code(takeaway.curl_snippet(chosen.name, st.context.url or ""), language="bash")
