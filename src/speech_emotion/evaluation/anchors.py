"""What others scored on the same speech: RAVDESS, 8 classes, audio only. In: nothing. Out: published numbers.

Percent, as published. `blind` answers whether the system was chosen without looking at the test speakers.
"""

from typing import Final, NamedTuple


class Anchor(NamedTuple):
    """A row beside ours; "–" is what was not published or does not apply."""

    system: str
    parameters: str
    protocol: str
    uar: str
    accuracy: str
    blind: str


PLAIN: Final = (
    Anchor("human listeners, one rating, 7 options", "–", "–", "–", "62.4 (58.0 normal, 67.4 strong)", "–"),
    Anchor(
        "XLS-R 300M, frozen, linear probe (hsn07pk 2026)",
        "317 M",
        "loso24",
        "81.9 [77.8, 85.9]",
        "81.7",
        "yes",
    ),
    Anchor("xlsr-53 fine-tuned (Luna-Jiménez 2022), ECE 15.3", "317 M", "luna5", "81.8", "81.82", "no"),
    Anchor(
        "WavLM-L / Whisper-L-v3 / HuBERT-L probes", "316–637 M", "loso24", "81.3 / 80.2 / 77.8", "–", "yes"
    ),
    Anchor("PANNs CNN-14 fine-tuned (Luna-Jiménez 2021)", "81 M", "luna5", "–", "76.58", "?"),
    Anchor(
        "Whisper-L-v3 / WavLM-L / HuBERT-base (EmoBox)",
        "95–637 M",
        "emobox6",
        "75.32 / 72.00 / 65.43",
        "–",
        "random utterance validation",
    ),
    Anchor("emotion2vec-base probe", "94 M", "loso24", "66.7", "66.3", "yes"),
    Anchor("VGG19 + attention, ImageNet", "~20 M+", "unstated", "65.1", "65.28", "?"),
    Anchor("ComParE 2016 + logistic regression", "6373 features", "loso24", "63.6", "63.4", "yes"),
    Anchor("ResLSTM-SA, from scratch", "0.047 M", "luna5", "62.32 ± 1.19", "–", "no"),
    Anchor("AlexNet fine-tuned", "61 M", "luna5", "–", "61.67", "?"),
    Anchor(
        "eGeMAPS / MFCC + prosody, logistic regression",
        "88 / 113 features",
        "loso24",
        "53.1 / 50.5",
        "–",
        "yes",
    ),
)
LEAKY: Final = (
    Anchor("TIM-Net, its authors' own re-run", "–", "random10", "90.04", "–", "–"),
    Anchor("plain CNNs", "–", "random splits", "–", "84–89", "–"),
)
SPEAKER_NORMALISED: Final = "Whisper-L-v3 89.1, WavLM-L 87.3, ComParE 72.2, eGeMAPS 62.2"  # UAR, loso24
HUMAN_RECALL: Final = {
    "neutral": "81.7 (with calm)",
    "calm": "81.7 (with neutral)",
    "happy": "36.6",
    "sad": "47.9",
    "angry": "74.6",
    "fearful": "66.2",
    "disgust": "51.9",
    "surprised": "67.9",
}
