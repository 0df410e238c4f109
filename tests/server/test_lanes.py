"""Worker processes: a bad file costs one request, whatever it does to the process that reads it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sounds

from speech_emotion.audio import Limits
from speech_emotion.classifier import Classifier
from speech_emotion.server import lanes
from speech_emotion.server.lanes import Lane, LaneOptions, Request, WorkerOptions
from speech_emotion.server.metrics import Metrics
from speech_emotion.server.problems import ProblemError
from speech_emotion.server.scoring import LongSoundError, Settings

FAULTY = [sys.executable, str(Path(__file__).parents[1] / "support" / "faulty_worker.py")]
VOICE = sounds.wav(sounds.voice(4.0))
LONG = sounds.wav(sounds.voice(12.0))
PATIENCE = 120.0


@pytest.fixture(autouse=True)
def _faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "COMMAND", FAULTY)


class Running:
    """A lane, its metrics, and what it is asked."""

    def __init__(self, classifier: Classifier, path: Path, **options: Any) -> None:
        settings: dict[str, Any] = {
            "name": "test",
            "n_workers": 1,
            "nice": 0,
            "max_work_seconds": 10.0,
            "cpu_seconds": 60,
            "wall_seconds": PATIENCE,
            "max_waiting": 8,
        }
        self.metrics = Metrics()
        worker = WorkerOptions(str(path), classifier.info.sha256)
        self.lane = Lane(LaneOptions(**settings | options), worker, self.metrics)

    def ask(self, body: bytes, **settings: Any) -> Awaitable[bytes]:
        limits = Limits(max_seconds=600.0)
        return self.lane.run("somebody", Request("/predict", Settings(**settings), body, limits))

    async def problem(self, body: bytes) -> str:
        with pytest.raises(ProblemError) as raised:
            await self.ask(body)
        return raised.value.code

    @property
    def n_lost(self) -> float:
        text, _ = self.metrics.text()
        counts = [
            line
            for line in text.decode().splitlines()
            if line.startswith("speech_emotion_workers_lost_total")
        ]
        return float(counts[0].split()[-1]) if counts else 0.0


Check = Callable[[Running], Awaitable[None]]


@pytest.fixture
def with_lane(classifier: Classifier, model_path: Path) -> Callable[..., None]:
    """Run a check with a lane of these options."""

    def run(check: Check, **options: Any) -> None:
        asyncio.run(_checked(check, **options))

    @asynccontextmanager
    async def running(**options: Any) -> AsyncIterator[Running]:
        found = Running(classifier, model_path, **options)
        try:
            yield found
        finally:
            await found.lane.stop()

    async def _checked(check: Check, **options: Any) -> None:
        async with running(**options) as found, asyncio.timeout(PATIENCE):
            await check(found)

    return run


def test_a_fault_costs_one_request(with_lane: Callable[..., None], classifier: Classifier) -> None:
    """The decoder crashes, is killed, takes all memory, or meets a mistake of ours; the next request is answered."""
    expected = classifier.predict(VOICE).to_dict()

    async def check(running: Running) -> None:
        faults = {
            b"SEGFAULT": "crashed",
            b"KILLED": "worker_lost",
            b"MEMORY": "too_costly",
            b"MISTAKE": "internal",
            b"no sound": "audio_decode",
        }
        for body, code in faults.items():
            assert await running.problem(body) == code
            answer = json.loads(await running.ask(VOICE))
            assert {name: answer[name] for name in expected} == expected
        assert running.n_lost == 4  # a second worker was given what had killed the first

    with_lane(check)


def test_another_worker_takes_the_request_of_one_that_was_killed(
    with_lane: Callable[..., None], tmp_path: Path
) -> None:
    async def check(running: Running) -> None:
        await running.ask(VOICE)
        mark = tmp_path / "hung"
        asked = asyncio.ensure_future(running.ask(b"ONCE    " + str(mark).encode()))
        behind = asyncio.ensure_future(running.ask(VOICE))
        while not mark.exists():
            await asyncio.sleep(0.01)
        os.kill(_child_of(os.getpid()), signal.SIGKILL)
        assert json.loads(await asked) == json.loads(await behind)
        assert running.n_lost == 1

    with_lane(check)


def test_a_worker_that_answers_with_nonsense_is_replaced(with_lane: Callable[..., None]) -> None:
    async def check(running: Running) -> None:
        assert await running.problem(b"NONSENSE") == "crashed"
        await running.ask(VOICE)
        assert running.n_lost == 1

    with_lane(check)


def test_a_mistake_while_a_worker_scores_costs_one_request(with_lane: Callable[..., None]) -> None:
    def report(_: float) -> None:
        raise RuntimeError("a mistake of ours")

    async def check(running: Running) -> None:
        request = Request("/predict", Settings(), VOICE, Limits(), report)
        with pytest.raises(ProblemError) as raised:
            await running.lane.run("somebody", request)
        assert raised.value.code == "internal"
        await running.ask(VOICE)

    with_lane(check)


def test_a_worker_that_computes_or_waits_forever_is_ended(with_lane: Callable[..., None]) -> None:
    async def spins(running: Running) -> None:
        assert await running.problem(b"SPIN") == "too_costly"

    async def hangs(running: Running) -> None:
        await running.ask(VOICE)  # it has started: that may take longer
        assert await running.problem(b"HANG") == "too_long"

    with_lane(spins, cpu_seconds=1)
    with_lane(hangs, wall_seconds=5.0)


def test_others_do_not_notice(with_lane: Callable[..., None]) -> None:
    async def check(running: Running) -> None:
        answers = await asyncio.gather(
            *(running.ask(b"SEGFAULT" if number == 3 else VOICE) for number in range(8)),
            return_exceptions=True,
        )
        failed = [number for number, answer in enumerate(answers) if isinstance(answer, Exception)]
        assert failed == [3]

    with_lane(check, n_workers=2)


def test_a_worker_that_dies_while_nobody_asks_is_replaced(with_lane: Callable[..., None]) -> None:
    async def check(running: Running) -> None:
        for n_killed in (1, 2):
            await running.ask(VOICE)
            os.kill(_child_of(os.getpid()), signal.SIGKILL)
            while running.n_lost < n_killed:
                await asyncio.sleep(0.01)
        await running.ask(VOICE)

    with_lane(check)


def _child_of(parent: int) -> int:
    """The one worker among its processes; other tests may have left some of theirs."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (child,) = [one for one in children if _is_worker(Path(f"/proc/{one}/cmdline"))]
    return int(child)


def _is_worker(command: Path) -> bool:
    return b"faulty_worker" in command.read_bytes()


def test_more_work_is_for_the_next_lane(with_lane: Callable[..., None]) -> None:
    """Seconds of sound, times channels, times smaller hops."""

    async def check(running: Running) -> None:
        await running.ask(VOICE)
        for body, settings, seconds in ((LONG, {}, 12.0), (VOICE, {"hop_seconds": 0.25}, 16.0)):
            with pytest.raises(LongSoundError) as raised:
                await running.ask(body, **settings)
            assert raised.value.work_seconds == pytest.approx(seconds)

    with_lane(check, measured_work_seconds=60.0)


def test_a_full_lane_says_when_to_come_back(with_lane: Callable[..., None]) -> None:
    async def check(running: Running) -> None:
        waiting = [asyncio.ensure_future(running.ask(b"HANG")) for _ in range(9)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError, match="sounds are waiting") as raised:
            await running.ask(VOICE)
        assert (raised.value.status, raised.value.retry_seconds) == (503, 1)
        for one in waiting:
            one.cancel()

    with_lane(check)


def test_a_long_sound_that_nobody_waits_for_is_stopped(with_lane: Callable[..., None]) -> None:
    async def check(running: Running) -> None:
        await running.ask(VOICE)
        left = asyncio.ensure_future(running.ask(b"HANG"))
        await asyncio.sleep(0.2)
        left.cancel()
        await running.ask(VOICE)
        assert running.n_lost == 1

    with_lane(check, nice=1)


def test_no_key_of_the_server_reaches_a_worker(
    with_lane: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECH_EMOTION_API_KEY", "a secret that is long enough")

    async def check(running: Running) -> None:
        await running.ask(VOICE)
        environment = Path(f"/proc/{_child_of(os.getpid())}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"secret" not in environment

    with_lane(check)
