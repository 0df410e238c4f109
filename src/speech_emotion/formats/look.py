"""How emotions look everywhere. In: labels. Out: their colours, names and faces; no library, no font is needed.

A face is a drawing in SVG, because emoji are empty boxes on a system without a font for them.
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

# Neighbours differ in lightness, for people with red-green blindness. No meaning is carried by colour alone.
COLOURS: Final[Mapping[str, str]] = {
    "neutral": "#667a8e",
    "calm": "#2a9d8f",
    "happy": "#f2b632",
    "sad": "#3d6fb6",
    "angry": "#d1495b",
    "fearful": "#7b4fa6",
    "disgust": "#6a8d2f",
    "surprised": "#f3843e",
    "not_sure": "#c2ab87",
    "no_speech": "#adb3ba",
    "too_short": "#adb3ba",
}
# Of other labels, by their place among the model's.
MORE_COLOURS: Final = ("#607d8b", "#b5838d", "#4f772d", "#e07a5f", "#457b9d", "#9a8c98", "#bc6c25", "#5e548e")
ABSTENTIONS: Final[Mapping[str, str]] = {
    "not_sure": "not sure",
    "no_speech": "no speech",
    "too_short": "too short",
}
UNREADABLE: Final = "unreadable"

_EYES: Final = "<path d='M8.6 9.7v.9M15.4 9.7v.9' stroke-width='2.4'/>"
_FACE: Final = "<circle cx='12' cy='12' r='10'/>"
_DRAWINGS: Final[Mapping[str, str]] = {
    "neutral": f"{_FACE}{_EYES}<path d='M8 16h8'/>",
    "calm": f"{_FACE}<path d='M6.8 10.2q1.6 1.5 3.2 0M14 10.2q1.6 1.5 3.2 0M8.5 15.2q3.5 2.2 7 0'/>",
    "happy": f"{_FACE}{_EYES}<path d='M7 14q5 7.4 10 0z' fill='currentColor'/>",
    "sad": f"{_FACE}{_EYES}<path d='M6.8 8.2l2.6-1.5M17.2 8.2l-2.6-1.5M8 17.2q4-4 8 0'/>",
    "angry": f"{_FACE}{_EYES}<path d='M6.6 6.8l3.4 1.8M17.4 6.8L14 8.6M8.2 16.8q3.8-3 7.6 0'/>",
    "fearful": f"{_FACE}<circle cx='8.5' cy='10' r='1.7'/><circle cx='15.5' cy='10' r='1.7'/>"
    "<path d='M7 17l1.7-1.8L10.4 17l1.6-1.8 1.6 1.8 1.7-1.8L17 17'/>",
    "disgust": f"{_FACE}<path d='M7 9l2.6 1.2L7 11.4M17 9l-2.6 1.2 2.6 1.2M7.6 16.6q2.2-2.6 4.4 0t4.4 0'/>",
    "surprised": f"{_FACE}{_EYES}<path d='M7 7.2q1.5-1.2 3 0M14 7.2q1.5-1.2 3 0'/><circle cx='12' cy='16' r='2.2'/>",
    "not_sure": f"{_FACE}<path d='M9 9.6q0-3 3-3t3 2.8q0 1.6-1.7 2.6-1.3.8-1.3 2.2M12 17.2v.4'/>",
    "no_speech": "<path d='M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5'/>",
    "too_short": f"{_FACE}<path d='M12 6.5V12l3.5 2'/>",
    UNREADABLE: f"{_FACE}<path d='M8.5 8.5l7 7M15.5 8.5l-7 7'/>",
}
_ANY: Final = f"{_FACE}<path d='M8 10.5v3M12 7.5v9M16 10.5v3'/>"


def colours(labels: Sequence[str]) -> dict[str, str]:
    """The colour of each label of a model and of each abstention."""
    others = [label for label in labels if label not in COLOURS]
    more = {label: MORE_COLOURS[place % len(MORE_COLOURS)] for place, label in enumerate(others)}
    return {**COLOURS, **more}


def name(key: str) -> str:
    """A label or the reason of an abstention as a person reads it: `not_sure` is `not sure`."""
    return ABSTENTIONS.get(key) or key.replace("_", " ")


def face(key: str) -> str:
    """The drawing of a label or of an abstention as HTML in the size and the colour of the text; it needs `FACES`.

    Args:
        key: A label, the reason of an abstention, or UNREADABLE.
    """
    return f"<i class='se-icon se-icon-{key if key in _DRAWINGS else 'any'}' aria-hidden='true'></i>"


def _mask(drawing: str) -> str:
    """A drawing as a mask: pages that admit no SVG admit this, and it takes the colour of the text."""
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='black' stroke-width='1.7' "
        f"stroke-linecap='round' stroke-linejoin='round'>{drawing.replace('currentColor', 'black')}</svg>"
    )
    return f'url("data:image/svg+xml,{quote(svg)}")'


FACES: Final = (
    ".se-icon { display: inline-block; flex: none; width: 1.25em; height: 1.25em; vertical-align: -.25em; "
    "background: currentColor; -webkit-mask-size: contain; mask-size: contain; }\n"
    + "\n".join(
        f".se-icon-{key} {{ -webkit-mask-image: {mask}; mask-image: {mask}; }}"
        for key, mask in ((key, _mask(drawing)) for key, drawing in {**_DRAWINGS, "any": _ANY}.items())
    )
)
"""The style sheet of the drawings."""
