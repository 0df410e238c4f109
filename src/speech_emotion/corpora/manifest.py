"""What a corpus is. In: a folder of recordings. Out: its clips, in one order, in any layout and suffix.

A corpus is a value: its facts (licence, citation, labels, what the published set holds) and one function that
reads a file name. `scan` gives the clips to learn from; `survey` also says what was left out and why.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from speech_emotion.audio import AUDIO_SUFFIXES
from speech_emotion.errors import CorpusError
from speech_emotion.labels import EMOTIONS

Sex = Literal["female", "male", "unknown"]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording: where it lies in the corpus folder, what it expresses, and who speaks."""

    path: str  # relative to the corpus folder, with forward slashes
    label: str  # one of EMOTIONS
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
    """A file that belongs to the publication but not to these clips, with the reason in a few words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A published archive that can be verified: no checksum, no download."""

    url: str
    filename: str
    size_bytes: int
    md5: str


@dataclass(frozen=True, slots=True)
class Survey:
    """Every recording in a folder: clips, and what was left out or not understood (path → reason)."""

    clips: tuple[Clip, ...]
    skipped: Mapping[str, str]
    unknown: Mapping[str, str]


Parser = Callable[[PurePosixPath], Clip | Skipped]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """One published corpus. `parser(folder)` gives the function that turns a relative path into a Clip.

    `names(folder)` lists the published clips by name where they are known one by one; `cells` says how many
    clips each (speaker, label) holds. `misnamed` maps a slip in a published name to the name it should be;
    `known_duplicates` are names that hold the same sound as published.
    """

    name: str
    title: str
    language: str
    licence: str
    citation: str
    homepage: str
    how_to_get: str
    example: str  # a path as published, for messages
    parser: Callable[[Path], Parser]
    cells: Mapping[tuple[str, str], int]
    names: Callable[[Path], frozenset[str]] | None = None
    archive: Archive | None = None
    misnamed: Mapping[str, str] = field(default_factory=dict)
    known_duplicates: tuple[frozenset[str], ...] = ()

    @property
    def n_clips(self) -> int:
        return sum(self.cells.values())

    @property
    def n_speakers(self) -> int:
        return len({speaker for speaker, _ in self.cells})

    @property
    def labels(self) -> Mapping[str, int]:
        """Published clips of each label, in the order of EMOTIONS."""
        counts = Counter[str]()
        for (_, label), n in self.cells.items():
            counts[label] += n
        return Counter({label: counts[label] for label in EMOTIONS if counts[label]})

    def to_dict(self) -> dict[str, Any]:
        """The facts, JSON-safe."""
        names = ("name", "title", "language", "licence", "citation", "homepage", "how_to_get")
        numbers = {"n_clips": self.n_clips, "n_speakers": self.n_speakers, "labels": dict(self.labels)}
        return {
            **{name: getattr(self, name) for name in names},
            **numbers,
            "archive": asdict(self.archive) if self.archive else None,
        }

    def name_of(self, clip: Clip) -> str:
        return self.misnamed.get(clip.name, clip.name)

    def scan(self, folder: str | os.PathLike[str]) -> list[Clip]:
        """The clips to learn from, ordered by speaker and name; CorpusError where there is none."""
        return list(self.survey(folder).clips)

    def survey(self, folder: str | os.PathLike[str]) -> Survey:
        """Read every file name below `folder`. A clip that lies there twice counts once."""
        root = Path(folder)
        paths = self._recordings(root)
        parse = self.parser(root)
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
            elif self.name_of(found) in clips:
                skipped[str(path)] = "second copy"
            else:
                clips[self.name_of(found)] = found
        if not clips:
            raise CorpusError(self._nothing_here(root, skipped, unknown))
        ordered = sorted(clips.values(), key=lambda clip: (clip.speaker, self.name_of(clip)))
        return Survey(tuple(ordered), skipped, unknown)

    def _recordings(self, root: Path) -> list[PurePosixPath]:
        """Relative paths of the recordings below `root`, sorted; without hidden files and linked folders."""
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


def _unreadable(error: OSError) -> None:
    raise CorpusError(
        f"{error.filename} cannot be read ({error.strerror}). Change its permissions and try again."
    ) from error
