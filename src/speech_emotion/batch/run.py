"""A batch from its plan to its summary. In: a plan and an engine. Out: every missing part, written, and the summary."""

from collections.abc import Iterator
from functools import partial
from itertools import chain

import pyarrow as pa

from speech_emotion.batch.engines import Engine
from speech_emotion.batch.part import Part, Settings, error_part, process_part
from speech_emotion.batch.plan import Plan
from speech_emotion.batch.summary import Note, total
from speech_emotion.errors import WorkerDiedError
from speech_emotion.parallel import Progress


def run(plan: Plan, engine: Engine, progress: Progress | None = None) -> Note:
    """Do the parts that are missing.

    A part whose process died is done again, each input alone: so a sound that kills its process costs its own row,
    and a process that something else killed costs nothing.

    Args:
        plan: The batch.
        engine: What spreads the parts.
        progress: Called with the inputs done and all of them.

    Returns:
        What is in the whole batch.

    Raises:
        OSError: The disk is full or the store does not answer; what is done is kept.
    """
    notes = dict(plan.done)
    show = progress or (lambda *_: None)
    show(plan.n_done, len(plan.inputs))
    for n_new, (number, part) in enumerate(_parts(plan, engine), start=1):
        notes[number] = plan.write(number, part)
        show(min(plan.n_done + n_new * plan.n_per_part, len(plan.inputs)), len(plan.inputs))
    return total(notes[number] for number in range(plan.n_parts))


def _parts(plan: Plan, engine: Engine) -> Iterator[tuple[int, Part]]:
    """The missing parts, as they are answered; those whose process died at the end."""
    answer = partial(process_part, settings=plan.settings)
    lost = []
    for number, part in engine(answer, ((n, plan.inputs_of(n)) for n in plan.missing)):
        if part is None:
            lost.append(number)
        else:
            yield number, part
    for number in sorted(lost):
        yield number, _one_by_one(plan.inputs_of(number), plan.settings, engine)


def _one_by_one(inputs: pa.Table, settings: Settings, engine: Engine) -> Part:
    """The rows of inputs of which one may kill its process."""
    alone = [inputs.take([n]) for n in range(len(inputs))]
    found = dict(engine(partial(process_part, settings=settings), enumerate(alone)))
    died = WorkerDiedError(
        "the process that read it was killed or crashed, twice. Look at the file, or give it more memory"
    )
    return _joined(found[n] or error_part(one, settings, died) for n, one in enumerate(alone))


def _joined(parts: Iterator[Part]) -> Part:
    rows, n_rows, seconds = zip(*parts, strict=True)
    return Part(pa.concat_tables(rows), [*chain(*n_rows)], [*chain(*seconds)])
