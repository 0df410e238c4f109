"""How long after its sound a live answer comes: over the route alone for 1 to 16 speakers, and seen in Chromium.

    pip install -c constraints.txt -e '.[dev]'
    python benchmarks/live_delay.py [--out results/benchmarks/live-delay.json]

On a computer with other work, `chrt -r 1 python …` measures what is ours: the others wait meanwhile.
In: the shipped model and a demo voice, sent as a microphone gives it: a tenth of a second every tenth of a second.
Out: for each case the delay beyond the window, from the moment at which the last sample of a window was captured to
the moment at which its answer is there (over the route) or drawn (in the browser), as a table and as JSON. Waiting for
the chunk to be full, resampling, the network stack of this computer, the gate and the model are all in it.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from playwright.sync_api import sync_playwright
from provenance import provenance
from websockets.asyncio.client import connect

from speech_emotion.classifier import load

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))
from streamlit_server import chromium, running  # noqa: E402

DEMO_VOICE = ROOT / "src/speech_emotion/assets/demo-lively.flac"
RATE, SECONDS, CHUNK_SECONDS, HOP_SECONDS = 48_000, 30.0, 0.1, 0.5
SPEAKERS = (1, 4, 8, 16)
GOAL_MS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how late live answers are.")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "live-delay.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running("tests/support/live_app.py", Path(folder)) as app:
        cases = {f"route, {n} at once": over_the_route(app.url, app.process.pid, n) for n in SPEAKERS}
        cases["Chromium, 1"] = in_chromium(app.url, Path(folder))
    report = (
        {"cases": cases, "goal_ms": GOAL_MS} | facts() | provenance("shared by server, speakers and browser")
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, case in cases.items():
        print(
            f"{name:<20} median {case['median_ms']:6.0f} ms  (p99 {case['p99_ms']:.0f}, max {case['max_ms']:.0f}, "
            f"n {case['n']}, goal {GOAL_MS}), {case['answers_a_second']:.2f} answers a second"
        )


def voice() -> np.ndarray:
    """The demo voice, again and again, as a 48 kHz microphone gives it."""
    samples, rate = soundfile.read(DEMO_VOICE, dtype="float32")
    once = soxr.resample(samples, rate, RATE)
    return np.tile(once, 1 + round(SECONDS * RATE / len(once)))[: round(SECONDS * RATE)].astype(np.float32)


def over_the_route(url: str, server: int, n_speakers: int) -> dict[str, Any]:
    async def all_speakers() -> list[list[float]]:
        starts = np.arange(n_speakers) * HOP_SECONDS / n_speakers  # people do not begin in step
        return await asyncio.gather(*(speak(url, start) for start in starts))

    before = cpu_seconds(server)
    everyone = asyncio.run(all_speakers())
    share = (cpu_seconds(server) - before) / (SECONDS * n_speakers)
    return summary([delay for delays in everyone for delay in delays], n_speakers) | {
        "core_share_a_speaker": round(share, 4)
    }


def cpu_seconds(process: int) -> float:
    """What `process` has used so far, all threads."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


async def speak(url: str, start: float) -> list[float]:
    """The delays of one speaker, ms."""
    samples, n_chunk = voice(), round(CHUNK_SECONDS * RATE)
    await asyncio.sleep(start)
    async with connect(url.replace("http", "ws") + "/api/stream") as line:
        await line.send(json.dumps({"sample_rate": RATE, "format": "f32le", "hop_seconds": HOP_SECONDS}))
        ready = json.loads(await line.recv())
        began = time.perf_counter()

        async def send() -> None:
            for end in range(n_chunk, len(samples) + 1, n_chunk):
                await asyncio.sleep(
                    max(0, began + end / RATE - time.perf_counter())
                )  # its last sample is captured
                await line.send(samples[end - n_chunk : end].tobytes())

        async def receive() -> list[float]:
            delays = []
            for _ in range(int((SECONDS - ready["window_seconds"]) / HOP_SECONDS)):
                answer = json.loads(await line.recv())
                delays.append(1000 * (time.perf_counter() - began - answer["end_seconds"]))
            return delays

        _, delays = await asyncio.gather(send(), receive())
    return delays


def in_chromium(url: str, folder: Path) -> dict[str, Any]:
    """The same voice through the panel: from the microphone to the answer drawn."""
    sound = folder / "voice.wav"
    soundfile.write(sound, voice(), RATE, subtype="PCM_16")
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    flags.append(f"--use-file-for-fake-audio-capture={sound}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=flags)
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("button", name="Start").click()
        page.locator(".live[data-part=panel]").evaluate(
            """panel => {
              window.delays = [];
              new MutationObserver(() => window.delays.push(Number(panel.dataset.delayMs)))
                .observe(panel, { attributeFilter: ["data-delay-ms"] });
            }"""
        )
        page.wait_for_timeout(1000 * (SECONDS + 2))  # until it has started
        delays: list[float] = page.evaluate("window.delays")
        browser.close()
    return summary(delays[: int((SECONDS - load().info.window_seconds) / HOP_SECONDS)], 1)


def summary(delays: list[float], n_speakers: int) -> dict[str, Any]:
    median, p99 = np.percentile(delays, [50, 99])
    listened = SECONDS - load().info.window_seconds
    return {
        "median_ms": round(float(median), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(max(delays), 1),
        "n": len(delays),
        "answers_a_second": round(len(delays) / n_speakers / listened, 2),
    }


def facts() -> dict[str, Any]:
    info = load().info
    return {
        "model": info.name,
        "model_sha256": info.sha256,
        "window_seconds": info.window_seconds,
        "hop_seconds": HOP_SECONDS,
        "chunk_seconds": CHUNK_SECONDS,
        "data": f"{DEMO_VOICE.relative_to(ROOT)}, repeated for {SECONDS:g} s at {RATE} Hz",
    }


if __name__ == "__main__":
    main()
