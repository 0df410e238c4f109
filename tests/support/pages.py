"""Pages in Chromium. Tests wait for states, never for a time; only a page that hangs reaches the deadline.

The deadline follows from how long the first page took, so that a machine under load gets more time.
"""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect

FIRST_PAGE_SECONDS = 180.0  # deadline of the first page, which has nothing to compare with
MIN_SECONDS = 30.0
FACTOR = 15  # deadline in first pages

_deadline_seconds = MIN_SECONDS
_contexts: list[tuple[Browser, dict[str, Any], BrowserContext]] = []


def measure(browser: Browser, url: str) -> None:
    """Open the first page of the app, and set the deadline of all others from the time it took."""
    global _deadline_seconds
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(1000 * FIRST_PAGE_SECONDS)
    started = time.monotonic()
    page.goto(url)
    page.get_by_role("button", name="I have read this").wait_for()
    _deadline_seconds = max(MIN_SECONDS, FACTOR * (time.monotonic() - started))
    context.close()
    expect.set_options(timeout=1000 * _deadline_seconds)


def new_page(browser: Browser, **options: Any) -> Page:
    """An empty page whose context, made with `options`, has no other page and no cookie.

    A context of an earlier test is used again: it has compiled the scripts of the page, a third of what a visit costs.
    """
    for used_by, made_with, context in _contexts:
        if used_by is browser and made_with == options and not context.pages:
            break
    else:
        context = browser.new_context(**options)
        _contexts.append((browser, options, context))
    context.set_default_timeout(deadline_ms())
    return context.new_page()


def close_pages() -> None:
    """Close what `new_page` has opened: a page that stays goes on listening, and drawing, beside later tests."""
    _contexts[:] = [known for known in _contexts if known[0].is_connected()]
    for _, _, context in _contexts:
        for page in context.pages:
            page.close()
        context.clear_cookies()


def deadline_ms(n_steps: int = 1) -> float:
    """The deadline of a step, or of something that takes as long as `n_steps`."""
    return 1000 * _deadline_seconds * n_steps


def wait_until(condition: Callable[[], bool], page: Page) -> None:
    """Poll `condition`, which looks at the page from outside, until it holds."""
    deadline = time.monotonic() + _deadline_seconds
    while not condition():
        assert time.monotonic() < deadline, page.locator("body").inner_text()
        page.wait_for_timeout(50)


def wait_for_frames(page: Page) -> None:
    """Wait until what is under way in the browser is laid out and painted, observers of sizes included."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
