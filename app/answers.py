"""One hearing on the page: the answer first, then what it was heard in."""

import html
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import charts
import hearing as hearings
import streamlit as st
import takeaway
from hearing import Hearing, Sound
from session import Session

from speech_emotion import Prediction, SpeechEmotionError
from speech_emotion.model_info import ModelInfo

WARNINGS: Final = {
    "clipped": "**Clipped:** its loudest moments are cut off. Record again with less gain or farther away.",
    "quiet": "**Very quiet:** it uses a small part of the range. Record again closer to the microphone.",
    "noisy": "**Noisy:** its pauses are nearly as loud as the voice. Record again in a quieter place.",
    "truncated": "**Cut short:** the file ends before its header says. What is there was heard.",
    "phase_cancelled": "**Channels cancel each other:** mixing them removed most of the sound. Export the left or the "
    "right channel alone.",
    "short_enrolment": "**Short:** 30 to 60 s of speech are best.",
}
NO_ANSWER: Final = {
    "no_speech": "Nobody was heard to speak: silence, noise, music, another sound, or a voice that is too faint.",
    "too_short": "There is too little sound for an answer.",
}
COMPLAINTS: Final = {
    "audio_too_short": "There are no samples in it. Record or export it again.",
    "audio_too_large": "It is longer, or has more channels or a stranger sample rate, than can be heard. Cut it up.",
    "invalid_waveform": "Its numbers are no sound (NaN, infinity or far beyond full scale). Export it again.",
}
SHORT_SECONDS: Final = 2.0  # of one second alone far fewer emotions are found: docs/robustness.md
MOST_PLAYED: Final = 600  # seconds in the player at once


def hundredths(share: float | None) -> float | None:
    """For `share_column`: never 100 % of what is not, as `charts.percent`."""
    if share is None:
        return None
    return 100.0 if share == 1 else min(100 * share, 99.4)


def share_column() -> Any:
    """A column of a table with a bar and `42 %` a row."""
    return st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)


def plain(text: str) -> str:
    """`text` for places that take Markdown, as it is: what a file begins with may not draw a picture from elsewhere."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def warning(word: str) -> str:
    return WARNINGS.get(word) or plain(word.replace("_", " "))


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_plain_words(error: SpeechEmotionError) -> str:
    """What is wrong with a sound, and what to do, for whoever gave it; no Markdown."""
    if error.code == "audio_decode":
        reason, *_ = re.split(r"; |\. Pass ", str(error))
        return f"{capital(reason)}. Export it again, as WAV, MP3 or M4A."
    return COMPLAINTS.get(error.code) or capital(str(error))


def or_else(answer: Prediction) -> str:
    """The runner-up, or what it may be where it is not sure."""
    return answer.runner_up or " or ".join(answer.emotions)


def slot(is_there: bool) -> AbstractContextManager[Any]:
    """A place of the page that is cleared at once when nothing stands there.

    Streamlit clears what a run does not write again when it ends, and a run that works at sounds lasts.
    """
    return st.container() if is_there else nullcontext(st.empty())


def show(
    sound: Sound, chosen: Hearing, state: Session, info: ModelInfo, *, without_profile: Hearing | None
) -> None:
    st.html(f"<h2 class='se-name'>{html.escape(chosen.name)}</h2>")
    if chosen.answer is None:
        if chosen.error:
            st.error(plain(in_plain_words(chosen.error)), icon="❌")
            if chosen.error.code in COMPLAINTS:
                st.caption(f"In the words of the program: {plain(str(chosen.error))}")
        return
    answer, bars = st.columns([2, 3], gap="large")
    with answer:
        _card(chosen.answer, info)
        other = without_profile.answer if without_profile else None
        with slot(other is not None):
            if other:
                share = f" {charts.percent(other.confidence)}" if other.confidence else ""
                st.caption(f"Tuned to your voice. Without your profile: {charts.title(other)}{share}")
        advices = _advice(chosen)
        with slot(bool(advices)):
            for advice in advices:
                st.warning(advice, icon="⚠️")
    with bars:
        if chosen.answer.probabilities:
            words = [f"{label} {charts.percent(p)}" for label, p in _ranked(chosen.answer)]
            st.altair_chart(charts.bars(chosen.answer), alt="Probabilities: " + ", ".join(words) + ".")
    _player(sound, chosen, state)
    if chosen.windows and chosen.log_mel.size:
        _pictures(sound, chosen, state, info)


def _advice(chosen: Hearing) -> list[str]:
    """What to do about the sound; one thing where the others follow from it."""
    answer = chosen.answer
    words = set(answer.warnings) if answer else set()
    if answer is None or (answer.abstained == "too_short"):
        return []
    if "phase_cancelled" in words:
        words.discard("quiet")
    if answer.abstained == "no_speech":
        words.discard("noisy")
        if words == {"quiet"}:
            return ["**Almost silent:** is the right microphone chosen, and is it switched on?"]
    advice = [warning(word) for word in answer.warnings if word in words]
    if answer.label and chosen.seconds < SHORT_SECONDS:
        advice.append(
            "**Very short:** from one second alone the model finds far fewer emotions. Give it more."
        )
    return advice


def take_along(
    found: Sequence[Hearing], chosen: Hearing, info: ModelInfo, profile_seconds: float | None, *, stem: str
) -> None:
    """Buttons that give `found` as tables and `chosen` as a picture; each is made when it is pressed."""
    documents: list[tuple[str, str, str, str, Callable[[], str | bytes]]] = [
        ("Answers, CSV", "📊", ".csv", "text/csv", lambda: takeaway.csv_table(found, info, profile_seconds)),
        (
            "Answers, JSON",
            "🧾",
            ".json",
            "application/json",
            lambda: takeaway.json_document(found, info, profile_seconds),
        ),
    ]
    pictures: list[tuple[str, str, str, str, Callable[[], str | bytes]]] = [
        (
            "Timeline, PNG",
            "🖼️",
            "-timeline.png",
            "image/png",
            lambda: takeaway.picture(chosen, info, profile_seconds),
        )
    ]
    st.subheader("Take it with you", anchor=False)
    with st.container(horizontal=True):
        for label, icon, end, kind, make in [*documents, *(pictures if chosen.windows else [])]:
            name = f"{stem}{end}"
            st.download_button(label, make, name, kind, on_click="ignore", icon=icon, key=name)


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


def _player(sound: Sound, chosen: Hearing, state: Session) -> None:
    """What the model heard; of a long sound, the part around the moment that was asked for."""
    sound_id, seconds, count = state.seek or (sound.id, 0.0, 0)
    if sound_id != sound.id:  # of one that is gone
        seconds, count = 0.0, 0
    part = int(seconds // MOST_PLAYED)
    if state.played[:2] != (sound.sha256, part):
        wav = hearings.as_wav(sound.data, part * MOST_PLAYED, MOST_PLAYED)
        state.played = sound.sha256, part, wav
    place = f", from {charts.clock(seconds)}, asked for {count} times" if count else ""
    st.audio(
        state.played[2],
        start_time=seconds - part * MOST_PLAYED,
        autoplay=count > 0,
        alt=f"The sound {chosen.name}, {charts.clock(chosen.seconds)} long{place}.",
    )
    if chosen.seconds > MOST_PLAYED:
        start, end = part * MOST_PLAYED, min((part + 1) * MOST_PLAYED, chosen.seconds)
        st.caption(
            f"The player has {charts.clock(start)} to {charts.clock(end)}: for another part, click there below."
        )


def _pictures(sound: Sound, chosen: Hearing, state: Session, info: ModelInfo) -> None:
    """Waveform, log-mel and timeline on one axis; a click plays from there; the same as a table."""
    count = state.seek[2] if state.seek else 0
    chart_key = f"picture-{chosen.sha256}-{count}"  # a new chart after each click, which may be at the same place again
    table_key = f"segments-{chosen.sha256}-{count}"
    is_long = len(chosen.windows) > 1

    def seek_by_chart() -> None:
        if points := st.session_state[chart_key].selection.get("at"):
            state.play_from(sound.id, points[0]["start"])

    def seek_by_table() -> None:
        if rows := st.session_state[table_key].selection.rows:
            state.play_from(sound.id, chosen.windows[rows[0]].start_seconds)

    words = charts.in_words(chosen.windows)
    st.caption(
        "The sound as the model hears it, and what it saw of it"
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
            [segment(window) for window in chosen.windows],
            hide_index=True,
            on_select=seek_by_table,
            selection_mode="single-row",
            key=table_key,
            column_config={"confidence": share_column()},
            alt=words,
        )
        st.caption("Choose a row to hear it from there.")


def segment(window: Prediction) -> dict[str, Any]:
    """A row of a table of windows; with `share_column` for its confidence."""
    return {
        "from": charts.clock(window.start_seconds),
        "to": charts.clock(window.end_seconds),
        "answer": charts.title(window),
        "confidence": hundredths(window.confidence),
        "or else": or_else(window),
    }
