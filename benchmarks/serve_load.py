"""Whether `speech-emotion serve` keeps its promises under load. Every client checks its own answers.

    pip install -c constraints.txt -e '.[dev]'
    python benchmarks/serve_load.py [--only identity,busy] [--scale 0.02] [--model compact]

In: the shipped model and synthetic clips, over loopback; a server for each check, started as people start it.
Out: for each check what was measured, and whether the promise was kept, as a table; in the JSON file the checks that
ran take the place of their earlier numbers. `--scale 1` is the full size: 200 clients with 10,000 requests, 50 streams
of a minute, and so on. Server and clients share the machine: the clients are one process with prepared requests.
"""

import argparse
import asyncio
import json
import math
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from speech_emotion.classifier import Classifier, load

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))
import broken  # noqa: E402
import sounds  # noqa: E402

CLIP_SECONDS = 4.0
N_CLIPS = 12  # different ones
LONG_SECONDS = 600.0
PATIENCE = 300.0
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Answer:
    """What came back."""

    status: int
    document: Any
    headers: dict[str, str]
    seconds: float


@dataclass
class Load:
    """The clips, what the classifier says about each, and a source of chance."""

    classifier: Classifier
    scale: float
    clips: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    expected: list[dict[str, float]] = field(default_factory=list)
    cpu_seconds_api: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - no secret

    def __post_init__(self) -> None:
        self.clips = [sounds.wav(sounds.voice(CLIP_SECONDS, f0=100 + 15 * n)) for n in range(N_CLIPS)]
        self.requests = [request("POST", "/v1/predict", clip) for clip in self.clips]
        self.expected = [dict(self.classifier.predict(clip).probabilities) for clip in self.clips]
        started = time.process_time()
        for clip in self.clips:
            self.classifier.predict(clip)
        self.cpu_seconds_api = (time.process_time() - started) / N_CLIPS

    def n(self, full: int, least: int = 1) -> int:
        """A number of the full size, scaled."""
        return max(least, round(full * self.scale))

    def is_right(self, which: int, answer: "Answer") -> bool:
        """Whether an answer is that of the clip."""
        return answer.status == 200 and answer.document["probabilities"] == self.expected[which]


def request(method: str, path: str, body: bytes = b"", *more: str) -> bytes:
    """All bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """`speech-emotion serve` on a free port, and the processes of it."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, log: Path, folders: Sequence[Path]
    ) -> None:
        self.process, self.port, self.log, self._folders = process, port, log, folders

    @property
    def pids(self) -> list[int]:
        """The server and its workers."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    @property
    def cpu_seconds(self) -> float:
        """Of all of them so far."""
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    @property
    def n_files(self) -> int:
        """Open descriptors of the server."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def left_behind(self) -> dict[str, int]:
        """What a client could leave: descriptors, tasks, processes, files."""
        metrics = (await self.ask("GET", "/metrics")).document.decode()
        return {
            "descriptors": self.n_files,
            "tasks": int(float(re.findall(r"^speech_emotion_tasks (\S+)", metrics, re.MULTILINE)[0])),
            "processes": len(self.pids),
            "files": sum(len(list(folder.iterdir())) for folder in self._folders),
        }

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        return await Line(self).send(request(method, path, body, "Connection: close"))

    async def score(self, clip: bytes) -> Answer:
        """The answer on a clip."""
        return await self.ask("POST", "/v1/predict", clip)


class Line:
    """The connection of one client, for as long as the server keeps it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, data: bytes) -> Answer:
        """The answer to a request."""
        started = time.monotonic()
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        self._writer.write(data)
        answer = await _answer(self._reader, started)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _answer(reader: asyncio.StreamReader, started: float) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    document = json.loads(content) if "json" in headers.get("content-type", "") else content
    return Answer(int(lines[0].split()[1]), document, headers, time.monotonic() - started)


@asynccontextmanager
async def serving(model: str | None, key: str | None = None) -> AsyncIterator[Server]:
    """A server, once it can score; with a key, once it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        line = [sys.executable, "-m", "speech_emotion", "serve", "--port", "0", "--jobs", f"{folder}/jobs"]
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        environment = (
            os.environ | {"TMPDIR": str(temporary)} | ({"SPEECH_EMOTION_API_KEY": key} if key else {})
        )
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *line,
                *(["--model", model] if model else []),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        out = process.stdout or asyncio.StreamReader()
        address = (await asyncio.wait_for(out.readline(), PATIENCE)).decode().strip()
        server = Server(process, int(address.rpartition(":")[2]), log, [temporary, Path(folder) / "jobs"])
        try:
            while (await server.ask("GET", "/readyz")).status != 200:
                await asyncio.sleep(0.1)
            for _ in range(0 if key else 4):  # both workers have begun
                await server.score(sounds.wav(sounds.voice(1.0)))
            yield server
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait_for(process.wait(), 60)


def quantile(values: list[float], share: float) -> float:
    return round(float(np.quantile(values, share)), 4) if values else float("nan")


async def unloaded(server: Server, load: Load, n: int = 100) -> list[float]:
    """Seconds of clips one after the other."""
    line = Line(server)
    return [(await line.send(load.requests[number % N_CLIPS])).seconds for number in range(n)]


async def peak(server: Server, load: Load, seconds: float) -> float:
    """Clips per second with eight clients that never pause."""
    until, n_done = time.monotonic() + seconds, 0

    async def client() -> None:
        nonlocal n_done
        line = Line(server)
        while time.monotonic() < until:
            answer = await line.send(load.rng.choice(load.requests))
            n_done += answer.status == 200  # not across the await: what others count meanwhile would be lost

    await asyncio.gather(*(client() for _ in range(8)))
    return n_done / seconds


async def paced(server: Server, load: Load, rate: float, seconds: float) -> list[float]:
    """Seconds of the answers to 16 clients that send a clip in regular intervals, `rate` per second together."""
    found: list[float] = []
    end = time.monotonic() + seconds

    async def client() -> None:
        line = Line(server)
        due = time.monotonic() + load.rng.random() * 16 / rate
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            answer = await line.send(load.rng.choice(load.requests))
            found.append(answer.seconds if answer.status == 200 else math.inf)
            due += 16 / rate

    await asyncio.gather(*(client() for _ in range(16)))
    return found


async def arrivals(server: Server, load: Load, rate: float, seconds: float) -> list[Answer]:
    """Clips that come by chance, `rate` per second, whether earlier ones are answered or not."""
    idle: list[Line] = []
    asking: list[asyncio.Task[Answer]] = []

    async def ask() -> Answer:
        line = idle.pop() if idle else Line(server)
        answer = await line.send(load.rng.choice(load.requests))
        idle.append(line)
        return answer

    due, until = time.monotonic(), time.monotonic() + seconds
    while due < until:
        asking.append(asyncio.create_task(ask()))
        due += load.rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    return await asyncio.gather(*asking)


# The checks: each returns what it measured, and "kept"


async def identity(load: Load, model: str | None) -> dict[str, Any]:
    """200 clients, 10,000 requests: none lost, none mixed. A 503 is asked again after its Retry-After."""
    n_clients, n_each = load.n(200, 4), 50
    found: Counter[str] = Counter()
    seconds: list[float] = []

    async def client(server: Server) -> None:
        line = Line(server)
        for _ in range(n_each):
            which = load.rng.randrange(N_CLIPS)
            while (answer := await line.send(load.requests[which])).status == 503:
                found["asked again"] += 1
                await asyncio.sleep(int(answer.headers["retry-after"]))
            found[
                "right" if load.is_right(which, answer) else "mixed" if answer.status == 200 else "lost"
            ] += 1
            seconds.append(answer.seconds)

    async with serving(model) as server:
        started, cpu = time.monotonic(), server.cpu_seconds
        await asyncio.gather(*(client(server) for _ in range(n_clients)))
        wall, used = time.monotonic() - started, server.cpu_seconds - cpu
    n = n_clients * n_each
    return {
        "n_clients": n_clients,
        "n_requests": n,
        **found,
        "per_second": round(n / wall, 2),
        "p50_seconds": quantile(seconds, 0.5),
        "p99_seconds": quantile(seconds, 0.99),
        "cpu_seconds_an_answer": round(used / n, 4),
        "cpu_seconds_of_the_api": round(load.cpu_seconds_api, 4),
        "cpu_share": round(used / n / load.cpu_seconds_api, 2),
        "kept": found["right"] == n and used / n <= 1.2 * load.cpu_seconds_api,
    }


async def busy(load: Load, model: str | None) -> dict[str, Any]:
    """At 80 % of the peak: p99 at most three times that of an unloaded server. At four times the peak: goodput."""
    seconds = max(5.0, 50 * load.scale)
    async with serving(model) as server:
        alone = quantile(await unloaded(server, load), 0.99)
        most = await peak(server, load, seconds)
        at_80 = quantile(await paced(server, load, 0.8 * most, seconds), 0.99)
        by_chance = quantile([one.seconds for one in await arrivals(server, load, 0.8 * most, seconds)], 0.99)
        started = time.monotonic()
        flood = await arrivals(server, load, 4 * most, seconds)
        good = sum(one.status == 200 for one in flood) / (time.monotonic() - started)
    refused = Counter(one.status for one in flood if one.status != 200)
    return {
        "peak_per_second": round(most, 2),
        "unloaded_p99_seconds": alone,
        "at_80_percent_p99_seconds": at_80,
        "p99_ratio": round(at_80 / alone, 2),
        "at_80_percent_by_chance_p99_seconds": by_chance,
        "p99_ratio_by_chance": round(by_chance / alone, 2),
        "sent_per_second_at_4x": round(len(flood) / seconds, 1),
        "goodput_at_4x_of_peak": round(good / most, 3),
        "refusals_at_4x": {str(status): number for status, number in refused.items()},
        "kept": at_80 <= 3 * alone and good >= 0.9 * most and set(refused) <= {503},
    }


async def accepted(server: Server, body: bytes) -> Answer:
    """The answer on a sound, asked again after Retry-After as long as the server is busy."""
    until = time.monotonic() + PATIENCE
    while (answer := await server.score(body)).status == 503 and time.monotonic() < until:
        await asyncio.sleep(int(answer.headers["retry-after"]))
    return answer


async def fairness(load: Load, model: str | None) -> dict[str, Any]:
    """Eight clients with ten minutes each: a clip waits at most three times as long, and all eight are answered."""
    length = max(120.0, LONG_SECONDS * min(1.0, 10 * load.scale))
    long = sounds.wav(np.tile(sounds.voice(20.0), round(length / 20)))
    async with serving(model) as server:
        alone = await unloaded(server, load)
        jobs = await asyncio.gather(*(accepted(server, long) for _ in range(8)))
        beside = await unloaded(server, load)
        states = [(await server.ask("GET", job.document["url"])).document["status"] for job in jobs]
        n_unfinished = sum(state != "COMPLETED" for state in states)
        done: list[str] = []
        until = time.monotonic() + PATIENCE
        for job in jobs:
            while time.monotonic() < until:
                state = (await server.ask("GET", job.document["url"])).document["status"]
                if state in ("COMPLETED", "FAILED"):
                    done.append(state)
                    break
                await asyncio.sleep(0.5)
    ratios = {share: round(quantile(beside, share) / quantile(alone, share), 2) for share in (0.5, 0.99)}
    return {
        "long_seconds": length,
        "accepted": Counter(str(job.status) for job in jobs),
        "unloaded_p50_seconds": quantile(alone, 0.5),
        "unloaded_p99_seconds": quantile(alone, 0.99),
        "beside_p50_seconds": quantile(beside, 0.5),
        "beside_p99_seconds": quantile(beside, 0.99),
        "p50_ratio": ratios[0.5],
        "p99_ratio": ratios[0.99],
        "unfinished_after_the_clips": n_unfinished,
        "long_ones_answered": done.count("COMPLETED"),
        "kept": max(ratios.values()) <= 3 and done.count("COMPLETED") == 8,
    }


async def slow_senders(load: Load, model: str | None) -> dict[str, Any]:
    """100 connections with half a head are closed within 30 s; 1,000 that hang up leave nothing."""
    async with serving(model) as server:
        before = await server.left_behind()
        lines = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(100)]
        started = time.monotonic()
        for _, writer in lines:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        await asyncio.gather(*(reader.read() for reader, _ in lines))
        closed = time.monotonic() - started
        for _, writer in lines:
            writer.close()
        n_hung_up = load.n(1000, 50)
        for number in range(n_hung_up):
            clip = load.clips[number % N_CLIPS]
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(clip)}\r\n\r\n"
            writer.write(head.encode() + clip[: len(clip) if number % 2 else 1000])
            await asyncio.sleep(load.rng.choice((0.0, 0.005, 0.05)))
            writer.transport.abort()
        until = time.monotonic() + 60
        while (after := await server.left_behind()) != before and time.monotonic() < until:
            await asyncio.sleep(0.5)
        left = {name: after[name] - before[name] for name in before}
        answer = await server.score(load.clips[0])
    return {
        "half_heads_closed_after_seconds": round(closed, 1),
        "hung_up": n_hung_up,
        "left": left,
        "kept": closed <= 30 and not any(left.values()) and answer.status == 200,
    }


async def stops(load: Load, model: str | None) -> dict[str, Any]:
    """SIGTERM under load: every accepted request is answered."""
    n_stops, found = load.n(20, 2), Counter[str]()
    for _ in range(n_stops):
        async with serving(model) as server:
            lines = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(16)]
            for number, (_, writer) in enumerate(lines):
                clip = load.clips[number % N_CLIPS]
                head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(clip)}\r\n\r\n"
                writer.write(head.encode() + clip)
                await writer.drain()
            await asyncio.sleep(0.1)
            server.process.terminate()
            for reader, writer in lines:
                try:
                    answer = await _answer(reader, time.monotonic())
                    found["answered" if answer.status == 200 else "refused"] += 1
                except (asyncio.IncompleteReadError, OSError):
                    found["unanswered"] += 1
                writer.close()
    return {"stops": n_stops, **found, "kept": found["answered"] == 16 * n_stops}


async def kills(load: Load, model: str | None) -> dict[str, Any]:
    """A worker is killed again and again: each costs the one request it works on at most."""
    n_kills, found = load.n(100, 3), Counter[str]()
    is_over = False

    async def client(server: Server) -> None:
        line = Line(server)
        while not is_over:
            which = load.rng.randrange(N_CLIPS)
            answer = await line.send(load.requests[which])
            if answer.status == 200:
                found["right" if load.is_right(which, answer) else "mixed"] += 1
            else:
                found[answer.document["code"]] += 1

    async with serving(model) as server:
        clients = [asyncio.create_task(client(server)) for _ in range(8)]
        for _ in range(n_kills):
            await asyncio.sleep(load.rng.uniform(0.2, 1.0))
            workers = server.pids[1:]
            if workers:
                os.kill(load.rng.choice(workers), signal.SIGKILL)
        is_over = True
        await asyncio.gather(*clients)
    kept = found["worker_lost"] <= n_kills and not set(found) - {"right", "worker_lost", "busy"}
    return {"kills": n_kills, **found, "kept": kept}


async def garbage(load: Load, model: str | None) -> dict[str, Any]:
    """Malformed HTTP, forms, frames, sounds and bombs: never a 500 or a traceback; others are answered meanwhile."""
    seconds = max(5.0, 300 * load.scale)
    found: Counter[str] = Counter()

    async def attack(server: Server, until: float) -> None:
        while time.monotonic() < until:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(broken.request(load.rng, load.clips))
                line = b""
                try:
                    line = await asyncio.wait_for(reader.read(64), 5)
                    found[line[9:12].decode("latin-1") or "closed"] += 1
                    await asyncio.wait_for(reader.read(), 0.2)
                except TimeoutError:
                    found["waits for more"] += not line
                except ConnectionError:
                    found["closed"] += 1
                writer.close()

    async def behave(server: Server, until: float) -> None:
        while time.monotonic() < until:
            answer = await server.score(load.clips[0])
            found["a good clip is right" if load.is_right(0, answer) else "a good clip is not"] += 1
            await asyncio.sleep(1)

    async with serving(model) as server:
        until = time.monotonic() + seconds
        await asyncio.gather(behave(server, until), *(attack(server, until) for _ in range(8)))
        alive = load.is_right(0, await server.score(load.clips[0]))
        tracebacks = server.log.read_text().count('"exception"')
        foreign = [line for line in server.log.read_text().splitlines() if not line.startswith("{")]
    mistakes = [status for status in found if status[0] == "5" and status != "503"]
    return {
        "seconds": seconds,
        **dict(sorted(found.items())),
        "tracebacks": tracebacks,
        "lines_that_are_no_json": [len(foreign), *sorted({line[:200] for line in foreign})[:5]],
        "kept": alive and not mistakes and not tracebacks and not foreign and not found["a good clip is not"],
    }


async def uploads(_: Load, model: str | None) -> dict[str, Any]:
    """300 MB without a key: the connection ends before 1 MiB is sent, so the server read less."""
    async with serving(model, key="a key for this measurement") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            line.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 300000000\r\n\r\n")
            sent = 0
            with suppress(OSError):
                while sent < 300_000_000:
                    sent += await asyncio.to_thread(line.send, bytes(65_536))
    return {"sent_bytes": sent, "kept": sent <= 2**20}


async def streams(load: Load, model: str | None) -> dict[str, Any]:
    """50 live streams of a minute: each answer within half a second of its sound."""
    n_streams, seconds = load.n(50, 4), max(10.0, 60 * load.scale)
    samples = np.tile(sounds.voice(10.0), round(seconds / 10) + 1)
    delays: list[float] = []
    endings: Counter[str] = Counter()

    async def speak(server: Server) -> None:
        await asyncio.sleep(load.rng.random())
        async with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as line:
            await line.send(json.dumps({"sample_rate": 16_000, "format": "f32le"}))
            ready = json.loads(await line.recv())
            if ready["type"] != "ready":
                endings[ready["code"]] += 1
                return
            started = time.monotonic()

            async def send() -> None:
                with suppress(ConnectionClosed):
                    for number in range(round(10 * seconds)):
                        await asyncio.sleep(max(0.0, started + (number + 1) / 10 - time.monotonic()))
                        await line.send(samples[1600 * number : 1600 * (number + 1)].tobytes())
                    await line.send('{"type": "finish"}')

            sending = asyncio.create_task(send())
            with suppress(ConnectionClosed):
                while True:
                    answer = json.loads(await line.recv())
                    if answer["type"] == "prediction":
                        delays.append(time.monotonic() - started - answer["end_seconds"])
                    elif answer["type"] in ("end", "error"):
                        endings[answer.get("code", "end")] += 1
            sending.cancel()

    async with serving(model) as server:
        started, cpu = time.monotonic(), server.cpu_seconds
        await asyncio.gather(*(speak(server) for _ in range(n_streams)))
        wall, used = time.monotonic() - started, server.cpu_seconds - cpu
    return {
        "n_streams": n_streams,
        "cores_of_the_server": round(used / wall, 2),
        "seconds": seconds,
        "ends": endings,
        "p50_seconds": quantile(delays, 0.5),
        "p99_seconds": quantile(delays, 0.99),
        "kept": endings["end"] == n_streams and quantile(delays, 0.99) <= 0.5,
    }


CHECKS: dict[str, Callable[[Load, str | None], Awaitable[dict[str, Any]]]] = {
    check.__name__: check
    for check in (identity, busy, fairness, slow_senders, uploads, stops, kills, garbage, streams)
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service under load.")
    parser.add_argument("--only", default=",".join(CHECKS), help="names of checks, separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--model", default=None, help="a model in the package, or a file")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "serve-load.json")
    arguments = parser.parse_args()
    load_of = Load(load(arguments.model), arguments.scale)
    model = load_of.classifier.info.name
    where = {"model": model, "scale": arguments.scale} | provenance("shared by server and clients")
    for name in arguments.only.split(","):
        found = asyncio.run(CHECKS[name](load_of, arguments.model))
        print(f"{name:<14} {'kept' if found['kept'] else 'NOT KEPT'}  {json.dumps(found)}", flush=True)
        checks = json.loads(arguments.out.read_text())["checks"] if arguments.out.exists() else {}
        checks[f"{name}, {model}"] = found | where
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({"checks": dict(sorted(checks.items()))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
