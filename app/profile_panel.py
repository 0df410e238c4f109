"""The tab "My voice": make, try, download and forget the profile of one speaker."""

import collections
import json
from collections.abc import Sequence
from typing import Final

import answers
import recorder
import session
import shared
import streamlit as st
from session import Session
from streamlit.typing import UploadedFile

from speech_emotion import SpeakerProfile, SpeechEmotionError, open_audio
from speech_emotion.model_info import ModelInfo

# A passage without emotion, about 30 s at an ordinary pace (written for this page).
PASSAGE: Final = (
    "On Monday the bakery at the corner opens at seven. I usually buy two rolls and a small loaf, and on the way back "
    "I look at the river. There is a bridge with a green railing, and under it a boat that has been there for years. "
    "When it rains I take the bus, number twelve, which stops in front of the library. In the evening I water the "
    "plants, write down what has to be done tomorrow, and put the list beside the door. Then I close the window."
)


def tab(state: Session, info: ModelInfo) -> None:
    """The form to make or load a profile, or the profile."""
    st.header("Tune it to your voice", anchor=False)
    if info.enrolment is None:
        st.info(f"The model {info.name} does not support profiles.")
        return
    st.markdown(
        "People speak differently: what sounds angry in one voice may be another's everyday tone. Record 30 to 60 s "
        "of ordinary speech with the microphone you will use, and answers are relative to your voice. A profile holds "
        "statistics of the voice and no sound. It is personal data, and stays in this page unless you download it."
    )
    with answers.slot(state.profile is None):
        if state.profile is None:
            _make(state, info)
    with answers.slot(state.profile is not None):
        if state.profile is not None:
            _profile(state, state.profile)


def _make(state: Session, info: ModelInfo) -> None:
    record, load = st.columns([3, 2], gap="large")
    with record:
        with st.container(border=True):
            st.markdown(f"**Read this in your everyday voice, or talk about your day:**\n\n{PASSAGE}")
        recording = recorder.recorder("Record 30 s or more", key=f"enrolment-{state.enrolments}")
        files = st.file_uploader(
            "Or upload recordings of you, 30 s or more in total",
            accept_multiple_files=True,
            key=f"enrolment-files-{state.enrolments}",
        )
        sources = [*([recording] if recording else []), *files]
        if sources and st.button("Make my profile", type="primary", icon=":material/person:"):
            _enrol(state, sources)
    with load:
        saved = st.file_uploader(
            "Or load a saved profile", type="json", key=f"profile-file-{state.enrolments}"
        )
        if saved and st.button("Use this profile", icon=":material/folder_open:"):
            _load(state, saved, info)


def _enrol(state: Session, sources: Sequence[UploadedFile]) -> None:
    """Make a profile of all readable recordings; the others are listed as left out."""
    readable, left_out = [], []
    with st.spinner("Making your profile …"):
        for source in sources:
            data = source.getvalue()
            try:
                with open_audio(data) as audio:
                    collections.deque(audio, maxlen=0)
                readable.append(data)
            except SpeechEmotionError as error:
                left_out.append(f"Left out: {answers.escape(f'{source.name}. {answers.explain(error)}')}")
        try:
            profile = shared.classifier(state.model).enrol(*readable)
        except SpeechEmotionError as error:
            _warn(left_out)
            st.error(answers.escape(answers.capital(str(error))), icon=":material/error:")
            return
    _adopt(state, profile, left_out)


def _warn(left_out: Sequence[str]) -> None:
    for text in left_out:
        st.warning(text, icon=":material/warning:")


def _load(state: Session, file: UploadedFile, info: ModelInfo) -> None:
    try:
        profile = SpeakerProfile.from_json(file.getvalue())
        profile.for_model(info)
    except SpeechEmotionError as error:
        st.error(
            "This profile cannot be used. Choose one downloaded from this page, or make a new one.",
            icon=":material/error:",
        )
        st.caption(f"Error message: {answers.escape(str(error))}")
        return
    _adopt(state, profile)


def _adopt(state: Session, profile: SpeakerProfile, left_out: Sequence[str] = ()) -> None:
    state.profiles[state.model], state.uses_profile, state.left_out = profile, True, tuple(left_out)
    st.rerun()


def _profile(state: Session, profile: SpeakerProfile) -> None:
    st.success(
        f"Your profile: {profile.seconds:.0f} s of speech.",
        icon=":material/person:",
    )
    for reason in profile.warnings:
        st.warning(answers.warning(reason), icon=":material/warning:")
    _warn(state.left_out)

    def switch() -> None:  # a callback runs before the page, whose first tab needs the value
        state.uses_profile = st.session_state.uses_profile

    st.toggle("Use it for all answers", value=state.uses_profile, key="uses_profile", on_change=switch)
    st.caption(
        "Switch it off for recordings of other people: with your profile, answers about them mean nothing."
    )
    with st.container(horizontal=True):
        st.download_button(
            "Download",
            json.dumps(profile.to_dict(), indent=1),
            "my-voice.json",
            "application/json",
            on_click="ignore",
            icon=":material/download:",
        )
        st.button("Forget it", icon=":material/delete:", on_click=state.forget_profile)
    _comparison(state)


def _comparison(state: Session) -> None:
    """The answers for the sounds of this visit, with the profile and without."""
    mine = session.profile_key(state.profile)
    pairs = [
        (sound.name, state.analyses.get(state.key(sound)), state.analyses.get(state.key(sound, mine)))
        for sound in state.sounds
    ]
    rows = [
        {
            "sound": sound_name,
            "without": answers.titled(plain.answer),
            "with your profile": answers.titled(tuned.answer),
        }
        for sound_name, plain, tuned in pairs
        if plain and tuned and plain.answer and tuned.answer
    ]
    if rows:
        st.markdown("**What it changes**")
        st.dataframe(rows, hide_index=True)
    elif state.sounds and not state.uses_profile:
        st.caption("Switch it on to see what it changes.")
    else:
        st.caption("Add sounds in the first tab to see what the profile changes.")
