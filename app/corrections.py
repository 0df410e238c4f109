"""What a person says a sound was. Out: a table for `speech-emotion train` and `evaluate`, and the model's score."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import answers
import many
import streamlit as st
from analysis import Sound
from session import Correction, Session

from speech_emotion import Prediction
from speech_emotion.formats import write_table
from speech_emotion.formats.look import name
from speech_emotion.formats.summary import key_of
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import percent

UNSURE: Final = "unsure"
COLUMNS: Final = ("file", "label", "speaker", "note")
NOBODY: Final = "unknown"


def ask(sound: Sound, state: Session, info: ModelInfo) -> None:
    """Ask what the chosen sound was, and who speaks; below, what was said of all sounds so far."""
    known = state.corrections.get(sound.sha256)
    keys = {part: f"{part}-{sound.sha256[:16]}" for part in ("label", "speaker", "note")}
    sha256, sound_name = sound.sha256, sound.name

    # A callback runs before the page, whose table needs the value. Streamlit keeps it for the whole visit, so it must
    # not hold the sound.
    def keep() -> None:
        said: str | None = st.session_state.get(keys["label"])
        speaker = st.session_state.get(keys["speaker"]) or many.group(sound_name) or NOBODY
        note = st.session_state.get(keys["note"]) or ""
        label = "" if said == UNSURE else said or ""
        state.correct(sha256, Correction(sound_name, label, speaker, note) if said else None)

    said = known and (known.label or UNSURE)
    st.pills(
        "What was it?",
        [*info.labels, UNSURE],
        default=said,
        format_func=name,
        key=keys["label"],
        on_change=keep,
        wrap=True,
        help="Your answer stays in this page, and is what the score below and the table to train on are made of.",
    )
    with answers.slot(known is not None):
        if known:
            who, note = st.columns([1, 2])
            speaker = "" if known.speaker == NOBODY else known.speaker
            who.text_input("Who speaks", speaker, key=keys["speaker"], on_change=keep, placeholder=NOBODY)
            note.text_input("Note", known.note, key=keys["note"], on_change=keep)


def overview(state: Session, info: ModelInfo) -> None:
    """All corrections: how often the model agrees, and the downloads."""
    rows = list(_rows(state))
    if not rows:
        return
    st.header("What you said", anchor=False)
    st.markdown(score(state, info))
    st.dataframe(
        rows,
        hide_index=True,
        key="corrections",
        alt="One row per sound: what you said and what the model did.",
    )
    with st.container(horizontal=True):
        st.download_button(
            "Table to train on, CSV",
            lambda: table(state),
            "corrections.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/table:",
        )
        st.download_button(
            "Table with the sounds, ZIP",
            lambda: archive(state),
            "corrections.zip",
            "application/zip",
            on_click="ignore",
            icon=":material/folder_zip:",
        )
    st.caption(
        "With the table beside the sounds, `speech-emotion train RECIPE --corpus mine=corrections.csv --protocol "
        "speakers` makes a model of your own, and `speech-emotion evaluate RUN --corpus mine=corrections.csv "
        "--protocol speakers` scores one. Sounds that you are unsure of are left out. Name who speaks: a model must be "
        "tested on people it did not learn from."
    )


def score(state: Session, info: ModelInfo) -> str:
    """How often the model gives the label of the person, among the sounds that have one."""
    labelled = {sha256: one for sha256, one in state.corrections.items() if one.label}
    given = {sound.sha256: answer.label for sound in state.sounds if (answer := _answer(state, sound))}
    known = [(one.label, given[sha256]) for sha256, one in labelled.items() if sha256 in given]
    if not known:
        return "No sound has a label yet."
    n_right = sum(label == answer for label, answer in known)
    few = " These are few: the next ones may come out otherwise." if len(known) < 30 else ""
    sounds = "sound" if len(known) == 1 else "sounds"
    return (
        f"**{info.name}** agrees with you on {n_right} of {len(known)} {sounds} ({percent(n_right / len(known))}). "
        f"Guessing agrees on {percent(1 / len(info.labels))}.{few}"
    )


def table(state: Session) -> str:
    """The labelled sounds, a row each, in the form of a corpus of one's own."""
    out = io.StringIO()
    write_table((row for row, _ in _corpus(state)), COLUMNS, out)
    return out.getvalue()


def archive(state: Session) -> bytes:
    """The same table, with the sounds beside it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("corrections.csv", table(state))
        for row, sound in _corpus(state):
            packed.writestr(row["file"], sound.data)
    return out.getvalue()


def _corpus(state: Session) -> Iterator[tuple[dict[str, str], Sound]]:
    """Every labelled sound with its row. Of two with the same name, the second gets another."""
    taken: set[str] = set()
    seen: set[str] = set()
    for sound in state.sounds:
        correction = state.corrections.get(sound.sha256)
        if not correction or not correction.label or sound.sha256 in seen:
            continue
        seen.add(sound.sha256)
        path = PurePosixPath(*(part for part in PurePosixPath(sound.name).parts if part not in ("/", "..")))
        file = str(path)
        if file in taken:
            file = str(path.with_name(f"{path.stem} {sound.sha256[:8]}{path.suffix}"))
        taken.add(file)
        said = {"label": correction.label, "speaker": correction.speaker, "note": correction.note}
        yield {"file": file} | said, sound


def _rows(state: Session) -> Iterator[dict[str, str]]:
    for sound in state.sounds:
        if correction := state.corrections.get(sound.sha256):
            answer = _answer(state, sound)
            yield {
                "sound": sound.name,
                "you said": name(correction.label) if correction.label else UNSURE,
                "the model": name(key_of(answer)) if answer else "",
                "who speaks": correction.speaker,
                "note": correction.note,
            }


def _answer(state: Session, sound: Sound) -> Prediction | None:
    found = state.found(sound)
    return found.answer if found else None
