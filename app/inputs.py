"""The bar of inputs: files, folders, the microphone, samples. Out: the sounds of a session; what is wrong with some."""

from pathlib import PurePath
from typing import Final

import answers
import recorder
import session
import streamlit as st
from session import Session

CLUTTER: Final = (
    ".",
    "Thumbs.db",
    "desktop.ini",
)  # beginnings of files and folders that operating systems leave
KINDS: Final = (
    "WAV, FLAC, Ogg, Opus, MP3, AIFF, AU, CAF, M4A, AAC, MP4, WebM, AMR, AVI, WMA. The format is detected from the "
    "content, not from the name. A transcript beside a sound (SRT, WebVTT, RTTM, TextGrid, CSV, the JSON of Whisper) "
    "gives an answer per utterance."
)

START: Final = "Upload a sound, record one, or try a synthetic voice"


def bar(state: Session) -> None:
    """The inputs: open before the first sound, folded into one line after it."""
    n_sounds = len(state.sounds)
    label = f"Add sounds · {n_sounds} so far" if n_sounds else START
    # Another label closes it again: whoever has just added a sound wants to see its answer.
    with st.expander(label, expanded=not n_sounds):
        upload, record = st.columns([3, 2], gap="large")
        with upload:
            files = st.file_uploader(
                "Audio or video files, as many as you like, with or without transcripts",
                accept_multiple_files=True,
                help=KINDS,
                key="files",
            )
            inside = st.file_uploader(
                "Or a whole folder, with its subfolders", accept_multiple_files="directory", key="folder"
            )
            st.caption("For files of more than 200 MB: `speech-emotion predict --timeline FILE`")
            state.set_uploads([*files, *(file for file in inside if not _is_clutter(file.name))])
        with record:
            state.record(recorder.recorder("Record your voice", key=f"recording-{state.recorders}"))
            st.markdown(
                "Or try a synthetic voice. It shows what an answer looks like; it has no right answer."
            )
            with st.container(horizontal=True):
                for file_name, text in session.SAMPLES.items():
                    if st.button(text, key=file_name):
                        state.keep(session.sample(file_name))
            if state.kept:
                st.button("Forget recordings and samples", type="tertiary", on_click=state.forget_kept)
    if len(state.sounds) != n_sounds:
        st.rerun()  # the bar was drawn for fewer or more


def problems(state: Session) -> None:
    """What is wrong with uploads, as full sentences: sounds that cannot be read, transcripts without a sound.

    Text that is no transcript, as a README in a folder, is only named.
    """
    texts, skipped = [], []
    stems = {session.stem(sound.name) for sound in state.sounds}
    for sound in state.sounds:
        found = state.found(sound)
        if found and found.error:
            texts.append(f"**{answers.escape(sound.name)}** {answers.escape(answers.explain(found.error))}")
    used = {transcript.sha256 for sound in state.sounds if (transcript := state.transcript_of(sound))}
    for transcript in state.transcripts.values():
        name = answers.escape(transcript.name)
        is_text = PurePath(transcript.name).suffix.lower() in (".txt", ".md", "")
        if (
            transcript.problem
            and is_text
            and len(state.uploaded) > 1
            and session.stem(transcript.name) not in stems
        ):
            skipped.append(name)
        elif transcript.problem:
            texts.append(f"**{name}** cannot be used as a transcript: {answers.escape(transcript.problem)}.")
        elif state.uploaded and transcript.sha256 not in used:
            texts.append(
                f"**{name}** belongs to no sound here. Give it the name of its sound, as in call.wav and call.srt."
            )
    with answers.slot(bool(texts)):
        for text in texts[: answers.MAX_PROBLEMS]:
            st.error(text, icon=":material/error:")
        if len(texts) > answers.MAX_PROBLEMS:
            st.error(f"And {len(texts) - answers.MAX_PROBLEMS} more files; the table names them.")
    with answers.slot(bool(skipped)):
        if skipped:
            more = f" and {len(skipped) - answers.MAX_PROBLEMS} more" * (len(skipped) > answers.MAX_PROBLEMS)
            st.caption(f"Neither sounds nor transcripts: {', '.join(skipped[: answers.MAX_PROBLEMS])}{more}.")


def _is_clutter(path: str) -> bool:
    """Whether a file in a chosen folder is hidden; the name of the folder itself, which comes first, may be any."""
    return any(part.startswith(CLUTTER) for part in path.split("/")[1:])
