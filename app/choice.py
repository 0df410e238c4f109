"""The choice of a model: what its scores, size and speed are. In: scores.json and the models of the package.

Out: the select on top of the page, and the table in the tab "Model and limits".
"""

import html
import json
from pathlib import Path
from typing import Any, Final

import streamlit as st
from session import Session

from speech_emotion import shipped
from speech_emotion.text import percent

SCORES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("scores.json").read_text())


def select(state: Session) -> None:
    """A select of the model that answers."""
    described = {model.name: _described(model) for model in shipped.MODELS}

    def choose() -> None:  # a callback runs before the page, whose first lines need the value
        if st.session_state.model in described:  # a browser may send anything
            state.use_model(st.session_state.model)
            st.query_params["model"] = state.model

    st.selectbox(
        "Model",
        list(described),
        index=list(described).index(state.model),
        format_func=described.__getitem__,
        key="model",
        on_change=choose,
        label_visibility="collapsed",
    )


def table() -> str:
    """All models beside each other, as an HTML table; the scores are recalls, averaged over the emotions."""
    columns = ("model", "right on new voices", "right on RAVDESS actors", "time", "size", "made for")
    head = "".join(f"<th scope='col'>{column}</th>" for column in columns)
    body = []
    for model in shipped.MODELS:
        cells = (
            *(_recall(model.name, where) for where in ("elsewhere", "ravdess")),
            _milliseconds(model.name),
            _size(model),
            html.escape(model.purpose),
        )
        row = "".join(f"<td>{cell or 'not measured'}</td>" for cell in cells)
        body.append(f"<tr><th scope='row'>{html.escape(model.name)}</th>{row}</tr>")
    return (
        "<div class='se-scroll' tabindex='0' role='region' aria-label='The models'>"
        f"<table class='se-matrix se-models'><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def table_caption() -> str:
    """What the numbers of the table are."""
    speeds = {str(scores["speed"]["of"]) for scores in SCORES.values()}
    return (
        "New voices are people the model never heard, in four languages; RAVDESS actors were left out of training in "
        f"turn. Both say how many in 100 of each emotion are found. Time: of an answer to {'; '.join(sorted(speeds))}."
    )


def recall(rows: dict[str, dict[str, int]]) -> float | None:
    """The recall of each spoken emotion, averaged over the emotions."""
    recalls = [answers.get(spoken, 0) / sum(answers.values()) for spoken, answers in rows.items()]
    return sum(recalls) / len(recalls) if recalls else None


def _described(model: shipped.ShippedModel) -> str:
    """Name, score on other people, time of an answer and size of a model; of one without scores, its purpose."""
    share = _recall(model.name, "elsewhere")
    facts = [
        model.name,
        share and f"{share} right on new voices",
        _milliseconds(model.name),
        _size(model),
        None if share else model.purpose,
    ]
    return " · ".join(filter(None, facts))


def _recall(model: str, where: str) -> str | None:
    share = recall(SCORES.get(model, {}).get("confusion", {}).get(where, {}))
    return None if share is None else percent(share)


def _milliseconds(model: str) -> str | None:
    speed = SCORES.get(model, {}).get("speed")
    return speed and f"{speed['milliseconds']} ms"


def _size(model: shipped.ShippedModel) -> str:
    return f"{model.path.stat().st_size / 1e6:.0f} MB"
