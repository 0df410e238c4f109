"""SAVEE, four men, sentences. In: DC/a01.wav, or DC_a01.wav in mirrors. Out: label, speaker, sentence.

Haq & Jackson 2010, http://kahlan.eps.surrey.ac.uk/savee.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus
from speech_emotion.errors import CorpusError

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


def _n_sentences(code: str) -> int:
    return 30 if code == "n" else 15


def _clip(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    speaker = (parts[1] or path.parent.name) if parts else ""
    if parts is None or speaker not in SPEAKERS:
        raise CorpusError(
            f"{str(path)!r}: expected speaker/code and two digits, as DC/a01, with the speaker "
            f"{', '.join(SPEAKERS)} and the code {', '.join(EMOTIONS)}. Restore the published name."
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
    parser=lambda _folder: _clip,
    cells={(speaker, label): _n_sentences(code) for speaker in SPEAKERS for code, label in EMOTIONS.items()},
    names=lambda _folder: frozenset(
        f"{speaker}_{code}{sentence:02d}"
        for speaker in SPEAKERS
        for code in EMOTIONS
        for sentence in range(1, _n_sentences(code) + 1)
    ),
)
