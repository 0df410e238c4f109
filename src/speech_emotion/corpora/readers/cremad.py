"""CREMA-D, 91 actors, twelve sentences. In: AudioWAV/1001_IEO_ANG_LO.wav. Out: label, actor, sex, level.

Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244. The clips are those of SentenceFilenames.csv: 82 an actor,
without twenty that are absent. Known: 1076_MTI_SAD_XX.wav holds no sound.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, unexpected_name

EMOTIONS: Final = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
INTENSITIES: Final = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES: Final = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
ACTORS: Final = tuple(str(actor) for actor in range(1001, 1092))
_WOMEN = (
    "1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 "
    "1037 1043 1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 "
    "1076 1078 1079 1082 1084 1089 1091"
)
WOMEN: Final = frozenset(_WOMEN.split())
_ABSENT: Final = re.compile(r"1002_TIE_NEU.*|1008_WSI.*|1009_MTI.*|1019_ITH.*|1076_ITS_NEU.*")
_MISNAMED: Final = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
_NAME: Final = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")


def _parse(path: PurePosixPath) -> Clip:
    parts = _NAME.fullmatch(_MISNAMED.get(path.stem, path.stem))
    if parts is None or not (
        parts[1] in ACTORS and parts[2] in SENTENCES and parts[3] in EMOTIONS and parts[4] in INTENSITIES
    ):
        raise unexpected_name(
            path,
            f"actor_sentence_emotion_intensity, as 1001_IEO_ANG_LO, with the actor {ACTORS[0]} to {ACTORS[-1]}, "
            f"the emotion {', '.join(EMOTIONS)} and the intensity {', '.join(INTENSITIES)}",
        )
    actor, sentence, emotion, intensity = parts.groups()
    attributes = {"sentence": sentence, "intensity": INTENSITIES[intensity]}
    return Clip(str(path), EMOTIONS[emotion], actor, "female" if actor in WOMEN else "male", attributes)


def _names() -> frozenset[str]:
    """Only "It's eleven o'clock" was said at three intensities, in every emotion but neutral."""
    takes = [
        f"{sentence}_{emotion}_{intensity}"
        for sentence in SENTENCES
        for emotion in EMOTIONS
        for intensity in (("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",))
    ]
    names = (f"{actor}_{take}" for actor in ACTORS for take in takes)
    return frozenset(name for name in names if not _ABSENT.fullmatch(name))


CORPUS: Final = Corpus(
    name="cremad",
    title="CREMA-D",
    language="English",
    licence="ODbL 1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377–390. "
        "https://doi.org/10.1109/TAFFC.2014.2336244"
    ),
    homepage="https://github.com/CheyneyComputerScience/CREMA-D",
    how_to_get="Get AudioWAV from https://github.com/CheyneyComputerScience/CREMA-D with git lfs.",
    example="AudioWAV/1001_IEO_ANG_LO.wav",
    parse=_parse,
    names=_names(),
    misnamed=_MISNAMED,
)
