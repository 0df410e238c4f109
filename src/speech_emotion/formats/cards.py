"""An answer as HTML: a card and bars. In: a prediction. Out: HTML whose texts are escaped, and its style sheet.

The page and the report share them. Nothing in them needs a script, a font or another file.
"""

import html
from collections.abc import Sequence
from typing import Final

from speech_emotion.formats.look import FACES, UNREADABLE, colours, face, name
from speech_emotion.formats.summary import key_of
from speech_emotion.prediction import Prediction
from speech_emotion.text import percent

NO_ANSWER: Final = {
    "no_speech": "No speech was found: silence, noise, music, another sound, or a voice that is too faint.",
    "too_short": "The sound is too short for an answer.",
}
STYLE: Final = (
    FACES
    + """
.se-card { display: flex; gap: 1rem; align-items: center; padding: .9rem 1.1rem; border-left: .4rem solid;
  border-radius: .6rem; background: color-mix(in srgb, currentColor 5%, transparent); }
.se-face { display: flex; padding: .45rem; border-radius: 50%; font-size: 2.3rem; }
.se-head { line-height: 1.15; }
.se-answer { font-size: 1.9rem; font-weight: 700; overflow-wrap: anywhere; }
.se-share { margin-left: .4rem; font-size: 1.15rem; font-weight: 600; white-space: nowrap; }
.se-line { opacity: .88; }
.se-caveat { margin-top: .35rem; font-size: .9rem; opacity: .88; }
.se-bars { display: grid; gap: .3rem; margin: 0 !important; padding: 0 !important; list-style: none; }
.se-bars li { display: grid; grid-template-columns: 7.6rem 1fr 3.6rem; gap: .6rem; align-items: center;
  margin: 0 !important; padding: 0 !important; }
.se-bars li > span:first-child { display: flex; gap: .45rem; align-items: center; }
.se-bar { height: .75rem; border-radius: .3rem; background: color-mix(in srgb, currentColor 9%, transparent); }
.se-bar i { display: block; height: 100%; min-width: 1px; border-radius: .3rem; }
.se-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
"""
)


def card(
    key: str,
    title: str,
    lines: Sequence[str],
    *,
    share: float | None = None,
    caveat: str = "",
    colour: str = "",
) -> str:
    """A coloured edge, a face, the answer in large letters, and lines below it.

    Args:
        key: The label, or the reason of an abstention: it chooses the face and the colour.
        title: The answer in words.
        lines: What stands below it.
        share: The probability of the answer, if it has one.
        caveat: How far this can be trusted, in small letters.
        colour: In place of the colour of `key`.
    """
    edge = colour or colours([key]).get(key, "currentColor")
    number = f"<span class='se-share'>{percent(share)}</span>" if share is not None else ""
    below = "".join(f"<div class='se-line'>{html.escape(line)}</div>" for line in lines)
    small = f"<div class='se-caveat'>{html.escape(caveat)}</div>" if caveat else ""
    tint = f"background:color-mix(in srgb,{edge} 28%,transparent)"
    return (
        f"<div class='se-card' style='border-left-color:{edge}'>"
        f"<span class='se-face' style='{tint}'>{face(key)}</span>"
        f"<div><div class='se-head'><span class='se-answer'>{html.escape(title)}</span>{number}</div>"
        f"{below}{small}</div></div>"
    )


def answer_card(answer: Prediction, *, caveat: str = "", minimum_seconds: float = 0.0) -> str:
    """The card of an answer or of an abstention.

    Args:
        answer: The answer.
        caveat: As in `card`; only an answer with a label has one.
        minimum_seconds: What the model needs, for an answer that is too short.
    """
    colour = colours(list(answer.probabilities))
    if answer.label:
        lines = []
        others = [other for other in answer.emotions if other != answer.label]
        if others:
            lines.append(
                "or " + ", ".join(f"{name(one)} {percent(answer.probabilities[one])}" for one in others[:3])
            )
        elif answer.runner_up:
            lines.append(f"then {name(answer.runner_up)} {percent(answer.probabilities[answer.runner_up])}")
        return card(
            answer.label,
            name(answer.label),
            lines,
            share=answer.confidence,
            caveat=caveat,
            colour=colour[answer.label],
        )
    key = answer.abstained or "no_speech"
    if answer.probabilities:
        maybe = " or ".join(name(one) for one in answer.emotions)
        return card(key, name(key), [f"maybe {maybe}", "No emotion is probable enough to be named."])
    lines = [NO_ANSWER.get(key, "")]
    if key == "too_short" and minimum_seconds:
        lines.append(f"It needs {minimum_seconds:g} s or more.")
    return card(key, name(key), lines)


def error_card(problem: str) -> str:
    """The card of a sound that could not be read."""
    return card(UNREADABLE, "not readable", [problem], colour="#c0392b")


def bars(answer: Prediction) -> str:
    """One row per emotion, the most probable first; empty without probabilities."""
    colour = colours(list(answer.probabilities))
    ranked = sorted(answer.probabilities.items(), key=lambda item: -item[1])
    rows = [
        f"<li><span>{face(label)}{html.escape(name(label))}</span><span class='se-bar'>"
        f"<i style='width:{100 * share:.1f}%;background:{colour[label]}'></i></span>"
        f"<span class='se-number'>{percent(share)}</span></li>"
        for label, share in ranked
    ]
    return (
        f"<ol class='se-bars' aria-label='Probability of each emotion'>{''.join(rows)}</ol>" if rows else ""
    )


def outcome_key(answer: Prediction | None) -> str:
    """What counts of a sound: its label, the reason of an abstention, or UNREADABLE without an answer."""
    return key_of(answer) if answer else UNREADABLE
