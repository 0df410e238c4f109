"""What the page says of the model, of its limits and of privacy. In: a ModelInfo. Out: text on the page."""

from typing import Any

import charts
import streamlit as st

import speech_emotion
from speech_emotion.model_info import ModelInfo

PRIVACY = (
    "Sounds stay in the memory of the computer that runs this page, until you remove them or close the page. "
    "Nothing is stored, nothing is sent elsewhere, and there is no telemetry."
)
LAW = (
    "In the EU, inferring emotions at work and in education is prohibited except for medical or safety reasons (AI "
    "Act, Article 5(1)(f)), and people must be told when it is used on them (Article 50(3))."
)
# UAR of the shipped model on three corpora that it never learned from, without a profile and with up to a minute.
ELSEWHERE = (
    "On recordings from Poland, Korea and India it was right 7 to 21 times in 100, and far too sure of itself; with a "
    "profile of the voice 14 to 29 times"
)
NOT_FOR = (
    "It does not read what a person feels. Do not use it to decide about people: in hiring, at work, in education, "
    "policing, insurance or diagnosis."
)


def score(info: ModelInfo) -> str:
    """How often it was right about speakers it had not heard, with the interval, or that nobody measured it."""
    uar = info.metrics.get("uar")
    if not isinstance(uar, dict):
        return "was not measured"
    low, high = uar.get("ci95") or (uar["mean"], uar["mean"])
    return (
        f"finds the acted emotion {100 * uar['mean']:.0f} times in 100 (95 % interval {100 * low:.0f} to "
        f"{100 * high:.0f}) in voices of {info.metrics.get('n_speakers')} actors, trained without those it is tested "
        f"on; guessing finds {100 / len(info.labels):.1f}"
    )


def header(info: ModelInfo) -> None:
    st.title("speech-emotion", anchor=False)
    st.markdown("Which emotion a voice expresses: not what is said, but how.")
    st.caption(f"Model **{info.name}**: {score(info)}. {ELSEWHERE}.")


def notice(info: ModelInfo) -> bool:
    """Whether the notice was read in this session; it is shown until then."""
    if st.session_state.get("notice_read"):
        return True
    with st.container(border=True, key="notice"):
        st.subheader("Before you start", anchor=False)
        st.markdown(
            f"- **What it is.** It says which of {len(info.labels)} emotions a voice sounds like, as actors would "
            f"express them, with a probability, or that it is not sure. It is often wrong: it {score(info)}. On voices "
            "unlike theirs it is far worse.\n"
            f"- **What it is not.** {NOT_FOR}\n"
            f"- **The law.** {LAW}\n"
            f"- **Your sound.** {PRIVACY}"
        )
        st.button("I have read this: start", type="primary", on_click=_read)
    return False


def _read() -> None:
    st.session_state.notice_read = True


def page(info: ModelInfo) -> None:
    """The model card, the limits, the law."""
    st.subheader("The model", anchor=False)
    st.markdown(
        f"**{info.name}**, {info.n_parameters:,} parameters in {info.size_bytes / 1e6:.1f} MB. It hears windows of "
        f"{info.window_seconds:g} s, one every {info.hop_seconds:g} s; a recording's answer is their mean. It learned "
        f"from {', '.join(corpus.upper() for corpus in info.corpora)}."
    )
    st.markdown(
        f"**Tested** ({_where(info)}): it {score(info)}. That is the UAR: the mean, over the emotions, of the share "
        "that is found."
    )
    _recalls(info)
    st.subheader("Its limits", anchor=False)
    st.markdown(
        "- It learned how **actors** express emotions, in a studio and in one language. On your own voice, in "
        "spontaneous speech, in other languages, over the telephone or in noise it is worse, and surer than it "
        f"should be. {ELSEWHERE}.\n"
        "- *calm*, *neutral* and *sad* are neighbours and are often taken for each other.\n"
        "- A confidence says how often such answers were right on recordings like those it was tested on.\n"
        "- 🤔 *not sure*: the best emotion is too weak. 🔇 *no speech*: no voice was heard: silence, noise, most "
        "music; a sound of a kind it never heard can still be taken for a voice.\n"
        "- A profile of a voice is made from that person's ordinary speech, through one microphone. With another "
        "person's profile, answers mean nothing."
    )
    st.subheader("Privacy and law", anchor=False)
    st.markdown(f"{PRIVACY}\n\n{NOT_FOR}\n\n{LAW}")
    st.caption(
        f"speech-emotion {speech_emotion.__version__} · code: Apache-2.0 · weights: {info.licence} · "
        f"sha256 {info.sha256[:16]}… · {info.citation}"
    )


def _where(info: ModelInfo) -> str:
    return (
        " ".join(str(info.metrics[key]) for key in ("corpus", "protocol") if info.metrics.get(key))
        or "nowhere"
    )


def _recalls(info: ModelInfo) -> None:
    """How often it finds each emotion, where the file knows it."""
    recalls = info.metrics.get("per_class")
    if not isinstance(recalls, dict):
        return
    rows: list[dict[str, Any]] = [
        {"emotion": f"{charts.icon(label)} {label}", "found, %": round(100 * recalls[label], 1)}
        for label in info.labels
        if label in recalls
    ]
    st.dataframe(
        rows,
        hide_index=True,
        width="content",
        column_config={
            "found, %": st.column_config.ProgressColumn(
                format="%.1f", min_value=0, max_value=100, width="medium"
            )
        },
        alt="How often each emotion is found, in percent, in voices that were not learned from.",
    )
