"""Does a split leak? In: a table of clips (path, label, speaker, fold) and the recordings. Out: an Audit.

A fold is a test fold, or one of train, validation and test: no speaker and no recording may be in two of them. An audit
names what is, worst first, and is written as a certificate if nothing is. Every recording is decoded with the limits
below; one that cannot be read is a row of the audit and never ends it.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from speech_emotion import audio
from speech_emotion.cores import n_cores
from speech_emotion.corpora.readers.ravdess import KNOWN_DUPLICATES
from speech_emotion.errors import AudioError, ConfigError
from speech_emotion.evaluation.audit import fingerprint, ravdess
from speech_emotion.evaluation.audit.table import Row, by_fold, read_table, spread, table_sha256
from speech_emotion.files import write_atomically
from speech_emotion.version import __version__

Progress = Callable[[int, int], None]  # steps done, steps in all: each clip is read, then compared

LIMITS: Final = audio.Limits(max_seconds=600.0, max_decoded_bytes=2**30)  # a clip, not a concert
N_EXAMPLES: Final = 5
N_FOLDS_SHOWN: Final = 10


SPEAKER: Final = "speaker in more than one fold"
PATH: Final = "path in more than one fold"
SAME: Final = "identical audio in two folds"
NEAR: Final = "near-identical audio in two folds"
REPEATED: Final = "path listed twice in a fold"
CLASS: Final = "class missing from a fold"
LABELS: Final = "identical audio with two labels"
UNREAD: Final = "file that cannot be read"
NO_PRINT: Final = "clip without a print, silent or under a quarter of a second"
ONLY_AUDIO: Final = "Use the audio-only files (03-…) alone: the videos hold the same sound."
LEAKS: Final = {  # check → what to do about its findings, the worst first
    SPEAKER: "Put all clips of a speaker into one fold.",
    ravdess.ACTOR: "Take the actor from the file name, and put all clips of an actor into one fold.",
    ravdess.SOUND: ONLY_AUDIO,
    PATH: "Keep each clip in one fold.",
    SAME: "Keep one of them, or all in one fold.",
    NEAR: "Listen to both: a re-encoded, cut or augmented copy belongs to the fold of its original.",
}
NOTES: Final = {
    ravdess.TWICE: ONLY_AUDIO,
    ravdess.UNLIKE: "The file name is right: correct the speaker column.",
    REPEATED: "Remove the second row.",
    CLASS: "Its recall is undefined there: pool the folds before you take the mean over classes.",
    LABELS: "Listen, and correct the label.",
    UNREAD: "Repair the path or the file: copies of it are not found.",
    NO_PRINT: "Such clips are compared sample by sample only.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One question about a table, of LEAKS or of NOTES, and its findings in words."""

    name: str
    found: tuple[str, ...]

    @property
    def is_leak(self) -> bool:
        """Whether its findings make the scores of a split too high."""
        return self.name in LEAKS

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        named = {"name": self.name, "is_leak": self.is_leak, "n_found": len(self.found)}
        threshold = {"threshold": fingerprint.THRESHOLD} if self.name == NEAR else {}
        return named | threshold | {"found": list(self.found)}

    def lines(self) -> list[str]:
        """For a terminal: the number of findings, some of them, and what to do."""
        n_more = len(self.found) - N_EXAMPLES
        return [
            f"{'LEAK' if self.is_leak else 'note'}  {len(self.found)} × {self.name}",
            *(f"  {found}" for found in self.found[:N_EXAMPLES]),
            *([f"  … and {n_more} more"] if n_more > 0 else []),
            f"  → {(LEAKS | NOTES)[self.name]}",
        ]


@dataclass(frozen=True, slots=True)
class Audit:
    """The checks of a table; `n_heard` recordings were read, None if only the table was checked."""

    rows: tuple[Row, ...]
    checks: tuple[Check, ...]  # leaks first
    n_heard: int | None

    @property
    def leaks(self) -> tuple[Check, ...]:
        """The checks that found a leak."""
        return tuple(check for check in self.checks if check.is_leak and check.found)

    @property
    def folds(self) -> dict[str, dict[str, Any]]:
        """For each fold its clips, its speakers and its clips of each label."""
        return {
            fold: {
                "n_clips": len(rows),
                "n_speakers": len({row.speaker for row in rows}),
                "labels": dict(sorted(Counter(row.label for row in rows).items())),
            }
            for fold, rows in by_fold(self.rows).items()
        }

    @property
    def verdict(self) -> str:
        """One line: "speaker-independent: no leak found", or "LEAKS: …"."""
        if self.leaks:
            return "LEAKS: " + "; ".join(f"{len(check.found)} × {check.name}" for check in self.leaks)
        if self.n_heard is None:
            return "speaker-independent: no leak found (in the table; the audio was not read)"
        if not self.n_heard:
            return "no leak found in the table, and no clip could be read: does --audio-root lead to them?"
        unread = len(self.rows) - self.n_heard
        limit = f" (but {unread} of {len(self.rows)} clips were not read)" if unread else ""
        return f"speaker-independent: no leak found{limit}"

    def to_dict(self) -> dict[str, Any]:
        """The certificate, or the report if something leaks or no clip could be read; JSON-safe."""
        return {
            "kind": "report" if self.leaks or self.n_heard == 0 else "certificate",
            "verdict": self.verdict,
            "table_sha256": table_sha256(self.rows),
            "n_clips": len(self.rows),
            "n_heard": self.n_heard or 0,
            "n_speakers": len({row.speaker for row in self.rows}),
            "folds": self.folds,
            "checks": [check.to_dict() for check in self.checks],
            "speech_emotion": __version__,
        }

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` as JSON; ConfigError if `path` cannot be written."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"
        try:
            write_atomically(Path(path), text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written ({error.strerror}). Name a file in a folder that is there."
            ) from error

    def lines(self) -> list[str]:
        """For a terminal: the verdict, the sizes, then each finding with examples, worst first."""
        lines = [self.verdict, *self._sizes()]
        for check in self.checks:
            lines += ["", *check.lines()] if check.found else []
        nothing = "; ".join(check.name for check in self.checks if not check.found)
        return [*lines, "", f"looked for and not found: {nothing or 'nothing else'}", self._next_step()]

    def _sizes(self) -> list[str]:
        folds = self.folds
        lines = [
            f"  {fold}: {_count(size['n_clips'], 'clip')}, {_count(size['n_speakers'], 'speaker')}"
            for fold, size in folds.items()
        ]
        rest = len(folds) - N_FOLDS_SHOWN
        return lines if rest <= 0 else [*lines[:N_FOLDS_SHOWN], f"  … and {rest} more folds"]

    def _next_step(self) -> str:
        if self.leaks:
            return "Next: divide by speaker, keep copies together, and audit again; scores on this split are too high."
        if not self.n_heard:
            return "Next: give --audio-root, so that copies of recordings are found as well."
        return "Next: keep the certificate (--out FILE.json) beside the scores."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def audit(
    table: str | os.PathLike[str],
    audio_root: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
) -> Audit:
    """Audit the split of `table`, a CSV file; with `audio_root`, where its paths begin, the recordings as well.

    Raises:
        ConfigError: The table or the folder cannot be used.
    """
    rows = read_table(table)
    found = {
        SPEAKER: spread(rows, lambda row: row.speaker),
        PATH: spread(rows, lambda row: row.path),
        REPEATED: _repeated(rows),
        CLASS: _missing_classes(rows),
        **ravdess.findings(rows),
    }
    n_heard = None
    if audio_root is not None:
        sounds = _read_all(rows, Path(audio_root), progress)
        n_heard = sum(not sound.error for sound in sounds)
        found |= _audio_findings(rows, sounds, progress)
    checks = tuple(Check(name, found[name]) for name in (*LEAKS, *NOTES) if name in found)
    return Audit(rows, checks, n_heard)


def _repeated(rows: Iterable[Row]) -> tuple[str, ...]:
    counts = Counter((row.path, row.fold) for row in rows)
    return tuple(f"{path}: {n} rows in {fold}" for (path, fold), n in counts.items() if n > 1)


def _missing_classes(rows: Sequence[Row]) -> tuple[str, ...]:
    labels = {row.label for row in rows}
    here = {fold: {row.label for row in of_fold} for fold, of_fold in by_fold(rows).items()}
    return tuple(
        f"{fold} has no {', '.join(sorted(labels - its))}" for fold, its in here.items() if labels - its
    )


@dataclass(frozen=True, slots=True)
class _Sound:
    """The digest of a recording's samples and its print, or why it cannot be read."""

    digest: str = ""
    print_: fingerprint.Print | None = None
    error: str = ""


def _read_all(rows: Sequence[Row], root: Path, progress: Progress | None) -> list[_Sound]:
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder where the paths of the table begin.")
    root = root.resolve()
    sounds = []
    with ThreadPoolExecutor(n_cores()) as pool:
        for sound in pool.map(lambda row: _read(root, row.path), rows):
            sounds.append(sound)
            if progress:
                progress(len(sounds), 2 * len(rows))
    return sounds


def _read(root: Path, path: str) -> _Sound:
    """Nothing outside `root` is opened, whatever a table or a link says."""
    try:
        place = (root / path).resolve()
        if not place.is_relative_to(root):
            return _Sound(error="lies outside the audio root and was not opened")
        samples = audio.load(place, limits=LIMITS).samples
    except (AudioError, OSError, ValueError) as error:
        return _Sound(error=str(error))
    return _Sound(hashlib.sha256(samples.tobytes()).hexdigest(), fingerprint.print_of(samples))


def _audio_findings(
    rows: Sequence[Row], sounds: Sequence[_Sound], progress: Progress | None
) -> dict[str, tuple[str, ...]]:
    same = _identical(rows, sounds)
    across = [group for group in same if len({row.fold for row in group}) > 1]
    contrary = [group for group in same if len({row.label for row in group}) > 1]
    both = list(zip(rows, sounds, strict=True))
    return {
        SAME: tuple(map(_same_sound, across)),
        NEAR: _near_copies(rows, sounds, progress),
        LABELS: tuple(" = ".join(f"{row.path} ({row.label})" for row in group) for group in contrary),
        UNREAD: tuple(f"{row.path}: {sound.error}" for row, sound in both if sound.error),
        NO_PRINT: tuple(row.path for row, sound in both if not sound.error and sound.print_ is None),
    }


def _identical(rows: Sequence[Row], sounds: Sequence[_Sound]) -> list[list[Row]]:
    """Groups of rows with the same samples under different paths."""
    groups: dict[str, dict[str, Row]] = defaultdict(dict)
    for row, sound in zip(rows, sounds, strict=True):
        if not sound.error:
            groups[sound.digest].setdefault(row.path, row)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _same_sound(group: Sequence[Row]) -> str:
    names = frozenset(PurePosixPath(row.path).stem for row in group)
    published = " (published so)" if names in KNOWN_DUPLICATES else ""
    return " = ".join(f"{row.path} ({row.fold})" for row in group) + published


def _near_copies(rows: Sequence[Row], sounds: Sequence[_Sound], progress: Progress | None) -> tuple[str, ...]:
    """Pairs across folds that the prints take for one recording, without those that are identical."""

    def compared(n_done: int, _n_prints: int) -> None:
        if progress:
            progress(len(rows) + n_done, 2 * len(rows))

    prints = [sound.print_ for sound in sounds]
    copies = fingerprint.find_copies(prints, [row.fold for row in rows], progress=compared)
    return tuple(
        f"{rows[copy.first].path} ({rows[copy.first].fold}) ≈ {rows[copy.second].path} "
        f"({rows[copy.second].fold}), correlation {copy.correlation:.2f}"
        for copy in copies
        if sounds[copy.first].digest != sounds[copy.second].digest
    )
