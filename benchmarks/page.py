"""How long a person waits for the page and for an answer on it, and what 200 uploads leave behind.

    pip install -c constraints.txt -e '.[dev]'
    python benchmarks/page.py [--out results/benchmarks/page.json]

Where other work would disturb it: taskset -c 1 chrt -r 1 python benchmarks/page.py, one core at real-time priority.

In: the app as `streamlit run app/app.py` starts it, Chromium, and 4 s of a demo voice at 48 kHz. Out: from the address
to the page that can be used; from the choice of a file to its answer on the screen, and from the end of its upload;
the same for ten minutes of sound; the memory of the server over 200 uploads of a visit, each in place of the last. As a
table and as JSON.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from playwright.sync_api import Browser, Page, sync_playwright
from provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))
from streamlit_server import chromium, running  # noqa: E402

DEMO_VOICE = ROOT / "src/speech_emotion/assets/demo-lively.flac"
RATE, SECONDS = 48_000, 4.0
N_PAGES, N_ANSWERS, N_UPLOADS = 10, 20, 200
UPLOADER = ".st-key-files input[type=file]"  # others may be there before it
TIMEOUT_MS = 600_000  # far more than on a busy machine; nothing waits for it to pass
PAGE_GOAL_MS, ANSWER_GOAL_MS, TEN_MINUTES_GOAL_MS = 2000, 500, 30_000
# The moment at which the answer to the newest upload stands on the page, and that at which its upload ended.
WATCH = """
window.uploaded = 0;
window.shown = 0;
new MutationObserver(() => {
  const heading = [...document.querySelectorAll("h2")].find((h) => h.textContent.startsWith(window.expected));
  const answer = document.querySelector("[data-testid=stHtml] .se-answer");
  if (heading && answer && !window.shown) window.shown = performance.now();
}).observe(document, { childList: true, subtree: true, characterData: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries())
    if (entry.name.includes("upload_file")) window.uploaded = entry.responseEnd;
}).observe({ type: "resource" });
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how long a visitor of the page waits.")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "page.json")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running("app/app.py", Path(folder)) as app,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        opened(browser, app.url)  # the first visit of all loads Streamlit and the model
        waits = {
            "page": wait([first_page(browser, app.url) for _ in range(N_PAGES)], PAGE_GOAL_MS),
            **answers(opened(browser, app.url)),
            "ten minutes, from choosing": wait(
                [ten_minutes(opened(browser, app.url), Path(folder))], TEN_MINUTES_GOAL_MS
            ),
        }
        memory = uploads(opened(browser, app.url), app.process.pid)
    used = f"{len(os.sched_getaffinity(0))} used by server and Chromium"
    report = {"waits": waits, "memory": memory} | provenance(used)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, one in waits.items():
        support = f"max {one['max_ms']:.0f}, n {one['n']}, goal {one['goal_ms']}"
        print(f"{name:<32} {one['median_ms']:7.0f} ms  ({support})")
    print(f"server, MiB after uploads: {memory['mib_after_uploads']}")


def opened(browser: Browser, url: str) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(WATCH)
    page.goto(url)
    page.get_by_role("button", name="I have read this").click()
    page.get_by_text("Upload a sound, record one").wait_for()
    return page


def first_page(browser: Browser, url: str) -> float:
    """From the address, in a browser that knows nothing of the page, to the button that can be pressed; ms."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    started = time.perf_counter()
    page.goto(url)
    page.get_by_role("button", name="I have read this").wait_for()
    seconds = time.perf_counter() - started
    context.close()
    return 1000 * seconds


def answers(page: Page) -> dict[str, Any]:
    chosen, ended = [], []
    for number in range(N_ANSWERS):
        started, uploaded, shown = give(page, number)
        chosen.append(shown - started)
        ended.append(shown - uploaded)
    return {
        "answer, from choosing the file": wait(chosen, ANSWER_GOAL_MS),
        "answer, from the end of upload": wait(ended, ANSWER_GOAL_MS),
    }


def ten_minutes(page: Page, folder: Path) -> float:
    """A long recording, from the choice of the file to its answer; ms."""
    samples, rate = soundfile.read(DEMO_VOICE, dtype="float32")
    path = folder / "ten minutes.flac"
    soundfile.write(path, np.tile(samples, 1 + 600 * rate // len(samples))[: 600 * rate], rate)
    started = time.perf_counter()
    page.locator(UPLOADER).set_input_files(path)
    page.locator("[data-testid=stHtml] .se-answer").wait_for()
    return 1000 * (time.perf_counter() - started)


def give(page: Page, number: int) -> tuple[float, float, float]:
    """Put another sound into the uploader: when it was chosen, was there, was answered; ms of the page's clock."""
    name = f"voice {number}.wav"
    page.evaluate(f"window.expected = {name!r}; window.shown = window.uploaded = 0")
    started = page.evaluate("performance.now()")
    page.locator(UPLOADER).set_input_files({"name": name, "mimeType": "audio/wav", "buffer": sound(number)})
    page.wait_for_function("window.shown && window.uploaded")
    uploaded, shown = page.evaluate("[window.uploaded, window.shown]")
    page.locator("summary").filter(has_text="Add sounds").click()
    page.get_by_role("button", name=f"Remove {name}").click()
    page.get_by_text("Upload a sound, record one").wait_for()
    return started, uploaded, shown


def sound(number: int) -> bytes:
    """The demo voice from another place on, so that no two are the same: 4 s at 48 kHz, 16 bit."""
    samples, rate = soundfile.read(DEMO_VOICE, dtype="float32")
    voice = np.tile(soxr.resample(samples, rate, RATE), 3)[480 * number :]
    out = io.BytesIO()
    soundfile.write(out, voice[: round(SECONDS * RATE)], RATE, format="WAV", subtype="PCM_16")
    return out.getvalue()


def uploads(page: Page, server: int) -> dict[str, Any]:
    mib = {0: resident(server)}
    for number in range(1, N_UPLOADS + 1):
        give(page, number)
        if number % 50 == 0:
            mib[number] = resident(server)
    return {"mib_after_uploads": mib, "n": N_UPLOADS, "mib_an_upload": round(len(sound(0)) / 2**20, 2)}


def resident(process: int) -> float:
    """MiB of memory that `process` holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def wait(milliseconds: list[float], goal_ms: float) -> dict[str, Any]:
    return {
        "median_ms": round(statistics.median(milliseconds), 1),
        "max_ms": round(max(milliseconds), 1),
        "n": len(milliseconds),
        "goal_ms": goal_ms,
    }


if __name__ == "__main__":
    main()
