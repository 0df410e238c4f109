"""What file names of the RAVDESS say about a table. In: its rows. Out: findings."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from speech_emotion.corpora.readers.ravdess import RavdessName, parse
from speech_emotion.errors import CorpusError
from speech_emotion.evaluation.audit.table import Row, spread

ACTOR: Final = "RAVDESS actor in two folds under two speakers' names"
SOUND: Final = "RAVDESS sound of a video (01-…) and of its audio-only file (03-…) in two folds"
TWICE: Final = "RAVDESS sound that is there twice, as a video and as an audio-only file"
UNLIKE: Final = "RAVDESS speaker unlike the actor in the file name"


def findings(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """Check → what it found; {} if no row has a file name of the RAVDESS."""
    named = [(row, name) for row in rows if (name := _ravdess_name(row)) is not None]
    if not named:
        return {}
    folds: dict[str, set[str]] = defaultdict(set)
    modalities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        folds[row.speaker].add(row.fold)
    for row, name in named:
        modalities[_take(row)].add(name.modality)
    unseen = [row for row, _ in named if len(folds[row.speaker]) == 1]  # the others leak by their column
    repeated = [row for row, _ in named if modalities[_take(row)] >= {"full-AV", "audio-only"}]
    return {
        ACTOR: spread(unseen, lambda row: f"actor {PurePosixPath(row.path).stem[-2:]}"),
        SOUND: spread(repeated, _take),
        TWICE: tuple(sorted({_take(row) for row in repeated})),
        UNLIKE: _misattributed(named),
    }


def _ravdess_name(row: Row) -> RavdessName | None:
    try:
        return parse(PurePosixPath(row.path).name)
    except CorpusError:
        return None


def _take(row: Row) -> str:
    """The name of a recording without its modality, which picture and sound have in common."""
    return f"0x{PurePosixPath(row.path).stem[2:]}"


def _misattributed(named: Iterable[tuple[Row, RavdessName]]) -> tuple[str, ...]:
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
