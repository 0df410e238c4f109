"""The page in a real browser: input, answers, clicks, requests and layout."""

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import sounds
from analysis import LARGE_BYTES
from pages import deadline_ms, new_page, wait_until
from playwright.sync_api import Browser, Page, expect

from speech_emotion import Classifier, load

LONG = sounds.wav(sounds.voice(12.0))
MAX_STOPS = 12  # of the Tab key, from the beginning of the page to the CSV
ANSWER = "[data-testid=stHtml] .se-answer"
UPLOADER = ".st-key-files input[type=file]"  # others may be there before it


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load()


@pytest.fixture(scope="module")
def microphone(launch: Callable[..., Browser], tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium whose microphone plays a voice."""
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    path.write_bytes(sounds.wav(sounds.voice(30.0, 48_000), 48_000))
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    return launch(*fake, f"--use-file-for-fake-audio-capture={path}%noloop")


def opened(browser: Browser, url: str, **options: Any) -> Page:
    """The page after its notice is read."""
    page = new_page(browser, **options)
    page.goto(url)
    page.get_by_role("button", name="I have read this").click()
    expect(page.get_by_text("Upload a sound, record one")).to_be_visible()
    return page


def upload(page: Page, *files: tuple[str, bytes]) -> None:
    """Upload `files`, names with contents."""
    page.locator(UPLOADER).set_input_files(
        [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files]
    )


def answered(page: Page) -> str:
    """The answer on the page, once there is one."""
    wait_until(lambda: page.locator(ANSWER).count() > 0, page)
    return page.locator(ANSWER).first.inner_text()


def open_inputs(page: Page) -> None:
    """Unfold the bar of inputs, which folds when a sound is there."""
    page.locator("summary").filter(has_text="Add sounds").click()
    expect(page.get_by_role("button", name="A low voice")).to_be_visible()


def settle(page: Page) -> None:
    """Wait until nothing is analysed and nothing is drawn again: a click on what is being replaced does nothing."""
    expect(page.get_by_text("Analysing …")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)  # places of elements whose code is on its way
    expect(page.locator("[data-test-script-state=notRunning]")).to_have_count(1)


def downloaded(page: Page, button: str) -> bytes:
    page.get_by_role("button", name=button).wait_for()
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return Path(download.value.path()).read_bytes()


def downloaded_sounds(page: Page, n_sounds: int) -> list[dict[str, Any]]:
    """The sounds in the JSON to download, once `n_sounds` are analysed."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = json.loads(downloaded(page, "Answers, JSON"))["sounds"]
        return len(found) == n_sounds

    wait_until(are_there, page)
    return found


@pytest.mark.slow
def test_a_sound_is_answered_and_can_be_downloaded(
    app_url: str, browser: Browser, shipped: Classifier
) -> None:
    page = opened(browser, app_url)
    upload(page, ("voice.wav", LONG))
    answer = shipped.predict(LONG)
    assert answered(page) == (answer.label or "not sure")
    document = json.loads(downloaded(page, "Answers, JSON"))
    assert document["sounds"][0]["probabilities"] == dict(answer.probabilities)
    assert document["model"]["sha256"] == shipped.info.sha256
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "Answers, CSV").decode())))
    assert len(rows) == 1 + len(shipped.timeline(LONG))
    assert answer.label is None or answer.label.encode() in downloaded(page, "Report, HTML")
    page.get_by_role("button", name="More formats").click()
    assert downloaded(page, "Timeline, PNG").startswith(b"\x89PNG")
    page.keyboard.press("Escape")
    page.get_by_text("The same answer in Python").click()
    expect(page.get_by_text(f"{app_url}/api/predict")).to_be_visible()


def test_the_curl_line_gives_the_same_answer(app_url: str, shipped: Classifier) -> None:
    import urllib.request

    request = urllib.request.Request(f"{app_url}/api/predict", LONG)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        assert json.load(response)["probabilities"] == dict(shipped.predict(LONG).probabilities)


@pytest.mark.slow
def test_many_files_and_one_that_is_no_sound(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    files = [(f"voice {n}.wav", sounds.wav(sounds.voice(2.0 + n / 10))) for n in range(5)]
    upload(page, *files, ("notes.wav", b"hello, no sound at all"))
    answered(page)
    expect(page.get_by_role("heading", name="6 sounds")).to_be_visible()
    expect(page.get_by_text("This is not a sound that can be read").first).to_be_visible()
    found = downloaded_sounds(page, 6)
    assert [sound.get("error") for sound in found] == [None] * 5 + ["audio_decode"]


@pytest.mark.slow
def test_a_whole_folder(app_url: str, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "one.wav").write_bytes(sounds.wav(sounds.voice(2.0)))
    (tmp_path / ".DS_Store").write_bytes(b"not a sound")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"not a sound")
    (tmp_path / "inside" / "two.wav").write_bytes(sounds.wav(sounds.voice(2.5)))
    page = opened(browser, app_url)
    folder = page.locator("input[type=file][webkitdirectory]")
    folder.wait_for(state="attached")
    folder.set_input_files(tmp_path)
    answered(page)
    names = [sound["source"] for sound in downloaded_sounds(page, 2)]
    assert sorted(name.rpartition("/")[2] for name in names) == ["one.wav", "two.wav"]


@pytest.mark.slow
def test_a_recording_is_answered(app_url: str, microphone: Browser) -> None:
    page = opened(microphone, app_url, permissions=["microphone"])
    recorder = page.get_by_test_id("stAudioInput").first
    recorder.get_by_role("button", name="Record").click()
    expect(recorder.get_by_test_id("stAudioInputWaveformTimeCode")).to_have_text(re.compile("00:0[5-9]"))
    recorder.get_by_role("button", name="Stop").click()
    answered(page)
    expect(page.get_by_role("heading", name="recording 1.wav")).to_be_visible()
    open_inputs(page)
    page.get_by_role("button", name="Forget recordings").click()
    expect(page.get_by_text("Upload a sound, record one")).to_be_visible()
    page.get_by_role("button", name="A low voice").click()  # the recording does not come back
    answered(page)
    assert [sound["source"] for sound in downloaded_sounds(page, 1)] == ["demo-low.flac"]


@pytest.mark.slow
def test_a_page_in_disguise_is_never_served_as_one(app_url: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "evil.html"
    voice = sounds.voice(24.0, 48_000)
    soundfile.write(path, np.stack([voice, voice], axis=1), 48_000, format="WAV", subtype="PCM_16")
    assert path.stat().st_size > LARGE_BYTES
    page = opened(browser, app_url)
    kinds: list[str] = []
    page.on(
        "response",
        lambda answer: (
            kinds.append(answer.headers.get("content-type", ""))
            if answer.url.startswith((f"{app_url}/media/", f"{app_url}/player/"))
            else None
        ),
    )
    page.locator(UPLOADER).set_input_files(
        {"name": "evil.html", "mimeType": "text/html", "buffer": path.read_bytes()}
    )
    answered(page)
    wait_until(lambda: any(kind.startswith("audio/wav") for kind in kinds), page)
    assert {kind.partition(";")[0] for kind in kinds} <= {
        "audio/wav",
        "application/octet-stream",
        "image/png",
    }


@pytest.mark.slow
def test_live_in_the_page(app_url: str, microphone: Browser) -> None:
    page = opened(microphone, app_url, permissions=["microphone"])
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator(".live[data-part=panel]")
    expect(panel).to_have_attribute("data-answers", re.compile(r"^([3-9]|\d\d+)$"))
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(panel).to_have_attribute("data-state", "stopped")
    facts = panel.evaluate("panel => ({...panel.dataset})")
    assert facts["sent"] == facts["received"]
    document = json.loads(downloaded(page, "Answers, JSON"))
    assert len(document["sounds"][0]["windows"]) == int(facts["answers"])
    assert document["settings"]["hop_seconds"] == 0.5


def test_a_long_sound_shows_how_far_it_is_and_can_be_cancelled(
    app_url: str, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.tile(sounds.voice(20.0), 75), 16_000, subtype="PCM_16")
    page = opened(browser, app_url)
    page.locator(UPLOADER).set_input_files(path)
    expect(page.get_by_text("Analysing …")).to_be_visible()
    page.get_by_role("button").filter(has_text="Cancel").click()
    expect(page.get_by_text("Cancelled: long.flac")).to_be_visible()
    expect(page.locator(ANSWER)).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Analysing …")).to_be_visible()


@pytest.mark.slow
def test_nothing_waits_for_a_long_sound(app_url: str, microphone: Browser, tmp_path: Path) -> None:
    """While an hour is analysed, a live session ends, a short sound is answered and a profile is made."""
    path = tmp_path / "hour.flac"
    soundfile.write(path, np.tile(sounds.voice(20.0), 180), 16_000, subtype="PCM_16")
    page = opened(microphone, app_url, permissions=["microphone"])
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Start", exact=True).click()
    panel = page.locator(".live[data-part=panel]")
    expect(panel).to_have_attribute("data-answers", re.compile("[1-9]"))
    page.get_by_role("tab", name="Listen").click()
    page.locator(UPLOADER).set_input_files(path)
    working = page.get_by_text("Analysing …")
    expect(working).to_be_visible()
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("The last session")).to_be_visible()
    page.get_by_role("tab", name="My voice").click()
    page.locator("[class*=st-key-enrolment-files] input[type=file]").set_input_files(
        {"name": "me.wav", "mimeType": "audio/wav", "buffer": LONG}
    )
    page.get_by_role("button", name="Make my profile").click()
    expect(page.get_by_text("Your profile: 12 s")).to_be_visible()
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("Your profile: 12 s")).to_have_count(0)
    expect(page.get_by_role("button", name="Download", exact=True)).to_have_count(0)
    page.get_by_role("tab", name="Listen").click()
    open_inputs(page)
    page.get_by_role("button", name="A low voice").click()
    expect(page.get_by_role("heading", name="demo-low.flac")).to_be_visible()
    expect(page.locator("[data-stale=true]")).to_have_count(0)  # nothing of another sound is left on the page
    expect(working).to_be_visible()
    open_inputs(page)
    page.get_by_role("button", name="Forget recordings").click()
    # Both cores are at the hour, so an answer of the page may take long.
    expect(page.get_by_role("heading", name="demo-low.flac")).to_have_count(0, timeout=deadline_ms(4))
    expect(working).to_be_visible()
    page.get_by_role("button").filter(has_text="Cancel").click()
    expect(page.get_by_text("Cancelled: hour.flac")).to_be_visible()
    page.get_by_role("tab", name="Live").click()
    expect(page.get_by_text("The last session")).to_be_visible()


def test_a_file_beyond_the_limit_is_refused_in_words(app_url: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(201 * 2**20)
    page = opened(browser, app_url)
    page.locator(UPLOADER).set_input_files(path)
    expect(page.get_by_text("File must be 200.0MB or smaller")).to_be_visible()


@pytest.mark.slow
def test_two_visits_at_once_do_not_mix(app_url: str, browser: Browser, shipped: Classifier) -> None:
    one, other = opened(browser, app_url), opened(browser, app_url)
    low, high = (sounds.wav(sounds.voice(3.0, f0=pitch)) for pitch in (110, 260))
    upload(one, ("same name.wav", low))
    upload(other, ("same name.wav", high))
    for page, data in ((one, low), (other, high)):
        found = downloaded_sounds(page, 1)
        assert [sound["probabilities"] for sound in found] == [dict(shipped.predict(data).probabilities)]


@pytest.mark.slow
def test_nothing_is_asked_of_any_other_host(app_url: str, browser: Browser) -> None:
    page = new_page(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").click()
    upload(page, ("voice.wav", LONG))
    answered(page)
    for tab in ("Live", "Compare", "My voice", "Model and limits", "Listen"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()
    report = downloaded(page, "Report, HTML")
    page.goto("data:text/html;base64," + base64.b64encode(report).decode())
    expect(page.get_by_role("heading", name="voice.wav").first).to_be_visible()
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((app_url, "data:", f"blob:{app_url}"))] == []


def test_every_chart_and_sound_has_a_text_alternative(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    upload(page, ("voice.wav", LONG), ("other.wav", sounds.wav(sounds.voice(2.0))))
    answered(page)
    for name in ("Probability of each emotion", "Player"):
        expect(page.locator(f"[aria-label^='{name}']").first).to_be_attached()
    expect(page.locator(".se-stack[role=img]")).to_have_attribute("aria-label", re.compile("100 %|50 %"))


def test_it_can_be_used_without_a_mouse(app_url: str, browser: Browser) -> None:
    page = new_page(browser)
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").wait_for()
    press_until(page, "I have read this")
    page.keyboard.press("Enter")
    page.get_by_text("Upload a sound, record one").wait_for()
    press_until(page, "A lively voice")
    page.keyboard.press("Enter")
    answered(page)
    page.get_by_role("button", name="Answers, CSV").wait_for()
    start_at_the_top(page)
    assert press_until(page, "Answers, CSV") <= MAX_STOPS
    with page.expect_download():
        page.keyboard.press("Enter")


def start_at_the_top(page: Page) -> None:
    """Let the next Tab go to the first stop of the page, once nothing is added to it and nothing is drawn again."""
    expect(page.get_by_text("The same answer in Python")).to_be_visible()  # the last element
    settle(page)
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")


def press_until(page: Page, text: str) -> int:
    """How often Tab is pressed until it reaches a button."""
    for n_stops in range(1, 120):  # more than once around the page: an element drawn again may lose the focus
        page.keyboard.press("Tab")
        if text in page.evaluate("document.activeElement?.closest('button')?.innerText ?? ''"):
            return n_stops
    raise AssertionError(f"{text!r} cannot be reached with the Tab key")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_light_and_dark(app_url: str, browser: Browser, scheme: Any) -> None:
    page = opened(browser, app_url, viewport={"width": 360, "height": 780}, color_scheme=scheme)
    upload(page, ("voice.wav", LONG))
    answered(page)
    page.locator("[data-part=stage] canvas").first.wait_for()
    wait_until(lambda: page.evaluate("document.querySelector('.stMain').scrollWidth") <= 360, page)

    def is_dark() -> bool:
        background = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", background)[:3]) / 3 < 60

    wait_until(lambda: is_dark() == (scheme == "dark"), page)


def test_the_model_and_the_downloads_fit_in_one_line_each(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url, viewport={"width": 1040, "height": 780})
    model = page.get_by_role("combobox", name="Model")

    def is_whole() -> bool:
        return bool(model.evaluate("input => input.value && input.scrollWidth <= input.clientWidth"))

    wait_until(is_whole, page)
    upload(page, ("voice.wav", LONG))
    answered(page)
    names = ("Report, HTML", "Answers, CSV", "Answers, JSON", "More formats")
    buttons = [page.get_by_role("button", name=name) for name in names]

    def tops() -> set[float]:
        boxes = [button.bounding_box() for button in buttons]
        return {box["y"] if box else -1.0 for box in boxes}

    for button in buttons:
        expect(button).to_be_visible()
    wait_until(lambda: len(tops()) == 1, page)
    page.set_viewport_size({"width": 360, "height": 780})
    wait_until(is_whole, page)


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


def test_the_answer_stands_in_the_first_screen_with_its_caveat(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url, viewport={"width": 1280, "height": 720})
    upload(page, ("voice.wav", LONG))
    answered(page)
    card = page.locator("[data-testid=stHtml] .se-card").first
    expect(card).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="A low voice")).to_be_hidden()  # the inputs are folded
    expect(card.locator(".se-caveat")).to_contain_text("On people it never heard")


def test_the_notice_is_read_once_in_a_browser(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    wait_until(lambda: any(one["name"] == "speech_emotion_notice" for one in page.context.cookies()), page)
    again = page.context.new_page()
    again.goto(app_url)
    expect(again.get_by_text("Upload a sound, record one")).to_be_visible()
    expect(again.get_by_role("button", name="I have read this")).to_have_count(0)


def test_a_page_with_work_asks_before_it_is_left(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.wait_for_function("document.cookie")  # by which the notice stays read
    page.reload()  # nothing is lost
    page.get_by_text("Upload a sound, record one").click()  # browsers ask only on pages that were used
    upload(page, ("voice.wav", LONG))
    answered(page)
    page.wait_for_function("window.onbeforeunload !== null")
    assert asked == []
    page.mouse.click(5, 5)
    page.reload()
    assert asked == ["beforeunload"]


def test_the_address_remembers_the_model(app_url: str, browser: Browser) -> None:
    page = opened(browser, app_url + "?model=compact")
    expect(page.get_by_role("combobox", name="Model")).to_have_value(re.compile("^compact"))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(app_url: str, browser: Browser, scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = new_page(browser, color_scheme=scheme)
    page.goto(app_url)
    page.get_by_role("button", name="I have read this").wait_for()
    found = [serious(axe, page)]
    page.get_by_role("button", name="I have read this").click()
    expect(page.get_by_role("button", name="A low voice")).to_be_visible()
    found.append(serious(axe, page))
    upload(page, ("voice.wav", LONG), ("other.wav", sounds.wav(sounds.voice(2.0))), ("notes.wav", b"hello"))
    answered(page)
    page.get_by_text("The same answer in Python").wait_for()
    found.append(serious(axe, page))
    for tab in ("Live", "Compare", "My voice", "Model and limits"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()
        found.append(serious(axe, page))
    assert found == [[]] * 7


def serious(axe: Any, page: Page) -> list[str]:
    """The serious and critical violations that axe-core finds, with the first place of each."""
    rules = axe.run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['nodes'][0]['target']} {rule['nodes'][0]['failureSummary']}"
        for rule in rules
        if rule["impact"] in ("serious", "critical")
    ]
