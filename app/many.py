"""Many sounds: counts by outcome, filters, groups, and a table to choose from."""

import html
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import answers
import streamlit as st
from analysis import Analysis, Sound
from session import Session

from speech_emotion.formats.cards import outcome_key
from speech_emotion.formats.look import UNREADABLE, colours, name
from speech_emotion.model_info import ModelInfo
from speech_emotion.text import clock, percent

RAVDESS: Final = re.compile(r"(?:\d\d-){6}(\d\d)\.\w+")
MAX_HEIGHT: Final = 318  # pixels of the table, so that the answer below it stays near
Pair = tuple[Sound, Analysis]


def group(name: str) -> str:
    """The group of a sound: its folder, or the actor of a clip that is named as those of the RAVDESS."""
    if clip := RAVDESS.fullmatch(PurePosixPath(name).name):
        return f"actor {clip[1]}"
    return str(parent) if (parent := PurePosixPath(name).parent).name else ""


def show(state: Session, found: Sequence[Pair], chosen: Sound, info: ModelInfo) -> None:
    """The counts, the filters, and one row per sound; the chosen one is ticked."""
    st.header(f"{len(found)} sounds", anchor=False)
    counts = Counter(outcome_key(analysis.answer) for _, analysis in found)
    st.html(_distribution(counts, info))
    shown = _filtered(found, counts)
    if any(group(sound.name) for sound, _ in found):
        _groups(found)
    _table(state, shown, chosen)


def _distribution(counts: Counter[str], info: ModelInfo) -> str:
    """How many sounds have each answer, as one bar, and in words for screen readers."""
    colour = colours(info.labels) | {UNREADABLE: "#c0392b"}
    total = counts.total()
    blocks = [
        f"<span style='width:{100 * n / total:.2f}%;background:{colour[key]}'></span>"
        for key, n in counts.most_common()
    ]
    words = ", ".join(f"{_word(key)} {n} ({percent(n / total)})" for key, n in counts.most_common())
    chips = [
        f"<span class='se-chip'><i style='background:{colour[key]}'></i>{html.escape(_word(key))} {n}"
        f" ({percent(n / total)})</span>"
        for key, n in counts.most_common()
    ]
    return (
        f"<div class='se-stack' role='img' aria-label='{html.escape(words)}'>{''.join(blocks)}</div>"
        f"<div class='se-legend'>{''.join(chips)}</div>"
    )


def _word(key: str) -> str:
    return "not readable" if key == UNREADABLE else name(key)


def _filtered(found: Sequence[Pair], counts: Counter[str]) -> list[Pair]:
    """The sounds that pass the filters."""
    chips, search = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with chips:
        keys = list(counts)
        wanted = st.pills("Show only", keys, selection_mode="multi", format_func=_word, key="only", wrap=True)
    with search:
        text = st.text_input("Search in names", key="search", placeholder="part of a name")
    words = text.casefold().split()
    return [
        (sound, analysis)
        for sound, analysis in found
        if (not wanted or outcome_key(analysis.answer) in wanted)
        and all(word in sound.name.casefold() for word in words)
    ]


def _groups(found: Sequence[Pair]) -> None:
    """Counts by group."""
    by_group: dict[str, Counter[str]] = {}
    for sound, analysis in found:
        by_group.setdefault(group(sound.name) or "no group", Counter())[outcome_key(analysis.answer)] += 1
    keys = list(dict.fromkeys(key for counts in by_group.values() for key in counts))
    rows = [
        {"group": of, "sounds": counts.total(), **{_word(key): counts[key] for key in keys}}
        for of, counts in sorted(by_group.items())
    ]
    with st.expander(f"By group: {len(rows)} folders or actors"):
        st.dataframe(
            rows, hide_index=True, key="groups", alt="How many sounds of each group have each answer."
        )


def _table(state: Session, shown: Sequence[Pair], chosen: Sound) -> None:
    if not shown:
        st.info("No sound passes the filters.")
        return
    ids = [sound.id for sound, _ in shown]
    rows = [_row(sound.name, analysis) for sound, analysis in shown]
    has_groups = any(row["group"] for row in rows)
    event: Any = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=min(35 * (len(rows) + 1) + 3, MAX_HEIGHT),
        # A row number is valid for this list of sounds only: another list is another table.
        key=f"sounds-{state.n_shown}-{hash(tuple(ids))}",
        selection_default={"selection": {"rows": [ids.index(chosen.id)] if chosen.id in ids else []}},
        column_order=[
            "sound",
            "answer",
            "probability",
            "or else",
            "length",
            *(["group"] if has_groups else []),
            "remarks",
        ],
        column_config={
            "sound": st.column_config.TextColumn(width="medium"),
            "probability": answers.share_column(),
        },
        alt="One row per sound: name, answer, probability, alternatives, length and remarks.",
    )
    st.caption("Select a row to see that sound below. A click on a heading sorts.")
    if event.selection.rows and (ticked := ids[event.selection.rows[0]]) != chosen.id:
        state.choose(ticked)
        st.rerun()


def _row(sound_name: str, analysis: Analysis) -> dict[str, str | float | None]:
    answer = analysis.answer
    row: dict[str, str | float | None] = {
        "sound": sound_name,
        "group": group(sound_name),
        "answer": _word(outcome_key(answer)),
        "probability": None,
        "or else": "",
        "length": "",
        "remarks": "",
    }
    if answer is None:
        return row | {"remarks": answers.explain(analysis.error) if analysis.error else ""}
    return row | {
        "probability": answers.hundredths(answer.confidence),
        "or else": answers.or_else(answer),
        "length": clock(analysis.seconds),
        "remarks": ", ".join(warning.replace("_", " ") for warning in answer.warnings),
    }
