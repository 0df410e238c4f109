"""TurEV-DB, Turkish acted words. In: Sound Source/Angry/1157_kz_acik.wav. Out: label, speaker, sex, word.

Canpolat et al. 2020, https://aclanthology.org/2020.sltu-1.52. A name holds speaker, emotion and word. The published
repository also holds second copies, some of them filtered, that its authors tested: they are left out and counted.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, Skipped, unexpected_name

EMOTIONS: Final = {"sk": "calm", "mt": "happy", "hl": "sad", "kz": "angry"}
SPEAKERS: Final[dict[str, Sex]] = {
    **dict.fromkeys(("1157", "1358", "6783"), "male"),
    **dict.fromkeys(("1234", "1984", "7895"), "female"),
}
# Published clips per speaker, in the order of EMOTIONS: one of each of 82 words, less those that were not kept.
_COUNTS: Final = {
    **dict.fromkeys(("1234", "1358", "1984", "6783"), (82, 82, 82, 82)),
    "1157": (0, 0, 73, 77),
    "7895": (80, 29, 82, 82),
}
_COPIES: Final = "Model Output for Test Data"  # their folder
_MISNAMED: Final = {"7895_hl_ogul1": "7895_hl_ogul"}
_NAME: Final = re.compile(r"(\d{4})_([a-z]{2})_([a-z]+)")


def _parse(path: PurePosixPath) -> Clip | Skipped:
    parts = _NAME.fullmatch(_MISNAMED.get(path.stem, path.stem))
    if parts is None or parts[1] not in SPEAKERS or parts[2] not in EMOTIONS:
        raise unexpected_name(
            path,
            f"speaker_emotion_word, as 1157_kz_acik, with the speaker {', '.join(SPEAKERS)} "
            f"and the emotion {', '.join(EMOTIONS)}",
        )
    if _COPIES in path.parts:
        return Skipped("copy for a test of the authors")
    speaker, emotion, word = parts.groups()
    return Clip(str(path), EMOTIONS[emotion], speaker, SPEAKERS[speaker], {"word": word})


CORPUS: Final = Corpus(
    name="turev-db",
    title="TurEV-DB",
    language="Turkish",
    licence="CC BY-NC-ND 4.0",
    citation=(
        "Canpolat SF, Ormanoğlu Z, Zeyrek D (2020). Turkish Emotion Voice Database (TurEV-DB). SLTU-CCURL 2020, "
        "368–375. https://aclanthology.org/2020.sltu-1.52"
    ),
    homepage="https://github.com/Xeonen/TurEV-DB",
    how_to_get="Get it with: git clone https://github.com/Xeonen/TurEV-DB",
    example="Sound Source/Angry/1157_kz_acik.wav",
    parse=_parse,
    counts={
        (speaker, label): n
        for speaker, counts in _COUNTS.items()
        for label, n in zip(EMOTIONS.values(), counts, strict=True)
        if n
    },
    misnamed=_MISNAMED,
)
