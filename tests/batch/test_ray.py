"""Ray: the rows of the pool, on one machine and on several nodes, whatever is killed."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import poison
import pytest
from pyarrow import parquet

from speech_emotion.batch import stores
from speech_emotion.batch.engines import engine
from speech_emotion.batch.part import Settings
from speech_emotion.batch.plan import Plan, open_plan
from speech_emotion.batch.run import run

pytest.importorskip("ray.data", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = pytest.mark.slow

ORPHANS = ("orphan-a.wav", "more/orphan-b.wav", "orphan-c.wav")


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Ray's processes find the stand-ins of the tests, and may take their time to start on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        support = str(Path(poison.__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, support]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "120")
        yield


@pytest.fixture(scope="module")
def cluster(environment: None) -> Iterator[Any]:
    """A head that works on nothing, and two nodes of one core."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def planned(out: str, settings: Settings) -> Plan:
    return open_plan(["calls"], stores.folder(out), settings, "parquet")


def here(function: Any, tasks: Any) -> Iterator[Any]:
    """An engine without processes."""
    return ((number, function(value)) for number, value in tasks)


def parts(out: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(out).glob("part-*"))}


def test_ray_gives_the_rows_of_the_pool(calls: Path, settings: Settings) -> None:
    done = run(planned("done", settings), here)
    note = run(planned("ray", settings), engine("ray", workers=2))
    assert parts("ray") == parts("done")
    assert (note.labels, note.errors, note.audio_seconds) == (done.labels, done.errors, done.audio_seconds)


def test_killed_workers_a_lost_node_and_a_poisonous_sound(
    calls: Path, model_path: Path, clip: bytes, cluster: Any
) -> None:
    """Three sounds kill the worker of Ray that reads them first, a node is lost midway, one kills whatever reads it."""
    for name in (*ORPHANS, "poison.wav"):
        (calls / name).write_bytes(clip)
    plan = planned("out", Settings(poison.load(model_path)))
    paths = plan.inputs["path"].to_pylist()
    lost: list[Any] = []

    def lose_a_node(n_done: int, _: int) -> None:
        if n_done >= len(paths) // 2 and not lost:
            lost.append(cluster.list_all_nodes()[-1])
            cluster.remove_node(lost[0], allow_graceful=False)

    note = run(plan, engine("ray", address=cluster.address), lose_a_node)
    assert lost
    assert all((calls / name).with_suffix(".read").exists() for name in ORPHANS)
    rows = parquet.read_table("out").to_pylist()
    assert [row["path"] for row in rows] == paths
    assert Counter(row["error"] for row in rows) == {
        None: len(paths) - 3,
        "audio_decode": 2,
        "worker_died": 1,
    }
    assert note.errors == {"audio_decode": 2, "worker_died": 1}
    assert [row["path"] for row in rows if row["error"] == "worker_died"] == ["calls/poison.wav"]
