"""Take the screenshots of the app in docs/figures.

    python tools/make_screenshots.py

In: the app, Chromium and the demo voices. Out: docs/figures/app-*.png.
"""

import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "support"))
from streamlit_server import chromium, running  # noqa: E402

FIGURES = ROOT / "docs" / "figures"
DEMOS = sorted((ROOT / "src/speech_emotion/assets").glob("demo-*.flac"))
WIDTH, PHONE = 1040, 360
ANSWER = "[data-testid=stHtml] .se-answer"


TRANSCRIPT = b"""1
00:00:00,000 --> 00:00:02,290
Agent: good morning

2
00:00:02,620 --> 00:00:04,900
Customer: it does not work
"""


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        running("app/app.py", Path(folder)) as app,
        sync_playwright() as driver,
    ):
        microphone = Path(folder) / "microphone.wav"
        samples, rate = voices()
        soundfile.write(microphone, np.tile(samples, 3), rate, subtype="PCM_16")
        fake = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        fake += [f"--use-file-for-fake-audio-capture={microphone}%noloop", "--no-sandbox"]
        browser = driver.chromium.launch(executable_path=chromium(), args=fake)
        expect.set_options(timeout=60_000)
        notice(browser, app.url)
        answer(browser, app.url)
        many_dark(browser, app.url)
        call(browser, app.url)
        live(browser, app.url)
        compare(browser, app.url)
        my_voice(browser, app.url)
        phone(browser, app.url)


def voices() -> tuple[np.ndarray, int]:
    """The demo voices one after the other, with pauses, and their sample rate."""
    read = [soundfile.read(path, dtype="float32") for path in DEMOS]
    rate = read[0][1]
    return np.concatenate([np.append(samples, np.zeros(rate // 2)) for samples, _ in read]), rate


def wav(times: int = 1) -> dict[str, Any]:
    """The demo voices, `times` times, as a file to upload."""
    samples, rate = voices()
    file = io.BytesIO()
    soundfile.write(file, np.tile(samples, times), rate, format="WAV", subtype="PCM_16")
    return {"name": "three voices.wav", "mimeType": "audio/wav", "buffer": file.getvalue()}


def opened(browser: Browser, url: str, width: int = WIDTH, height: int = 1800, **options: Any) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": height}, permissions=["microphone"], **options
    )
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="I have read this").wait_for()
    return page


def started(browser: Browser, url: str, **options: Any) -> Page:
    page = opened(browser, url, **options)
    page.get_by_role("button", name="I have read this").click()
    page.get_by_text("Upload a sound, record one").wait_for()
    return page


def upload(page: Page, *files: dict[str, Any]) -> None:
    page.locator(".st-key-files input[type=file]").set_input_files(files)
    page.locator(ANSWER).first.wait_for()


def keep(page: Page, name: str) -> None:
    """Save the page down to its last element."""
    page.mouse.move(0, 0)  # off whatever has a tooltip
    page.wait_for_timeout(2500)  # for charts and fonts
    bottom = page.evaluate(
        "Math.max(...[...document.querySelectorAll('[data-testid=stMain] [data-testid=stElementContainer]')]"
        ".map((element) => element.getBoundingClientRect()).filter((box) => box.height).map((box) => box.bottom))"
    )
    size = page.viewport_size or {"width": WIDTH, "height": 0}
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(bottom + 24, size["height"])}
    page.screenshot(path=FIGURES / f"app-{name}.png", clip=clip)
    page.context.close()
    print(f"docs/figures/app-{name}.png")


def notice(browser: Browser, url: str) -> None:
    keep(opened(browser, url), "notice")


def answer(browser: Browser, url: str) -> None:
    page = started(browser, url)
    upload(page, wav())
    keep(page, "answer")


def many_dark(browser: Browser, url: str) -> None:
    page = started(browser, url, color_scheme="dark")
    names = [{"name": path.name, "mimeType": "audio/flac", "buffer": path.read_bytes()} for path in DEMOS]
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(48_000), 16_000, format="WAV")
    names += [{"name": "silence.wav", "mimeType": "audio/wav", "buffer": silence.getvalue()}]
    names += [{"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"hello, this is a letter"}]
    upload(page, *names)
    keep(page, "many-dark")


def call(browser: Browser, url: str) -> None:
    page = started(browser, url)
    upload(page, sides(), {"name": "call.srt", "mimeType": "text/plain", "buffer": TRANSCRIPT})
    page.get_by_role("heading", name="Right channel").wait_for()
    page.get_by_text("utterances of the transcript").wait_for()
    keep(page, "call")


def sides() -> dict[str, Any]:
    """A call: the demo voices in turn on two channels."""
    read = [soundfile.read(path, dtype="float32") for path in DEMOS]
    rate, at = read[0][1], 0
    samples = np.zeros((rate * 20, 2), np.float32)
    for turn in range(6):
        voice = read[turn % 3][0]
        samples[at : at + len(voice), turn % 2] = voice
        at += len(voice) + rate // 3
    file = io.BytesIO()
    soundfile.write(file, samples[:at], rate, format="WAV", subtype="PCM_16")
    return {"name": "call.wav", "mimeType": "audio/wav", "buffer": file.getvalue()}


def compare(browser: Browser, url: str) -> None:
    page = started(browser, url)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare two synthetic voices").click()
    page.get_by_text("Compared with the first").wait_for()
    keep(page, "compare")


def live(browser: Browser, url: str) -> None:
    page = started(browser, url)
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".live[data-part=panel]")).to_have_attribute(
        "data-answers", re.compile("^(3[6-9]|4.)$")
    )
    keep(page, "live")


def my_voice(browser: Browser, url: str) -> None:
    page = started(browser, url)
    upload(page, wav())
    page.get_by_role("tab", name="My voice").click()
    page.locator("[class*=st-key-enrolment-files] input[type=file]").set_input_files([wav(4)])
    page.get_by_role("button", name="Make my profile").click()
    page.get_by_text("What it changes").wait_for()
    keep(page, "my-voice")


def phone(browser: Browser, url: str) -> None:
    page = started(browser, url, width=PHONE, height=1600)
    page.get_by_role("button", name="A low voice").click()
    page.locator(ANSWER).first.wait_for()
    keep(page, "phone")


if __name__ == "__main__":
    main()
