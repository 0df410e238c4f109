"""The tab "Compare": two sounds side by side."""

from typing import Final

import about
import answers
import session
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion.formats import cards
from speech_emotion.formats.look import name
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import percent

NOTABLE: Final = 0.05  # a smaller difference of a probability is not named


def tab(state: Session, info: ModelInfo) -> None:
    """Choose two sounds, and see their answers and what differs."""
    found = {
        sound.id: (sound, analysis)
        for sound in state.sounds
        if (analysis := state.found(sound)) and analysis.answer
    }
    if len(found) < 2:
        st.markdown(
            "Two sounds side by side: a voice before and after, two speakers, one sentence said in two ways. Add them "
            "in the tab *Listen*, or take two synthetic voices. Those show how it works; they have no right answer."
        )
        st.button("Compare two synthetic voices", on_click=_add_samples, args=(state,))
        return
    ids = list(found)
    sides = []
    for place, column in enumerate(st.columns(2, gap="large")):
        with column:
            label = f"{('First', 'Second')[place]} sound"
            default = (
                ids.index(state.chosen) if state.chosen in found and place == 0 else _other(ids, state, place)
            )
            chosen = st.selectbox(
                label, ids, index=default, format_func=lambda one: found[one][0].name, key=f"compare-{place}"
            )
            sides.append(_side(*found[chosen], info, state))
    st.markdown(difference(*sides))


def _other(ids: list[str], state: Session, place: int) -> int:
    """The place of the first sound that the other side does not show."""
    return next((at for at, one in enumerate(ids) if one != state.chosen), 0) if place else 0


def _add_samples(state: Session) -> None:
    for file_name in list(session.SAMPLES)[:2]:
        state.keep(session.sample(file_name))


def _side(sound: Sound, found: Analysis, info: ModelInfo, state: Session) -> Analysis:
    if found.answer:
        caveat = about.caveat(found.answer, info, sound.name, is_tuned=state.active_profile is not None)
        st.html(cards.answer_card(found.answer, caveat=caveat, minimum_seconds=info.min_seconds))
        st.html(cards.bars(found.answer) or "<span></span>")
        if correction := state.corrections.get(sound.sha256):
            st.caption(f"You said: {name(correction.label) if correction.label else 'unsure'}")
    return found


def difference(one: Analysis, other: Analysis) -> str:
    """How the second differs from the first: the emotions whose probabilities change most."""
    if not (one.answer and other.answer and one.answer.probabilities and other.answer.probabilities):
        return "There is nothing to compare where no speech was found."
    before, after = one.answer.probabilities, other.answer.probabilities
    changes = sorted(
        ((after[label] - before[label], label) for label in before), key=lambda item: -abs(item[0])
    )
    notable = [
        f"{'more' if change > 0 else 'less'} {name(label)} ({percent(before[label])} to {percent(after[label])})"
        for change, label in changes[:3]
        if abs(change) >= NOTABLE
    ]
    if not notable:
        return "The two sound nearly the same to the model."
    second = answers.escape(other.name)
    return f"Compared with the first, **{second}** sounds {', '.join(notable)}."
