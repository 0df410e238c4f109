"""EmoGator, vocal bursts of 357 people. In: data/mp3/000001-23-1.mp3. Out: one of thirty categories, who it is.

Buhl 2023, https://arxiv.org/abs/2301.00508. Laughs, sighs, groans, without words: contributor, category,
instance. The labels are its own; three of each category a person. Nothing is told of the people's sex.
"""

import re
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus
from speech_emotion.errors import CorpusError

# In the order of their published numbers, 01 to 30.
_CATEGORIES: Final = (
    "adoration amusement anger awe confusion contempt contentment desire disappointment disgust "
    "distress ecstasy elation embarrassment fear guilt interest neutral pain pride "
    "realization relief romantic_love sadness serenity shame surprise_negative surprise_positive sympathy triumph"
)
CATEGORIES: Final = tuple(_CATEGORIES.split())
NUMBERS: Final = {f"{number:02d}": category for number, category in enumerate(CATEGORIES, start=1)}
CONTRIBUTORS: Final = tuple(f"{contributor:06d}" for contributor in range(1, 358))
INSTANCES: Final = ("1", "2", "3")
_NAME: Final = re.compile(r"(\d{6})-(\d\d)-(\d)")


def _clip(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    if parts is None or not (parts[1] in CONTRIBUTORS and parts[2] in NUMBERS and parts[3] in INSTANCES):
        raise CorpusError(
            f"{path.name!r}: expected contributor-category-instance, as 000001-23-1, with the contributor "
            f"{CONTRIBUTORS[0]} to {CONTRIBUTORS[-1]}, the category 01 to {len(CATEGORIES)} and the instance "
            f"{', '.join(INSTANCES)}. Restore the published name."
        )
    contributor, number, instance = parts.groups()
    return Clip(str(path), NUMBERS[number], contributor, "unknown", {"instance": instance})


@cache
def _published() -> frozenset[str]:
    return frozenset(
        f"{contributor}-{number}-{instance}"
        for contributor in CONTRIBUTORS
        for number in NUMBERS
        for instance in INSTANCES
    )


CORPUS: Final = Corpus(
    name="emogator",
    title="EmoGator",
    language="no words",
    licence="Apache-2.0",
    citation=(
        "Buhl FW (2023). EmoGator: A New Open Source Vocal Burst Dataset with Baseline Machine Learning "
        "Classification Methodologies. https://arxiv.org/abs/2301.00508"
    ),
    homepage="https://github.com/fredbuhl/EmoGator",
    how_to_get="Get it with: git clone https://github.com/fredbuhl/EmoGator",
    example="data/mp3/000001-23-1.mp3",
    parser=lambda _folder: _clip,
    cells={(contributor, label): len(INSTANCES) for contributor in CONTRIBUTORS for label in CATEGORIES},
    categories=CATEGORIES,
    names=lambda _folder: _published(),
)
