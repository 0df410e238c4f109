"""The first tab: give it sounds, see how far it is, read the answers, take them along."""

import time
from collections.abc import Sequence
from typing import Any, Final

import answers
import charts
import recorder
import session
import streamlit as st
import takeaway
from hearing import Hearing, Sound
from session import Key, Session
from streamlit.delta_generator import DeltaGenerator

from speech_emotion import SpeakerProfile
from speech_emotion.model_info import ModelInfo

CLUTTER: Final = (".", "Thumbs.db", "desktop.ini")  # how files and folders begin that systems leave
SHOWN_SECONDS: Final = 1.0  # of work, after which what was heard is shown before the rest is worked out


def tab(state: Session, info: ModelInfo) -> DeltaGenerator:
    """All that is known; the place that it returns is where `work` shows what it works at."""
    _give(state)
    state.forget_old()
    place, advice = st.empty(), st.empty()  # what is not written is cleared while `work` is at work
    if not state.sounds:
        advice.info("Upload a sound, record one, or press one of the sample voices.", icon="👆")
    found = _heard(state)
    with answers.slot(bool(found)):
        if found:
            with answers.slot(len(found) > 1):
                if len(found) > 1:
                    _table(state, found)
            sound, hearing = _chosen(state, found)
            state.seen = sound.id
            plain = state.hearings.get((sound.sha256, "")) if state.active_profile else None
            answers.show(sound, hearing, state, info, without_profile=plain)
            _take_along([hearing for _, hearing in found], sound, hearing, state, info)
    return place


def work(state: Session, place: DeltaGenerator) -> None:
    """Work out what is missing, after all of the page is there: whoever presses anything meanwhile is heard at once."""
    profile = state.active_profile
    keys = _keys(state, profile)
    missing = [key for key in keys if key not in state.hearings]
    if todo := [key for key in missing if key[0] not in state.cancelled]:
        with place.container(border=True):
            _work(state, todo, keys, profile)
        st.rerun()
    state.batch = ()
    without = {key[0] for key in missing}
    if left := [sound.name for sound in state.sounds if sound.sha256 in without]:
        with place.container(horizontal=True, vertical_alignment="center"):
            st.text(
                "Cancelled: " + (f"{len(left)} sounds, of {len(state.sounds)}" if len(left) > 1 else left[0])
            )
            st.button("Go on", on_click=state.cancelled.clear)


def _give(state: Session) -> None:
    """The ways in: files, a folder, the microphone, the samples."""
    upload, record = st.columns([3, 2], gap="large")
    with upload:
        files = st.file_uploader(
            "Sounds or videos, as many as you like",
            accept_multiple_files=True,
            help="WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF, M4A, AAC, MP4, WebM, AVI, WMA: its content decides, "
            "not its name.",
            key="files",
        )
        st.caption("Up to 200 MB each. For more: `speech-emotion predict --timeline FILE`")
        with st.expander("A whole folder"):
            inside = st.file_uploader(
                "All files of a folder, and of those in it", accept_multiple_files="directory", key="folder"
            )
        state.take([*files, *(file for file in inside if not _is_clutter(file.name))])
    with record:
        state.record(recorder.recorder("Record your voice", key=f"recording-{state.recorders}"))
        st.markdown("Or try a synthetic sample voice, for which there is no right answer:")
        with st.container(horizontal=True):
            for file_name, label in session.SAMPLES.items():
                if st.button(label, key=file_name):
                    state.keep(session.sample(file_name))
        if state.kept:
            st.button("Forget recordings and samples", type="tertiary", icon="🧹", on_click=state.forget_kept)


def _is_clutter(path: str) -> bool:
    """Of a file in a chosen folder, whose own name comes first and may be any."""
    return any(part.startswith(CLUTTER) for part in path.split("/")[1:])


def _keys(state: Session, profile: SpeakerProfile | None) -> dict[Key, Sound]:
    """What is to be heard: every sound, with the profile where there is one and without; short ones first."""
    mine = session.profile_key(profile)
    return {
        (sound.sha256, which): sound
        for sound in sorted(state.sounds, key=lambda sound: len(sound.data))
        for which in dict.fromkeys([mine, ""])
    }


def _heard(state: Session) -> list[tuple[Sound, Hearing]]:
    """The sounds whose hearings are there."""
    mine = session.profile_key(state.active_profile)
    found = [(sound, state.hearings.get((sound.sha256, mine))) for sound in state.sounds]
    return [(sound, hearing.named(sound.name)) for sound, hearing in found if hearing]


def _work(state: Session, todo: list[Key], keys: dict[Key, Sound], profile: SpeakerProfile | None) -> None:
    """Until all is done, or something new is worth being shown."""
    waiting: dict[str, list[Key]] = {}
    for key in todo:
        waiting.setdefault(key[0], []).append(key)
    present = {key[0] for key in keys}
    state.batch = tuple(dict.fromkeys([*(sha256 for sha256 in state.batch if sha256 in present), *waiting]))
    n_in_all, n_of_each = len(state.batch), 2 if profile else 1
    began, has_news = time.monotonic(), False
    bar = st.progress(0.0, "Listening …")
    st.button("Cancel", on_click=state.cancel, args=(list(waiting),), icon="✋")
    for n_done, its_keys in enumerate(waiting.values(), start=n_in_all - len(waiting)):
        for n_heard, key in enumerate(its_keys, start=n_of_each - len(its_keys)):
            analysis = state.work_on(key, keys[key], profile if key[1] else None)
            while analysis.hearing is None:
                if has_news and time.monotonic() - began > SHOWN_SECONDS:
                    return
                analysis.step()
                bar.progress(
                    (n_done + (n_heard + analysis.share_done) / n_of_each) / n_in_all,
                    f"Listening … {charts.clock(analysis.seconds_done)} of sound"
                    + (f", {n_done + 1} of {n_in_all}" if n_in_all > 1 else ""),
                )
            state.hearings[key] = analysis.hearing
            state.under_way.pop(key, None)
            has_news = True


def _table(state: Session, found: Sequence[tuple[Sound, Hearing]]) -> None:
    """A row a sound; the chosen one is ticked."""
    st.subheader("Your sounds", anchor=False)
    sound, _ = _chosen(state, found)
    ids = [sound.id for sound, _ in found]
    event: Any = st.dataframe(
        [_row(sound.name, hearing) for sound, hearing in found],
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        # A row number means something in this list of sounds alone: another list is another table.
        key=f"sounds-{state.n_shown}-{hash(tuple(ids))}",
        selection_default={"selection": {"rows": [ids.index(sound.id)]}},
        column_config={
            "sound": st.column_config.TextColumn(width="medium"),
            "confidence": answers.share_column(),
        },
        alt="One row a sound: its name, the answer with its confidence, what else it may be, its length, and remarks.",
    )
    st.caption("Choose a row to see and hear more of it.")
    if event.selection.rows and (ticked := ids[event.selection.rows[0]]) != sound.id:
        state.choose(ticked)


def _chosen(state: Session, found: Sequence[tuple[Sound, Hearing]]) -> tuple[Sound, Hearing]:
    """What is shown: the chosen sound, or of those that came with it, or of all, the first that could be heard."""
    by_id = {sound.id: (sound, hearing) for sound, hearing in found}
    for sound_id in state.newest:
        if sound_id in by_id and by_id[sound_id][1].answer:
            state.choose(sound_id)
            break
    if state.chosen in by_id:
        return by_id[state.chosen]
    if state.seen in by_id:  # until what is chosen is heard
        return by_id[state.seen]
    return next((pair for pair in found if pair[1].answer), found[0])


def _row(name: str, hearing: Hearing) -> dict[str, str | float | None]:
    answer = hearing.answer
    if answer is None:
        unknown = {"confidence": None, "or else": "", "length": ""}
        remarks = answers.in_plain_words(hearing.error) if hearing.error else ""
        return {"sound": name, "answer": "❌ not readable", **unknown, "remarks": remarks}
    return {
        "sound": name,
        "answer": charts.title(answer),
        "confidence": answers.hundredths(answer.confidence),
        "or else": answers.or_else(answer),
        "length": charts.clock(hearing.seconds),
        "remarks": ", ".join(warning.replace("_", " ") for warning in answer.warnings),
    }


def _take_along(
    hearings: Sequence[Hearing], sound: Sound, chosen: Hearing, state: Session, info: ModelInfo
) -> None:
    profile = state.active_profile
    answers.take_along(hearings, chosen, info, profile.seconds if profile else None, stem="speech-emotion")
    if chosen.answer is None:
        return
    with st.expander("The same answer in Python, or with curl"):
        if sound.id == state.recording:
            st.caption(
                f"Download the recording first: the ⋮ of the player saves it, as {sound.name} for example."
            )
        is_long = len(chosen.windows) > 1
        path = session.sample_path(sound.id) if sound.id in session.SAMPLES else sound.name
        st.code(
            takeaway.python_snippet(path, with_profile=profile is not None, is_long=is_long),
            language="python",
        )
        if profile:
            st.caption("Over HTTP there are no profiles.")
        elif not takeaway.fits_rest(len(sound.data), chosen.seconds):
            st.caption("Over HTTP a sound may have 25 MB and 600 s; this one is larger.")
        else:
            st.code(takeaway.curl_snippet(path, st.context.url or "", is_long=is_long), language="bash")
