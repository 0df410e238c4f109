"""A batch on its disk or in its bucket. In: inputs, settings, a folder. Out: parts that are done, and the rest.

    OUT/part-00000.parquet …     the rows, each file whole or absent
    OUT/_batch/inputs.parquet    every input, in order, written once
    OUT/_batch/batch.json        the settings, written after it: from then on the batch exists
    OUT/_batch/part-00000.json   what is in a part, written after it: from then on the part is done

Whatever is killed at any moment, the next run does the parts that are not done, and each input is in one part.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from speech_emotion import files
from speech_emotion.batch import outputs, stores
from speech_emotion.batch.manifest import list_inputs
from speech_emotion.batch.part import Part, Settings
from speech_emotion.batch.summary import Note, note_of
from speech_emotion.cores import n_cores
from speech_emotion.errors import ConfigError
from speech_emotion.parallel import in_threads

MAX_INPUTS_PER_PART: Final = 128  # about what a core answers in ten seconds, and a kill costs at most
MIN_PARTS: Final = min(512, 32 * n_cores())  # of a small batch, so that no process waits long for the last
_INPUTS: Final = "_batch/inputs.parquet"
_BATCH: Final = "_batch/batch.json"


@dataclass(frozen=True)
class Plan:
    """A batch that exists, begun or finished.

    Attributes:
        folder: Where it is.
        inputs: Every input.
        settings: How they are answered.
        form: The format of the parts.
        n_per_part: The inputs of a part; the last one may have fewer.
        done: What is in the parts that an earlier run finished, by their numbers.
    """

    folder: stores.Folder
    inputs: pa.Table
    settings: Settings
    form: str
    n_per_part: int
    done: dict[int, Note]

    @property
    def n_parts(self) -> int:
        """The number of parts."""
        return -(-len(self.inputs) // self.n_per_part)

    @property
    def n_done(self) -> int:
        """The inputs that an earlier run answered."""
        return sum(note.n_inputs for note in self.done.values())

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts to do."""
        return [number for number in range(self.n_parts) if number not in self.done]

    def inputs_of(self, number: int) -> pa.Table:
        """The inputs of a part: a copy, as a slice would take the whole table with it to another process."""
        first = number * self.n_per_part
        return self.inputs.take(list(range(first, min(first + self.n_per_part, len(self.inputs)))))

    def path_of(self, number: int) -> str:
        """The file of a part, below the folder."""
        return f"part-{number:05d}.{self.form}"

    def tables(self) -> Iterator[pa.Table]:
        """The rows of a finished batch of Parquet files, part by part."""
        return (outputs.from_parquet(self.folder.read(self.path_of(n))) for n in range(self.n_parts))

    def write(self, number: int, part: Part) -> Note:
        """Write the rows of a part, then the note that says that it is done; returns the note."""
        data = outputs.ENCODERS[self.form](part.rows)
        self.folder.write(self.path_of(number), data)
        note = note_of(part, len(data))
        self.folder.write(_note_path(number), files.seal_json(note.to_dict()).encode())
        return note


def open_plan(arguments: Iterable[str], out: stores.Folder, settings: Settings, form: str) -> Plan:
    """Begin a batch, or go on with the one in `out`.

    Args:
        arguments: The inputs; see `manifest.list_inputs`. Those of a batch that exists are not listed again.
        out: The folder of the batch.
        settings: How inputs are answered.
        form: The format of the parts, one of `outputs.ENCODERS`.

    Raises:
        ConfigError: `out` holds something else, or a batch of other inputs, settings or format; or there is nothing
            to answer.
    """
    arguments = list(arguments)
    sizes = out.sizes()
    wanted = {**settings.to_dict(), "format": form, "arguments": files.digest(arguments)}
    if _BATCH not in sizes:
        _begin(out, list_inputs(arguments, settings.classifier.info), wanted, sizes)
        sizes = {}
    facts = _same_batch(out, wanted)
    inputs = outputs.from_parquet(out.read(_INPUTS))
    plan = Plan(out, inputs, settings, form, facts["n_per_part"], {})
    return replace(plan, done=_finished(plan, sizes))


def _finished(plan: Plan, sizes: dict[str, int]) -> dict[int, Note]:
    """What is in each part whose file is there, as long as its note says."""

    def read(number: int) -> tuple[int, Note]:
        return number, Note(**files.unseal_json(plan.folder.read(_note_path(number))))

    written = [n for n in range(plan.n_parts) if {_note_path(n), plan.path_of(n)} <= sizes.keys()]
    notes = in_threads(read, written)
    return {number: note for number, note in notes if note.n_bytes == sizes[plan.path_of(number)]}


def _begin(out: stores.Folder, inputs: pa.Table, wanted: dict[str, Any], sizes: dict[str, int]) -> None:
    if foreign := [name for name in sizes if name != _INPUTS]:
        raise ConfigError(f"{out} holds other files ({min(foreign)}). Choose a new folder for the answers")
    n_per_part = max(1, min(MAX_INPUTS_PER_PART, len(inputs) // MIN_PARTS))
    out.write(_INPUTS, outputs.to_parquet(inputs))
    facts = {**wanted, "n_inputs": len(inputs), "n_per_part": n_per_part}
    out.write(_BATCH, files.seal_json(facts, indent=1).encode())


def _same_batch(out: stores.Folder, wanted: dict[str, Any]) -> dict[str, Any]:
    """The facts of the batch in `out`; ConfigError if it is another one than `wanted`."""
    try:
        facts = files.unseal_json(out.read(_BATCH))
    except files.DamagedFileError as error:
        raise ConfigError(f"{out}/{_BATCH} cannot be used ({error}). Choose a new folder") from error
    if facts.get("schema") != wanted["schema"]:
        raise ConfigError(f"{out} holds a batch of another version. Choose a new folder for the answers")
    differences = [
        "other inputs"
        if name == "arguments"
        else f"{name} {json.dumps(facts.get(name))}, not {json.dumps(value)}"
        for name, value in wanted.items()
        if facts.get(name) != value
    ]
    if differences:
        raise ConfigError(
            f"{out} holds a batch with {'; '.join(differences)}. "
            "Give the same inputs and options to go on with it, or choose a new folder"
        )
    return facts


def _note_path(number: int) -> str:
    return f"_batch/part-{number:05d}.json"
