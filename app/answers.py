"""One hearing on the page: the answer first, then what it was heard in."""

import html
import re
from collections.abc import Sequence
from typing import Any, Final

import charts
import hearing as hearings
import streamlit as st
import takeaway
from hearing import Hearing, Sound

from speech_emotion import Prediction
from speech_emotion.model_info import ModelInfo

WARNINGS: Final = {
    "clipped": "**Clipped:** its loudest moments are cut off. Record again with less gain or farther away.",
    "quiet": "**Very quiet:** it uses a small part of the range. Record again closer to the microphone.",
    "noisy": "**Noisy:** the pauses are nearly as loud as the voice. Record again in a quieter place.",
    "truncated": "**Cut short:** the file ends before its header says. What is there was heard.",
    "phase_cancelled": "**Channels cancel each other:** mixing them removed most of the sound. Pass one channel.",
}
NO_ANSWER: Final = {
    "no_speech": "No voice was heard in it: silence, noise, music, or a voice that is too faint.",
    "too_short": "There is too little sound for an answer.",
}
LONGEST_WAV: Final = 600.0  # seconds; a longer sound is played as it came


def plain(text: str) -> str:
    """`text` for places that take Markdown, as it is: what a file begins with may not draw a picture from elsewhere."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def remarks(answer: Prediction) -> list[str]:
    return [warning.replace("_", " ") for warning in answer.warnings]


def show(chosen: Hearing, sound: Sound, info: ModelInfo, *, without_profile: Hearing | None) -> None:
    st.html(f"<h3 class='se-name'>{html.escape(chosen.name)}</h3>")
    if chosen.answer is None:
        st.error(plain(str(chosen.error)), icon="❌")
        return
    answer, bars = st.columns([2, 3], gap="large")
    with answer:
        _card(chosen.answer, info)
        if without_profile and without_profile.answer:
            other = without_profile.answer
            share = f" {charts.percent(other.confidence)}" if other.confidence else ""
            st.caption(f"Tuned to your voice. Without your profile: {charts.title(other)}{share}")
        for warning in chosen.answer.warnings:
            st.warning(WARNINGS.get(warning, warning), icon="⚠️")
    with bars:
        if chosen.answer.probabilities:
            words = [f"{label} {charts.percent(p)}" for label, p in _ranked(chosen.answer)]
            st.altair_chart(charts.bars(chosen.answer), alt="Probabilities: " + ", ".join(words) + ".")
    _player(chosen, sound)
    if chosen.windows and chosen.log_mel.size:
        _pictures(chosen, info)


def take_along(
    hearings: Sequence[Hearing], chosen: Hearing, info: ModelInfo, profile_seconds: float | None, *, stem: str
) -> None:
    """Buttons that give `hearings` as tables and `chosen` as a picture; each is made when it is pressed."""
    st.subheader("Take it with you", anchor=False)
    with st.container(horizontal=True):
        st.download_button(
            "Answers, CSV",
            lambda: takeaway.csv_table(hearings, info, profile_seconds).encode(),
            f"{stem}.csv",
            "text/csv",
            on_click="ignore",
            icon="📊",
            key=f"{stem}-csv",
        )
        st.download_button(
            "Answers, JSON",
            lambda: takeaway.json_document(hearings, info, profile_seconds).encode(),
            f"{stem}.json",
            "application/json",
            on_click="ignore",
            icon="🧾",
            key=f"{stem}-json",
        )
        if chosen.windows:
            st.download_button(
                "Timeline, PNG",
                lambda: takeaway.picture(chosen, info),
                f"{stem}-timeline.png",
                "image/png",
                on_click="ignore",
                icon="🖼️",
                key=f"{stem}-picture",
            )


def _card(answer: Prediction, info: ModelInfo) -> None:
    """The answer in the largest letters of the page."""
    best = next(iter(answer.emotions), "no_speech")
    edge = charts.colour(answer.abstained or best)
    if answer.label:
        runner_up = answer.runner_up or ""
        second = f"then {runner_up} {charts.percent(answer.probabilities[runner_up])}" if runner_up else ""
        lines = [f"{charts.percent(answer.confidence or 0)} confident", second]
    elif answer.probabilities:
        lines = ["maybe " + " or ".join(answer.emotions), "No emotion is probable enough to be named."]
    else:
        lines = [NO_ANSWER[answer.abstained or "no_speech"]]
        if answer.abstained == "too_short":
            lines.append(f"It needs {info.min_seconds:g} s or more.")
    if answer.label and len(answer.emotions) > 1:
        lines.append("It may well be " + ", ".join(answer.emotions[1:]) + " too.")
    text = "".join(f"<div class='se-line'>{html.escape(line)}</div>" for line in lines if line)
    icon, _, words = charts.title(answer).partition(" ")
    st.html(
        f"<div class='se-card' role='status' style='border-left-color:{edge}'><span class='se-icon' aria-hidden='true'>"
        f"{icon}</span><div><div class='se-answer'>{html.escape(words)}</div>{text}</div></div>"
    )


def _ranked(answer: Prediction) -> list[tuple[str, float]]:
    return sorted(answer.probabilities.items(), key=lambda item: -item[1])


def _player(chosen: Hearing, sound: Sound) -> None:
    seek = st.session_state.get(f"seek-{chosen.sha256}")
    if chosen.seconds <= LONGEST_WAV:
        data, kind = _wav(chosen, sound), "audio/wav"
    else:
        sound.file.seek(0)
        data, kind = sound.file.read(), getattr(sound.file, "type", "audio/wav")
    st.audio(
        data,
        kind,
        start_time=seek or 0,
        autoplay=seek is not None,
        alt=f"The sound {chosen.name}, {charts.clock(chosen.seconds)} long.",
    )


def _wav(chosen: Hearing, sound: Sound) -> bytes:
    """What the model heard, for every browser; that of the last sound is kept."""
    key: str
    data: bytes
    key, data = st.session_state.get("wav", ("", b""))
    if key != chosen.sha256:
        data = hearings.as_wav(sound.file)
        st.session_state.wav = chosen.sha256, data
    return data


def _pictures(chosen: Hearing, info: ModelInfo) -> None:
    """Waveform, log-mel and timeline on one axis; a click plays from there; the same as a table."""
    chart_key, table_key = f"picture-{chosen.sha256}", f"segments-{chosen.sha256}"
    is_long = len(chosen.windows) > 1

    def seek_by_chart() -> None:
        points = st.session_state[chart_key].selection.get("at") or []
        _seek(chosen, points[0]["start"] if points else None)

    def seek_by_table() -> None:
        rows = st.session_state[table_key].selection.rows
        _seek(chosen, chosen.windows[rows[0]].start_seconds if rows else None)

    words = charts.in_words(chosen.windows)
    st.caption(
        "The sound, and what the model saw of it"
        + (", with its answers: click one to hear it from there." if is_long else ".")
    )
    with st.container(gap=None):
        st.altair_chart(charts.waveform(chosen.envelope, chosen.seconds), alt=f"Waveform of {chosen.name}.")
        st.altair_chart(
            charts.spectrogram(chosen.log_mel, chosen.seconds, is_last=not is_long),
            alt="Log-mel spectrogram, as the model saw it.",
        )
        if is_long:
            st.altair_chart(
                charts.timeline(chosen.windows, info.labels, legend=False),
                key=chart_key,
                on_select=seek_by_chart,
                selection_mode="at",
                alt=words,
            )
            st.html(charts.legend(chosen.windows, info.labels))
    if not is_long:
        return
    with st.expander(f"The {len(chosen.windows)} windows as a table"):
        st.dataframe(
            [_segment(window) for window in chosen.windows],
            hide_index=True,
            on_select=seek_by_table,
            selection_mode="single-row",
            key=table_key,
            column_config={"confidence": charts.share_column()},
            alt=words,
        )
        st.caption("Choose a row to hear it from there.")


def _seek(chosen: Hearing, seconds: float | None) -> None:
    st.session_state[f"seek-{chosen.sha256}"] = seconds


def _segment(window: Prediction) -> dict[str, Any]:
    return {
        "from": charts.clock(window.start_seconds),
        "to": charts.clock(window.end_seconds),
        "answer": charts.title(window),
        "confidence": charts.hundredths(window.confidence),
        "runner-up": window.runner_up or "",
    }
