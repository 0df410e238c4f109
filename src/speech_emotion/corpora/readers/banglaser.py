"""BanglaSER, Bangla acted sentences. In: 03-01-03-02-01-01-12.wav. Out: label, actor, sex, statement, repetition.

Das et al. 2022, doi 10.1016/j.dib.2022.108091. The names have the seven fields of the RAVDESS with five emotions of
their own. Odd actors are men, but the voices of five of them leave doubt: their sex is unknown here.
"""

import re
from itertools import product
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, unexpected_name

# Emotion and intensity. Each emotion has one: "normal" or, of anger and surprise, "strong".
EMOTIONS: Final = {
    "01-01": "happy",
    "02-01": "sad",
    "03-02": "angry",
    "04-02": "surprised",
    "05-01": "neutral",
}
INTENSITIES: Final = {"01": "normal", "02": "strong"}
STATEMENTS: Final = ("01", "02", "03")
REPETITIONS: Final = ("01", "02", "03")
ACTORS: Final = tuple(f"{actor:02d}" for actor in range(1, 35))
NEVER_NEUTRAL: Final = frozenset({"11", "12", "13", "16", "18", "20", "29"})
DOUBTFUL_SEX: Final = frozenset({"15", "23", "27", "29", "33"})
# Three names of actor 15 begin with 01, the code for sound with video, but are sound alone like all the others.
_MISNAMED: Final = {
    f"01-01-04-02-03-{repetition}-15": f"03-01-04-02-03-{repetition}-15" for repetition in REPETITIONS
}
_NAME: Final = re.compile(r"03-01-(\d\d-(\d\d))-(\d\d)-(\d\d)-(\d\d)")


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(_MISNAMED.get(path.stem, path.stem))
    if parts is None or not (
        parts[1] in EMOTIONS and parts[3] in STATEMENTS and parts[4] in REPETITIONS and parts[5] in ACTORS
    ):
        raise unexpected_name(
            path,
            "03-01-emotion-intensity-statement-repetition-actor, with the emotion and intensity "
            f"{', '.join(EMOTIONS)}, statements and repetitions 01 to 03, and the actor {ACTORS[0]} to {ACTORS[-1]}",
        )
    emotion, intensity, statement, repetition, actor = parts.groups()
    attributes = {"intensity": INTENSITIES[intensity], "statement": statement, "repetition": repetition}
    return Clip(str(path), EMOTIONS[emotion], actor, _sex(actor), attributes)


def _sex(actor: str) -> Sex:
    if actor in DOUBTFUL_SEX:
        return "unknown"
    return "male" if int(actor) % 2 else "female"


CORPUS: Final = Corpus(
    name="banglaser",
    title="BanglaSER",
    language="Bangla",
    licence="CC BY 4.0",
    citation=(
        "Das RK, Islam N, Ahmed MR, Islam S, Shatabda S, Islam AKMM (2022). BanglaSER: A speech emotion recognition "
        "dataset for the Bangla language. Data in Brief 42, 108091. https://doi.org/10.1016/j.dib.2022.108091"
    ),
    homepage="https://doi.org/10.17632/t9h6p943xy.5",
    how_to_get="Get it from https://doi.org/10.17632/t9h6p943xy.5",
    example="03-01-03-02-01-01-12.wav",
    parse=_parse,
    names=frozenset(
        "-".join(("03-01", *codes))
        for codes in product(EMOTIONS, STATEMENTS, REPETITIONS, ACTORS)
        if EMOTIONS[codes[0]] != "neutral" or codes[-1] not in NEVER_NEUTRAL
    ),
    misnamed=_MISNAMED,
)
