"""Live sound in a real browser, with a fake microphone: what it shows, what it sends, and its error messages."""

import base64
import dataclasses
import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import downloads
import live as live_module
import live_sounds
import numpy as np
import pytest
import sounds
from pages import new_page, wait_for_frames, wait_until
from playwright.sync_api import Browser, Locator, Page, expect
from serving import served
from starlette.applications import Starlette
from starlette.routing import Route
from streamlit.testing.v1 import AppTest
from streamlit_server import App, running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from speech_emotion.classifier import Classifier, load
from speech_emotion.shipped import MODELS

Launch = Callable[..., Browser]
FAKE_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
RATE = 48_000
# Records what the page sends, its sockets and the tracks of its microphone.
RECORD = """
window.sent = [];
window.tracks = [];
window.sockets = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (this.url.endsWith("/api/stream")) {
    if (!window.sockets.includes(this)) window.sockets.push(this);
    if (data instanceof Float32Array) window.sent.push(...data);
  }
  send.call(this, data);
};
const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (open) navigator.mediaDevices.getUserMedia = async (wishes) => {
  const microphone = await open(wishes);
  window.tracks.push(...microphone.getTracks());
  return microphone;
};
"""
IS_OFF = "window.tracks.length && window.tracks.every((track) => track.readyState === 'ended')"
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
    """Chromium whose microphone plays a voice from the moment it is opened."""
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    path.write_bytes(sounds.wav(sounds.voice(60, RATE), RATE))
    return launch(*FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={path}%noloop")


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load()


def opened(browser: Browser, url: str, **options: Any) -> Page:
    page = new_page(browser, **options)
    page.add_init_script(f"{{{RECORD}}}")
    page.goto(url)
    expect(page.get_by_role("button", name="Start")).to_be_visible()
    return page


def facts(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.locator("[data-part=panel]").evaluate("panel => ({...panel.dataset})")
    return found


def part(page: Page, name: str) -> Any:
    return page.locator(f"[data-part={name}]")


def number(page: Page, name: str) -> int:
    return int(facts(page)[name])


def wait_for_state(page: Page, state: str) -> None:
    expect(part(page, "panel")).to_have_attribute("data-state", state)


def start(page: Page, *, answers: int = 0) -> None:
    page.get_by_role("button", name="Start").click()
    wait_for_state(page, "listening")
    wait_until(lambda: number(page, "answers") >= answers, page)


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop").click()
    wait_for_state(page, "stopped")


def handed_over(page: Page) -> dict[str, Any]:
    """The session that has just ended, as live_page.py writes it once the panel has handed it over."""
    session: dict[str, Any] = {}

    def is_there() -> bool:
        session.update(json.loads(page.locator("code").inner_text()))
        return round(session["seconds"] * session["sample_rate"]) == number(page, "sent")

    wait_until(is_there, page)
    return session


@pytest.mark.slow
def test_ten_seconds_of_speech(live: App, speaking: Browser, shipped: Classifier) -> None:
    page = opened(speaking, live.url)
    part(page, "detail").evaluate(
        """detail => { window.firstDetail = new Promise((resolve) =>
          new MutationObserver(() => resolve(detail.textContent)).observe(detail, { childList: true })) }"""
    )
    start(page, answers=3)
    assert "first answer in" in page.evaluate("window.firstDetail")
    page.get_by_role("button", name="Run the page again").click()  # does not disturb the session
    wait_until(lambda: number(page, "sent") >= 10.5 * 44_100, page)
    stop(page)
    session, done = handed_over(page), facts(page)
    sent = np.frombuffer(base64.b64decode(page.evaluate(ALL_SENT)), "<f4")
    assert int(done["sent"]) == int(done["received"]) == len(sent)
    assert np.abs(sent).max() > 0.1
    # At least two answers per second once the window is full, identical to the timeline of what was sent.
    assert int(done["answers"]) >= 2 * (session["seconds"] - shipped.info.window_seconds)
    expected = shipped.timeline(sent, sample_rate=session["sample_rate"], hop_seconds=0.5)
    assert [answer | {"warnings": []} for answer in session["answers"]] == [
        answer.to_dict() | {"warnings": []} for answer in expected
    ]
    assert int(done["delayMs"]) >= 0  # benchmarks/live_delay.py measures it
    assert (session["hop_seconds"], session["problem"], session["warnings"]) == (0.5, None, [])


def test_the_app_serves_it_beside_the_page(app_url: str) -> None:
    address = app_url.replace("http", "ws") + "/api/stream"
    with connect(address, origin=app_url) as line:
        line.send(json.dumps({"sample_rate": RATE, "format": "f32le"}))
        assert json.loads(line.recv(timeout=10))["model"] == MODELS[0].name
    with pytest.raises(InvalidStatus):
        connect(address, origin="https://evil.test")


@pytest.mark.slow
def test_what_is_shown_is_the_answer(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page, answers=2)
    page.get_by_text("The last minute as a table").click()
    stop(page)
    last = handed_over(page)["answers"][-1]
    rows = part(page, "bars").locator("li").all_text_contents()  # hidden by now
    ranked = sorted(last["probabilities"], key=last["probabilities"].get, reverse=True)
    assert [re.findall("[a-z]+", row)[0] for row in rows] == ranked
    assert rows[0].endswith("%")
    expect(part(page, "title")).to_have_text(last["label"] or "not sure")
    expect(part(page, "results")).to_be_hidden()  # the page shows the whole session
    expect(part(page, "timeline")).to_have_attribute("aria-label", re.compile("^The last "))
    expect(part(page, "rows").locator("tr")).to_have_count(len(handed_over(page)["answers"]))


@pytest.mark.slow
def test_muting_sends_silence(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page)
    page.get_by_role("button", name="Mute").click()
    wait_for_state(page, "muted")
    expect(page.get_by_role("button", name="Unmute")).to_have_attribute("aria-pressed", "true")
    expect(part(page, "level")).to_have_text("muted")
    half_a_second = 22_050
    before = number(page, "sent") + half_a_second  # sound captured earlier may still be under way
    after = before + half_a_second
    wait_until(lambda: number(page, "sent") >= after, page)
    assert page.evaluate(f"Math.max(...window.sent.slice({before}, {after}))") == 0
    expect(part(page, "title")).to_have_text("muted")
    expect(part(page, "detail")).to_have_text("silence is sent until you unmute")
    page.get_by_role("button", name="Unmute").click()
    wait_for_state(page, "listening")
    expect(part(page, "title")).not_to_have_text("muted")


@pytest.mark.slow
def test_a_session_keeps_the_profile_it_was_started_with(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    page.get_by_text("Use a profile").click()
    expect(page.get_by_text("Profile: yes")).to_be_visible()
    start(page, answers=1)
    page.get_by_text("Use a profile").click()  # for the next session
    expect(page.get_by_text("Profile: no")).to_be_visible()
    stop(page)
    assert handed_over(page)["profile_seconds"] == 40.0
    start(page, answers=1)
    stop(page)
    assert handed_over(page)["profile_seconds"] is None


CHIP = "Microphone on · Stop listening"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_hidden_tab_a_chip_says_that_the_microphone_is_on(
    live: App, speaking: Browser, scheme: Any
) -> None:
    page = opened(speaking, live.url, color_scheme=scheme)
    chip = page.get_by_role("button", name=CHIP)
    page.get_by_role("tab", name="Other").click()
    expect(part(page, "panel")).to_be_hidden()
    wait_for_frames(page)
    expect(chip).to_have_count(0)  # the microphone is off
    page.get_by_role("tab", name="Panel").click()
    start(page)
    expect(chip).to_have_count(0)  # the panel shows it
    page.get_by_role("tab", name="Other").click()
    expect(chip).to_be_in_viewport()
    expect(chip).to_have_text("Microphone on · Stop")
    white = "rgb(255, 255, 255)"
    (expect(chip).not_to_have_css if scheme == "dark" else expect(chip).to_have_css)(
        "background-color", white
    )
    wait_until(lambda: contrast_of(chip) >= 4.5, page)
    page.get_by_role("tab", name="Panel").click()
    expect(chip).to_have_count(0)
    page.get_by_role("tab", name="Other").click()
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_count(0)
    wait_for_state(page, "stopped")
    assert facts(page)["sent"] == facts(page)["received"]


def test_the_chip_is_removed_with_its_panel(live: App, speaking: Browser) -> None:
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


@pytest.mark.slow
def test_it_can_be_started_again(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    for _ in range(2):
        start(page, answers=1)
        stop(page)
        assert facts(page)["sent"] == facts(page)["received"]
        session = handed_over(page)
        assert len(session["answers"]) == number(page, "answers")
        assert session["answers"][0]["start_seconds"] == 0
    assert page.evaluate("window.sockets.map((socket) => socket.readyState)") == [3, 3]


def test_removed_from_the_page_it_switches_the_microphone_off(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    start(page)
    page.get_by_text("Show the panel").click()
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    page.wait_for_function("window.sockets.at(-1).readyState === WebSocket.CLOSED")
    page.wait_for_function(IS_OFF)


def test_nothing_goes_anywhere_else(live: App, speaking: Browser) -> None:
    page = new_page(speaking)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws:", "http:")))
    page.goto(live.url)
    start(page)
    assert f"{live.url}/api/stream" in asked
    elsewhere = [url for url in asked if not url.startswith((live.url, "blob:", "data:"))]
    assert elsewhere == []


# A session on the page


def live_tab() -> None:
    import microphone
    import session
    import shared

    state = session.current()
    microphone.tab(state, shared.classifier(state.model).info)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, shipped: Classifier) -> AppTest:
    """The tab after a session with a profile that has been removed since."""
    session = live_module.LiveSession(
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
    monkeypatch.setattr(live_module, "panel", lambda **_: session)
    return AppTest.from_function(live_tab, default_timeout=60)


def test_the_downloads_are_about_the_session(ended: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[downloads.Results] = []
    monkeypatch.setattr(downloads, "offer", lambda results, *_, **__: offered.append(results))
    ended.run()
    (results,) = offered
    settings, profile_seconds = results.info, results.profile_seconds
    (sound,) = json.loads(downloads.json_document(results))["sounds"]
    assert sound["warnings"] == ["clipped"]
    assert [window["warnings"] for window in sound["windows"]] == [["clipped"]] * 5
    assert (settings.hop_seconds, profile_seconds) == (0.5, 40.0)


def test_the_session_of_another_model_is_not_mixed_with_this_one(
    ended: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = dataclasses.replace(live_module.panel(), model_sha256="0" * 64)
    monkeypatch.setattr(live_module, "panel", lambda **_: session)
    ended.run()
    assert [text.value for text in ended.caption] == [
        "The last session was answered by another model. Choose that one to see its answers."
    ]
    assert not any("last session" in text.value for text in ended.markdown)


def test_a_session_is_shown_once_it_has_ended(ended: AppTest) -> None:
    ended.run()
    assert not ended.exception
    assert [header.value for header in ended.header] == ["The last session: 0:06, tuned to your voice"]
    texts = [text.value for text in ended.markdown]
    assert any("Make a profile in the tab *My voice*" in text for text in texts)
    problem, clipped = (warning.value for warning in ended.warning)
    assert problem == r"It was not ended by Stop\. The connection to the \*server\* was lost\."
    assert clipped.startswith("**Clipped:**")
    assert (
        len([one for one in ended.get("html") if "class='se-answer'" in one.proto.body]) == 1
    )  # one headline


def test_the_sound_of_a_session_is_one_of_the_sounds(ended: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    data = sounds.wav(sounds.voice(6.0))
    session = dataclasses.replace(live_module.panel(), has_sound=True)
    monkeypatch.setattr(live_module, "panel", lambda **_: session)
    monkeypatch.setattr(live_sounds, "take", lambda _: data)
    ended.run()
    state = ended.session_state["session"]
    assert [(sound.name, sound.data) for sound in state.sounds] == [("live 1.wav", data)]
    assert any("as **live 1.wav**" in one.value for one in ended.caption)
    ended.run()
    assert len(state.sounds) == 1
    assert not ended.exception


def test_a_sound_comes_only_with_a_ticket_and_once() -> None:
    app = Starlette(routes=[Route("/live-sound/{ticket}", live_sounds.receive, methods=["PUT"])])
    with served(app) as server:
        ticket = live_sounds.ticket()
        for path, status in ((ticket, 204), ("guessed", 404)):
            with server.http() as line:
                line.request("PUT", f"/live-sound/{path}", b"sound")
                assert line.getresponse().status == status
        assert live_sounds.take(ticket) == b"sound"
        assert live_sounds.take(ticket) is None


# A user who takes a minute to allow the microphone

ASKING = """
const openAtOnce = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
const allowed = new Promise((resolve) => (window.allow = resolve));
navigator.mediaDevices.getUserMedia = (wishes) => allowed.then(() => openAtOnce(wishes));
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
    page = new_page(browser)
    for script in (RECORD, ASKING, *scripts):
        page.add_init_script(f"{{{script}}}")
    page.goto(url)
    page.get_by_role("button", name="Start").click()
    wait_for_state(page, "starting")
    return page


def test_permission_may_take_a_minute(live: App, speaking: Browser) -> None:
    page = asking(speaking, live.url, A_MINUTE_LATER, SLOW_GREETING)
    page.evaluate("window.wait(); window.allow()")
    wait_for_state(page, "listening")
    page.get_by_role("button", name="Stop").click()


@pytest.mark.parametrize("is_broken", [False, True])
def test_stopped_while_asking_it_switches_the_microphone_off(
    live: App, speaking: Browser, is_broken: bool
) -> None:
    broken = "AudioWorklet.prototype.addModule = () => Promise.reject(new Error('no'));" if is_broken else ""
    page = asking(speaking, live.url, broken)
    stop(page)
    page.evaluate("window.allow()")
    page.wait_for_function(IS_OFF)
    wait_for_state(page, "stopped")


# Error messages


def failure(page: Page) -> str:
    """Press Start, and return the error message."""
    page.get_by_role("button", name="Start").click()
    wait_for_state(page, "failed")
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    text: str = part(page, "status").inner_text()
    return text


def test_a_microphone_that_is_denied(live: App, launch: Launch) -> None:
    page = opened(launch("--use-fake-device-for-media-stream", "--deny-permission-prompts"), live.url)
    assert "not allowed" in failure(page)
    assert "address bar" in part(page, "status").inner_text()


def test_no_microphone(live: App, browser: Browser) -> None:
    page = opened(browser, live.url, permissions=["microphone"])
    assert "No microphone was found" in failure(page)


def test_plain_http(live: App, launch: Launch) -> None:
    browser = launch(*FAKE_MICROPHONE, "--host-resolver-rules=MAP insecure.test 127.0.0.1")
    page = opened(browser, live.url.replace("localhost", "insecure.test"))
    assert page.evaluate("window.isSecureContext") is False
    text = failure(page)
    assert "https" in text
    assert live.url in text  # including its port
    assert "docs/" not in text


def test_a_server_that_is_full(live: App, speaking: Browser) -> None:
    page = opened(speaking, live.url)
    address = live.url.replace("http", "ws") + "/api/stream"
    with ExitStack() as lines:
        for _ in range(16):
            lines.enter_context(connect(address))
        assert "no free connection" in failure(page)


@pytest.mark.slow
def test_a_server_that_dies(mortal: App, speaking: Browser) -> None:
    page = opened(speaking, mortal.url)
    start(page, answers=1)
    mortal.process.kill()
    wait_for_state(page, "failed")
    assert "connection to the server was lost" in part(page, "status").inner_text()
    assert int(facts(page)["answers"]) >= 1  # which are still there
    expect(part(page, "bars").locator("li")).to_have_count(8)


@pytest.mark.slow
def test_a_server_that_hangs(mortal: App, speaking: Browser) -> None:
    page = opened(speaking, mortal.url)
    start(page, answers=1)
    mortal.process.send_signal(signal.SIGSTOP)
    try:
        wait_for_state(page, "failed")
    finally:
        mortal.process.send_signal(signal.SIGCONT)
    assert "connection to the server was lost" in part(page, "status").inner_text()


# Layout


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_in_light_and_dark(live: App, speaking: Browser, scheme: Any) -> None:
    page = opened(
        speaking,
        live.url,
        viewport={"width": 360, "height": 740},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    wait_until(lambda: contrast_of(part(page, "start")) >= 4.5, page)
    start(page, answers=1)
    page.get_by_text("The last minute as a table").click()

    def fits() -> bool:
        inside, panel = part(page, "panel").evaluate("panel => [panel.scrollWidth, panel.clientWidth]")
        return inside <= panel <= 360 and page.evaluate("document.documentElement.scrollWidth") <= 360

    wait_until(fits, page)
    for name in ("title", "status", "detail", "level"):
        wait_until(lambda name=name: contrast_of(part(page, name)) >= 4.5, page)  # type: ignore[misc]
    # Bars are replaced twice a second: a style read once may be that of one which has just gone.
    expect(part(page, "bars").locator("i").first).to_have_css("transition-duration", "0s")


def contrast_of(place: Locator) -> float:
    """The WCAG contrast of a text with its background."""
    colours = place.evaluate(
        r"""text => {
          const opacity = Number(getComputedStyle(text).opacity);
          let behind = text;
          const seen = (e) => getComputedStyle(e).backgroundColor;
          while (/^rgba|\/ 0/.test(seen(behind)))  // what is behind a colour that lets it through
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
