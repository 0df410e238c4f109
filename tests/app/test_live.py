"""Live sound in a real browser, with a fake microphone: what is shown, what is sent, and what is said when it fails."""

import base64
import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import answers
import downloads
import live as live_module
import numpy as np
import pytest
import sounds
from playwright.sync_api import Browser, Locator, Page, expect
from streamlit.testing.v1 import AppTest
from streamlit_server import App, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from speech_emotion.classifier import Classifier, load

Launch = Callable[..., Browser]
FAKE_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
RATE = 48_000
# Keeps what the page sends over its sockets, so that a test can hear it too.
EAVESDROP = """
window.sent = [];
window.sockets = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (this.url.endsWith("/api/stream")) {
    if (!window.sockets.includes(this)) window.sockets.push(this);
    if (data instanceof Float32Array) window.sent.push(...data);
  }
  send.call(this, data);
};
"""
ALL_SENT = """() => {
  let text = "";
  for (const byte of new Uint8Array(new Float32Array(window.sent).buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with running("tests/support/live_app.py", tmp_path_factory.mktemp("live")) as app:
        yield app


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[App]:
    """A server that a test may stop."""
    with running("tests/support/live_app.py", tmp_path) as app:
        yield app


@pytest.fixture(scope="module")
def speaking(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium with a voice at its microphone, from the moment it is opened."""
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    path.write_bytes(sounds.wav(sounds.voice(60, RATE), RATE))
    return launch(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={path}%noloop")


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load()


def opened(browser: Browser, url: str, **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.add_init_script(EAVESDROP)
    page.goto(url)
    expect(page.get_by_role("button", name="Start")).to_be_visible(timeout=30_000)
    return page


def facts(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.locator("[data-part=panel]").evaluate("panel => ({...panel.dataset})")
    return found


def part(page: Page, name: str) -> Any:
    return page.locator(f"[data-part={name}]")


def wait_for_state(page: Page, state: str, seconds: float = 15) -> None:
    expect(part(page, "panel")).to_have_attribute("data-state", state, timeout=1000 * seconds)


def start(page: Page, *, answers: int = 0) -> None:
    page.get_by_role("button", name="Start").click()
    wait_for_state(page, "listening")
    wait_until(lambda: int(facts(page)["answers"]) >= answers, page)


def wait_until(is_so: Any, page: Page, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, facts(page)
        page.wait_for_timeout(50)


def handed_over(page: Page) -> dict[str, Any]:
    session: dict[str, Any] = json.loads(page.locator("code").inner_text())
    return session


@pytest.mark.slow
def test_ten_seconds_of_speech(live: App, speaking: Browser, shipped: Classifier) -> None:
    page = opened(speaking, live.url)
    start(page)
    expect(part(page, "detail")).to_contain_text("first answer in")
    delays: dict[str, int] = {}
    rerun = False
    while int(facts(page)["sent"]) < 10.5 * 44_100:
        now = facts(page)
        if "delayMs" in now:
            delays[now["answers"]] = int(now["delayMs"])
        if len(delays) == 3 and not rerun:  # a page that runs again does not disturb it
            page.get_by_role("button", name="Run the page again").click()
            rerun = True
        page.wait_for_timeout(50)
    assert rerun
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "stopped")
    page.locator("code").wait_for()

    session, done = handed_over(page), facts(page)
    heard = np.frombuffer(base64.b64decode(page.evaluate(ALL_SENT)), "<f4")
    assert int(done["sent"]) == int(done["received"]) == len(heard)
    assert len(heard) == round(session["seconds"] * session["sample_rate"])
    assert np.abs(heard).max() > 0.1
    # At least two answers a second once the window is full, and the very numbers of the timeline of what was sent.
    assert int(done["answers"]) >= 2 * (session["seconds"] - shipped.info.window_seconds)
    expected = shipped.timeline(heard, sample_rate=session["sample_rate"], hop_seconds=0.5)
    assert [answer | {"warnings": []} for answer in session["answers"]] == [
        answer.to_dict() | {"warnings": []} for answer in expected
    ]
    assert statistics.median(delays.values()) <= 2_000  # benchmarks/live_delay.py measures how late it is
    assert (session["hop_seconds"], session["problem"], session["warnings"]) == (0.5, None, [])


def test_the_app_serves_it_beside_the_page(app_url: str) -> None:
    address = app_url.replace("http", "ws") + "/api/stream"
    with connect(address, origin=app_url) as line:
        line.send(json.dumps({"sample_rate": RATE, "format": "f32le"}))
        assert json.loads(line.recv(timeout=10))["model"] == "compact"
    with pytest.raises(InvalidStatus):
        connect(address, origin="https://evil.test")


def test_what_is_shown_is_the_answer(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page, answers=2)
    page.get_by_role("button", name="Stop").click()
    page.locator("code").wait_for()
    last = handed_over(page)["answers"][-1]
    rows = part(page, "bars").get_by_role("listitem").all_inner_texts()
    ranked = sorted(last["probabilities"], key=last["probabilities"].get, reverse=True)
    assert [row.split()[1] for row in rows] == ranked
    assert rows[0].endswith("%")
    expect(part(page, "title")).to_have_text(last["label"] or "not sure")
    expect(part(page, "about")).to_have_text("The last answer, about the last 4 s only:")
    assert part(page, "timeline").get_attribute("aria-label").startswith("The last ")
    page.get_by_text("The last minute as a table").click()
    expect(part(page, "rows").get_by_role("row")).to_have_count(len(handed_over(page)["answers"]))


def test_muting_sends_silence(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page)
    page.get_by_role("button", name="Mute").click()
    wait_for_state(page, "muted")
    expect(page.get_by_role("button", name="Unmute")).to_have_attribute("aria-pressed", "true")
    expect(part(page, "level")).to_have_text("muted")
    page.wait_for_timeout(500)
    before = int(facts(page)["sent"])
    page.wait_for_timeout(1000)
    after = int(facts(page)["sent"])
    assert after - before > 0.5 * 44_100
    assert page.evaluate(f"Math.max(...window.sent.slice({before}, {after}))") == 0
    expect(part(page, "title")).to_have_text("muted", timeout=15_000)
    expect(part(page, "detail")).to_have_text("silence is sent until you unmute", timeout=15_000)
    page.get_by_role("button", name="Unmute").click()
    wait_for_state(page, "listening")
    expect(part(page, "title")).not_to_have_text("muted", timeout=15_000)


def test_what_was_heard_stays_with_the_profile_it_was_heard_with(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    page.get_by_text("Use a profile").click()
    page.wait_for_timeout(500)
    start(page, answers=1)
    page.get_by_text("Use a profile").click()  # another one is for the next session
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Stop").click()
    page.locator("code").wait_for()
    assert handed_over(page)["profile_seconds"] == 40.0
    start(page, answers=1)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "stopped")
    expect(page.locator("code")).to_contain_text('"profile_seconds": null')


CHIP = "Microphone on · Stop listening"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_tab_that_is_not_shown_it_says_that_it_listens(
    live: App, speaking: Browser, scheme: Any
) -> None:
    page = opened(speaking, live.url, color_scheme=scheme)
    chip = page.get_by_role("button", name=CHIP)
    page.get_by_role("tab", name="Other").click()
    page.wait_for_timeout(300)
    expect(chip).to_have_count(0)  # nobody listens
    page.get_by_role("tab", name="Panel").click()
    start(page)
    expect(chip).to_have_count(0)  # the panel says it
    page.get_by_role("tab", name="Other").click()
    expect(chip).to_be_in_viewport()
    expect(chip).to_have_text("🎙️ Microphone on · Stop")
    dark = chip.evaluate("chip => getComputedStyle(chip).backgroundColor") != "rgb(255, 255, 255)"
    assert dark is (scheme == "dark")
    assert contrast_of(chip) >= 4.5
    page.get_by_role("tab", name="Panel").click()
    expect(chip).to_have_count(0)
    page.get_by_role("tab", name="Other").click()
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_count(0)
    wait_for_state(page, "stopped")
    assert facts(page)["sent"] == facts(page)["received"]


def test_a_chip_goes_with_its_panel(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page)
    page.get_by_role("tab", name="Other").click()
    expect(page.get_by_role("button", name=CHIP)).to_be_visible()
    page.get_by_text("Show the panel").click()
    expect(page.get_by_role("button", name=CHIP)).to_have_count(0)


def test_start_and_stop_by_keyboard(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    wait_for_state(page, "listening")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Mute")).to_be_focused()
    page.keyboard.press("Space")
    wait_for_state(page, "muted")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_state(page, "stopped")
    expect(page.get_by_role("button", name="Start")).to_be_focused()


def test_it_can_begin_again(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    for _ in range(2):
        start(page, answers=1)
        page.get_by_role("button", name="Stop").click()
        wait_for_state(page, "stopped")
        assert facts(page)["sent"] == facts(page)["received"]
        assert int(facts(page)["answers"]) <= 6
    assert page.evaluate("window.sockets.map((socket) => socket.readyState)") == [3, 3]


def test_taken_off_the_page_it_stops_listening(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page)
    page.get_by_text("Show the panel").click()
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    page.wait_for_function("window.sockets.at(-1).readyState === WebSocket.CLOSED")
    n_sent = page.evaluate("window.sent.length")
    page.wait_for_timeout(500)
    assert page.evaluate("window.sent.length") == n_sent


def test_nothing_goes_anywhere_else(live: App, speaking: Browser) -> None:
    page = speaking.new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(live.url)
    start(page)
    assert f"{live.url}/api/stream" in asked
    elsewhere = [url for url in asked if not url.startswith((live.url, "blob:", "data:"))]
    assert elsewhere == []


# What the page makes of a session


def live_tab() -> None:
    import microphone
    import session
    import shared

    microphone.tab(session.current(), shared.classifier().info)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, shipped: Classifier) -> AppTest:
    """The tab after a session with a profile that has gone since; what it offers to take along is in `taken`."""
    heard = live_module.Session(
        predictions=tuple(shipped.timeline(sounds.voice(6.0), sample_rate=16_000, hop_seconds=0.5)),
        warnings=("clipped",),
        seconds=6.0,
        sample_rate=RATE,
        hop_seconds=0.5,
        model=shipped.info.name,
        model_sha256=shipped.info.sha256,
        profile_seconds=40.0,
        problem="The connection to the *server* was lost.",
    )
    monkeypatch.setattr(live_module, "panel", lambda **_: heard)
    return AppTest.from_function(live_tab, default_timeout=60)


def test_what_is_taken_along_is_that_of_the_session(ended: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(answers, "take_along", lambda *arguments, **_: taken.extend(arguments))
    ended.run()
    hearings, _, settings, profile_seconds = taken
    (sound,) = json.loads(downloads.json_document(hearings, settings, profile_seconds))["sounds"]
    assert sound["warnings"] == ["clipped"]
    assert [window["warnings"] for window in sound["windows"]] == [["clipped"]] * 5
    assert (settings.hop_seconds, profile_seconds) == (0.5, 40.0)


def test_a_session_is_told_of_once_it_has_ended(ended: AppTest) -> None:
    ended.run()
    assert not ended.exception
    told = [text.value for text in ended.markdown]
    assert any(
        text.startswith("**The session that ended:** ")
        and text.endswith("over all 0:06.0 of it, tuned to your voice")
        for text in told
    )
    assert any("Make a profile in the tab *My voice*" in text for text in told)
    problem, clipped = (warning.value for warning in ended.warning)
    assert problem == r"It did not end by Stop\. The connection to the \*server\* was lost\."
    assert clipped.startswith("**Clipped:**")
    assert ended.expander[0].label == "The 5 answers as a table"
    rows = ended.dataframe[0].value.to_dict("records")
    assert [(row["from"], row["to"]) for row in rows][::4] == [("0:00.0", "0:04.0"), ("0:02.0", "0:06.0")]


# How long a person may take to allow the microphone

ASKING = """
window.tracks = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
const allowed = new Promise((resolve) => (window.allow = resolve));
navigator.mediaDevices.getUserMedia = async (wishes) => {
  await allowed;
  const microphone = await open(wishes);
  window.tracks.push(...microphone.getTracks());
  return microphone;
};
"""
A_MINUTE_LATER = """
let late = 0;
const now = performance.now.bind(performance);
performance.now = () => now() + late;
window.wait = () => (late = 60_000);
"""
SLOW_GREETING = """
const say = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (this.url.endsWith("/api/stream") && typeof data === "string") setTimeout(() => say.call(this, data), 2500);
  else say.call(this, data);
};
"""


def asking(browser: Browser, url: str, *scripts: str) -> Page:
    """A page whose browser asks for the microphone until `window.allow` is called."""
    page = browser.new_context().new_page()
    for script in (ASKING, *scripts):
        page.add_init_script(f"{{{script}}}")
    page.goto(url)
    page.get_by_role("button", name="Start").click(timeout=30_000)
    wait_for_state(page, "starting")
    return page


def test_who_takes_a_minute_to_allow_it_is_waited_for(live: App, speaking: Browser) -> None:
    page = asking(speaking, live.url, A_MINUTE_LATER, SLOW_GREETING)
    page.evaluate("window.wait(); window.allow()")
    wait_for_state(page, "listening")
    page.get_by_role("button", name="Stop").click()


@pytest.mark.parametrize("is_broken", [False, True])
def test_stopped_while_it_asks_the_microphone_goes_off(live: App, speaking: Browser, is_broken: bool) -> None:
    broken = "AudioWorklet.prototype.addModule = () => Promise.reject(new Error('no'));" if is_broken else ""
    page = asking(speaking, live.url, broken)
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "stopped")
    page.evaluate("window.allow()")
    page.wait_for_function(
        "window.tracks.length && window.tracks.every((track) => track.readyState === 'ended')"
    )
    wait_for_state(page, "stopped")


# What it says when it fails


def complaint(page: Page, seconds: float = 15) -> str:
    page.get_by_role("button", name="Start").click()
    wait_for_state(page, "failed", seconds)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    text: str = part(page, "status").inner_text()
    return text


def test_a_microphone_that_is_denied(live: App, launch: Launch) -> None:
    page = opened(launch("--use-fake-device-for-media-stream", "--deny-permission-prompts"), live.url)
    assert "not allowed" in complaint(page)
    assert "address bar" in part(page, "status").inner_text()


def test_no_microphone(live: App, browser: Browser) -> None:
    page = opened(browser, live.url, permissions=["microphone"])
    assert "No microphone was found" in complaint(page)


def test_plain_http(live: App, launch: Launch) -> None:
    browser = launch(*FAKE_MICROPHONE, "--host-resolver-rules=MAP insecure.test 127.0.0.1")
    page = opened(browser, live.url.replace("localhost", "insecure.test"))
    assert page.evaluate("window.isSecureContext") is False
    text = complaint(page)
    assert "https" in text
    assert live.url in text  # with its port
    assert "docs/" not in text


def test_a_server_that_is_full(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    address = live.url.replace("http", "ws") + "/api/stream"
    lines = [connect(address) for _ in range(16)]
    try:
        for line in lines:
            line.__enter__()
        assert "as many people as it can" in complaint(page)
    finally:
        for line in lines:
            line.__exit__(None, None, None)


def test_a_server_that_dies(mortal: App, speaking: Browser) -> None:
    page = opened(speaking, mortal.url)
    start(page, answers=1)
    mortal.process.kill()
    wait_for_state(page, "failed")
    assert "connection to the server was lost" in part(page, "status").inner_text()
    assert int(facts(page)["answers"]) >= 1  # and they still stand there
    expect(part(page, "bars").get_by_role("listitem")).to_have_count(8)


@pytest.mark.slow
def test_a_server_that_hangs(mortal: App, speaking: Browser) -> None:
    page = opened(speaking, mortal.url)
    start(page, answers=1)
    mortal.process.send_signal(signal.SIGSTOP)
    try:
        wait_for_state(page, "failed", seconds=20)
    finally:
        mortal.process.send_signal(signal.SIGCONT)
    assert "connection to the server was lost" in part(page, "status").inner_text()


# How it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_light_and_dark(live: App, speaking: Browser, scheme: Any) -> None:
    page = opened(
        speaking,
        live.url,
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    assert contrast(page, "start") >= 4.5
    start(page, answers=1)
    page.get_by_text("The last minute as a table").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    panel = part(page, "panel").evaluate("panel => [panel.scrollWidth, panel.clientWidth]")
    assert panel[0] <= panel[1] <= 360
    for name in ("title", "status", "count", "level"):
        assert contrast(page, name) >= 4.5
    moves = part(page, "bars").locator("i").first.evaluate("bar => getComputedStyle(bar).transitionDuration")
    assert moves == "0s"


def contrast(page: Page, name: str) -> float:
    return contrast_of(part(page, name))


def contrast_of(place: Locator) -> float:
    """WCAG's contrast of a text with what lies behind it."""
    colours = place.evaluate(
        """text => {
          const opacity = Number(getComputedStyle(text).opacity);
          let behind = text;
          const seen = (e) => getComputedStyle(e).backgroundColor;
          while (seen(behind) === "rgba(0, 0, 0, 0)")
            behind = behind.parentElement ?? behind.getRootNode().host ?? document.body;
          const brush = document.createElement("canvas").getContext("2d");
          const rgb = (colour) => {
            brush.fillStyle = colour;
            brush.fillRect(0, 0, 1, 1);
            return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          return [rgb(getComputedStyle(text).color), rgb(seen(behind)), opacity];
        }"""
    )
    text, behind = (np.array(colour) / 255 for colour in colours[:2])
    text = text * colours[2] + behind * (1 - colours[2])

    def luminance(colour: np.ndarray) -> float:
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dim = sorted([luminance(text), luminance(behind)], reverse=True)
    return (bright + 0.05) / (dim + 0.05)
