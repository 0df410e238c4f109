"""A batch from begin to end: every input once, whatever is killed, and the same rows on every engine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import poison
import pytest
import sounds
from pyarrow import parquet

from speech_emotion.batch import plan as plan_module
from speech_emotion.batch import stores
from speech_emotion.batch.engines import engine
from speech_emotion.batch.part import Settings
from speech_emotion.batch.plan import Plan, open_plan
from speech_emotion.batch.run import run
from speech_emotion.batch.summary import Note
from speech_emotion.errors import ConfigError

POOL = engine("pool", workers=2)
N_CLIPS = 18  # in the folder `calls`, of which two are broken


def planned(out: Path, settings: Settings, *arguments: str, form: str = "parquet") -> Plan:
    return open_plan(arguments or ["calls"], stores.folder(out), settings, form)


def rows(out: Path) -> list[dict[str, Any]]:
    """Every row of a batch, as a user reads them."""
    return parquet.read_table(out).to_pylist()


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("part-*"))}


def here(function: Any, tasks: Any) -> Iterator[Any]:
    """An engine without processes."""
    return ((number, function(value)) for number, value in tasks)


@pytest.fixture
def done(calls: Path, settings: Settings) -> Path:
    """A batch of the folder `calls` that nothing disturbed."""
    run(planned(Path("done"), settings), here)
    return Path("done").absolute()


def test_the_pool_gives_the_same_parts(done: Path, settings: Settings) -> None:
    note = run(planned(Path("pool"), settings), POOL)
    assert parts(Path("pool")) == parts(done)
    assert without_times(note) == without_times(run(planned(done, settings), here))


def test_every_input_has_a_row(done: Path, settings: Settings) -> None:
    found = rows(done)
    assert len(found) == N_CLIPS
    assert len({row["path"] for row in found}) == N_CLIPS
    assert sum(row["error"] is not None for row in found) == 2
    assert list(parts(done)) == [f"part-{n:05d}.parquet" for n in range(N_CLIPS)]


def test_the_summary_counts_what_is_in_the_rows(done: Path, settings: Settings) -> None:
    note = run(planned(done, settings), here)
    found = rows(done)
    assert (note.n_inputs, note.n_rows, note.errors) == (N_CLIPS, N_CLIPS, {"audio_decode": 2})
    assert note.labels == {
        label: sum(row["label"] == label for row in found)
        for label in sorted({row["label"] or "" for row in found} - {""})
    }
    assert note.audio_seconds == pytest.approx(0.8 * (N_CLIPS - 2))
    assert [failure[0] for failure in note.failed] == ["calls/cut.wav", "calls/text.wav"]
    assert len(note.slowest) == 5
    assert note.slowest == sorted(note.slowest, reverse=True)


def test_parts_that_are_done_are_kept(done: Path, settings: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.parquet")}
    asked = []

    def none(function: Any, tasks: Any) -> Iterator[Any]:
        asked.extend(tasks)
        return iter(())

    run(planned(done, settings), none)
    assert asked == []
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.parquet")} == before


@pytest.mark.parametrize("damage", ["part gone", "part cut", "note gone"])
def test_a_part_that_is_not_whole_is_done_again(damage: str, done: Path, settings: Settings) -> None:
    before = parts(done)
    part, note = done / "part-00003.parquet", done / "_batch/part-00003.json"
    if damage == "part cut":
        part.write_bytes(part.read_bytes()[:100])
    else:
        (part if damage == "part gone" else note).unlink()
    plan = planned(done, settings)
    assert plan.missing == [3]
    run(plan, here)
    assert parts(done) == before


def test_a_batch_of_other_inputs_or_options_is_refused(done: Path, settings: Settings, tuned: Any) -> None:
    def refused(settings: Settings, *arguments: str, form: str = "parquet") -> str:
        with pytest.raises(ConfigError) as raised:
            planned(done, settings, *arguments, form=form)
        assert "Give the same inputs and options to go on with it, or choose a new folder" in str(
            raised.value
        )
        return str(raised.value)

    assert "with other inputs." in refused(settings, "calls", "more")
    assert 'with format "parquet", not "csv".' in refused(settings, form="csv")
    assert "timeline false, not true" in refused(Settings(settings.classifier, timeline=True))
    assert f"model_sha256 {json.dumps(settings.classifier.info.sha256)}, not" in refused(Settings(tuned))


def test_a_folder_with_something_else_is_left_alone(calls: Path, settings: Settings) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine holds other files \(thesis.txt\)"):
        planned(Path("mine"), settings)
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_other_formats_have_the_same_rows(form: str, done: Path, settings: Settings) -> None:
    run(planned(Path("other"), settings, form=form), here)
    (first,) = parquet.read_table(done / "part-00000.parquet").to_pylist()
    text = Path("other", f"part-00000.{form}").read_text()
    if form == "jsonl":
        assert json.loads(text) == first
    else:
        header, line = text.splitlines()
        assert header == ",".join(first)
        assert line.startswith("calls/00.wav,,0,0.0,0.8,0.8,")


def test_a_sound_that_kills_its_process_costs_its_own_row(calls: Path, model_path: Path, clip: bytes) -> None:
    for name in ("poison.wav", "once.wav"):
        (calls / name).write_bytes(clip)
    settings = Settings(poison.load(model_path))
    plan_of_three = planned(
        Path("out"), settings, *(f"calls/{name}.wav" for name in ("00", "once", "02", "poison"))
    )
    assert plan_of_three.n_parts == 4
    note = run(plan_of_three, POOL)
    assert note.errors == {"worker_died": 1}
    assert {row["path"]: row["error"] for row in rows(Path("out"))} == {
        "calls/00.wav": None,
        "calls/once.wav": None,
        "calls/02.wav": None,
        "calls/poison.wav": "worker_died",
    }


def test_the_others_in_its_part_are_answered(
    calls: Path, model_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_module, "MIN_PARTS", 2)
    (calls / "poison.wav").write_bytes(clip)
    mortal = planned(Path("out"), Settings(poison.load(model_path)))
    assert mortal.n_per_part == (N_CLIPS + 1) // 2
    note = run(mortal, POOL)
    assert note.errors == {"audio_decode": 2, "worker_died": 1}
    assert [row["path"] for row in rows(Path("out"))] == mortal.inputs["path"].to_pylist()


# As a user runs it, and as the system kills it

COMMAND = [sys.executable, "-m", "speech_emotion", "batch", "calls", "--out", "killed", "--workers", "2"]


@pytest.fixture
def start(calls: Path, model_path: Path) -> Callable[[], subprocess.Popen[str]]:
    long = sounds.wav(sounds.voice(8))
    for n in range(N_CLIPS):  # work for some time
        (calls / f"long-{n}.wav").write_bytes(long)
    command = [*COMMAND, "--model", str(model_path)]
    return lambda: subprocess.Popen(command, stdout=-1, stderr=-1, text=True, start_new_session=True)


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 180  # of a loaded machine
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def n_parts() -> int:
    return len(list(Path("killed").glob("part-*")))


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_every_input_once(start, settings: Settings) -> None:  # type: ignore[no-untyped-def]
    """At 1 part, at 4 parts the whole program, at 8 one of its processes; then it comes to its end."""
    for n in (1, 4):
        with start() as process:
            wait_for(lambda n=n: n_parts() >= n)
            process.kill()
        kept = parts(Path("killed"))
        assert n <= len(kept) < 2 * N_CLIPS
    with start() as process:
        wait_for(lambda: n_parts() >= 8)
        os.kill(children_of(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err  # two of the sounds are broken
    assert f"of {2 * N_CLIPS} inputs were answered before" in err
    assert f"{2 * N_CLIPS - 2} of {2 * N_CLIPS} answered" in out
    assert {name: data for name, data in parts(Path("killed")).items() if name in kept} == kept
    found = rows(Path("killed"))
    assert sorted(row["path"] for row in found) == sorted(map(str, Path("calls").rglob("*.wav")))
    assert {row["error"] for row in found} == {None, "audio_decode"}
    run(planned(Path("undisturbed"), settings), here)
    assert rows(Path("undisturbed")) == found


def test_ctrl_c_ends_it_at_once_and_says_how_to_go_on(start) -> None:  # type: ignore[no-untyped-def]
    with start() as process:
        wait_for(lambda: n_parts() >= 1)
        children = children_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "Interrupted: what is in killed is kept. To go on, give the same command again.\n"
    assert children
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


def test_a_full_disk_stops_it_and_keeps_what_is_done(done: Path, model_path: Path) -> None:
    """A limit on the size of files stands in for the disk: no part fits, what is there stays."""
    before = parts(done)
    (done / "part-00003.parquet").unlink()
    command = ["sh", "-c", 'ulimit -f 4; exec "$0" "$@"', *COMMAND, "--model", str(model_path)]
    command[command.index("killed")] = str(done)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"Stopped: what is in {done} is kept. To go on, give the same command again.\n" in ended.stderr
    assert ended.stderr.endswith("the output: File too large\n")
    assert parts(done) == {name: data for name, data in before.items() if name != "part-00003.parquet"}


def without_times(note: Note) -> dict[str, Any]:
    return {name: value for name, value in note.to_dict().items() if name not in ("work_seconds", "slowest")}
