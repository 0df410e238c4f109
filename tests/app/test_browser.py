"""The page in a real browser: sounds in, answers out, where a click leads, what it asks for, how it looks."""

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds
from playwright.sync_api import Browser, Page, expect

from speech_emotion import Classifier, load

LONG = sounds.wav(sounds.voice(12.0))
SECONDS = 1000  # of playwright's milliseconds


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load()


@pytest.fixture(scope="module")
def microphone(launch: Callable[..., Browser], tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium with a voice at its microphone."""
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    path.write_bytes(sounds.wav(sounds.voice(30.0, 48_000), 48_000))
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    return launch(*fake, f"--use-file-for-fake-audio-capture={path}%noloop")


def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page of somebody who has read the notice."""
    page = browser.new_context(**options).new_page()
    page.goto(url)
    page.get_by_role("button", name="I have read this").click()
    expect(page.get_by_text("Upload a sound, record one")).to_be_visible(timeout=30 * SECONDS)
    return page


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    page.locator("input[type=file]").first.set_input_files(
        [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files]
    )


def answered(page: Page) -> str:
    card = page.locator(".se-answer")
    card.wait_for(timeout=30 * SECONDS)
    return card.inner_text()


def taken(page: Page) -> list[dict[str, Any]]:
    """The sounds in the JSON that can be taken along."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers, JSON").click()
    found: list[dict[str, Any]] = json.loads(Path(download.value.path()).read_bytes())["sounds"]
    return found


def test_a_sound_is_answered_and_can_be_taken_along(
    app_url: str, browser: Browser, shipped: Classifier
) -> None:
    page = opened(browser, app_url)
    upload(page, ("voice.wav", LONG))
    answer = shipped.predict(LONG)
    assert answered(page) == (answer.label or "not sure")
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers, JSON").click()
    document = json.loads(Path(download.value.path()).read_bytes())
    assert document["sounds"][0]["probabilities"] == dict(answer.probabilities)
    assert document["model"]["sha256"] == shipped.info.sha256
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers, CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == 1 + len(shipped.timeline(LONG))
    with page.expect_download() as download:
        page.get_by_role("button", name="Timeline, PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_text("The same answer in Python").click()
    expect(page.get_by_text(f"{app_url}/api/predict")).to_be_visible()


def test_the_curl_line_gives_the_same_answer(app_url: str, shipped: Classifier) -> None:
    import urllib.request

    request = urllib.request.Request(f"{app_url}/api/predict", LONG)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        assert json.load(response)["probabilities"] == dict(shipped.predict(LONG).probabilities)


def test_a_click_in_the_timeline_plays_from_there(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    upload(page, ("voice.wav", LONG))
    answered(page)
    timeline = page.locator("[data-testid=stVegaLiteChart]").nth(3)
    timeline.locator("canvas, svg").first.wait_for()
    box = timeline.bounding_box()
    assert box
    timeline.click(position={"x": 0.6 * box["width"], "y": 40})
    plays = "const sound = document.querySelector('audio'); return sound?.currentTime > 5 && !sound.paused"
    page.wait_for_function(f"() => {{ {plays} }}", timeout=15 * SECONDS)
    page.evaluate("document.querySelector('audio').pause()")
    page.wait_for_timeout(SECONDS)
    timeline.click(position={"x": 0.6 * box["width"], "y": 40})  # the same again
    page.wait_for_function(f"() => {{ {plays} }}", timeout=15 * SECONDS)


def test_many_files_and_one_that_is_no_sound(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    files = [(f"voice {n}.wav", sounds.wav(sounds.voice(2.0 + n / 10))) for n in range(5)]
    upload(page, *files, ("notes.wav", b"hello, no sound at all"))
    answered(page)
    expect(page.get_by_text("Your sounds")).to_be_visible()
    found = taken(page)
    assert [sound.get("error") for sound in found] == [None] * 5 + ["audio_decode"]


def test_a_whole_folder(app_url: str, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "one.wav").write_bytes(sounds.wav(sounds.voice(2.0)))
    (tmp_path / ".DS_Store").write_bytes(b"not a sound")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"not a sound")
    (tmp_path / "inside" / "two.wav").write_bytes(sounds.wav(sounds.voice(2.5)))
    page = opened(browser, app_url)
    page.get_by_text("A whole folder").click()
    folder = page.locator("input[type=file][webkitdirectory]")
    folder.wait_for(state="attached")
    folder.set_input_files(tmp_path)
    answered(page)
    names = [sound["source"] for sound in taken(page)]
    assert sorted(name.rpartition("/")[2] for name in names) == ["one.wav", "two.wav"]


def test_a_recording_is_answered(app_url: str, microphone: Browser) -> None:
    page = opened(microphone, app_url, permissions=["microphone"])
    recorder = page.get_by_test_id("stAudioInput").first
    recorder.get_by_role("button", name="Record").click()
    page.wait_for_timeout(5 * SECONDS)
    recorder.get_by_role("button", name="Stop").click()
    answered(page)
    expect(page.get_by_role("heading", name="recording 1.wav")).to_be_visible()
    page.get_by_role("button", name="Forget recordings").click()
    expect(page.get_by_text("Upload a sound, record one")).to_be_visible(timeout=15 * SECONDS)
    page.get_by_role("button", name="A low voice").click()  # what the browser still had does not come back
    answered(page)
    assert [sound["source"] for sound in taken(page)] == ["demo-low.flac"]


def test_a_page_in_disguise_is_never_served_as_one(app_url: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "evil.html"
    soundfile.write(path, np.tile(sounds.voice(20.0), 31), 16_000, format="WAV", subtype="PCM_U8")
    page = opened(browser, app_url)
    kinds: list[str] = []
    page.on(
        "response",
        lambda answer: (
            kinds.append(answer.headers.get("content-type", ""))
            if answer.url.startswith(f"{app_url}/media/")
            else None
        ),
    )
    page.locator("input[type=file]").first.set_input_files(
        {"name": "evil.html", "mimeType": "text/html", "buffer": path.read_bytes()}
    )
    page.locator(".se-answer").wait_for(timeout=90 * SECONDS)
    page.wait_for_function("document.querySelector('audio')?.readyState > 0", timeout=30 * SECONDS)
    assert kinds
    assert {kind.partition(";")[0] for kind in kinds} <= {"audio/wav", "audio/x-wav"}
    expect(page.get_by_text("The player has 0:00.0 to 10:00.0")).to_be_visible()


def test_live_in_the_page(app_url: str, microphone: Browser) -> None:
    page = opened(microphone, app_url, permissions=["microphone"])
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator("[data-part=panel]")
    page.wait_for_function(
        "Number(document.querySelector('[data-part=panel]')?.dataset.answers ?? 0) >= 3 || "
        "[...document.querySelectorAll('*')].some(e => Number("
        "e.shadowRoot?.querySelector('[data-part=panel]')?.dataset.answers ?? 0) >= 3)",
        timeout=30 * SECONDS,
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(panel).to_have_attribute("data-state", "stopped", timeout=15 * SECONDS)
    facts = panel.evaluate("panel => ({...panel.dataset})")
    assert facts["sent"] == facts["received"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Answers, JSON").click()
    document = json.loads(Path(download.value.path()).read_bytes())
    assert len(document["sounds"][0]["windows"]) == int(facts["answers"])
    assert document["settings"]["hop_seconds"] == 0.5


def test_a_long_sound_shows_how_far_it_is_and_can_be_cancelled(
    app_url: str, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(sounds.voice(20.0), 75), 16_000, subtype="PCM_16")
    page = opened(browser, app_url)
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text("of sound")).to_be_visible(timeout=60 * SECONDS)
    page.get_by_role("button").filter(has_text="Cancel").click()
    expect(page.get_by_text("Cancelled: long.flac")).to_be_visible(timeout=15 * SECONDS)
    assert page.locator(".se-answer").count() == 0
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("of sound")).to_be_visible(timeout=15 * SECONDS)


def test_nothing_waits_for_a_long_sound(app_url: str, microphone: Browser, tmp_path: Path) -> None:
    """While an hour is listened to, a live session ends, a short sound is answered and a profile is made."""
    path = tmp_path / "hour.flac"
    soundfile.write(path, np.tile(sounds.voice(20.0), 180), 16_000, subtype="PCM_16")
    page = opened(microphone, app_url, permissions=["microphone"])
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator("[data-part=panel]")
    expect(panel).to_have_attribute("data-answers", re.compile("[1-9]"), timeout=30 * SECONDS)
    page.get_by_role("tab", name="Listen").click()
    page.locator("input[type=file]").first.set_input_files(path)
    working = page.get_by_text("of sound")
    expect(working).to_be_visible(timeout=60 * SECONDS)
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("The session that ended")).to_be_visible(timeout=15 * SECONDS)
    page.get_by_role("tab", name="My voice").click()
    page.locator("input[type=file]:not([webkitdirectory])").nth(1).set_input_files(
        {"name": "me.wav", "mimeType": "audio/wav", "buffer": LONG}
    )
    page.get_by_role("button", name="Make my profile").click()
    expect(page.get_by_text("Your profile: 12 s")).to_be_visible(timeout=15 * SECONDS)
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("Your profile: 12 s")).to_have_count(0, timeout=15 * SECONDS)
    expect(page.get_by_role("button", name="Download", exact=True)).to_have_count(0)
    page.get_by_role("tab", name="Listen").click()
    page.get_by_role("button", name="A low voice").click()
    expect(page.get_by_role("heading", name="demo-low.flac")).to_be_visible(timeout=15 * SECONDS)
    expect(working).to_be_visible()
    page.get_by_role("button", name="Forget recordings").click()
    expect(page.get_by_role("heading", name="demo-low.flac")).to_have_count(0, timeout=15 * SECONDS)
    expect(working).to_be_visible()
    page.get_by_role("button").filter(has_text="Cancel").click()
    expect(page.get_by_text("Cancelled: hour.flac")).to_be_visible(timeout=15 * SECONDS)
    page.get_by_role("tab", name="Live").click()
    expect(page.get_by_text("The session that ended")).to_be_visible()


def test_a_file_beyond_the_limit_is_refused_in_words(app_url: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(201 * 2**20)
    page = opened(browser, app_url)
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text("File must be 200.0MB or smaller")).to_be_visible()


def test_two_visits_at_once_do_not_mix(app_url: str, browser: Browser, shipped: Classifier) -> None:
    one, other = opened(browser, app_url), opened(browser, app_url)
    low, high = (sounds.wav(sounds.voice(3.0, f0=pitch)) for pitch in (110, 260))
    upload(one, ("same name.wav", low))
    upload(other, ("same name.wav", high))
    for page, data in ((one, low), (other, high)):
        answered(page)
        found = taken(page)
        assert [sound["probabilities"] for sound in found] == [dict(shipped.predict(data).probabilities)]


def test_nothing_is_asked_of_any_other_host(app_url: str, browser: Browser) -> None:
    page = browser.new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").click()
    upload(page, ("voice.wav", LONG))
    answered(page)
    for tab in ("Live", "My voice", "Model and limits", "Listen"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
    with page.expect_download():
        page.get_by_role("button", name="Timeline, PNG").click()
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((app_url, "data:", f"blob:{app_url}"))] == []


def test_every_chart_and_sound_has_a_name_for_who_cannot_see_it(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    upload(page, ("voice.wav", LONG))
    answered(page)
    for text in ("Probabilities: ", "Waveform of voice.wav", "Log-mel spectrogram", "Timeline: "):
        expect(page.locator(f"[aria-label^='{text}']").first).to_be_attached(timeout=15 * SECONDS)
    expect(page.locator("audio[aria-label^='The sound voice.wav']")).to_be_attached()


def test_it_can_be_used_without_a_mouse(app_url: str, browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").wait_for(timeout=30 * SECONDS)
    press_until(page, "I have read this")
    page.keyboard.press("Enter")
    page.get_by_text("Upload a sound, record one").wait_for(timeout=30 * SECONDS)
    press_until(page, "A lively voice")
    page.keyboard.press("Enter")
    answered(page)
    page.get_by_text("The same answer in Python").wait_for(timeout=30 * SECONDS)  # the last of the page
    press_until(page, "Answers, CSV")
    with page.expect_download():
        page.keyboard.press("Enter")


def press_until(page: Page, text: str) -> None:
    for _ in range(120):  # once around the page and more: what is drawn again may take the focus away
        page.keyboard.press("Tab")
        if text in page.evaluate("document.activeElement?.closest('button')?.innerText ?? ''"):
            return
    raise AssertionError(f"{text!r} cannot be reached with the Tab key")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_light_and_dark(app_url: str, browser: Browser, scheme: Any) -> None:
    page = opened(browser, app_url, viewport={"width": 360, "height": 780}, color_scheme=scheme)
    upload(page, ("voice.wav", LONG))
    answered(page)
    page.locator("[data-testid=stVegaLiteChart]").nth(3).locator("canvas, svg").first.wait_for()
    width = page.evaluate("document.querySelector('.stMain').scrollWidth")
    assert width <= 360
    background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    lightness = sum(int(part) for part in background.removeprefix("rgb(").rstrip(")").split(",")[:3]) / 3
    assert (lightness < 60) == (scheme == "dark")


def test_over_plain_http_it_explains_why_there_is_no_microphone(
    app_url: str, launch: Callable[..., Browser]
) -> None:
    browser = launch("--host-resolver-rules=MAP insecure.test 127.0.0.1")
    page = opened(browser, app_url.replace("localhost", "insecure.test"))
    advice = page.get_by_text("only over https or from localhost")
    expect(advice).to_have_count(2)  # beside either recorder
    expect(advice.first).to_be_visible()
    port = app_url.rpartition(":")[2]
    expect(page.get_by_text(f"http://localhost:{port}").first).to_be_visible()


def test_the_first_page_and_a_short_answer_come_quickly(app_url: str, browser: Browser) -> None:
    """Far above the goals (2 s and 0.5 s), so that a busy machine passes; benchmarks/page.py measures them."""
    page = browser.new_context().new_page()
    started = time.monotonic()
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").click(timeout=30 * SECONDS)
    assert time.monotonic() - started < 15
    page.get_by_text("Upload a sound, record one").wait_for(timeout=30 * SECONDS)
    started = time.monotonic()
    upload(page, ("voice.wav", sounds.wav(sounds.voice(4.0))))
    answered(page)
    assert time.monotonic() - started < 10
