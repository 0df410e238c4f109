"""The corpora that choose.py and far.py read. DATA holds one folder of each."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from speech_emotion import corpora
from speech_emotion.labels import UNLABELLED

FOUR: Final = ("neutral", "happy", "sad", "angry")
FAR: Final = ("ased", "aesdd", "uem-es", "urdu")
PLAIN: Final = "plain-speech"  # read speech and orders without emotion labels
# Folders of DATA: those of published file names, and those with a labels.tsv.
PUBLISHED: Final = {
    "ravdess": "ravdess-speech",
    "ravdess-song": "ravdess-song",
    "cremad": "cremad",
    "tess": "tess",
    "nemo": "nemo",
}
TABLES: Final = {name: name for name in ("emospeech-in", "emotiontts-ko", "turev-db", "banglaser", *FAR)}
TABLES[PLAIN] = "plain-speech/many"


def folder_of(data: Path, name: str) -> Path:
    """The folder of a corpus whose reader the package has, or the table of another one."""
    if name in FAR or name == PLAIN:
        return data / TABLES[name] / "labels.tsv"
    return data / (PUBLISHED | TABLES)[name]


@dataclass(frozen=True)
class Row:
    """One clip."""

    corpus: str
    path: str
    speaker: str
    label: str


def rows_of(data: Path) -> Iterator[Row]:
    """Every clip of DATA, corpus by corpus."""
    for name, folder in PUBLISHED.items():
        for clip in corpora.get(name).scan(data / folder):
            yield Row(name, str(data / folder / clip.path), clip.speaker, clip.label)
    for name, folder in TABLES.items():
        with (data / folder / "labels.tsv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file, delimiter="\t"):
                label = UNLABELLED if name == PLAIN else line["label"]
                yield Row(name, str(data / folder / line["file"]), line["speaker"], label)
