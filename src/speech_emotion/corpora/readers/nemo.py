"""nEMO, Polish acted speech. In: samples/EB0_anger_1.wav and data.tsv. Out: label, actor, sex, text.

Christop 2024, https://aclanthology.org/2024.lrec-main.1059. The table is part of the corpus: it names every
file, and its speaker ids carry leading spaces.
"""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final, cast

from speech_emotion.corpora.manifest import Clip, Corpus, Parser, Sex
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
_TABLE: Final = "data.tsv"
_COLUMNS: Final = ("file_id", "emotion", "speaker_id", "gender", "age", "raw_text")


def _read_table(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """The rows of data.tsv by the name of their file, without the spaces around the values."""
    tables = sorted(folder.rglob(_TABLE))
    if not tables:
        raise CorpusError(
            f"{folder} has no {_TABLE}, its table. Copy it there from https://github.com/amu-cai/nEMO."
        )
    try:
        with tables[0].open(encoding="utf-8", newline="") as file:
            rows = [
                {column: row[column].strip() for column in _COLUMNS}
                for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            ]
    except (OSError, UnicodeDecodeError, KeyError, AttributeError) as error:
        raise CorpusError(f"{tables[0]} is not the table of nEMO ({error!r}). Fetch it again.") from error
    return {PurePosixPath(row["file_id"]).stem: row for row in rows}


def _parser(folder: Path) -> Parser:
    table = _read_table(folder)

    def clip(path: PurePosixPath) -> Clip:
        row = table.get(path.stem)
        if row is None:
            raise CorpusError(f"{path.name!r} is not listed in {_TABLE}. Restore the published name.")
        if row["emotion"] not in EMOTIONS or row["gender"] not in ("female", "male"):
            raise CorpusError(f"{_TABLE} says {row['emotion']!r} and {row['gender']!r} of {path.name!r}.")
        attributes = {"age": row["age"], "text": row["raw_text"]}
        return Clip(
            str(path), EMOTIONS[row["emotion"]], row["speaker_id"], cast(Sex, row["gender"]), attributes
        )

    return clip


def _cells() -> Mapping[tuple[str, str], int]:
    """Ninety sentences an actor and emotion, but for the ones that were not kept."""
    cells = {(speaker, label): 90 for speaker in SPEAKERS for label in EMOTIONS.values()}
    del cells["MK0", "surprised"]
    for key in [("EB0", "surprised"), ("SM0", "fearful"), ("SM0", "happy"), ("TP0", "surprised")]:
        cells[key] = 89
    cells["WR0", "neutral"] = 89
    kept_of_mp0 = {"angry": 29, "fearful": 17, "happy": 30, "neutral": 90, "sad": 49, "surprised": 41}
    return cells | {("MP0", label): n for label, n in kept_of_mp0.items()}


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
    parser=_parser,
    cells=_cells(),
    names=lambda folder: frozenset(_read_table(folder)),
)
