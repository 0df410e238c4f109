"""What the page says about the model, its limits and privacy. In: a ModelInfo. Out: text on the page."""

from typing import Any

import streamlit as st
from session import Session

import speech_emotion
from speech_emotion import shipped
from speech_emotion.formats import picture
from speech_emotion.model_info import ModelInfo

PRIVACY = (
    "Sounds stay in the memory of the computer that serves this page until you remove them or close the page. "
    "Nothing is stored, nothing is sent elsewhere, and there is no telemetry."
)
LAW = (
    "In the EU, inferring emotions at work and in education is prohibited except for medical or safety reasons (AI "
    "Act, Article 5(1)(f)), and people must be told when it is used on them (Article 50(3))."
)
# For each model: its UAR on corpora it was not trained on; for compact also with a profile of up to a minute.
ELSEWHERE = {
    "standard": " In four languages that it never heard it was right 38 to 52 times in 100.",
    "compact": " On recordings from Poland, Korea and India it was right 7 to 21 times in 100, and far too confident; "
    "with a profile of the voice 14 to 29 times.",
}
NOT_FOR = (
    "It does not read what a person feels. Do not use it to make decisions about people: in hiring, at work, in "
    "education, policing, insurance or diagnosis."
)


def score(info: ModelInfo) -> str:
    """How often the model was right on speakers it was not trained on, with the interval; the subject is "it"."""
    uar = info.metrics.get("uar")
    if not isinstance(uar, dict):
        return "was not measured"
    low, high = uar.get("ci95") or (uar["mean"], uar["mean"])
    return (
        f"finds the acted emotion {100 * uar['mean']:.0f} times in 100 (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f}), tested on {info.metrics.get('n_speakers')} actors, each left out of training; guessing "
        f"finds {100 / len(info.labels):.1f}"
    )


def header(state: Session, info: ModelInfo) -> None:
    """Title, purpose, the choice of the model, and its score."""
    st.title("speech-emotion", anchor=False)
    st.markdown("Tells the emotion a voice expresses: from how something is said, not from what is said.")
    if len(shipped.MODELS) > 1:
        _choice(state)
    st.caption(f"Model **{info.name}**: {score(info)}.{ELSEWHERE.get(info.name, '')}")


def _choice(state: Session) -> None:
    """A select of the model that answers."""
    purposes = {model.name: model.purpose for model in shipped.MODELS}

    def choose() -> None:  # a callback runs before the page, whose first lines need the value
        if st.session_state.model in purposes:  # a browser may send anything
            state.use_model(st.session_state.model)

    st.selectbox(
        "Model",
        list(purposes),
        index=list(purposes).index(state.model),
        format_func=lambda name: f"{name}: {purposes[name]}",
        key="model",
        on_change=choose,
        width=420,
    )


def notice(info: ModelInfo) -> bool:
    """Show the notice until its button is pressed; whether it was pressed in this session."""
    if st.session_state.get("notice_read"):
        return True
    with st.container(border=True, key="notice"):
        st.subheader("Before you start", anchor=False)
        st.markdown(
            f"- **What it does.** It names which of {len(info.labels)} emotions a voice sounds like, as an actor would "
            "express it, with a probability, or says that it is not sure. It is often wrong: it "
            f"{score(info)}. On other voices it is far worse.\n"
            f"- **What it does not do.** {NOT_FOR}\n"
            f"- **The law.** {LAW}\n"
            f"- **Your sounds.** {PRIVACY}"
        )
        st.button("I have read this: start", type="primary", on_click=_read)
    return False


def _read() -> None:
    st.session_state.notice_read = True


def page(info: ModelInfo) -> None:
    """The model card, the limits, privacy and the law."""
    st.subheader("The model", anchor=False)
    st.markdown(
        f"**{info.name}**, {info.n_parameters:,} parameters in {info.size_bytes / 1e6:.1f} MB. It scores windows of "
        f"{info.window_seconds:g} s, one every {info.hop_seconds:g} s; the answer for a recording is their mean. "
        f"Trained on {', '.join(corpus.upper() for corpus in info.corpora)}."
    )
    st.markdown(
        f"**Tested** ({_tested_on(info)}): it {score(info)}. This is the UAR: the recall of each emotion, averaged "
        "over the emotions."
    )
    _recalls(info)
    st.subheader("Its limits", anchor=False)
    st.markdown(
        "- It was trained mostly on emotions that **actors** expressed. On your own voice, spontaneous speech, other "
        "languages, telephone or noise it is worse, and its confidence means less."
        f"{ELSEWHERE.get(info.name, '')}\n"
        "- *calm*, *neutral* and *sad* are similar and are often confused.\n"
        "- A confidence says how often such answers were right on recordings like those of the test.\n"
        "- 🤔 *not sure*: the best emotion is too weak. 🔇 *no speech*: no voice was found, as in silence, noise and "
        "most music; an unfamiliar kind of sound can still be mistaken for a voice.\n"
        "- A profile describes one person's ordinary speech through one microphone. With another person's profile, "
        "answers mean nothing."
    )
    st.subheader("Privacy and law", anchor=False)
    st.markdown(f"{PRIVACY}\n\n{NOT_FOR}\n\n{LAW}")
    st.caption(
        f"speech-emotion {speech_emotion.__version__} · code: Apache-2.0 · weights: {info.licence} · "
        f"sha256 {info.sha256[:16]}… · {info.citation}"
    )


def _tested_on(info: ModelInfo) -> str:
    facts = [str(info.metrics[key]) for key in ("corpus", "protocol") if info.metrics.get(key)]
    return " ".join(facts) or "nowhere"


def _recalls(info: ModelInfo) -> None:
    """The recall of each emotion, if the model file states it."""
    recalls = info.metrics.get("per_class")
    if not isinstance(recalls, dict):
        return
    rows: list[dict[str, Any]] = [
        {"emotion": f"{picture.icon(label)} {label}", "found, %": round(100 * recalls[label], 1)}
        for label in info.labels
        if label in recalls
    ]
    share = st.column_config.ProgressColumn(format="%.1f", min_value=0, max_value=100, width="medium")
    st.dataframe(
        rows,
        hide_index=True,
        width="content",
        column_config={"found, %": share},
        alt="How often each emotion is found, in percent, in voices that were not in training.",
    )
