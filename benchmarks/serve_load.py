"""Whether `speech-emotion serve` keeps its promises under load. Every client checks its own answers.

    pip install -c constraints.txt -e '.[dev]'
    python benchmarks/serve_load.py [--only identity,overload] [--scale 0.02] [--model compact]

In: the shipped model and synthetic clips, over loopback; a server for each check, started as people start it.
Out: for each check what was measured, and whether the promise was kept, as a table and as JSON. `--scale 1` is the
full size: 200 clients with 10,000 requests, 50 streams of a minute, and so on. Server and clients share the machine.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from websockets.asyncio.client import connect

from speech_emotion.classifier import Classifier, load

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))
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
    expected: list[dict[str, float]] = field(default_factory=list)
    cpu_seconds_api: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - no secret

    def __post_init__(self) -> None:
        self.clips = [sounds.wav(sounds.voice(CLIP_SECONDS, f0=100 + 15 * n)) for n in range(N_CLIPS)]
        self.expected = [dict(self.classifier.predict(clip).probabilities) for clip in self.clips]
        started = time.process_time()
        for clip in self.clips:
            self.classifier.predict(clip)
        self.cpu_seconds_api = (time.process_time() - started) / N_CLIPS

    def n(self, full: int, least: int = 1) -> int:
        """A number of the full size, scaled."""
        return max(least, round(full * self.scale))


class Server:
    """`speech-emotion serve` on a free port, and the processes of it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

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

    async def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            return await _answer(reader, started)
        finally:
            writer.close()

    async def score(self, clip: bytes) -> Answer:
        """The answer on a clip."""
        return await self.ask("POST", "/v1/predict", clip)


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
        environment = os.environ | ({"SPEECH_EMOTION_API_KEY": key} if key else {})
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
        server = Server(process, int(address.rpartition(":")[2]), log)
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


async def unloaded(server: Server, load: Load, n: int = 20) -> list[float]:
    """Seconds of clips one after the other."""
    return [(await server.score(load.clips[number % N_CLIPS])).seconds for number in range(n)]


async def peak(server: Server, load: Load, seconds: float) -> float:
    """Clips per second with eight clients that never pause."""
    until, n_done = time.monotonic() + seconds, 0

    async def client() -> None:
        nonlocal n_done
        while time.monotonic() < until:
            answer = await server.score(load.rng.choice(load.clips))
            n_done += answer.status == 200

    await asyncio.gather(*(client() for _ in range(8)))
    return n_done / seconds


async def arrivals(server: Server, load: Load, rate: float, seconds: float) -> list[Answer]:
    """Clips that come at `rate` per second, whether earlier ones are answered or not."""
    asking: list[asyncio.Task[Answer]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        asking.append(asyncio.create_task(server.score(load.rng.choice(load.clips))))
        await asyncio.sleep(load.rng.expovariate(rate))
    return await asyncio.gather(*asking)


# The checks: each returns what it measured, and "kept"


async def identity(load: Load, model: str | None) -> dict[str, Any]:
    """200 clients, 10,000 requests: none lost, none mixed. A 503 is asked again after its Retry-After."""
    n_clients, n_each = load.n(200, 4), 50
    found: Counter[str] = Counter()
    seconds: list[float] = []

    async def client(server: Server) -> None:
        for _ in range(n_each):
            which = load.rng.randrange(N_CLIPS)
            while (answer := await server.score(load.clips[which])).status == 503:
                found["asked again"] += 1
                await asyncio.sleep(int(answer.headers["retry-after"]))
            right = answer.status == 200 and answer.document["probabilities"] == load.expected[which]
            found["right" if right else "mixed" if answer.status == 200 else "lost"] += 1
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
    seconds = max(5.0, 120 * load.scale)
    async with serving(model) as server:
        alone = await unloaded(server, load)
        most = await peak(server, load, seconds)
        at_80 = [one.seconds for one in await arrivals(server, load, 0.8 * most, seconds)]
        flood = await arrivals(server, load, 4 * most, seconds)
        good = sum(one.status == 200 for one in flood) / (seconds + max(0.0, flood[-1].seconds))
    refused = Counter(one.status for one in flood if one.status != 200)
    return {
        "peak_per_second": round(most, 2),
        "unloaded_p99_seconds": quantile(alone, 0.99),
        "at_80_percent_p99_seconds": quantile(at_80, 0.99),
        "p99_ratio": round(quantile(at_80, 0.99) / quantile(alone, 0.99), 2),
        "goodput_at_4x_of_peak": round(good / most, 3),
        "refusals_at_4x": {str(status): number for status, number in refused.items()},
        "kept": quantile(at_80, 0.99) <= 3 * quantile(alone, 0.99)
        and good >= 0.9 * most
        and set(refused) <= {503},
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
        done: list[str] = []
        until = time.monotonic() + PATIENCE
        for job in jobs:
            while time.monotonic() < until:
                state = (await server.ask("GET", job.document["url"])).document["status"]
                if state in ("COMPLETED", "FAILED"):
                    done.append(state)
                    break
                await asyncio.sleep(0.5)
    ratio = quantile(beside, 0.5) / quantile(alone, 0.5)
    return {
        "long_seconds": length,
        "accepted": Counter(str(job.status) for job in jobs),
        "unloaded_p50_seconds": quantile(alone, 0.5),
        "beside_p50_seconds": quantile(beside, 0.5),
        "beside_max_seconds": quantile(beside, 1.0),
        "p50_ratio": round(ratio, 2),
        "long_ones_answered": done.count("COMPLETED"),
        "kept": ratio <= 3 and done.count("COMPLETED") == 8,
    }


async def slow_senders(load: Load, model: str | None) -> dict[str, Any]:
    """100 connections with half a head are closed within 30 s; 1,000 that hang up leave nothing."""
    async with serving(model) as server:
        files, pids = server.n_files, len(server.pids)
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
            await asyncio.sleep(0.005)
            writer.transport.abort()
        until = time.monotonic() + 40
        while time.monotonic() < until and server.n_files > files:
            await asyncio.sleep(0.5)
        left = {"files": server.n_files - files, "processes": len(server.pids) - pids}
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
        while not is_over:
            which = load.rng.randrange(N_CLIPS)
            answer = await server.score(load.clips[which])
            if answer.status == 200:
                found["right" if answer.document["probabilities"] == load.expected[which] else "mixed"] += 1
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
    """Malformed HTTP, forms, frames and sounds: never a 500, never a traceback."""
    seconds = max(5.0, 300 * load.scale)
    found: Counter[str] = Counter()
    async with serving(model) as server:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            data = _broken(load)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(data)
            try:
                line = await asyncio.wait_for(reader.read(64), 3)
                found[line[9:12].decode("latin-1") or "closed"] += 1
            except TimeoutError:
                found["waits for more"] += 1  # closed after 15 s: another check sees to that
            except OSError:
                found["closed"] += 1
            writer.close()
        alive = (await server.score(load.clips[0])).status == 200
        tracebacks = server.log.read_text().count('"exception"')
    return {
        "seconds": seconds,
        **found,
        "tracebacks": tracebacks,
        "kept": alive and not found["500"] and not tracebacks,
    }


def _broken(load: Load) -> bytes:
    """A request that is not what it says."""
    rng = load.rng
    noise = rng.randbytes(rng.randrange(1, 2_000))
    clip = bytearray(rng.choice(load.clips)[:20_000])
    for _ in range(rng.randrange(20)):
        clip[rng.randrange(len(clip))] = rng.randrange(256)
    host = b"Host: 127.0.0.1\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    parts = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + noise
    return rng.choice(
        [
            noise,
            b"GET /v1/models HTTP/1.1\r\n" + noise,
            b"POST /v1/predict HTTP/1.1\r\n" + host + b"Content-Length: %d\r\n\r\n" % len(clip) + clip,
            b"POST /v1/predict HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n" + noise,
            b"POST /v1/predict HTTP/1.1\r\n"
            + host
            + form
            + b"Content-Length: %d\r\n\r\n" % len(parts)
            + parts,
            b"GET /v1/stream HTTP/1.1\r\n" + host + upgrade + noise,
        ]
    )


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
                for number in range(round(10 * seconds)):
                    await asyncio.sleep(max(0.0, started + (number + 1) / 10 - time.monotonic()))
                    await line.send(samples[1600 * number : 1600 * (number + 1)].tobytes())
                await line.send('{"type": "finish"}')

            sending = asyncio.create_task(send())
            async for message in line:
                answer = json.loads(message)
                if answer["type"] == "prediction":
                    delays.append(time.monotonic() - started - answer["end_seconds"])
                elif answer["type"] in ("end", "error"):
                    endings[answer.get("code", "end")] += 1
            sending.cancel()

    async with serving(model) as server:
        await asyncio.gather(*(speak(server) for _ in range(n_streams)))
    return {
        "n_streams": n_streams,
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
    checks: dict[str, Any] = {}
    for name in arguments.only.split(","):
        checks[name] = asyncio.run(CHECKS[name](load_of, arguments.model))
        print(
            f"{name:<14} {'kept' if checks[name]['kept'] else 'NOT KEPT'}  {json.dumps(checks[name])}",
            flush=True,
        )
    report = {"checks": checks, "scale": arguments.scale} | provenance("shared by server and clients")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
