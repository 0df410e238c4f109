"""A corpus of one's own. In: a table of recordings, as CSV or TSV. Out: an OwnCorpus.

    file,label,speaker
    monday/a1.wav,bored,ann

One row per recording; paths begin at the table. `emotion` may stand for `label`, `path` for `file`, and `gender` for
`sex`, which may be missing. Without a column of labels every clip is UNLABELLED: only a mixture of corpora can learn
from it. Every other column is kept as an attribute of the clip.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from speech_emotion.corpora.manifest import Clip, Corpus, Sex, Survey
from speech_emotion.errors import CorpusError
from speech_emotion.files import FileTooLargeError, read_regular_file
from speech_emotion.labels import UNLABELLED, in_order

MAX_BYTES: Final = 64 << 20  # of a table
_COLUMNS: Final = {"file": ("file", "path"), "label": ("label", "emotion"), "speaker": ("speaker",)}
_SEX: Final = ("sex", "gender")
_SEXES: Final[Mapping[str, Sex]] = {"f": "female", "female": "female", "m": "male", "male": "male"}
_WHOLE: Final = ("", "NaT", "0", "0.0", "0 days", "0 days 00:00:00")  # start or end of a row for a whole file
_NAME: Final = re.compile(r"\w[\w-]*")
_LABEL: Final = re.compile(r"[^\W\d_][\w-]{0,39}")
_RESERVED: Final = (
    "not_sure",
    "no_speech",
    "too_short",
    "source",
    "label",
    "emotions",
    "error",
    "message",
    UNLABELLED,
)
_TAKEN: Final = ("path", "seconds", "warnings")  # columns of clips.csv in a prepared folder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnCorpus(Corpus):
    """The recordings that a table lists. Two of them may have one file name, in different folders."""

    clips: tuple[Clip, ...]

    def name_of(self, clip: Clip) -> str:
        """The path of a clip."""
        return clip.path

    def survey(self, folder: str | os.PathLike[str]) -> Survey:
        """The listed files that are there."""
        here = tuple(clip for clip in self.clips if Path(folder, clip.path).is_file())
        if not here:
            raise CorpusError(
                f"{self.title} lists {self.clips[0].path}, …, of which none is in {folder}. "
                "Write each file's path as seen from the table's folder."
            )
        return Survey(here, {}, {}, self.names)


def read_table(name: str, table: Path) -> OwnCorpus:
    """The corpus of a table; CorpusError if it cannot be trained and evaluated on."""
    if not _NAME.fullmatch(name):
        raise CorpusError(f"{name!r} cannot name a corpus. Use letters, digits, '-' and '_'.")
    clips = sorted(_clips(table), key=lambda clip: (clip.speaker, clip.path))
    if repeated := [path for path, n in Counter(clip.path for clip in clips).items() if n > 1]:
        raise CorpusError(f"{table}: {repeated[0]} has more than one row. Write one row per file.")
    labels = in_order(clip.label for clip in clips)
    if len(labels) < 2 and labels != (UNLABELLED,):
        raise CorpusError(f"{table}: there are {len(labels)} different labels. A model needs two or more.")
    return OwnCorpus(
        name=name,
        title=table.name,
        language=_joined(", ", clips, "language") or "unknown",
        licence=_joined("; ", clips, "licence") or f"that of the recordings of {name}",
        citation=f"Own recordings: {name}.",
        homepage="",
        how_to_get=f"Put the missing files where {table.name} says, or take out their rows.",
        example=clips[0].path,
        reference="listed",
        label_names=labels,
        names=frozenset(clip.path for clip in clips),
        counts=Counter((clip.speaker, clip.label) for clip in clips),
        clips=tuple(clips),
    )


def _joined(separator: str, clips: Sequence[Clip], attribute: str) -> str:
    """What the table says in a column, each once."""
    return separator.join(sorted({clip.attributes.get(attribute, "") for clip in clips} - {""}))


def _clips(table: Path) -> Iterator[Clip]:
    header, *rows = _rows(table)
    where = {column: _column(column, names, header, table) for column, names in _COLUMNS.items()}
    sex = next((name for name in _SEX if name in header), "")
    others = [name for name in header if name not in (*where.values(), sex, *_TAKEN, "")]
    for number, cells in enumerate(rows, start=2):
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        path, label, speaker = (row.get(name, "") for name in where.values())
        if not (path and speaker and (label or not where["label"])):
            raise CorpusError(
                f"{table}, row {number}: file, label and speaker must be filled in. Complete the row."
            )
        if any(row.get(name, "") not in _WHOLE for name in ("start", "end")):
            raise CorpusError(
                f"{table}, row {number}: a part of {path}. Parts are not read: cut them into files of their own."
            )
        attributes = {name: row[name] for name in others if row.get(name)}
        known_sex = _SEXES.get(row.get(sex, "").lower(), "unknown")
        label = _label(label, f"{table}, row {number}") if where["label"] else UNLABELLED
        yield Clip(path, label, speaker, known_sex, attributes)


def _rows(table: Path) -> list[list[str]]:
    """The header, in lower case, and the rows that are not empty."""
    try:
        text = read_regular_file(table, MAX_BYTES).decode("utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except (OSError, UnicodeDecodeError, FileTooLargeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"{table}: cannot be read ({reason}). Give a table as CSV in UTF-8.") from error
    if len(rows) < 2:
        raise CorpusError(
            f"{table}: holds no recordings. Write a header (file,label,speaker) and one row per file."
        )
    return [[name.strip().lower() for name in rows[0]], *rows[1:]]


def _column(column: str, names: Sequence[str], header: Sequence[str], table: Path) -> str:
    """The name under which the table has a column; of the label, "" if it has none."""
    if found := next((name for name in names if name in header), ""):
        return found
    if column == "label":
        return ""
    if column == "speaker":
        raise CorpusError(
            f"{table}: has no column speaker. A model must be scored on people that it did not learn from, and without "
            "speakers that cannot be known. Add a column that names the person in each recording."
        )
    raise CorpusError(f"{table}: has no column {column}. Its columns are: {', '.join(header)}.")


def _label(text: str, where: str) -> str:
    """In lower case, with "_" for spaces, so that `Angry` is `angry`."""
    label = "_".join(text.lower().split())
    if not _LABEL.fullmatch(label) or label in _RESERVED:
        raise CorpusError(
            f"{where}: {text!r} cannot be a label. Use a word of letters, digits, '-' and '_', at most 40, "
            f"other than {', '.join(_RESERVED)}."
        )
    return label
