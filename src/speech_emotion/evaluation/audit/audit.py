"""Does a split leak? In: a table of clips (path, label, speaker, fold) and the recordings. Out: an Audit.

A fold is a test fold, or one of train, validation and test: nobody and nothing may stand in two of them. An audit
names what does, worst first, and is written as a certificate where there is nothing. Every recording goes
through the audio gate with its limits; one that cannot be heard is a row of the audit and never ends it.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from speech_emotion import audio
from speech_emotion.corpora.readers import ravdess
from speech_emotion.errors import AudioError, ConfigError, CorpusError
from speech_emotion.evaluation.audit import fingerprint
from speech_emotion.files import digest, write_atomically
from speech_emotion.version import __version__

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all: each clip is heard, then compared."""

SPLITS: Final = ("train", "validation", "test")
LIMITS: Final = audio.Limits(max_seconds=600.0, max_decoded_bytes=2**30)  # a clip, not a concert
MAX_TABLE_BYTES: Final = 256 * 2**20
N_EXAMPLES: Final = 5
N_FOLDS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a clip, who speaks in it, and in which fold it stands."""

    path: str  # with forward slashes
    label: str
    speaker: str
    fold: str


@dataclass(frozen=True, slots=True)
class Check:
    """One question that was asked of a table: `found` are its findings in words, and whether each is a leak."""

    name: str
    is_leak: bool
    found: tuple[str, ...]
    advice: str
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        named = {"name": self.name, "is_leak": self.is_leak, "n_found": len(self.found)}
        threshold = {} if self.threshold is None else {"threshold": self.threshold}
        return named | threshold | {"found": list(self.found)}


@dataclass(frozen=True, slots=True)
class Audit:
    """What was asked of a table and what was found; `n_heard` is None where only the table was checked."""

    rows: tuple[Row, ...]
    checks: tuple[Check, ...]  # leaks first
    n_heard: int | None

    @property
    def leaks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.is_leak and check.found)

    @property
    def folds(self) -> dict[str, dict[str, Any]]:
        """How many clips, speakers and clips of each label a fold has."""
        return {
            fold: {
                "n_clips": len(rows),
                "n_speakers": len({row.speaker for row in rows}),
                "labels": dict(sorted(Counter(row.label for row in rows).items())),
            }
            for fold, rows in _by_fold(self.rows).items()
        }

    @property
    def verdict(self) -> str:
        """One line: "speaker-independent: no leak found", or "LEAKS: …"."""
        if self.leaks:
            return "LEAKS: " + "; ".join(f"{len(check.found)} × {check.name}" for check in self.leaks)
        if self.n_heard is None:
            return "speaker-independent: no leak found (in the table; the audio was not heard)"
        if not self.n_heard:
            return (
                "no leak found in the table, and not one clip could be heard: does --audio-root lead to them?"
            )
        unheard = len(self.rows) - self.n_heard
        limit = f" (but {unheard} of {len(self.rows)} clips were not heard)" if unheard else ""
        return f"speaker-independent: no leak found{limit}"

    def to_dict(self) -> dict[str, Any]:
        """The certificate, or the report where something leaks or nothing could be heard; JSON-safe."""
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
        """Write `to_dict` as JSON; ConfigError where that cannot be."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"
        try:
            write_atomically(Path(path), text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written ({error.strerror}). Name a file in a folder that is there."
            ) from error

    def lines(self) -> list[str]:
        """The audit for people: the verdict, what was looked at, then each finding with examples, worst first."""
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

    ConfigError where the table or the folder is not what it should be.
    """
    rows = read_table(table)
    checks = _table_checks(rows)
    n_heard = None
    if audio_root is not None:
        sounds = _listen(rows, Path(audio_root), progress)
        n_heard = sum(not sound.error for sound in sounds)
        checks += _audio_checks(rows, sounds, progress)
    return Audit(rows, tuple(sorted(checks, key=lambda check: not check.is_leak)), n_heard)


def table_sha256(rows: Iterable[Row]) -> str:
    """The sha256 of a table, whatever the order of its rows and the form of its file."""
    return digest(sorted([row.path, row.label, row.speaker, row.fold] for row in rows))


# The table


def read_table(path: str | os.PathLike[str]) -> tuple[Row, ...]:
    """The rows of a CSV file in UTF-8, with a BOM or without, divided by commas, semicolons or tabs.

    ConfigError where a column or a value is missing, or where there are fewer than two folds.
    """
    text = _text_of(Path(path))
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}, is not CSV ({error}). Save it as CSV.") from error
    names = [name.strip().lower() for name in lines[0][1]] if lines else []
    columns = _columns(names, path)
    rows = tuple(_row(cells, columns, f"{path}, line {number}") for number, cells in lines[1:])
    if len({row.fold for row in rows}) < 2:
        raise ConfigError(f"{path} must have rows of two folds or more; there is nothing to keep apart.")
    return rows


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Name a CSV file.") from error
    if len(data) > MAX_TABLE_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_TABLE_BYTES >> 20} MiB. Name a table, not a recording."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 ({error.reason}). Save it as CSV in UTF-8.") from error


def _columns(names: Sequence[str], path: str | os.PathLike[str]) -> dict[str, int]:
    """Where each field of a Row stands; `split` may stand in for `fold`."""
    divided = [name for name in ("fold", "split") if name in names]
    wanted = ["path", "label", "speaker", *divided]
    if len(divided) != 1 or any(names.count(name) != 1 for name in wanted):
        raise ConfigError(
            f"{path} must begin with the names of its columns: path, label, speaker, and either fold or split, "
            f"each once; got {', '.join(names) or 'nothing'}. Add or rename them in its first line."
        )
    return {name: names.index(name) for name in wanted}


def _row(cells: Sequence[str], columns: Mapping[str, int], where: str) -> Row:
    if len(cells) <= max(columns.values()):
        raise ConfigError(f"{where} has {len(cells)} cells, fewer than the first line. Complete it.")
    values = {name: cells[column].strip() for name, column in columns.items()}
    if missing := [name for name, value in values.items() if not value]:
        raise ConfigError(f"{where} has no {missing[0]}. Complete it.")
    if "split" in values:
        values["fold"] = values.pop("split").lower()
        if values["fold"] not in SPLITS:
            raise ConfigError(
                f"{where}: split is {values['fold']!r}, expected {', '.join(SPLITS)}. Rename it."
            )
    path = str(PurePosixPath(values.pop("path").replace("\\", "/")))
    return Row(path, **values)


def _table_checks(rows: Sequence[Row]) -> list[Check]:
    return [
        Check(
            "speaker in more than one fold",
            True,
            _spread(rows, lambda row: row.speaker),
            "Put all clips of a speaker into one fold.",
        ),
        *_ravdess_checks(rows),
        Check(
            "path in more than one fold",
            True,
            _spread(rows, lambda row: row.path),
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


def _spread(rows: Iterable[Row], key: Callable[[Row], str]) -> tuple[str, ...]:
    """The values of `key` that stand in two folds or more, the widest spread first."""
    folds: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        folds[key(row)][row.fold] += 1
    spread = sorted((-len(n), -n.total(), value, n) for value, n in folds.items() if len(n) > 1)
    return tuple(
        f"{value}: {', '.join(f'{n} in {fold}' for fold, n in sorted(counts.items()))}"
        for _, _, value, counts in spread
    )


def _repeated(rows: Iterable[Row]) -> tuple[str, ...]:
    counts = Counter((row.path, row.fold) for row in rows)
    return tuple(f"{path}: {n} rows in {fold}" for (path, fold), n in counts.items() if n > 1)


def _missing_classes(rows: Sequence[Row]) -> tuple[str, ...]:
    labels = {row.label for row in rows}
    here = {fold: {row.label for row in of_fold} for fold, of_fold in _by_fold(rows).items()}
    return tuple(
        f"{fold} has no {', '.join(sorted(labels - its))}" for fold, its in here.items() if labels - its
    )


# What the file names of the RAVDESS say


ONLY_AUDIO: Final = "Use the audio-only files (03-…) alone: the videos hold the same sound."


def _ravdess_checks(rows: Sequence[Row]) -> list[Check]:
    """Nothing where no row has a file name of the RAVDESS."""
    named = [(row, name) for row in rows if (name := _ravdess_name(row)) is not None]
    if not named:
        return []
    folds: dict[str, set[str]] = defaultdict(set)
    modalities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        folds[row.speaker].add(row.fold)
    for row, name in named:
        modalities[_take(row)].add(name.modality)
    unseen = [
        row for row, _ in named if len(folds[row.speaker]) == 1
    ]  # the others leak by their column already
    repeated = [row for row, _ in named if modalities[_take(row)] >= {"full-AV", "audio-only"}]
    return [
        Check(
            "RAVDESS actor in two folds under two speakers' names",
            True,
            _spread(unseen, lambda row: f"actor {PurePosixPath(row.path).stem[-2:]}"),
            "Take the actor from the file name, and put all clips of an actor into one fold.",
        ),
        Check(
            "RAVDESS sound of a video (01-…) and of its audio-only file (03-…) in two folds",
            True,
            _spread(repeated, _take),
            ONLY_AUDIO,
        ),
        Check(
            "RAVDESS sound that is there twice, as a video and as an audio-only file",
            False,
            tuple(sorted({_take(row) for row in repeated})),
            ONLY_AUDIO,
        ),
        Check(
            "RAVDESS speaker unlike the actor in the file name",
            False,
            _misattributed(named),
            "The file name is right: correct the speaker column.",
        ),
    ]


def _ravdess_name(row: Row) -> ravdess.RavdessName | None:
    try:
        return ravdess.parse(PurePosixPath(row.path).name)
    except CorpusError:
        return None


def _take(row: Row) -> str:
    """The name of a recording without its modality, which picture and sound have in common."""
    return f"0x{PurePosixPath(row.path).stem[2:]}"


def _misattributed(named: Iterable[tuple[Row, ravdess.RavdessName]]) -> tuple[str, ...]:
    """Rows outside the one-to-one relation of speakers and actors, whatever the table calls its speakers."""
    counts = Counter((row.speaker, name.actor) for row, name in named)
    actor_of: dict[str, str] = {}
    for (speaker, actor), _ in counts.most_common():
        if speaker not in actor_of and actor not in actor_of.values():
            actor_of[speaker] = actor
    return tuple(
        f"{row.path}: the table says {row.speaker}, who is otherwise actor {actor_of.get(row.speaker, 'unknown')}"
        for row, name in named
        if actor_of.get(row.speaker) != name.actor
    )


# The recordings


@dataclass(frozen=True, slots=True)
class _Sound:
    """What listening to one row gave: a digest of its samples and its print, or why it cannot be heard."""

    digest: str = ""
    print_: fingerprint.Print | None = None
    error: str = ""


def _listen(rows: Sequence[Row], root: Path, progress: Progress | None) -> list[_Sound]:
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder. Name the folder where the paths of the table begin.")
    root = root.resolve()
    sounds = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for sound in pool.map(lambda row: _hear(root, row.path), rows):
            sounds.append(sound)
            if progress:
                progress(len(sounds), 2 * len(rows))
    return sounds


def _hear(root: Path, path: str) -> _Sound:
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
    unheard = [(row, sound.error) for row, sound in zip(rows, sounds, strict=True) if sound.error]
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
            "file that cannot be heard",
            False,
            tuple(f"{row.path}: {error}" for row, error in unheard),
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
    published = " (published so)" if names in ravdess.KNOWN_DUPLICATES else ""
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


def _by_fold(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each fold; fold 2 comes before fold 10."""
    folds: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        folds[row.fold].append(row)
    return {fold: folds[fold] for fold in sorted(folds, key=lambda fold: (len(fold), fold))}
