"""One answer on the page: its card and bars, and advice about the sound."""

import html
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import about
import streamlit as st
from analysis import Analysis
from session import SAMPLES

from speech_emotion import Prediction, SpeechEmotionError
from speech_emotion.formats import cards
from speech_emotion.formats.look import name
from speech_emotion.formats.summary import key_of
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import clock, percent

WARNINGS: Final = {
    "clipped": "**Clipped:** the loudest moments are cut off. Record again with less gain or farther away.",
    "quiet": "**Very quiet:** the sound uses little of the range. Record again closer to the microphone.",
    "noisy": "**Noisy:** the pauses are nearly as loud as the voice. Record again in a quieter place.",
    "truncated": "**Cut short:** the file ends before its header says. The answer is about what is there.",
    "unfinished": "**Unfinished:** the recorder never completed the header. The answer is about all of the sound.",
    "other_tracks": "**Several audio tracks:** the answer is about the default one. Export another to hear that.",
    "channels_differ": "**Different speech on each channel:** each one gets an answer of its own.",
    "phase_cancelled": "**Channels cancel each other:** mixing them removed most of the sound. Export only the left or "
    "the right channel.",
    "short_enrolment": "**Short:** 30 to 60 s of speech are best.",
}
ERRORS: Final = {
    "audio_too_short": "The file has no samples. Record or export it again.",
    "audio_too_large": "The sound is too long, has too many channels or an unusual sample rate. Split or convert it.",
    "invalid_waveform": "The samples are not a sound (NaN, infinity or far beyond full scale). Export it again.",
}
SHORT_SECONDS: Final = 2.0  # with only one second far fewer emotions are found: docs/robustness.md
MAX_PROBLEMS: Final = 5  # sentences about unreadable files


def hundredths(share: float | None) -> float | None:
    """A share in percent for `share_column`; like `text.percent`, 100 % only for exactly 1."""
    if share is None:
        return None
    return 100.0 if share == 1 else min(100 * share, 99.4)


def share_column() -> Any:
    """A table column with a bar and `42 %` per row."""
    return st.column_config.ProgressColumn(format="%.0f %%", min_value=0, max_value=100, width="small")


def escape(text: str) -> str:
    """`text` with its Markdown escaped: a file must not be able to embed a picture from elsewhere."""
    return re.sub(r"([^\w\s])", r"\\\1", text)


def warning(name: str) -> str:
    """What to do about a warning of a Prediction or a SpeakerProfile, as Markdown."""
    return WARNINGS.get(name) or escape(name.replace("_", " "))


def plain_warning(name: str) -> str:
    """The same without Markdown."""
    return WARNINGS.get(name, name.replace("_", " ")).replace("**", "")


def capital(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def explain(error: SpeechEmotionError) -> str:
    """What is wrong with a sound, and what to do, in plain words and without Markdown."""
    if error.code == "audio_decode":
        reason, *_ = re.split(r"; |\. Pass ", str(error))
        return f"{capital(reason)}. {_next_step(reason)}"
    return ERRORS.get(error.code) or capital(str(error))


def _next_step(reason: str) -> str:
    if "no audio track" in reason:
        return "Choose a recording that has sound."
    if "it looks like" in reason:
        return "Choose a sound or a video."
    if "empty" in reason:
        return "Record or download it again."
    return "Export it again, as WAV, MP3 or M4A."


def or_else(answer: Prediction) -> str:
    """The runner-up, or the candidates of an answer that is not sure."""
    return answer.runner_up or " or ".join(answer.emotions)


def slot(is_used: bool) -> AbstractContextManager[Any]:
    """A place of the page that is cleared at once if it is not used, and keeps what follows in its place."""
    return st.container() if is_used else nullcontext(st.empty())


def titled(answer: Prediction) -> str:
    """`angry 94 %`, `not sure`."""
    share = f" {percent(answer.confidence)}" if answer.confidence is not None else ""
    return name(key_of(answer)) + share


def heading(chosen: Analysis) -> None:
    """The name of a sound and its length; a sample has the name of its button, too."""
    facts = [clock(chosen.seconds)] if chosen.seconds else []
    title = SAMPLES.get(chosen.name, chosen.name)
    if title != chosen.name:
        facts.insert(0, html.escape(chosen.name))
    small = f" <small>{' · '.join(facts)}</small>" if facts else ""
    st.html(f"<h2 class='se-name'>{html.escape(title)}{small}</h2>")


def card_and_bars(
    chosen: Analysis, info: ModelInfo, *, is_tuned: bool = False, plain: Analysis | None = None
) -> None:
    """The answer with its caveat, and its probabilities beside it, or below it on a phone.

    Args:
        chosen: An analysis.
        info: The model.
        is_tuned: Whether a profile tuned the answer.
        plain: The analysis without the profile, to name beside a tuned one.
    """
    left, right = st.columns([2, 3], gap="large")
    answer = chosen.answer
    if answer is None:
        return
    with left:
        caveat = about.caveat(answer, info, chosen.name, is_tuned=is_tuned)
        card = cards.answer_card(answer, caveat=caveat, minimum_seconds=info.min_seconds)
        st.html(f"<div role='status'>{card}</div>")
        with slot(bool(plain and plain.answer)):
            if plain and plain.answer:
                st.caption(f"Tuned to your voice. Without your profile: {titled(plain.answer)}")
    with right:
        if answer.probabilities:
            st.html(cards.bars(answer))


def advice(chosen: Analysis) -> None:
    """What to do about the sound; of warnings that follow from another one, only that one."""
    texts = _advice(chosen)
    with slot(bool(texts)):
        for text in texts:
            if text == WARNINGS["channels_differ"]:
                st.info(text, icon=":material/info:")  # nothing is wrong with the sound
            else:
                st.warning(text, icon=":material/warning:")


def _advice(chosen: Analysis) -> list[str]:
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
    texts = [warning(name) for name in answer.warnings if name in names]
    if answer.label and chosen.seconds < SHORT_SECONDS:
        texts.append("**Very short:** with only one second, the model finds far fewer emotions. Record more.")
    return texts


def has_timeline(chosen: Analysis, info: ModelInfo) -> bool:
    """Whether the answers over time say more than the one answer: windows of a short clip are nearly the same one."""
    return len(chosen.windows) > 1 and chosen.seconds >= info.window_seconds + info.hop_seconds
