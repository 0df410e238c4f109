"""Answers on many sounds. In: files, folders, tables of paths, buckets. Out: a row per sound, as tables and files.

What needs pyarrow, the extra [batch], is imported when `predict_many` is called.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from speech_emotion.extras import require

if TYPE_CHECKING:
    from speech_emotion.audio import Channels
    from speech_emotion.batch.engines import Engine
    from speech_emotion.batch.part import Settings
    from speech_emotion.batch.summary import Note
    from speech_emotion.parallel import Progress
    from speech_emotion.profile import SpeakerProfile

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class Answers:
    """The rows of a batch: iterate over them, or take all of them as a table.

    A row has `path`, `channel`, `segment`, `start_seconds`, `end_seconds`, `duration_seconds`, the columns of
    `Prediction.to_row`, one column per emotion, `model`, `model_sha256`, `error` and `message`, then the columns that
    came with the inputs.

    Attributes:
        summary: The counts, the slowest and the failed.
        read: Reads the rows, part by part: a pyarrow.Table each.
    """

    summary: "Note"
    read: Callable[[], Iterator[Any]]

    def __len__(self) -> int:
        return self.summary.n_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row, in the order of the inputs."""
        for table in self.read():
            yield from table.to_pylist()

    def to_arrow(self) -> Any:
        """Return all rows as a pyarrow.Table. Other libraries take it: `polars.from_arrow(answers.to_arrow())`."""
        import pyarrow as pa

        return pa.concat_tables(self.read())

    def to_pandas(self) -> Any:
        """Return all rows as a pandas.DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require("pandas", extra="app", needed_for="A DataFrame")
        return self.to_arrow().to_pandas()


def predict_many(
    paths: Paths,
    *,
    model: str | os.PathLike[str] | None = None,
    timeline: bool = False,
    hop_seconds: float | None = None,
    channels: "Channels" = "mix",
    profile: "SpeakerProfile | None" = None,
    out: str | os.PathLike[str] | None = None,
    engine: Literal["pool", "ray"] = "pool",
    workers: int | None = None,
    address: str | None = None,
    progress: "Progress | None" = None,
) -> Answers:
    """Return a row for each of many sounds. One that cannot be answered is a row with its error.

    Examples:
        >>> predict_many("calls").to_pandas().groupby("label").size()

    Args:
        paths: One or many files, folders, wildcards, tables of paths (.csv, .tsv, .parquet, .jsonl) with a column
            `path`, whose other columns are carried through, and s3://, gs:// and az:// URIs of any of them.
        model: The name of a shipped model, or the path of an .onnx; None for the default model.
        timeline: One row per window instead of one per sound.
        hop_seconds: The time between two windows of a timeline; None for the model's own.
        channels: "separate" for rows of each channel, "mix" for their mean.
        profile: The speaker's profile; None for any speaker.
        out: A folder or a URI that keeps the rows as Parquet; called again, it goes on there. None for memory.
        engine: "pool" for processes of this machine, "ray" for Ray.
        workers: Processes; None for one per core.
        address: The Ray cluster; None for a Ray on this machine.
        progress: Called with the sounds done and all of them.

    Returns:
        The rows, in the order of `paths`; folders are sorted.

    Raises:
        ConfigError: Nothing to answer, a table that cannot be read, another batch in `out`, or a wrong `hop_seconds`.
        ModelError: The model cannot be loaded, or `profile` belongs to another one.
        MissingExtraError: pyarrow, or for "ray" Ray, is not installed.
    """
    require("pyarrow", extra="batch", needed_for="predict_many")
    from speech_emotion.batch import engines
    from speech_emotion.batch.part import Settings
    from speech_emotion.classifier import load

    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    spread = engines.engine(engine, workers=workers, address=address)
    settings = Settings(load(model), timeline, channels, profile, hop_seconds)
    return _answers([os.fspath(path) for path in named], settings, out, spread, progress)


def _answers(
    arguments: list[str],
    settings: "Settings",
    out: str | os.PathLike[str] | None,
    engine: "Engine",
    progress: "Progress | None",
) -> Answers:
    """The rows of a batch in the folder `out`, or in memory."""
    from speech_emotion.batch import stores
    from speech_emotion.batch.plan import open_plan
    from speech_emotion.batch.run import run

    with ExitStack() as resources:
        folder = stores.folder(out or resources.enter_context(TemporaryDirectory()))
        resources.enter_context(folder.locked())
        plan = open_plan(arguments, folder, settings, "parquet")
        summary = run(plan, engine, progress)
        if out:
            return Answers(summary, plan.tables)
        tables = list(plan.tables())
        return Answers(summary, lambda: iter(tables))
