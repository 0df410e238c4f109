"""The first tab: add sounds, follow their analysis, read the answers, download them."""

import time
from collections.abc import Sequence
from typing import Any, Final

import answers
import charts
import downloads
import recorder
import session
import shared
import streamlit as st
from analysis import Analysis, Sound
from session import Key, Session
from streamlit.delta_generator import DeltaGenerator

from speech_emotion import SpeakerProfile
from speech_emotion.formats import picture
from speech_emotion.model_info import ModelInfo

CLUTTER: Final = (
    ".",
    "Thumbs.db",
    "desktop.ini",
)  # beginnings of files and folders that operating systems leave
SHOWN_SECONDS: Final = 1.0  # of computing, after which finished answers are shown before the rest is computed


def tab(state: Session, info: ModelInfo) -> DeltaGenerator:
    """Everything that is known so far. Returns the place where `work` shows its progress."""
    _inputs(state)
    state.forget_old()
    place, advice = st.empty(), st.empty()  # Streamlit clears unused ones at once, not only after `work`
    if not state.sounds:
        advice.info("Upload a sound, record one, or try a sample voice.", icon="👆")
    found = _finished(state)
    with answers.slot(bool(found)):
        if found:
            with answers.slot(len(found) > 1):
                if len(found) > 1:
                    _table(state, found)
            sound, analysis = _chosen(state, found)
            state.seen = sound.id
            plain = state.analyses.get(state.key(sound)) if state.active_profile else None
            answers.show(sound, analysis, state, info, without_profile=plain)
            _downloads([analysis for _, analysis in found], sound, analysis, state, info)
    return place


def work(state: Session, place: DeltaGenerator) -> None:
    """Analyse what is missing. Called last, when the whole page is drawn and reacts to the user."""
    profile = state.active_profile
    keys = _keys(state, profile)
    missing = [key for key in keys if key not in state.analyses]
    if todo := [key for key in missing if key.sound not in state.cancelled]:
        with place.container(border=True):
            _work(state, todo, keys, profile)
        st.rerun()
    state.batch = ()
    without = {key.sound for key in missing}
    if left := [sound.name for sound in state.sounds if sound.sha256 in without]:
        with place.container(horizontal=True, vertical_alignment="center"):
            st.text(
                f"Cancelled: {len(left)} of {len(state.sounds)} sounds"
                if len(left) > 1
                else f"Cancelled: {left[0]}"
            )
            st.button("Resume", on_click=state.cancelled.clear)


def _inputs(state: Session) -> None:
    """Widgets for files, folders, the microphone and the samples."""
    upload, record = st.columns([3, 2], gap="large")
    with upload:
        files = st.file_uploader(
            "Audio or video files, as many as you like",
            accept_multiple_files=True,
            help="WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF, M4A, AAC, MP4, WebM, AMR, AVI, WMA. The format is "
            "detected from the content, not from the name.",
            key="files",
        )
        st.caption("Up to 200 MB each. For larger files: `speech-emotion predict --timeline FILE`")
        with st.expander("A whole folder"):
            inside = st.file_uploader(
                "All files in a folder and its subfolders", accept_multiple_files="directory", key="folder"
            )
        state.set_uploads([*files, *(file for file in inside if not _is_clutter(file.name))])
    with record:
        state.record(recorder.recorder("Record your voice", key=f"recording-{state.recorders}"))
        st.markdown("Or try a synthetic sample voice; it has no right answer:")
        with st.container(horizontal=True):
            for file_name, label in session.SAMPLES.items():
                if st.button(label, key=file_name):
                    state.keep(session.sample(file_name))
        if state.kept:
            st.button("Forget recordings and samples", type="tertiary", icon="🧹", on_click=state.forget_kept)


def _is_clutter(path: str) -> bool:
    """Whether a file in a chosen folder is hidden; the name of the folder itself, which comes first, may be any."""
    return any(part.startswith(CLUTTER) for part in path.split("/")[1:])


def _keys(state: Session, profile: SpeakerProfile | None) -> dict[Key, Sound]:
    """All analyses to make: every sound without the profile and, if there is one, with it; short sounds first."""
    mine = session.profile_key(profile)
    return {
        state.key(sound, which): sound
        for sound in sorted(state.sounds, key=lambda sound: len(sound.data))
        for which in dict.fromkeys([mine, ""])
    }


def _finished(state: Session) -> list[tuple[Sound, Analysis]]:
    """The sounds whose analysis is finished."""
    mine = session.profile_key(state.active_profile)
    found = [(sound, state.analyses.get(state.key(sound, mine))) for sound in state.sounds]
    return [(sound, analysis.named(sound.name)) for sound, analysis in found if analysis]


def _work(state: Session, todo: list[Key], keys: dict[Key, Sound], profile: SpeakerProfile | None) -> None:
    """Analyse until everything is done, or until something new is worth showing."""
    waiting: dict[str, list[Key]] = {}
    for key in todo:
        waiting.setdefault(key.sound, []).append(key)
    present = {key.sound for key in keys}
    state.batch = tuple(dict.fromkeys([*(sha256 for sha256 in state.batch if sha256 in present), *waiting]))
    n_in_all, n_of_each = len(state.batch), 2 if profile else 1
    began, has_news = time.monotonic(), False
    bar = st.progress(0.0, "Analysing …")
    st.button("Cancel", on_click=state.cancel, args=(list(waiting),), icon="✋")
    for n_done, its_keys in enumerate(waiting.values(), start=n_in_all - len(waiting)):
        for n_finished, key in enumerate(its_keys, start=n_of_each - len(its_keys)):
            analyser = state.analyser(key, keys[key], profile if key.profile else None)
            while analyser.result is None:
                if has_news and time.monotonic() - began > SHOWN_SECONDS:
                    return
                analyser.step()
                bar.progress(
                    (n_done + (n_finished + analyser.share_done) / n_of_each) / n_in_all,
                    f"Analysing … {picture.clock(analyser.seconds_done)} of sound"
                    + (f", {n_done + 1} of {n_in_all}" if n_in_all > 1 else ""),
                )
            state.analyses[key] = analyser.result
            state.in_progress.pop(key, None)
            has_news = True


def _table(state: Session, found: Sequence[tuple[Sound, Analysis]]) -> None:
    """One row per sound; the chosen one is ticked."""
    st.subheader("Your sounds", anchor=False)
    sound, _ = _chosen(state, found)
    ids = [sound.id for sound, _ in found]
    event: Any = st.dataframe(
        [_row(sound.name, analysis) for sound, analysis in found],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # A row number is valid for this list of sounds only: another list is another table.
        key=f"sounds-{state.n_shown}-{hash(tuple(ids))}",
        selection_default={"selection": {"rows": [ids.index(sound.id)]}},
        column_config={
            "sound": st.column_config.TextColumn(width="medium"),
            "confidence": answers.share_column(),
        },
        alt="One row per sound: name, answer, confidence, alternatives, length and remarks.",
    )
    st.caption("Select a row for its details.")
    if event.selection.rows and (ticked := ids[event.selection.rows[0]]) != sound.id:
        state.choose(ticked)


def _chosen(state: Session, found: Sequence[tuple[Sound, Analysis]]) -> tuple[Sound, Analysis]:
    """The sound to show: the first of the newest with an answer, else the chosen one, else the first with an answer."""
    by_id = {sound.id: (sound, analysis) for sound, analysis in found}
    for sound_id in state.newest:
        if sound_id in by_id and by_id[sound_id][1].answer:
            state.choose(sound_id)
            break
    if state.chosen in by_id:
        return by_id[state.chosen]
    if state.seen in by_id:  # until the chosen one is analysed
        return by_id[state.seen]
    return next((pair for pair in found if pair[1].answer), found[0])


def _row(name: str, analysis: Analysis) -> dict[str, str | float | None]:
    answer = analysis.answer
    if answer is None:
        unknown = {"confidence": None, "or else": "", "length": ""}
        remarks = answers.explain(analysis.error) if analysis.error else ""
        return {"sound": name, "answer": "❌ not readable", **unknown, "remarks": remarks}
    return {
        "sound": name,
        "answer": charts.title(answer),
        "confidence": answers.hundredths(answer.confidence),
        "or else": answers.or_else(answer),
        "length": picture.clock(analysis.seconds),
        "remarks": ", ".join(warning.replace("_", " ") for warning in answer.warnings),
    }


def _downloads(
    analyses: Sequence[Analysis], sound: Sound, chosen: Analysis, state: Session, info: ModelInfo
) -> None:
    profile = state.active_profile
    answers.download_buttons(
        analyses, chosen, info, profile.seconds if profile else None, stem="speech-emotion"
    )
    if chosen.answer is None:
        return
    with st.expander("The same answer in Python, or with curl"):
        if sound.id == state.recording:
            st.caption(f"Download the recording first, for example as {sound.name}: use ⋮ in the player.")
        is_long = len(chosen.windows) > 1
        path = session.sample_path(sound.id) if sound.id in session.SAMPLES else sound.name
        st.code(
            downloads.python_snippet(path, state.model, with_profile=profile is not None, is_long=is_long),
            language="python",
        )
        if profile:
            st.caption("Profiles cannot be used over HTTP.")
        elif not downloads.fits_rest(len(sound.data), chosen.seconds):
            st.caption("Over HTTP a sound is limited to 25 MB and 600 s; this one is larger.")
        else:
            address = f"{(st.context.url or '').rstrip('/')}/{shared.api(state.model)}/"
            st.code(downloads.curl_snippet(path, address, is_long=is_long), language="bash")
