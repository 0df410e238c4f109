"""SAVEE, four men, sentences. In: DC/a01.wav, or DC_a01.wav in mirrors. Out: label, speaker, sentence.

Haq & Jackson 2010, http://kahlan.eps.surrey.ac.uk/savee.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, unexpected_name

EMOTIONS: Final = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
SPEAKERS: Final = ("DC", "JE", "JK", "KL")
_NAME: Final = re.compile(r"(?:([A-Z]{2})_)?(sa|su|[adfhn])(\d\d)")


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    speaker = (parts[1] or path.parent.name) if parts else ""
    if parts is None or speaker not in SPEAKERS:
        raise unexpected_name(
            path,
            f"speaker/code and two digits, as DC/a01, with the speaker {', '.join(SPEAKERS)} "
            f"and the code {', '.join(EMOTIONS)}",
        )
    return Clip(str(path), EMOTIONS[parts[2]], speaker, "male", {"sentence": parts[3]})


CORPUS: Final = Corpus(
    name="savee",
    title="SAVEE",
    language="English",
    licence="research only",
    citation=(
        "Haq S, Jackson PJB (2010). Multimodal Emotion Recognition. In: Wang W (ed), Machine Audition: "
        "Principles, Algorithms and Systems, IGI Global, 398–423."
    ),
    homepage="http://kahlan.eps.surrey.ac.uk/savee/",
    how_to_get="Register at http://kahlan.eps.surrey.ac.uk/savee/ and unpack AudioData.",
    example="AudioData/DC/a01.wav",
    parse=_parse,
    names=frozenset(
        f"{speaker}_{code}{sentence:02d}"
        for speaker in SPEAKERS
        for code in EMOTIONS
        for sentence in range(1, 31 if code == "n" else 16)
    ),
)
