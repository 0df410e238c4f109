"""How long a click, a zoom and a picture take in the player, for an hour and for three.

    pip install -c constraints.txt -e '.[dev]'
    python benchmarks/player.py [--out results/benchmarks/player.json]

In: tests/support/player_page.py, which shows a synthetic hour of one channel and three hours of two, in Chromium. Out:
from a click to the cursor drawn and to the sound at its place, and how far from the click that is; from a key that
zooms to the new picture; how long the server computes a closeup; what the browser holds. As a table and as JSON.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "tests" / "support"
sys.path.append(str(SUPPORT))
from streamlit_server import chromium, running  # noqa: E402

SOUNDS = ("hour", "hours")
N_CLICKS, N_ZOOMS = 20, 12
CLICK_GOAL_MS, OFFSET_GOAL_MS = 100, 50
# When a click or a key came, when the cursor and the picture were drawn after it, and when the sound was at its place.
WATCH = """panel => {
  const seen = window.seen = {};
  const part = (name) => panel.querySelector(`[data-part=${name}]`);
  const drawn = (name) => requestAnimationFrame(() => requestAnimationFrame(() => (seen[name] ??= performance.now())));
  const began = (event) => {
    for (const name in seen) delete seen[name];
    seen.at = event.timeStamp;
  };
  panel.addEventListener("pointerdown", began, true);
  panel.addEventListener("keydown", began, true);
  part("audio").addEventListener("seeked", () => (seen.heard ??= performance.now()));
  new MutationObserver(() => drawn("cursor")).observe(part("cursor"), { attributeFilter: ["style"] });
  new MutationObserver(() => drawn("picture")).observe(panel, { attributeFilter: ["data-painted"] });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how quick the player is.")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks" / "player.json")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    with (
        tempfile.TemporaryDirectory() as folder,
        running("tests/support/player_app.py", Path(folder)) as app,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        sounds = {}
        for name in SOUNDS:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(240_000)
            sounds[name] = measured(page, f"{app.url}/?sound={name}")
            page.close()
    used = f"{len(os.sched_getaffinity(0))} used by server and Chromium"
    arguments.out.write_text(json.dumps({"sounds": sounds} | provenance(used), indent=1) + "\n")
    for name, waits in sounds.items():
        for what, one in waits.items():
            print(f"{name:<6} {what:<40} {one}")


def measured(page: Page, url: str) -> dict[str, Any]:
    with page.expect_response(re.compile("/closeup"), timeout=240_000):
        page.goto(url)
    page.wait_for_function("audio => audio.readyState", arg=page.locator("audio").element_handle())
    page.locator("[data-part=panel]").evaluate(WATCH)
    clicks = [click(page, 0.03 + 0.93 * (7 * n % N_CLICKS) / N_CLICKS) for n in range(N_CLICKS)]
    return {
        "click to cursor, ms": wait([one["cursor"] for one in clicks], CLICK_GOAL_MS),
        "click to sound, ms": wait([one["heard"] for one in clicks], CLICK_GOAL_MS),
        "key to picture, ms": wait([zoom(page) for _ in range(N_ZOOMS)], None),
        "click to sound when zoomed, ms": wait(
            [click(page, 0.9 - 0.04 * n)["heard"] for n in range(N_CLICKS)], CLICK_GOAL_MS
        ),
        "sound beside the click, ms": wait(
            [beside(page, 0.1 + 0.04 * n) for n in range(N_CLICKS)], OFFSET_GOAL_MS
        ),
        "closeup, ms": wait(closeups(page), None),
        "heap of the browser, MiB": round(page.evaluate("performance.memory.usedJSHeapSize") / 2**20, 1),
    }


def click(page: Page, share: float) -> dict[str, float]:
    """Click at a share of the timeline where the cursor is not: ms until it is drawn there, and until the sound is."""
    slider = page.get_by_role("slider")
    left, right = plot(page)
    slider.click(position={"x": left + share * (right - left), "y": 50})
    page.wait_for_function("window.seen.cursor && window.seen.heard")
    seen = page.evaluate("window.seen")
    return {name: seen[name] - seen["at"] for name in ("cursor", "heard")}


def zoom(page: Page) -> float:
    page.keyboard.press("+")
    page.wait_for_function("window.seen.picture")
    seen = page.evaluate("window.seen")
    return seen["picture"] - seen["at"]


def beside(page: Page, share: float) -> float:
    """How far the sound is from where a click points, once the picture shows some seconds; ms."""
    panel = page.locator("[data-part=panel]")
    start, end = map(float, panel.evaluate("panel => panel.dataset.painted").split())
    left, right = plot(page)
    edge = page.get_by_role("slider").evaluate("slider => slider.getBoundingClientRect().left")
    x = round(edge + left + share * (right - left)) - edge  # a whole pixel of the screen
    click(page, (x - left) / (right - left))
    at = page.locator("audio").evaluate("audio => audio.currentTime")
    return 1000 * abs(at - (start + (x - left) / (right - left) * (end - start)))


def plot(page: Page) -> tuple[float, float]:
    left, right = page.locator("[data-part=panel]").evaluate("panel => panel.dataset.plot").split()
    return float(left), float(right)


def closeups(page: Page) -> list[float]:
    """From request to the last byte, of all closeups so far; ms."""
    return page.evaluate(
        "performance.getEntriesByType('resource').filter((e) => e.name.includes('/closeup')).map((e) => e.duration)"
    )


def wait(milliseconds: list[float], goal_ms: float | None) -> dict[str, Any]:
    return {
        "median": round(statistics.median(milliseconds), 1),
        "max": round(max(milliseconds), 1),
        "n": len(milliseconds),
        **({"goal": goal_ms} if goal_ms else {}),
    }


if __name__ == "__main__":
    main()
