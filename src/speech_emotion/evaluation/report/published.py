"""What others scored on the same speech: RAVDESS, 8 classes, audio only. In: nothing. Out: published numbers.

Percent, as published.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Published(NamedTuple):
    """A row beside ours; "–" is what was not published or does not apply."""

    system: str
    parameters: str
    protocol: str
    uar: str
    accuracy: str
    blind: str  # whether the system was chosen without looking at the test speakers
    source: str


SOURCES: Final = {
    "ravdess": "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song "
    "(RAVDESS). PLoS ONE 13(5): e0196391, <https://doi.org/10.1371/journal.pone.0196391>, with its listeners' ratings",
    "probes": "Sohail MH (2026). Speaker-Independent Speech Emotion Recognition on RAVDESS: From MFCCs to Speech "
    "Foundation Models. <https://github.com/hsn07pk/ravdess-speaker-independent-ser>",
    "luna-2021": "Luna-Jiménez C, Griol D, Callejas Z, Kleinlein R, Montero JM, Fernández-Martínez F (2021). "
    "Multimodal Emotion Recognition on RAVDESS Dataset Using Transfer Learning. Sensors 21(22), 7665, "
    "<https://doi.org/10.3390/s21227665>",
    "luna-2022": "Luna-Jiménez C, Kleinlein R, Griol D, Callejas Z, Montero JM, Fernández-Martínez F (2022). A "
    "Proposal for Multimodal Emotion Recognition Using Aural Transformers and Action Units on RAVDESS Dataset. "
    "Applied Sciences 12(1), 327, <https://doi.org/10.3390/app12010327>",
    "emobox": "EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark (2024). "
    "<https://arxiv.org/abs/2406.07162>",
    "reslstm": "Krasnoproshin D, Vashkevich M (2026). Speech Emotion Recognition using Attention-based LSTM-Network "
    "with Residual Connection. <https://arxiv.org/abs/2606.03359>",
    "tim-net": "Ye J, Wen X, Wei Y, Xu Y, Liu K, Shan H (2023). Temporal Modeling Matters: A Novel Temporal Emotional "
    "Modeling Approach for Speech Emotion Recognition. ICASSP 2023, <https://arxiv.org/abs/2211.08233>; its code: "
    "<https://github.com/Jiaxin-Ye/TIM-Net_SER>",
    "untraced": "we could not trace the number to its publication",
}


def _rows(table: str) -> tuple[Published, ...]:
    """One row per line: system | parameters | protocol | UAR | accuracy | chosen without test? | source."""
    cells = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return tuple(Published._make([*row[:-1], SOURCES[row[-1]]]) for row in cells)


SYSTEMS: Final = _rows("""
human listeners, one rating, 7 options | – | – | – | 62.4 (58.0 normal, 67.4 strong) | – | ravdess
XLS-R 300M, frozen, linear probe (hsn07pk 2026) | 317 M | loso24 | 81.9 [77.8, 85.9] | 81.7 | yes | probes
xlsr-53 fine-tuned (Luna-Jiménez 2022), ECE 15.3 | 317 M | luna5 | 81.8 | 81.82 | no | luna-2022
WavLM-L / Whisper-L-v3 / HuBERT-L probes | 316–637 M | loso24 | 81.3 / 80.2 / 77.8 | – | yes | probes
PANNs CNN-14 fine-tuned (Luna-Jiménez 2021) | 81 M | luna5 | – | 76.58 | ? | luna-2021
Whisper-L-v3 / WavLM-L / HuBERT-base (EmoBox) | 95–637 M | emobox6 | 75.32 / 72.00 / 65.43 | – | random utterance validation | emobox
emotion2vec-base probe | 94 M | loso24 | 66.7 | 66.3 | yes | probes
VGG19 + attention, ImageNet | ~20 M+ | unstated | 65.1 | 65.28 | ? | untraced
ComParE 2016 + logistic regression | 6373 features | loso24 | 63.6 | 63.4 | yes | probes
ResLSTM-SA, from scratch | 0.047 M | luna5 | 62.32 ± 1.19 | – | no | reslstm
AlexNet fine-tuned | 61 M | luna5 | – | 61.67 | ? | untraced
eGeMAPS / MFCC + prosody, logistic regression | 88 / 113 features | loso24 | 53.1 / 50.5 | – | yes | probes
""")  # noqa: E501
LEAKY_SYSTEMS: Final = _rows("""
TIM-Net, its authors' own re-run | – | random10 | 90.04 | – | – | tim-net
plain CNNs | – | random splits | – | 84–89 | – | untraced
""")


class Selective(NamedTuple):
    """Accuracy of a system among the surest share of its answers."""

    system: str
    protocol: str
    ece: str
    accuracy_at_coverage: Mapping[str, str]  # percent of clips answered → accuracy among them
    source: str


SELECTIVE: Final = Selective(
    "xlsr-53 fine-tuned (Luna-Jiménez 2022)",
    "luna5",
    "15.3",
    {"100": "81.8", "90": "84.5", "80": "87.2", "70": "89.5", "50": "91.3"},
    f"computed from its published logits, whose mean confidence is 97.0 %; {SOURCES['luna-2022']}",
)
SPEAKER_NORMALISED: Final = (
    "Whisper-L-v3 89.1, WavLM-L 87.3, ComParE 72.2, eGeMAPS 62.2"  # UAR, loso24, from "probes"
)
HUMAN_RECALL: Final = {"neutral": "81.7 (with calm)", "calm": "81.7 (with neutral)", "happy": "36.6"} | {
    "sad": "47.9",
    "angry": "74.6",
    "fearful": "66.2",
    "disgust": "51.9",
    "surprised": "67.9",
}
