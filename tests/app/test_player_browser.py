"""The player in a real browser: the cursor, clicks, keys, zoom, channels, an hour, three hours, and no other host."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pages import deadline_ms, new_page, wait_for_frames, wait_until
from playwright.sync_api import Browser, Locator, Page, expect
from streamlit_server import ROOT, running

pytestmark = pytest.mark.slow
GOAL_SECONDS = 0.05  # between where a click points and where the sound is


@pytest.fixture(scope="module")
def player_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a page with nothing but the player."""
    paths = os.pathsep.join([str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        with running("tests/support/player_app.py", tmp_path_factory.mktemp("player")) as app:
            yield app.url


@pytest.fixture
def opened(player_url: str, browser: Browser) -> Callable[..., Page]:
    """Opens a sound of player_page.py; options go to the context."""

    def go(sound: str, **options: Any) -> Page:
        page = new_page(browser, **options)
        page.goto(f"{player_url}/?sound={sound}")
        slider(page).wait_for(timeout=deadline_ms(5))
        wait_until(lambda: audio(page, "readyState") > 0, page)
        wait_until(lambda: "painted" in facts(page), page)
        return page

    return go


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Position")


def facts(page: Page) -> dict[str, str]:
    """What the player tells of itself: state, position, what is painted, where time begins and ends in pixels."""
    found: dict[str, str] = page.locator("[data-part=panel]").evaluate("panel => ({...panel.dataset})")
    return found


def audio(page: Page, name: str) -> Any:
    """A property of the sound."""
    return page.locator("audio").evaluate(f"audio => audio.{name}")


def shown(page: Page) -> tuple[float, float]:
    """Seconds at both ends of the picture, once it stands."""
    wait_for_frames(page)
    start, end = facts(page)["painted"].split()
    return float(start), float(end)


def cursor_x(page: Page) -> float:
    """Pixels from the left edge of the timeline to the cursor."""
    transform = page.locator("[data-part=cursor]").evaluate("cursor => cursor.style.transform")
    (pixels,) = re.findall(r"translateX\((.*)px\)", transform)
    return float(pixels)


def click_at(page: Page, share: float, y: float = 60) -> tuple[float, float]:
    """Click at a share of what is shown. Returns the moment there, and how long a pixel is, in seconds."""
    start, end = shown(page)
    left, right = map(float, facts(page)["plot"].split())
    x = round(left + share * (right - left))
    box = slider(page).bounding_box()
    assert box
    page.mouse.click(box["x"] + x, box["y"] + y)
    pixel = (end - start) / (right - left)
    return start + (x - left) * pixel, pixel


def runs(page: Page) -> str:
    return page.get_by_text(re.compile(r"^Run \d+$")).inner_text()


def test_the_cursor_moves_while_the_sound_plays(opened: Callable[..., Page]) -> None:
    page = opened("short")
    page.get_by_role("button", name="Play", exact=True).click()
    wait_until(lambda: audio(page, "currentTime") > 0.5, page)
    one = cursor_x(page)
    wait_until(lambda: cursor_x(page) > one, page)
    page.get_by_role("button", name="Pause").click()
    wait_for_frames(page)
    assert facts(page)["state"] == "paused"
    left, right = map(float, facts(page)["plot"].split())
    at = audio(page, "currentTime")
    assert cursor_x(page) == pytest.approx(left + at / 8 * (right - left), abs=1)
    assert float(facts(page)["position"]) == pytest.approx(at, abs=0.001)


def test_a_click_seeks_and_no_run_of_the_page_follows(opened: Callable[..., Page]) -> None:
    page = opened("hour")
    before = runs(page)
    for share in (0.755, 0.1, 0.99):
        moment, pixel = click_at(page, share)
        wait_until(lambda: not audio(page, "seeking"), page)
        assert audio(page, "currentTime") == pytest.approx(moment, abs=pixel / 2 + GOAL_SECONDS)
    for _ in range(14):  # now a pixel is shorter than the goal
        slider(page).press("+")
    moment, pixel = click_at(page, 0.3)
    assert pixel < GOAL_SECONDS / 2
    wait_until(lambda: not audio(page, "seeking"), page)
    assert audio(page, "currentTime") == pytest.approx(moment, abs=GOAL_SECONDS)
    assert runs(page) == before


def test_the_time_of_an_hour_reads_as_it_is(opened: Callable[..., Page]) -> None:
    page = opened("hour")
    page.locator("audio").evaluate("audio => { audio.currentTime = 45 * 60 + 18 }")
    expect(page.locator("[data-part=time]")).to_have_text("45:18")
    expect(page.locator("[data-part=total]")).to_have_text("1:00:00")
    expect(slider(page)).to_have_attribute("aria-valuetext", re.compile("^45 minutes 18 seconds of 1 hour"))
    expect(slider(page)).to_have_attribute("aria-valuemax", "3600.0")


def test_dragging_scrubs(opened: Callable[..., Page]) -> None:
    page = opened("short")
    box = slider(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 60, steps=5)
    assert cursor_x(page) == pytest.approx(500, abs=1)
    page.mouse.up()
    page.mouse.move(box["x"] + 300, box["y"] + 60)
    wait_for_frames(page)
    assert cursor_x(page) == pytest.approx(500, abs=1)


def test_keys_play_move_and_zoom(opened: Callable[..., Page]) -> None:
    page = opened("call")
    slider(page).focus()
    for key, moment in [("End", 90), ("Home", 0), ("l", 10), ("ArrowRight", 15), ("j", 5), ("ArrowLeft", 0)]:
        page.keyboard.press(key)
        assert audio(page, "currentTime") == pytest.approx(moment, abs=GOAL_SECONDS)
    page.keyboard.press(" ")
    wait_until(lambda: facts(page)["state"] == "playing", page)
    page.keyboard.press("k")
    wait_until(lambda: facts(page)["state"] == "paused", page)
    page.keyboard.press("+")
    start, end = shown(page)
    assert end - start == pytest.approx(0.6 * 90, abs=0.1)
    page.keyboard.press("-")
    assert shown(page) == (0, 90)
    page.keyboard.press("Home")
    page.keyboard.press("]")  # the first stretches begin at 0.4 s
    assert audio(page, "currentTime") == pytest.approx(0.4, abs=GOAL_SECONDS)


def test_zooming_keeps_the_moment_under_the_pointer(opened: Callable[..., Page]) -> None:
    page = opened("hour")
    box = slider(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 400, box["y"] + 60)
    left, right = map(float, facts(page)["plot"].split())
    share = (400 - left) / (right - left)
    page.keyboard.down("Control")
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    wait_until(lambda: shown(page)[1] - shown(page)[0] < 1000, page)
    start, end = shown(page)
    assert start + share * (end - start) == pytest.approx(share * 3600, abs=1)
    page.get_by_role("button", name="All", exact=True).click()
    assert shown(page) == (0, 3600)
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom out").click()
    start, end = shown(page)
    assert end - start == pytest.approx(0.6 * 3600, abs=0.1)


def test_the_view_turns_with_the_sound(opened: Callable[..., Page]) -> None:
    page = opened("short")
    for _ in range(6):
        page.get_by_role("button", name="Zoom in").click()
    _, end = shown(page)
    page.get_by_role("button", name="Play", exact=True).click()
    wait_until(lambda: shown(page)[0] >= end - 0.01, page)


def test_each_channel_has_its_lane_and_can_be_heard_alone(opened: Callable[..., Page]) -> None:
    page = opened("call")
    slider(page).focus()
    page.keyboard.press("l")
    now = page.locator("[data-part=now]")
    expect(now).to_contain_text("agent:")
    expect(now).to_contain_text("customer:")
    summary = page.locator("[data-part=summary]").inner_text()
    assert re.search(r"agent: .*\d+ seconds?.*customer: ", summary)
    with page.expect_response(lambda answer: "channel=1" in answer.url):
        page.get_by_label("Channel").select_option("customer")
    page.get_by_role("button", name="Play", exact=True).click()
    wait_until(lambda: audio(page, "currentTime") > 10.3, page)


def test_pointing_tells_time_emotion_and_percentage(opened: Callable[..., Page]) -> None:
    page = opened("short")
    slider(page).hover(position={"x": 150, "y": 60})
    tip = page.locator("[data-part=tip]")
    expect(tip).to_have_text(re.compile(r"0:00\.\d.*(neutral|calm|happy|sad|angry) \d+ %.*0:00\.4 to "))
    slider(page).hover(position={"x": 150, "y": 200})
    expect(tip).to_contain_text(re.compile(r"Hz"))
    page.get_by_role("button", name="Run again").hover()
    expect(tip).to_be_hidden()


def test_the_table_says_the_same_and_plays(opened: Callable[..., Page]) -> None:
    page = opened("call")
    page.get_by_text("stretches as a table").click()
    rows = page.locator("[data-part=rows] tr")
    expect(rows.nth(8)).to_be_attached()
    last = rows.last.get_by_role("button")
    minutes, seconds = re.findall(r"^(\d+):([\d.]+)", last.inner_text())[0]
    last.click()
    wait_until(lambda: audio(page, "currentTime") >= 60 * int(minutes) + float(seconds), page)
    wait_until(lambda: facts(page)["state"] == "playing", page)


def test_a_link_to_a_moment_plays_from_there(opened: Callable[..., Page]) -> None:
    page = opened("short")
    page.get_by_role("link", name="from 0:05").click()
    wait_until(lambda: audio(page, "currentTime") > 5, page)
    assert "#t" not in page.url


def test_another_run_of_the_page_disturbs_nothing(opened: Callable[..., Page]) -> None:
    page = opened("hour")
    slider(page).press("+")
    click_at(page, 0.5)
    before, at = shown(page), audio(page, "currentTime")
    page.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("Run 2")).to_be_visible()
    assert shown(page) == before
    assert audio(page, "currentTime") == at


def test_pictures_can_be_hidden(opened: Callable[..., Page]) -> None:
    page = opened("short")

    def height() -> float:
        wait_for_frames(page)
        box = slider(page).bounding_box()
        assert box
        return box["height"]

    whole = height()
    for name in ("Spectrogram", "Pitch", "Loudness"):
        button = page.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "false")
    assert height() < whole - 230


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(opened: Callable[..., Page], scheme: str) -> None:
    page = opened("call", viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator(".player button:visible").all():
        box = button.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 24
        assert box["x"] + box["width"] <= 360
    moment, pixel = shown(page)[1] / 2, 90 / 250
    left, right = map(float, facts(page)["plot"].split())
    slider(page).tap(position={"x": (left + right) / 2, "y": 70})
    wait_until(lambda: abs(audio(page, "currentTime") - moment) < pixel, page)
    tip = page.locator("[data-part=tip]")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(re.compile(r"^0:4[45]\.\d"))
    page.get_by_text("Run 1").tap()
    expect(tip).to_be_hidden()


def test_three_hours_are_not_loaded_at_once(opened: Callable[..., Page]) -> None:
    page = opened("hours")
    slider(page).focus()
    page.keyboard.press("End")
    for _ in range(3):
        page.keyboard.press("j")
    expect(page.locator("[data-part=time]")).to_have_text("2:59:30")
    page.keyboard.press(" ")
    wait_until(lambda: audio(page, "currentTime") > 10_770.5, page)
    held = "({buffered: b}) => [...Array(b.length).keys()].reduce((sum, i) => sum + b.end(i) - b.start(i), 0)"
    assert page.locator("audio").evaluate(held) < 1200
    for _ in range(20):
        page.keyboard.press("+")
    start, end = shown(page)
    assert end - start < 1
    assert start <= audio(page, "currentTime")


def test_nothing_is_asked_of_any_other_host(player_url: str, browser: Browser) -> None:
    page = new_page(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{player_url}/?sound=call")
    slider(page).wait_for()
    page.get_by_role("button", name="Play", exact=True).click()
    for _ in range(4):
        page.get_by_role("button", name="Zoom in").click()
    wait_until(lambda: sum("/closeup?" in url for url in asked) > 1, page)
    wait_until(lambda: audio(page, "currentTime") > 0.2, page)
    assert sum("/closeup?from=0&to=90&" in url for url in asked) == 1  # the whole, once
    asked = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(player_url).netloc}


def test_a_sound_that_is_gone_is_said_to_be(player_url: str, browser: Browser) -> None:
    page = new_page(browser)
    page.route("**/sound.wav", lambda route: route.fulfill(status=404, body="gone"))
    page.goto(f"{player_url}/?sound=short")
    expect(page.locator("[data-part=problem]")).to_contain_text("Load the page again")
