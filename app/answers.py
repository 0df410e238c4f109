"""One analysis on the page: the answer first, then the sound it is about."""

import html
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

import analysis
import charts
import downloads
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion import Prediction, SpeechEmotionError
from speech_emotion.formats import picture
from speech_emotion.model_info import ModelInfo

WARNINGS: Final = {
    "clipped": "**Clipped:** the loudest moments are cut off. Record again with less gain or farther away.",
    "quiet": "**Very quiet:** the sound uses little of the range. Record again closer to the microphone.",
    "noisy": "**Noisy:** the pauses are nearly as loud as the voice. Record again in a quieter place.",
    "truncated": "**Cut short:** the file ends before its header says. The answer is about what is there.",
    "unfinished": "**Unfinished:** the recorder never completed the header. The answer is about all of the sound.",
    "other_tracks": "**Several audio tracks:** the answer is about the default one. Export another to hear that.",
    "channels_differ": "**Different speech on each channel:** the answer is about the mix. The button below "
    "analyses each channel by itself.",
    "phase_cancelled": "**Channels cancel each other:** mixing them removed most of the sound. Export only the left or "
    "the right channel.",
    "short_enrolment": "**Short:** 30 to 60 s of speech are best.",
}
NO_ANSWER: Final = {
    "no_speech": "No speech was found: silence, noise, music, another sound, or a voice that is too faint.",
    "too_short": "The sound is too short for an answer.",
}
ERRORS: Final = {
    "audio_too_short": "The file has no samples. Record or export it again.",
    "audio_too_large": "The sound is too long, has too many channels or an unusual sample rate. Split or convert it.",
    "invalid_waveform": "The samples are not a sound (NaN, infinity or far beyond full scale). Export it again.",
}
SHORT_SECONDS: Final = 2.0  # with only one second far fewer emotions are found: docs/robustness.md
MAX_PLAYED: Final = 600  # seconds in the player at once


def hundredths(share: float | None) -> float | None:
    """A share in percent for `share_column`; like `picture.percent`, 100 % only for exactly 1."""
    if share is None:
        return None
    return 100.0 if share == 1 else min(100 * share, 99.4)


def share_column() -> Any:
    """A table column with a bar and `42 %` per row."""
    return st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100)


def escape(text: str) -> str:
    """`text` with its Markdown escaped: a file must not be able to embed a picture from elsewhere."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def warning(name: str) -> str:
    """What to do about a warning of a Prediction or a SpeakerProfile, as Markdown."""
    return WARNINGS.get(name) or escape(name.replace("_", " "))


def capital(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def explain(error: SpeechEmotionError) -> str:
    """What is wrong with a sound, and what to do, in plain words and without Markdown."""
    if error.code == "audio_decode":
        reason, *_ = re.split(r"; |\. Pass ", str(error))
        return f"{capital(reason)}. Export it again, as WAV, MP3 or M4A."
    return ERRORS.get(error.code) or capital(str(error))


def or_else(answer: Prediction) -> str:
    """The runner-up, or the candidates of an answer that is not sure."""
    return answer.runner_up or " or ".join(answer.emotions)


def slot(is_used: bool) -> AbstractContextManager[Any]:
    """A place of the page that is cleared at once if it is not used.

    Streamlit clears unwritten elements only when a run ends, and a run that analyses sounds takes long.
    """
    return st.container() if is_used else nullcontext(st.empty())


def show(
    sound: Sound, chosen: Analysis, state: Session, info: ModelInfo, *, without_profile: Analysis | None
) -> None:
    """The answer, its probabilities, the player and the charts; or the error.

    Args:
        sound: the sound that `chosen` is about.
        chosen: its analysis, with the profile if one is active.
        without_profile: its analysis without the profile, for comparison.
    """
    st.html(f"<h2 class='se-name'>{html.escape(chosen.name)}</h2>")
    if chosen.answer is None:
        if chosen.error:
            st.error(escape(explain(chosen.error)), icon="❌")
            if chosen.error.code in ERRORS:
                st.caption(f"Error message: {escape(str(chosen.error))}")
        return
    answer, bars = st.columns([2, 3], gap="large")
    with answer:
        _card(chosen.answer, info)
        other = without_profile.answer if without_profile else None
        with slot(other is not None):
            if other:
                st.caption(f"Tuned to your voice. Without your profile: {charts.title_with_share(other)}")
        advice = _advice(chosen)
        with slot(bool(advice)):
            for text in advice:
                st.warning(text, icon="⚠️")
            if "channels_differ" in chosen.answer.warnings:
                st.button("Analyse each channel", icon="👥", on_click=state.split, args=(sound,))
    with bars:
        if chosen.answer.probabilities:
            shares = [f"{label} {picture.percent(p)}" for label, p in charts.ranked(chosen.answer)]
            st.altair_chart(charts.bars(chosen.answer), alt="Probabilities: " + ", ".join(shares) + ".")
    _player(sound, chosen, state)
    if chosen.windows and chosen.log_mel.size:
        _pictures(sound, chosen, state, info)


def _advice(chosen: Analysis) -> list[str]:
    """What to do about the sound; of warnings that follow from another one, only that one."""
    answer = chosen.answer
    if answer is None or answer.abstained == "too_short":
        return []
    names = set(answer.warnings)
    if "phase_cancelled" in names:
        names.discard("quiet")
    if answer.abstained == "no_speech":
        names.discard("noisy")
        if names == {"quiet"}:
            return ["**Almost silent:** is the right microphone selected and switched on?"]
    advice = [warning(name) for name in answer.warnings if name in names]
    if answer.label and chosen.seconds < SHORT_SECONDS:
        advice.append(
            "**Very short:** with only one second, the model finds far fewer emotions. Record more."
        )
    return advice


def download_buttons(
    analyses: Sequence[Analysis],
    chosen: Analysis,
    info: ModelInfo,
    profile_seconds: float | None,
    *,
    stem: str,
) -> None:
    """Buttons that download `analyses` as tables and the timeline of `chosen`; each file is made on demand.

    Args:
        profile_seconds: seconds of speech in the profile that was used, if any.
        stem: how the file names begin.
    """
    made_with = info, profile_seconds
    buttons: list[tuple[str, str, str, str, Callable[[], str | bytes]]] = [
        ("Answers, CSV", "📊", ".csv", "text/csv", partial(downloads.csv_table, analyses, *made_with)),
        (
            "Answers, JSON",
            "🧾",
            ".json",
            "application/json",
            partial(downloads.json_document, analyses, *made_with),
        ),
    ]
    if chosen.windows:
        draw = partial(downloads.picture, chosen, *made_with)
        buttons.append(("Timeline, PNG", "🖼️", "-timeline.png", "image/png", draw))
    st.subheader("Download", anchor=False)
    with st.container(horizontal=True):
        for label, icon, ending, kind, make in buttons:
            name = f"{stem}{ending}"
            st.download_button(label, make, name, kind, on_click="ignore", icon=icon, key=name)
        if chosen.windows:
            with st.popover("Subtitles and labels", icon="💬"):
                st.caption(f"{escape(chosen.name)}: stretches of one emotion, without the pauses.")
                for format_name, (title, ending) in downloads.ANNOTATIONS.items():
                    make = partial(downloads.annotations, chosen, info, format_name)
                    name = f"{stem}-emotions{ending}"
                    st.download_button(title, make, name, "text/plain", on_click="ignore", key=name)


def _card(answer: Prediction, info: ModelInfo) -> None:
    """The answer in the largest letters of the page."""
    best = next(iter(answer.emotions), "no_speech")
    edge = picture.colours(list(answer.probabilities))[answer.abstained or best]
    text = "".join(f"<div class='se-line'>{html.escape(line)}</div>" for line in _details(answer, info))
    icon, _, title = charts.title(answer).partition(" ")
    st.html(
        f"<div class='se-card' role='status' style='border-left-color:{edge}'><span class='se-icon' aria-hidden='true'>"
        f"{icon}</span><div><div class='se-answer'>{html.escape(title)}</div>{text}</div></div>"
    )


def _details(answer: Prediction, info: ModelInfo) -> list[str]:
    """The lines below the answer."""
    if answer.label:
        lines = [f"{picture.percent(answer.confidence or 0)} confident"]
        if answer.runner_up:
            lines.append(f"then {answer.runner_up} {picture.percent(answer.probabilities[answer.runner_up])}")
        if len(answer.emotions) > 1:
            lines.append("It may also be " + ", ".join(answer.emotions[1:]) + ".")
        return lines
    if answer.probabilities:
        return ["maybe " + " or ".join(answer.emotions), "No emotion is probable enough to be named."]
    lines = [NO_ANSWER[answer.abstained or "no_speech"]]
    if answer.abstained == "too_short":
        lines.append(f"It needs {info.min_seconds:g} s or more.")
    return lines


def _player(sound: Sound, chosen: Analysis, state: Session) -> None:
    """The sound as the model read it; of a long one, the part around the requested moment."""
    sound_id, seconds, count = state.seek or (sound.id, 0.0, 0)
    if sound_id != sound.id:  # a sound that was removed
        seconds, count = 0.0, 0
    part = int(seconds // MAX_PLAYED)
    if state.played[:2] != (sound.sha256, part):
        wav = analysis.as_wav(sound.data, part * MAX_PLAYED, MAX_PLAYED)
        state.played = sound.sha256, part, wav
    # The count makes this another element: requested again, the same moment plays again.
    place = f", from {picture.clock(seconds)}, requested {count} times" if count else ""
    st.audio(
        state.played[2],
        start_time=seconds - part * MAX_PLAYED,
        autoplay=count > 0,
        alt=f"The sound {chosen.name}, {picture.clock(chosen.seconds)} long{place}.",
    )
    if chosen.seconds > MAX_PLAYED:
        start, end = part * MAX_PLAYED, min((part + 1) * MAX_PLAYED, chosen.seconds)
        st.caption(
            f"The player holds {picture.clock(start)} to {picture.clock(end)}. For another part, click the timeline."
        )


def _pictures(sound: Sound, chosen: Analysis, state: Session, info: ModelInfo) -> None:
    """Waveform, log-mel and timeline on one axis of time; a click plays from there; the same as a table."""
    count = state.seek[2] if state.seek else 0  # in the keys: a second click at the same place must count too
    chart_key = f"picture-{chosen.sha256}-{count}"
    is_long = len(chosen.windows) > 1

    def seek() -> None:
        if points := st.session_state[chart_key].selection.get("at"):
            state.play_from(sound.id, points[0]["start"])

    st.caption(
        "The waveform and the model's input"
        + (", with the answers over time. Click the timeline to play from there." if is_long else ".")
    )
    with st.container(gap=None):
        st.altair_chart(charts.waveform(chosen.envelope, chosen.seconds), alt=f"Waveform of {chosen.name}.")
        st.altair_chart(
            charts.spectrogram(chosen.log_mel, chosen.seconds, is_last=not is_long),
            alt="Log-mel spectrogram, the model's input.",
        )
        if is_long:
            st.altair_chart(
                picture.timeline(chosen.windows, info.labels, legend=False),
                key=chart_key,
                on_select=seek,
                selection_mode="at",
                alt=charts.in_words(chosen.windows),
            )
            st.html(charts.legend(chosen.windows, info.labels))
    if is_long:
        _segments(sound, chosen, state, key=f"segments-{chosen.sha256}-{count}")


def _segments(sound: Sound, chosen: Analysis, state: Session, *, key: str) -> None:
    """The windows as a table; selecting a row plays from there."""

    def seek() -> None:
        if rows := st.session_state[key].selection.rows:
            state.play_from(sound.id, chosen.windows[rows[0]].start_seconds)

    with st.expander(f"The {len(chosen.windows)} windows as a table"):
        segment_table(chosen.windows, key=key, on_select=seek, selection_mode="single-row")
        st.caption("Select a row to play from there.")


def segment_table(windows: Sequence[Prediction], *, key: str, **options: Any) -> None:
    """One row per window; `options` go to `st.dataframe`."""
    rows = [
        {
            "from": picture.clock(window.start_seconds),
            "to": picture.clock(window.end_seconds),
            "answer": charts.title(window),
            "confidence": hundredths(window.confidence),
            "or else": or_else(window),
        }
        for window in windows
    ]
    share = {"confidence": share_column()}
    st.dataframe(rows, hide_index=True, key=key, column_config=share, alt=charts.in_words(windows), **options)
