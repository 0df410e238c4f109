"""nEMO, Polish acted speech. In: samples/EB0_anger_1.wav and data.tsv. Out: label, actor, sex, text.

Christop 2024, https://aclanthology.org/2024.lrec-main.1059. The table is part of the corpus: it names every
file, and its speaker ids carry leading spaces.
"""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final, cast

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, Skipped, Table
from speech_emotion.errors import CorpusError

EMOTIONS: Final = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
SPEAKERS: Final = ("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0")
_COLUMNS: Final = ("file_id", "emotion", "speaker_id", "gender", "age", "raw_text")


def _table(folder: Path) -> Table:
    """The clips that data.tsv lists, by the name of their file."""
    path = next(iter(sorted(folder.rglob("data.tsv"))), None)
    if path is None:
        raise CorpusError(f"{folder} has no data.tsv, its table. Copy it there from {CORPUS.homepage}.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                [row[column].strip() for column in _COLUMNS]
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            ]
    except (OSError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise CorpusError(f"{path} is not the table of nEMO ({error!r}). Fetch it again.") from error
    return {PurePosixPath(row[0]).stem: _clip(*row) for row in rows}


def _clip(file_id: str, emotion: str, speaker: str, sex: str, age: str, text: str) -> Clip | Skipped:
    if emotion not in EMOTIONS or sex not in ("female", "male"):
        return Skipped(f"{emotion}, {sex}")
    return Clip(file_id, EMOTIONS[emotion], speaker, cast(Sex, sex), {"age": age, "text": text})


def _counts() -> Mapping[tuple[str, str], int]:
    """Ninety sentences per actor and emotion, less those that were not kept."""
    counts = {(speaker, label): 90 for speaker in SPEAKERS for label in EMOTIONS.values()}
    del counts["MK0", "surprised"]
    one_less = [
        ("EB0", "surprised"),
        ("SM0", "fearful"),
        ("SM0", "happy"),
        ("TP0", "surprised"),
        ("WR0", "neutral"),
    ]
    kept_of_mp0 = {"angry": 29, "fearful": 17, "happy": 30, "neutral": 90, "sad": 49, "surprised": 41}
    return counts | dict.fromkeys(one_less, 89) | {("MP0", label): n for label, n in kept_of_mp0.items()}


CORPUS: Final = Corpus(
    name="nemo",
    title="nEMO",
    language="Polish",
    licence="CC BY-NC-SA 4.0",
    citation=(
        "Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. "
        "LREC-COLING 2024. https://aclanthology.org/2024.lrec-main.1059"
    ),
    homepage="https://github.com/amu-cai/nEMO",
    how_to_get="Get it with: git clone https://github.com/amu-cai/nEMO",
    example="samples/EB0_anger_1.wav",
    table=_table,
    counts=_counts(),
)
