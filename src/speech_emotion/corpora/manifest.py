"""What a corpus is. In: a folder of recordings. Out: its clips, in one order, whatever their layout and format.

A Corpus is a value: its facts (licence, citation, what the published set holds) and one function that reads a
file name. `scan` returns the clips to learn from; `survey` also says what was left out and why.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from speech_emotion.audio import AUDIO_SUFFIXES
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS, in_order

Sex = Literal["female", "male", "unknown"]
LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
FETCH_POINTER: Final = "a git-LFS pointer, not the recording. Fetch it with: git lfs pull"
LOSSLESS: Final = (".wav", ".flac")


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: its file, the emotion it expresses, and its speaker."""

    path: str  # relative to the corpus folder, with forward slashes
    label: str
    speaker: str
    sex: Sex
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The clip's own name, whatever its folder and suffix: "03-01-01-01-01-01-01", "DC_a01"."""
        stem = PurePosixPath(self.path).stem
        return stem if self.speaker in stem else f"{self.speaker}_{stem}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A published file that is not among the clips, and the reason in a few words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A published archive with its checksum. Without a checksum there is no download."""

    url: str
    filename: str
    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True)
class Survey:
    """Every recording in a folder."""

    clips: tuple[Clip, ...]
    skipped: Mapping[str, str]  # path → why it is left out
    unknown: Mapping[str, str]  # path → why its name was not understood
    names: frozenset[str]  # of the published clips; empty if they are not known one by one


Parser = Callable[[PurePosixPath], Clip | Skipped]
Table = Mapping[str, Clip | Skipped]


def _no_table(_folder: Path) -> Table:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """One corpus: its facts, and how its files are read.

    A reader gives `parse`, which reads the name of a file, or `table`, which reads the corpus's own table in its
    folder. It also gives what was published: `names`, if the clips are known one by one, else `counts`.
    """

    name: str
    title: str
    language: str
    licence: str
    citation: str
    homepage: str
    how_to_get: str
    example: str  # a path as published, for messages
    reference: str = "published"  # what its clips are compared with, in a word
    label_names: tuple[str, ...] = EMOTIONS  # what a model of it answers, in the order of its outputs
    parse: Parser | None = None  # a path relative to the folder → its clip; CorpusError if it is none
    table: Callable[[Path], Table] = _no_table  # the folder → its clips by the name of their file
    names: frozenset[str] = frozenset()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (speaker, label) → published clips
    archive: Archive | None = None
    misnamed: Mapping[str, str] = field(default_factory=dict)  # a slip in a published name → the right name
    known_duplicates: tuple[frozenset[str], ...] = ()  # names that hold the same sound, as published

    def __post_init__(self) -> None:
        if self.parse and not self.counts:
            clips = (self.parse(PurePosixPath(name)) for name in sorted(self.names))
            counts = Counter((clip.speaker, clip.label) for clip in clips if isinstance(clip, Clip))
            object.__setattr__(self, "counts", counts)

    @property
    def n_clips(self) -> int:
        """How many clips were published."""
        return sum(self.counts.values())

    @property
    def n_speakers(self) -> int:
        """How many speakers the publication has."""
        return len({speaker for speaker, _ in self.counts})

    @property
    def labels(self) -> Counter[str]:
        """Published clips of each label, in the order of `labels.in_order`."""
        counts = Counter[str]()
        for (_, label), n in self.counts.items():
            counts[label] += n
        return Counter({label: counts[label] for label in in_order(counts)})

    def to_dict(self) -> dict[str, Any]:
        """The facts, JSON-safe."""
        facts = ("name", "title", "language", "licence", "citation", "homepage", "how_to_get")
        return {
            **{name: getattr(self, name) for name in facts},
            "n_clips": self.n_clips,
            "n_speakers": self.n_speakers,
            "labels": dict(self.labels),
            "archive": asdict(self.archive) if self.archive else None,
        }

    def name_of(self, clip: Clip) -> str:
        """The name of a clip, with slips in published names put right."""
        return self.misnamed.get(clip.name, clip.name)

    def scan(self, folder: str | os.PathLike[str]) -> list[Clip]:
        """The clips in `folder`, ordered by speaker and name; CorpusError if there is none."""
        return list(self.survey(folder).clips)

    def survey(self, folder: str | os.PathLike[str]) -> Survey:
        """Read every file name below `folder`. A clip that is there twice counts once."""
        root = Path(folder)
        paths = self._recordings(root)
        table = self.table(root)
        parse = self.parse or partial(_look_up, table)
        clips: dict[str, Clip] = {}
        skipped: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for path in paths:
            try:
                found = parse(path)
            except CorpusError as error:
                unknown[str(path)] = str(error)
                continue
            if isinstance(found, Skipped):
                skipped[str(path)] = found.reason
                continue
            first = clips.setdefault(self.name_of(found), found)
            if first is not found:
                kept, other = sorted((first, found), key=lambda clip: _rank(root / clip.path))
                clips[self.name_of(found)] = kept
                skipped[other.path] = "second copy"
        if not clips:
            raise CorpusError(self._nothing_here(root, skipped, unknown))
        ordered = sorted(clips.values(), key=lambda clip: (clip.speaker, self.name_of(clip)))
        return Survey(tuple(ordered), skipped, unknown, self.names or frozenset(table))

    def _recordings(self, root: Path) -> list[PurePosixPath]:
        """Relative paths of the recordings below `root`, sorted, without hidden files and linked folders."""
        if not root.is_dir():
            state = "is not a folder" if root.exists() else "does not exist"
            raise CorpusError(f"{root} {state}. Name the folder that holds {self.title}. {self.how_to_get}")
        found = [
            Path(parent, name).relative_to(root)
            for parent, _, names in os.walk(root, onerror=_unreadable)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
        ]
        return [PurePosixPath(path.as_posix()) for path in sorted(found)]

    def _nothing_here(self, root: Path, skipped: Mapping[str, str], unknown: Mapping[str, str]) -> str:
        reasons = [f"{n} × {reason}" for reason, n in Counter(skipped.values()).most_common()]
        if unknown:
            reasons.append(f"{len(unknown)} other recordings such as {next(iter(unknown))}")
        found = ", ".join(reasons) or "no recording"
        return (
            f"{root} holds no clip of {self.title}: expected files such as {self.example}, found {found}. "
            f"Name the folder that holds the corpus. {self.how_to_get}"
        )


def unexpected_name(path: PurePosixPath, expected: str) -> CorpusError:
    """The error for a file whose name is not the published one."""
    return CorpusError(f"{str(path)!r}: expected {expected}. Restore the published name.")


def is_pointer(path: Path) -> bool:
    """Whether git LFS has left its pointer to the recording in the file, instead of the recording."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def _rank(path: Path) -> tuple[bool, bool]:
    """Of two copies the one of lower rank is used; of equal ones the first."""
    return is_pointer(path), path.suffix.lower() not in LOSSLESS


def _look_up(table: Table, path: PurePosixPath) -> Clip | Skipped:
    if path.stem not in table:
        raise unexpected_name(path, "a name that the table of the corpus lists")
    found = table[path.stem]
    return replace(found, path=str(path)) if isinstance(found, Clip) else found


def _unreadable(error: OSError) -> None:
    raise CorpusError(
        f"{error.filename} cannot be read ({error.strerror}). Change its permissions and try again."
    ) from error
