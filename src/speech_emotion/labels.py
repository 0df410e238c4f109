"""The emotions in the order of the model's outputs, and an icon for each.

The order is that of the RAVDESS codes 01–08 (Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391).
"""

from typing import Final

EMOTIONS: Final = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""The eight emotions, in the order of the shipped model's outputs."""

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
