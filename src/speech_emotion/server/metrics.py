"""What the service counts. In: events. Out: the text that Prometheus reads. No sound, file name or key is in it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from speech_emotion.extras import require

_LATENCIES: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)  # seconds


class Metrics:
    """The counters of one server.

    Raises:
        MissingExtraError: The extra "serve" is not installed.
    """

    def __init__(self) -> None:
        require("prometheus_client", extra="serve", needed_for="The server")
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self._registry = CollectorRegistry()
        where: dict[str, Any] = {"namespace": "speech_emotion", "registry": self._registry}
        self._requests = Counter("requests", "Requests answered", ["route", "status"], **where)
        self._seconds = Histogram(
            "request_seconds",
            "From the head of a request to its answer",
            ["route"],
            buckets=_LATENCIES,
            **where,
        )
        self._refusals = Counter("refusals", "Refusals by the code of the problem", ["code"], **where)
        self._audio = Counter("audio_seconds", "Seconds of sound scored", ["lane"], **where)
        self._waiting = Gauge("waiting", "Requests that wait for a worker", ["lane"], **where)
        self._lost = Counter("workers_lost", "Worker processes that had to be replaced", ["lane"], **where)
        self._streams = Gauge("streams", "Live streams connected", **where)
        self._lag = Gauge("stream_lag_seconds", "The largest lag of a live stream", **where)
        tasks = Gauge("tasks", "Tasks of the server; more and more of them are a leak", **where)
        tasks.set_function(lambda: len(asyncio.all_tasks()))
        ProcessCollector(registry=self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route` is the pattern of its address."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """A request was refused."""
        self._refusals.labels(code).inc()

    def scored(self, lane: str, seconds: float) -> None:
        """A worker scored `seconds` of sound."""
        self._audio.labels(lane).inc(seconds)

    def worker_lost(self, lane: str) -> None:
        """A worker process has to be replaced."""
        self._lost.labels(lane).inc()

    def watch_queue(self, lane: str, length: Callable[[], float]) -> None:
        """Read the length of a queue whenever metrics are asked for."""
        self._waiting.labels(lane).set_function(length)

    def watch_streams(self, number: Callable[[], float], lag_seconds: Callable[[], float]) -> None:
        """Read the number of live streams, and the largest lag, whenever metrics are asked for."""
        self._streams.set_function(number)
        self._lag.set_function(lag_seconds)

    def text(self) -> tuple[bytes, str]:
        """All of them, and the media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
