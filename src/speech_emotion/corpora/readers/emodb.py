"""EMO-DB, Berlin, ten actors. In: wav/03a01Fa.wav. Out: label, speaker, sex, text; boredom is left out.

Burkhardt et al. 2005, http://emodb.bilderbar.info. Speaker, text, the initial of the German word, version.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, Skipped, unexpected_name

EMOTIONS: Final = {
    "N": "neutral",
    "F": "happy",  # Freude
    "T": "sad",  # Trauer
    "W": "angry",  # Wut
    "A": "fearful",  # Angst
    "E": "disgust",  # Ekel
}
BOREDOM: Final = "L"  # Langeweile: no counterpart among our labels
SPEAKERS: Final[dict[str, Sex]] = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
# Published clips per speaker, in the order of EMOTIONS.
_COUNTS: Final = {
    "03": (11, 7, 7, 14, 4, 1),
    "08": (10, 11, 9, 12, 6, 0),
    "09": (9, 4, 4, 13, 1, 8),
    "10": (4, 4, 3, 10, 8, 1),
    "11": (9, 8, 7, 11, 10, 2),
    "12": (4, 2, 4, 12, 6, 2),
    "13": (9, 10, 5, 12, 7, 8),
    "14": (7, 8, 10, 16, 12, 8),
    "15": (11, 6, 4, 13, 8, 5),
    "16": (5, 11, 9, 14, 7, 11),
}
_NAME: Final = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z]?)")


def _parse(path: PurePosixPath) -> Clip | Skipped:
    parts = _NAME.fullmatch(path.stem)
    if parts is None or parts[1] not in SPEAKERS or parts[3] not in {*EMOTIONS, BOREDOM}:
        raise unexpected_name(
            path,
            f"speaker, text, emotion and version, as 03a01Fa, with the speaker {', '.join(SPEAKERS)} "
            f"and the emotion {', '.join(EMOTIONS)} or {BOREDOM}",
        )
    if parts[3] == BOREDOM:
        return Skipped("boredom")
    attributes = {"text": parts[2], "version": parts[4]}
    return Clip(str(path), EMOTIONS[parts[3]], parts[1], SPEAKERS[parts[1]], attributes)


CORPUS: Final = Corpus(
    name="emodb",
    title="EMO-DB",
    language="German",
    licence="see its homepage",
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier W, Weiss B (2005). A Database of German Emotional "
        "Speech. Interspeech 2005, 1517–1520."
    ),
    homepage="http://emodb.bilderbar.info",
    how_to_get="Get it from http://emodb.bilderbar.info",
    example="wav/03a01Fa.wav",
    parse=_parse,
    counts={
        (speaker, label): n
        for speaker, counts in _COUNTS.items()
        for label, n in zip(EMOTIONS.values(), counts, strict=True)
        if n
    },
)
