"""TESS, 200 words in a carrier phrase. In: OAF_angry/OAF_back_angry.wav. Out: label, which actress, the word.

Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF. Two women: OAF was 64 years old, YAF 26.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, unexpected_name

EMOTIONS: Final = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",  # pleasant surprise
    "sad": "sad",
}
AGES: Final = {"OAF": "64", "YAF": "26"}
_NAME: Final = re.compile(r"(OAF?|YAF)_([a-z]+)_([a-z]+)", re.IGNORECASE)
_MISNAMED: Final = {"OAF_OA_bite_neutral": "OAF_bite_neutral"}  # published as OA_bite_neutral.wav


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    if parts is None or parts[3].lower() not in EMOTIONS:
        raise unexpected_name(
            path, f"actress_word_emotion with the actress OAF or YAF and the emotion {', '.join(EMOTIONS)}"
        )
    speaker = "YAF" if parts[1].upper() == "YAF" else "OAF"
    attributes = {"age": AGES[speaker], "word": parts[2].lower()}
    return Clip(str(path), EMOTIONS[parts[3].lower()], speaker, "female", attributes)


CORPUS: Final = Corpus(
    name="tess",
    title="TESS",
    language="English",
    licence="CC BY-NC-ND 4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    ),
    homepage="https://doi.org/10.5683/SP2/E8H2MF",
    how_to_get="Get it from https://doi.org/10.5683/SP2/E8H2MF",
    example="OAF_angry/OAF_back_angry.wav",
    parse=_parse,
    counts={(speaker, label): 200 for speaker in AGES for label in EMOTIONS.values()},
    misnamed=_MISNAMED,
)
