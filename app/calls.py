"""Calls and long recordings: the channels side by side, an answer per utterance of a transcript, a summary in words."""

import html
from typing import Final

import about
import answers
import player
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion import Prediction
from speech_emotion.formats import cards
from speech_emotion.formats.look import name
from speech_emotion.formats.summary import in_words, key_of, shares
from speech_emotion.merge import merge
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import clock, percent

PER_ROW: Final = 2  # channels side by side
MAX_SPEAKERS: Final = 6  # whose shares are sentences


def parts(sound: Sound, state: Session) -> tuple[tuple[Analysis, ...], Analysis | None]:
    """The analyses of the channels of a sound, and that of its transcript, as far as they are finished."""
    channels = state.found(sound, "channels")
    transcript = state.transcript_of(sound)
    utterances = state.found(sound, transcript.sha256) if transcript else None
    return channels.lanes if channels else (), utterances


def channels(lanes: tuple[Analysis, ...], mix: Analysis, info: ModelInfo, *, is_tuned: bool) -> None:
    """The answer of each channel, side by side, and that of the mix in one line."""
    for start in range(0, len(lanes), PER_ROW):
        for column, lane in zip(
            st.columns(PER_ROW, gap="large"), lanes[start : start + PER_ROW], strict=False
        ):
            if lane.answer is None:
                continue
            with column:
                caveat = about.caveat(lane.answer, info, mix.name, is_tuned=is_tuned)
                card = cards.answer_card(lane.answer, caveat=caveat, minimum_seconds=info.min_seconds)
                title = f"<h3 class='se-channel'>{html.escape(answers.capital(lane.name))} channel</h3>"
                st.html(f"{title}<div role='status'>{card}</div>")
                st.html(cards.bars(lane.answer) or "<span></span>")
    if mix.answer:
        st.caption(f"The mix of all channels: {answers.titled(mix.answer)}.")


def stretches_of(
    whole: Analysis, lanes: tuple[Analysis, ...], info: ModelInfo
) -> dict[str, list[Prediction]]:
    """The stretches of one emotion of each channel by its name; of the mix, by "", without channels."""
    if lanes:
        return {lane.name: list(merge(lane.windows, info.thresholds)) for lane in lanes}
    return {"": list(merge(whole.windows, info.thresholds))}


def summary(whole: Analysis, lanes: tuple[Analysis, ...], info: ModelInfo) -> None:
    """What a recording longer than a window holds: shares and turning points in words."""
    is_long = bool(whole.answer and whole.answer.probabilities) and answers.has_timeline(whole, info)
    with answers.slot(is_long):
        if is_long:
            for lane, of_lane in stretches_of(whole, lanes, info).items():
                who = f"**{answers.capital(lane)}:** " if lane else ""
                st.markdown(who + _sentences(in_words(of_lane, whole.seconds)))


def _sentences(text: str) -> str:
    """`text` as Markdown in which a number stays on one line with its percent sign."""
    return answers.escape(text.replace(" %", "\u00a0%"))


def play(
    playable: player.PlayableSound,
    whole: Analysis,
    parts: tuple[Analysis, ...],
    spoken: Analysis | None,
    info: ModelInfo,
    *,
    key: str = "player",
) -> None:
    """The player, with a lane for each channel, for each speaker of a transcript, or for the whole.

    Args:
        playable: The sound.
        whole: Its analysis.
        parts: Those of its channels.
        spoken: That of its transcript.
        info: The model.
        key: Of the element.
    """
    if spoken and spoken.segments and not parts:
        lanes = _speaker_lanes(spoken)
    elif whole.answer and whole.answer.probabilities and not answers.has_timeline(whole, info):
        lanes = [player.Lane.of("", [whole.answer])]
    else:
        lanes = [player.Lane.of(name, found) for name, found in stretches_of(whole, parts, info).items()]
    player.show(playable, lanes, labels=info.labels, name=whole.name, key=key)


def _speaker_lanes(spoken: Analysis) -> list[player.Lane]:
    by_speaker: dict[str, list[player.Stretch]] = {}
    for segment, answer in spoken.segments:
        if answer.probabilities:
            stretch = player.Stretch.of(answer, segment.text or "")
            by_speaker.setdefault(segment.speaker or "", []).append(stretch)
    return [player.Lane(speaker, tuple(stretches)) for speaker, stretches in by_speaker.items()]


def utterances(found: Analysis) -> None:
    """The given segments with their answers, and what each speaker mostly sounds like."""
    if found.error:
        st.error(answers.escape(answers.explain(found.error)), icon=":material/error:")
        return
    st.subheader(f"The {len(found.segments)} utterances of the transcript", anchor=False)
    for speaker, mostly in _speakers(found).items():
        st.markdown(f"**{answers.escape(speaker)}:** {_sentences(mostly)}")
    has_speakers = any(segment.speaker for segment, _ in found.segments)
    rows: list[dict[str, str | float | None]] = [
        {
            "from": clock(segment.start_seconds),
            "to": clock(segment.end_seconds),
            **({"who": segment.speaker or ""} if has_speakers else {}),
            "answer": name(key_of(answer)),
            "probability": answers.hundredths(answer.confidence),
            "words": segment.text or "",
        }
        for segment, answer in found.segments
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "probability": answers.share_column(),
            "words": st.column_config.TextColumn(width="large"),
        },
        alt=f"{len(rows)} utterances with their times{', speakers' * has_speakers}, answers and words.",
    )


def _speakers(found: Analysis) -> dict[str, str]:
    """What the utterances of each named speaker mostly sound like."""
    by_speaker: dict[str, list[Prediction]] = {}
    for segment, answer in found.segments:
        if segment.speaker:
            by_speaker.setdefault(segment.speaker, []).append(answer)
    sentences = {}
    for speaker, given in list(by_speaker.items())[:MAX_SPEAKERS]:
        parts = [f"{name(key)} {percent(part)}" for key, part in shares(given).items()]
        sentences[speaker] = (
            f"{len(given)} utterances: " + (", ".join(parts[:3]) or "no speech was found") + "."
        )
    return sentences
