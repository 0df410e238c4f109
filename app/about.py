"""What the page says about the model, its limits and privacy. In: a ModelInfo. Out: text on the page."""

import html
import re
from pathlib import PurePosixPath
from typing import Any, Final

import browser
import choice
import streamlit as st
from session import SAMPLES, Session

import speech_emotion
from speech_emotion import Prediction, shipped
from speech_emotion.formats.look import name
from speech_emotion.labels import in_order
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import percent

PRIVACY = (
    "Sounds stay in the memory of the computer that serves this page until you remove them or close the page. "
    "Nothing is stored, nothing is sent elsewhere, and there is no telemetry. One cookie remembers that you have read "
    "this."
)
LAW = (
    "In the EU, inferring emotions at work and in education is prohibited except for medical or safety reasons (AI "
    "Act, Article 5(1)(f)), and people must be told when it is used on them (Article 50(3))."
)
# For each model: its UAR on corpora it was not trained on; for compact also with a profile of up to a minute.
ELSEWHERE = {
    "standard": " In four languages that it never heard it was right 38 to 55 times in 100.",
    "compact": " On other recordings, from Poland, Korea and India, it was right 7 to 21 times in 100, and far too "
    "confident; with a profile of the voice 14 to 29 times.",
}
RAVDESS_CLIP: Final = re.compile(r"(?:\d\d-){6}\d\d\.\w+")
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


def caveat(answer: Prediction, info: ModelInfo, sound_name: str, *, is_tuned: bool = False) -> str:
    """How far an answer can be trusted, in one line; empty for an answer without a label, or without scores.

    Args:
        answer: An answer.
        info: The model.
        sound_name: The file that it is about; some are known.
        is_tuned: Whether a profile tuned it. The scores are of answers without one.
    """
    if answer.confidence is None:
        return ""
    if sound_name in SAMPLES:
        return "A synthetic voice: it has no right answer."
    if "ravdess" in info.corpora and RAVDESS_CLIP.fullmatch(PurePosixPath(sound_name).name):
        return "The model learned from these actors (the clip is named as one of the RAVDESS): expect less elsewhere."
    share = right(answer.confidence, info, "elsewhere")
    if share is None:
        return ""
    untuned = " and without a profile" if is_tuned else ""
    return f"On people it never heard{untuned}, {percent(share)} of answers as sure as this were right."


def right(confidence: float, info: ModelInfo, where: str) -> float | None:
    """The share of right answers among those as probable as `confidence`, on `elsewhere` or `ravdess`."""
    bins = choice.SCORES.get(info.name, {}).get("right", {}).get(where, [])
    reached = [one for one in bins if one["from"] <= confidence]
    return reached[-1]["right"] if reached else None


def header(state: Session) -> None:
    """Title and the choice of the model; before the first sound also what the page is for."""
    title, model = st.columns([2, 3], vertical_alignment="center")
    with title:
        tagline = (
            ""
            if state.sounds
            else (
                "<p class='se-tagline'>Names the emotion a voice expresses, from how something is said, not from "
                "what is said. It is often wrong, and says how often.</p>"
            )
        )
        st.html(f"<h1 class='se-title'>speech-emotion</h1>{tagline}")
    with model:
        if len(shipped.MODELS) > 1:
            choice.select(state)


def notice(info: ModelInfo) -> bool:
    """Show the notice until its button is pressed; whether it was pressed in this browser."""
    if st.session_state.get("notice_read") or st.context.cookies.get(browser.COOKIE) == "1":
        return True
    with st.container(border=True, key="notice"):
        st.header("Before you start", anchor=False)
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
    st.header("The model", anchor=False)
    st.markdown(
        f"**{info.name}**, {info.n_parameters:,} parameters in {info.size_bytes / 1e6:.1f} MB. It scores windows of "
        f"{info.window_seconds:g} s, one every {info.hop_seconds:g} s; the answer for a recording is their mean. "
        f"Trained on {', '.join(corpus.upper() for corpus in info.corpora)}."
    )
    st.markdown(
        f"**Tested**{_tested_on(info)}: it {score(info)}. This is the UAR: the recall of each emotion, averaged "
        "over the emotions."
    )
    _recalls(info)
    _confusions(info)
    if len(shipped.MODELS) > 1:
        st.subheader("Which model", anchor=False)
        st.html(choice.table())
        st.caption(choice.table_caption())
    st.header("Its limits", anchor=False)
    st.markdown(
        "- It was trained mostly on emotions that **actors** expressed. On your own voice, spontaneous speech, other "
        "languages, telephone or noise it is worse, and its confidence means less."
        f"{ELSEWHERE.get(info.name, '')}\n"
        "- *calm*, *neutral* and *sad* are similar and are often confused.\n"
        "- A confidence says how often such answers were right on recordings like those of the test.\n"
        "- *not sure*: the best emotion is too weak. *no speech*: no voice was found, as in silence, noise and "
        "most music; an unfamiliar kind of sound can still be mistaken for a voice.\n"
        "- A profile describes one person's ordinary speech through one microphone. With another person's profile, "
        "answers mean nothing."
    )
    st.header("Privacy and law", anchor=False)
    st.markdown(f"{PRIVACY}\n\n{NOT_FOR}\n\n{LAW}")
    st.caption(
        f"speech-emotion {speech_emotion.__version__} · code: Apache-2.0 · weights: {info.licence} · "
        f"sha256 {info.sha256[:16]}… · {info.citation}"
    )


def _confusions(info: ModelInfo) -> None:
    """What was spoken against what was answered, on other people and on the actors of the RAVDESS."""
    tables = choice.SCORES.get(info.name, {}).get("confusion", {})
    titles = {
        "elsewhere": "People it never heard, in four languages (ASED, AESDD, UEM, URDU)",
        "ravdess": "Actors of the RAVDESS, each left out of training",
    }
    for where, rows in tables.items():
        with st.expander(f"What it confuses: {titles[where]}", expanded=where == "elsewhere"):
            st.html(confusion_table(rows, titles[where]))
            st.caption("Rows are what was spoken, columns what was answered, in percent of the row.")


def confusion_table(rows: dict[str, dict[str, int]], title: str) -> str:
    """A confusion matrix as an HTML table whose cells are shaded by their share of the row."""
    answered = {answer for counts in rows.values() for answer in counts}
    columns = in_order(answered)
    head = "".join(f"<th scope='col'>{html.escape(name(column))}</th>" for column in columns)
    body = []
    for spoken in in_order(rows):
        total = sum(rows[spoken].values())
        cells = []
        for column in columns:
            share = rows[spoken].get(column, 0) / total
            edge = "outline:2px solid #8889;outline-offset:-2px;" if column == spoken else ""
            shade = f"background:color-mix(in srgb,#3d6fb6 {60 * share:.0f}%,transparent);{edge}"
            cells.append(f"<td style='{shade}'>{100 * share:.0f}</td>")
        n = f"<small>{total} clips</small>"
        body.append(f"<tr><th scope='row'>{html.escape(name(spoken))} {n}</th>{''.join(cells)}</tr>")
    return (
        f"<div class='se-scroll' tabindex='0' role='region' aria-label='{html.escape(title)}'>"
        f"<table class='se-matrix'><thead><tr><th scope='col'>spoken</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _tested_on(info: ModelInfo) -> str:
    corpus = info.metrics.get("corpus")
    return f" on {str(corpus).upper()}" if corpus else ""


def _recalls(info: ModelInfo) -> None:
    """The recall of each emotion, if the model file states it."""
    recalls = info.metrics.get("per_class")
    if not isinstance(recalls, dict):
        return
    rows: list[dict[str, Any]] = [
        {"emotion": name(label), "found": min(100 * recalls[label], 99.4)}
        for label in info.labels
        if label in recalls
    ]
    share = st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100, width="medium")
    st.dataframe(
        rows,
        hide_index=True,
        width="content",
        column_config={"found": share},
        alt="How often each emotion is found, in percent, in voices that were not in training.",
    )
