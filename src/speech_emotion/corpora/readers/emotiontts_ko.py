"""EmotionTTS, Korean acted sentences. In: nea/wav/nea00101.wav. Out: label, speaker, sex, kind of script.

Selvas AI & KAIST 2020, https://github.com/emotiontts/emotiontts_open_db, Dataset/SpeechCorpus/Emotional. The
number tells the emotion, a hundred sentences each; the first five of each hundred are published. Speakers em…
put the emotion into plain sentences, speakers ne… read sentences written for it. Every folder counts as a speaker:
whether "speaker A" of one script (ema) is that of the other (nea) is not published.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, unexpected_name

EMOTIONS: Final = ("neutral", "happy", "angry", "sad")  # numbers 1–100, 101–200, 201–300, 301–400
SPEAKERS: Final[dict[str, Sex]] = {
    **dict.fromkeys(("ema", "emb", "nea", "neb", "nec", "ned", "nee"), "female"),
    **dict.fromkeys(("emf", "emg", "emh", "nek", "nel", "nem", "nen", "neo"), "male"),
}
_SCRIPTS: Final = {"em": "plain", "ne": "emotional"}
_N_PUBLISHED: Final = 5  # of each hundred
_NAME: Final = re.compile(r"([a-z]{3})(\d{5})")


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(path.stem)
    if parts is None or parts[1] not in SPEAKERS or not 1 <= int(parts[2]) <= 100 * len(EMOTIONS):
        raise unexpected_name(
            path,
            f"the speaker and a number from 00001 to 00400, as nea00101, with the speaker {', '.join(SPEAKERS)}",
        )
    speaker, number = parts.groups()
    emotion, sentence = divmod(int(number) - 1, 100)
    attributes = {"script": _SCRIPTS[speaker[:2]], "sentence": str(sentence + 1)}
    return Clip(str(path), EMOTIONS[emotion], speaker, SPEAKERS[speaker], attributes)


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
    parse=_parse,
    names=frozenset(
        f"{speaker}{100 * emotion + sentence:05d}"
        for speaker in SPEAKERS
        for emotion in range(len(EMOTIONS))
        for sentence in range(1, _N_PUBLISHED + 1)
    ),
)
