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
from speech_emotion.corpora.readers.ravdess import KNOWN_DUPLICATES
from speech_emotion.errors import AudioError, ConfigError
from speech_emotion.evaluation.audit import fingerprint
from speech_emotion.evaluation.audit.ravdess import name_checks
from speech_emotion.evaluation.audit.table import Check, Row, by_fold, read_table, spread, table_sha256
from speech_emotion.files import write_atomically
from speech_emotion.version import __version__

Progress = Callable[[int, int], None]  # steps done, steps in all: each clip is read, then compared

LIMITS: Final = audio.Limits(max_seconds=600.0, max_decoded_bytes=2**30)  # a clip, not a concert
N_EXAMPLES: Final = 5
N_FOLDS_SHOWN: Final = 10


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
            if check.found:
                lines += ["", f"{'LEAK' if check.is_leak else 'note'}  {len(check.found)} × {check.name}"]
                lines += [f"  {found}" for found in check.found[:N_EXAMPLES]]
                if len(check.found) > N_EXAMPLES:
                    lines.append(f"  … and {len(check.found) - N_EXAMPLES} more")
                lines.append(f"  → {check.advice}")
        nothing = "; ".join(check.name for check in self.checks if not check.found)
        return [*lines, "", f"looked for and not found: {nothing or 'nothing else'}", self._next_step()]

    def _sizes(self) -> list[str]:
        folds = self.folds
        lines = [
            f"  {fold}: {size['n_clips']} clips, {size['n_speakers']} speakers"
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
    checks = _table_checks(rows)
    n_heard = None
    if audio_root is not None:
        sounds = _read_all(rows, Path(audio_root), progress)
        n_heard = sum(not sound.error for sound in sounds)
        checks += _audio_checks(rows, sounds, progress)
    return Audit(rows, tuple(sorted(checks, key=lambda check: not check.is_leak)), n_heard)


def _table_checks(rows: Sequence[Row]) -> list[Check]:
    return [
        Check(
            "speaker in more than one fold",
            True,
            spread(rows, lambda row: row.speaker),
            "Put all clips of a speaker into one fold.",
        ),
        *name_checks(rows),
        Check(
            "path in more than one fold",
            True,
            spread(rows, lambda row: row.path),
            "Keep each clip in one fold.",
        ),
        Check("path listed twice in a fold", False, _repeated(rows), "Remove the second row."),
        Check(
            "class missing from a fold",
            False,
            _missing_classes(rows),
            "Its recall is undefined there: pool the folds before you take the mean over classes.",
        ),
    ]


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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
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


def _audio_checks(rows: Sequence[Row], sounds: Sequence[_Sound], progress: Progress | None) -> list[Check]:
    same = _identical(rows, sounds)
    across = [group for group in same if len({rows[index].fold for index in group}) > 1]
    contrary = [group for group in same if len({rows[index].label for index in group}) > 1]
    unread = [(row, sound.error) for row, sound in zip(rows, sounds, strict=True) if sound.error]
    uncompared = [
        row.path for row, sound in zip(rows, sounds, strict=True) if not sound.error and sound.print_ is None
    ]
    return [
        Check(
            "identical audio in two folds",
            True,
            tuple(_same_sound(rows, group) for group in across),
            "Keep one of them, or all in one fold.",
        ),
        Check(
            "near-identical audio in two folds",
            True,
            _near_copies(rows, sounds, progress),
            "Listen to both: a re-encoded, cut or augmented copy belongs to the fold of its original.",
            fingerprint.THRESHOLD,
        ),
        Check(
            "identical audio with two labels",
            False,
            tuple(_contradiction(rows, group) for group in contrary),
            "Listen, and correct the label.",
        ),
        Check(
            "file that cannot be read",
            False,
            tuple(f"{row.path}: {error}" for row, error in unread),
            "Repair the path or the file: copies of it are not found.",
        ),
        Check(
            "clip without a print, silent or under a quarter of a second",
            False,
            tuple(uncompared),
            "Such clips are compared sample by sample only.",
        ),
    ]


def _identical(rows: Sequence[Row], sounds: Sequence[_Sound]) -> list[list[int]]:
    """Groups of rows with the same samples under different paths."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, sound in enumerate(sounds):
        if not sound.error and not any(
            rows[other].path == rows[index].path for other in groups[sound.digest]
        ):
            groups[sound.digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _same_sound(rows: Sequence[Row], group: Sequence[int]) -> str:
    names = frozenset(PurePosixPath(rows[index].path).stem for index in group)
    published = " (published so)" if names in KNOWN_DUPLICATES else ""
    return " = ".join(f"{rows[index].path} ({rows[index].fold})" for index in group) + published


def _contradiction(rows: Sequence[Row], group: Sequence[int]) -> str:
    return " = ".join(f"{rows[index].path} ({rows[index].label})" for index in group)


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
