"""The emotions in the order of the shipped models' outputs, and an icon for each; and the order of other labels.

The order is that of the RAVDESS codes 01–08 (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391).
"""

from collections.abc import Iterable
from typing import Final

EMOTIONS: Final = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The eight emotions, in the order of the shipped models' outputs."""

UNLABELLED: Final = "unlabelled"
"""In place of the label of a clip, where a corpus has none."""

ICONS: Final = {
    "neutral": "😐",
    "calm": "😌",
    "happy": "😄",
    "sad": "😢",
    "angry": "😠",
    "fearful": "😨",
    "disgust": "🤢",
    "surprised": "😲",
}


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """`labels`, each once: the known emotions in the order of EMOTIONS, then the others by name."""
    given = set(labels)
    return (*(label for label in EMOTIONS if label in given), *sorted(given.difference(EMOTIONS)))
