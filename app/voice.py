"""The tab "My voice": a profile of one speaker is made, tried, taken along and forgotten."""

import collections
import json
from collections.abc import Sequence
from typing import Final

import answers
import charts
import recorder
import session
import shared
import streamlit as st
from session import Session
from streamlit.typing import UploadedFile

from speech_emotion import SpeakerProfile, SpeechEmotionError, open_audio
from speech_emotion.model_info import ModelInfo

# A passage without emotion, some 30 s at an ordinary pace (written for this page).
PASSAGE: Final = (
    "On Monday the bakery at the corner opens at seven. I usually buy two rolls and a small loaf, and on the way back "
    "I look at the river. There is a bridge with a green railing, and under it a boat that has been there for years. "
    "When it rains I take the bus, number twelve, which stops in front of the library. In the evening I water the "
    "plants, write down what has to be done tomorrow, and put the list beside the door. Then I close the window."
)


def tab(state: Session, info: ModelInfo) -> None:
    st.subheader("Tune it to one voice", anchor=False)
    if info.enrolment is None:
        st.info(f"The model {info.name} takes no profiles of voices.")
        return
    st.markdown(
        "What sounds angry in one voice is how another always sounds. Record 30 to 60 s of ordinary speech, through "
        "the microphone that you will use: answers are then relative to that voice. A profile holds statistics of the "
        "voice and no sound; it is personal data, and stays in this page unless you download it."
    )
    with answers.slot(state.profile is None):
        if state.profile is None:
            _make(state, info)
    with answers.slot(state.profile is not None):
        if state.profile is not None:
            _have(state, state.profile)


def _make(state: Session, info: ModelInfo) -> None:
    record, load = st.columns([3, 2], gap="large")
    with record:
        with st.container(border=True):
            st.markdown(f"**Read this in your ordinary voice, or talk about your day:**\n\n{PASSAGE}")
        recording = recorder.recorder("Record 30 s or more", key=f"enrolment-{state.enrolments}")
        files = st.file_uploader(
            "Or recordings of yours, 30 s or more in all",
            accept_multiple_files=True,
            key=f"enrolment-files-{state.enrolments}",
        )
        sources = [*([recording] if recording else []), *files]
        if sources and st.button("Make my profile", type="primary", icon="👤"):
            _enrol(state, sources)
    with load:
        saved = st.file_uploader(
            "Or a profile that you saved", type="json", key=f"profile-file-{state.enrolments}"
        )
        if saved and st.button("Use this profile", icon="📂"):
            _load(state, saved, info)


def _enrol(state: Session, sources: Sequence[UploadedFile]) -> None:
    """A profile of all that can be heard; what cannot is named, and stops nobody."""
    readable, left_out = [], []
    with st.spinner("Listening to your voice …"):
        for source in sources:
            data = source.getvalue()
            try:
                with open_audio(data) as audio:
                    collections.deque(audio, maxlen=0)
                readable.append(data)
            except SpeechEmotionError as error:
                left_out.append(
                    f"Left out: {answers.plain(f'{source.name}. {answers.in_plain_words(error)}')}"
                )
        try:
            profile = shared.classifier().enrol(*readable)
        except SpeechEmotionError as error:
            _warn(left_out)
            st.error(answers.plain(answers.capital(str(error))), icon="❌")
            return
    _adopt(state, profile, left_out)


def _warn(left_out: Sequence[str]) -> None:
    for words in left_out:
        st.warning(words, icon="⚠️")


def _load(state: Session, file: UploadedFile, info: ModelInfo) -> None:
    try:
        profile = SpeakerProfile.from_json(file.getvalue())
        profile.for_model(info)
    except SpeechEmotionError as error:
        st.error(
            "This profile cannot be used. Choose one that you downloaded here, or make a new one.", icon="❌"
        )
        st.caption(f"In the words of the program: {answers.plain(str(error))}")
        return
    _adopt(state, profile)


def _adopt(state: Session, profile: SpeakerProfile, left_out: Sequence[str] = ()) -> None:
    state.profile, state.uses_profile, state.left_out = profile, True, tuple(left_out)
    st.rerun()


def _have(state: Session, profile: SpeakerProfile) -> None:
    st.success(f"Your profile: {profile.seconds:.0f} s of speech in {profile.n_windows} windows.", icon="👤")
    for word in profile.warnings:
        st.warning(answers.warning(word), icon="⚠️")
    _warn(state.left_out)

    def switch() -> None:  # called before the page is run again, whose first tab needs to know
        state.uses_profile = st.session_state.uses_profile

    st.toggle("Use it for every answer", value=state.uses_profile, key="uses_profile", on_change=switch)
    with st.container(horizontal=True):
        st.download_button(
            "Download",
            json.dumps(profile.to_dict(), indent=1),
            "my-voice.json",
            "application/json",
            on_click="ignore",
            icon="💾",
        )
        st.button("Forget it", icon="🧹", on_click=state.forget_profile)
    _what_changes(state)


def _what_changes(state: Session) -> None:
    """The sounds of this visit, with the profile and without."""
    mine = session.profile_key(state.profile)
    pairs = [
        (sound.name, state.hearings.get((sound.sha256, "")), state.hearings.get((sound.sha256, mine)))
        for sound in state.sounds
    ]
    rows = [
        {
            "sound": name,
            "without": charts.title(plain.answer),
            "sure": answers.hundredths(plain.answer.confidence),
            "with your profile": charts.title(tuned.answer),
            "sure ": answers.hundredths(tuned.answer.confidence),
        }
        for name, plain, tuned in pairs
        if plain and tuned and plain.answer and tuned.answer
    ]
    if rows:
        st.markdown("**What it changes**")
        share = answers.share_column()
        name = st.column_config.TextColumn(width="medium")
        st.dataframe(rows, hide_index=True, column_config={"sound": name, "sure": share, "sure ": share})
    elif state.sounds and not state.uses_profile:
        st.caption("Use it, and see here what it changes.")
    else:
        st.caption("Give it sounds in the first tab, and see here what the profile changes.")
