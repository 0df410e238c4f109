"""EmotionTTS, Korean acted sentences. In: nea/wav/nea00101.wav. Out: label, speaker, sex, kind of script.

Selvas AI & KAIST 2020, https://github.com/emotiontts/emotiontts_open_db, Dataset/SpeechCorpus/Emotional. The
number tells the emotion, a hundred sentences each; the first five of each hundred are published. Speakers em…
put the emotion into plain sentences, speakers ne… read sentences written for it. Every folder is a speaker of
its own: whether "speaker A" of the one script (ema) is that of the other (nea) is not told.
"""

import re
from functools import cache
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex
from speech_emotion.errors import CorpusError

EMOTIONS: Final = ("neutral", "happy", "angry", "sad")  # numbers 1–100, 101–200, 201–300, 301–400
SPEAKERS: Final[dict[str, Sex]] = {
    **dict.fromkeys(("ema", "emb", "nea", "neb", "nec", "ned", "nee"), "female"),
    **dict.fromkeys(("emf", "emg", "emh", "nek", "nel", "nem", "nen", "neo"), "male"),
}
_SCRIPTS: Final = {"em": "plain", "ne": "emotional"}
_N_PUBLISHED: Final = 5  # of each hundred
_NAME: Final = re.compile(r"([a-z]{3})(\d{5})")


def _clip(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    if parts is None or parts[1] not in SPEAKERS or not 1 <= int(parts[2]) <= 100 * len(EMOTIONS):
        raise CorpusError(
            f"{path.name!r}: expected the speaker and a number from 00001 to 00400, as nea00101, with the "
            f"speaker {', '.join(SPEAKERS)}. Restore the published name."
        )
    speaker, number = parts.groups()
    emotion, sentence = divmod(int(number) - 1, 100)
    attributes = {"script": _SCRIPTS[speaker[:2]], "sentence": str(sentence + 1)}
    return Clip(str(path), EMOTIONS[emotion], speaker, SPEAKERS[speaker], attributes)


@cache
def _published() -> frozenset[str]:
    return frozenset(
        f"{speaker}{100 * emotion + sentence:05d}"
        for speaker in SPEAKERS
        for emotion in range(len(EMOTIONS))
        for sentence in range(1, _N_PUBLISHED + 1)
    )


CORPUS: Final = Corpus(
    name="emotiontts-ko",
    title="EmotionTTS",
    language="Korean",
    licence="CC BY-NC-SA, research only",
    citation=(
        "Selvas AI, KAIST (2020). EmotionTTS open DB, the result of research supported by the Ministry of Trade, "
        "Industry & Energy (MOTIE, Korea) under Industrial Technology Innovation Program (No. 10080667). "
        "https://github.com/emotiontts/emotiontts_open_db"
    ),
    homepage="https://github.com/emotiontts/emotiontts_open_db",
    how_to_get=(
        "Get it with: git clone https://github.com/emotiontts/emotiontts_open_db "
        "and name its folder Dataset/SpeechCorpus/Emotional."
    ),
    example="emotional-to-emotional/nea/wav/nea00101.wav",
    parser=lambda _folder: _clip,
    cells={(speaker, label): _N_PUBLISHED for speaker in SPEAKERS for label in EMOTIONS},
    names=lambda _folder: _published(),
)
