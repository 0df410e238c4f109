"""A long recording in short. In: its stretches of one emotion. Out: shares, turning points, sentences, a strip.

The stretches are those of `merge`: speech only, without overlap.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from speech_emotion.formats.look import colours, name
from speech_emotion.prediction import Prediction
from speech_emotion.text import clock, percent

MAX_TURNS: Final = 4  # turning points that the sentences name


class Turn(NamedTuple):
    """A turning point: one answer ends at `seconds` and another begins, which lasts for `lasting` seconds."""

    seconds: float
    before: str
    after: str
    lasting: float


def key_of(answer: Prediction) -> str:
    """The label of an answer, or the reason why it has none."""
    return answer.label or answer.abstained or ""


def shares(stretches: Sequence[Prediction]) -> dict[str, float]:
    """The share of the speech that each answer has, the largest first; empty without speech."""
    seconds: dict[str, float] = {}
    for one in stretches:
        if one.probabilities:
            seconds[key_of(one)] = seconds.get(key_of(one), 0.0) + one.seconds
    total = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    return {key: part / total for key, part in ranked if total > 0}


def turning_points(stretches: Sequence[Prediction]) -> list[Turn]:
    """Where one emotion gives way to another; what was not sure is neither."""
    sure = [one for one in stretches if one.label]
    return [
        Turn(after.start_seconds, before.label or "", after.label or "", after.seconds)
        for before, after in pairwise(sure)
        if before.label != after.label
    ]


def in_words(stretches: Sequence[Prediction], seconds: float) -> str:
    """How much speech there is, what it mostly sounds like, and its most lasting turning points."""
    parts = shares(stretches)
    if not parts:
        return f"No speech was found in {clock(seconds)}."
    spoken = sum(one.seconds for one in stretches if one.probabilities)
    first, *others = [f"{name(key)} ({percent(part)})" for key, part in parts.items()]
    how = "mostly" if max(parts.values()) > 0.5 else "most often"
    mostly = f"{how} {first}" + (f", then {', '.join(others[:2])}" if others else "")
    sentences = [f"Speech in {clock(spoken)} of {clock(seconds)}: {mostly}."]
    turns = turning_points(stretches)
    lasting = sorted(sorted(turns, key=lambda turn: -turn.lasting)[:MAX_TURNS])
    if lasting:
        named = ", ".join(
            f"to {name(key)} at {', '.join(clock(turn.seconds) for turn in same)}"
            for key, same in groupby(lasting, lambda turn: turn.after)
        )
        more = f" ({len(turns)} changes in all)" if len(turns) > len(lasting) else ""
        sentences.append(f"It turns {named}{more}.")
    return " ".join(sentences)


def strip(lanes: Mapping[str, Sequence[Prediction]], seconds: float) -> str:
    """The stretches of each lane as a row of coloured blocks: HTML that fills its width.

    Args:
        lanes: The stretches by the name of a channel or speaker; "" if there is only one.
        seconds: The length of the recording.
    """
    rows = []
    for stretches in lanes.values():
        blocks = []
        for one in (one for one in stretches if one.probabilities):
            left, width = (100 * part / max(seconds, 0.001) for part in (one.start_seconds, one.seconds))
            title = f"{clock(one.start_seconds)} to {clock(one.end_seconds)}: {name(key_of(one))}"
            colour = colours(list(one.probabilities))[key_of(one)]
            style = f"position:absolute;height:100%;left:{left:.2f}%;width:{width:.2f}%;background:{colour}"
            blocks.append(f"<span style='{style}' title='{html.escape(title)}'></span>")
        row = "position:relative;height:1.1rem;margin:.25rem 0;border-radius:.2rem;overflow:hidden;background:#8882"
        rows.append(f"<div style='{row}'>{''.join(blocks)}</div>")
    words = "; ".join(f"{lane or 'the recording'}: {in_words(of, seconds)}" for lane, of in lanes.items())
    return f"<div role='img' aria-label='{html.escape(words)}'>{''.join(rows)}</div>"
