"""What a batch found, in short. In: the rows of its parts. Out: counts, the slowest and the failed, as text and HTML.

A part is summed up as it is written (`Note`), so that the summary of a batch never reads the rows again.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Final

from speech_emotion.batch.part import Part
from speech_emotion.labels import ICONS
from speech_emotion.text import printable

N_SLOWEST: Final = 5
N_FAILED: Final = 100  # that are named; all of them are rows
BAR_WIDTH: Final = 20


@dataclass(frozen=True)
class Note:
    """What is in a part, or in a whole batch.

    Attributes:
        n_bytes: The size of the file or files.
        n_inputs: The inputs.
        n_rows: The rows.
        labels: Rows with each emotion.
        abstained: Rows without one, by the reason.
        errors: Failed inputs, by the code of the error.
        audio_seconds: The duration of all that was answered.
        work_seconds: The time that the processes worked.
        slowest: The inputs that took longest: seconds and path.
        failed: The first inputs that failed: path, code and message.
    """

    n_bytes: int
    n_inputs: int
    n_rows: int
    labels: dict[str, int]
    abstained: dict[str, int]
    errors: dict[str, int]
    audio_seconds: float
    work_seconds: float
    slowest: list[list[Any]]
    failed: list[list[str]]

    @property
    def n_failed(self) -> int:
        """The inputs that failed."""
        return sum(self.errors.values())

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def note_of(part: Part, n_bytes: int) -> Note:
    """What is in a part."""
    names = ["path", "label", "abstained", "duration_seconds", "error", "message"]
    rows = part.rows.select(names).to_pylist()
    firsts = [
        rows[end - n] for end, n in zip(accumulate(part.n_rows), part.n_rows, strict=True)
    ]  # of each input
    slow = zip(part.seconds, [row["path"] for row in firsts], strict=True)
    return Note(
        n_bytes=n_bytes,
        n_inputs=len(part.seconds),
        n_rows=len(rows),
        labels=_counted(row["label"] for row in rows),
        abstained=_counted(row["abstained"] for row in rows),
        errors=_counted(row["error"] for row in rows),
        audio_seconds=round(sum(row["duration_seconds"] or 0.0 for row in firsts), 3),
        work_seconds=round(sum(part.seconds), 3),
        slowest=[[round(seconds, 3), path] for seconds, path in heapq.nlargest(N_SLOWEST, slow)],
        failed=[[row["path"], row["error"], row["message"]] for row in rows if row["error"]][:N_FAILED],
    )


def total(notes: Iterable[Note]) -> Note:
    """What is in all parts together."""
    notes = list(notes)
    slowest = heapq.nlargest(N_SLOWEST, ((s, path) for note in notes for s, path in note.slowest))
    return Note(
        n_bytes=sum(note.n_bytes for note in notes),
        n_inputs=sum(note.n_inputs for note in notes),
        n_rows=sum(note.n_rows for note in notes),
        labels=_summed(note.labels for note in notes),
        abstained=_summed(note.abstained for note in notes),
        errors=_summed(note.errors for note in notes),
        audio_seconds=sum(note.audio_seconds for note in notes),
        work_seconds=sum(note.work_seconds for note in notes),
        slowest=[[seconds, path] for seconds, path in slowest],
        failed=[failure for note in notes for failure in note.failed][:N_FAILED],
    )


def distribution(note: Note) -> list[tuple[str, str, int]]:
    """An icon, a name and the number of rows of each emotion and each reason for none, the most frequent first."""
    found = [(ICONS.get(label, "🔊"), label, n) for label, n in note.labels.items()]
    found += [
        ("🤔" if reason == "not_sure" else "🔇", reason.replace("_", " "), n)
        for reason, n in note.abstained.items()
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[1]))


def lines(note: Note) -> Iterator[str]:
    """The summary for a terminal."""
    n_answered = note.n_inputs - note.n_failed
    yield (
        f"{n_answered:,} of {note.n_inputs:,} answered, {note.audio_seconds / 3600:,.2f} h of sound, "
        f"{note.n_rows:,} rows"
    )
    n_scored = sum(n for _, _, n in distribution(note))
    for icon, name, n in distribution(note):
        n_full = round(BAR_WIDTH * n / n_scored)
        yield f"{icon} {'█' * n_full:░<{BAR_WIDTH}}  {name:<10} {n:>9,}  {100 * n / n_scored:5.1f} %"
    if note.slowest:
        seconds, path = note.slowest[0]
        yield f"Slowest: {printable(path)}, {seconds:.2f} s"
    for code, n in sorted(note.errors.items(), key=lambda entry: -entry[1]):
        first = next((f"{path}: {message}" for path, found, message in note.failed if found == code), "")
        yield f"❌ {n:,} × {code}, as {printable(first)}"


def _counted(values: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(value for value in values if value).items()))


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    return dict(sorted(sum((Counter(count) for count in counts), Counter[str]()).items()))
