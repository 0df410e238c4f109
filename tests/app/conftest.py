"""The app as users run it: started with `streamlit run`, opened in Chromium.

Without Chromium these tests are skipped. Install it with: sudo apt-get install chromium
"""

import sys
from collections.abc import Callable, Iterator

import pages
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from streamlit_server import chromium, running

Launch = Callable[..., Browser]


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """AppTest puts its script in the place of __main__, which processes that are spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(autouse=True)
def closed_pages() -> Iterator[None]:
    """No page outlives its test."""
    yield
    pages.close_pages()


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the app, which is served while the tests run."""
    with running("app/app.py", tmp_path_factory.mktemp("app")) as app:
        yield app.url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def launch(playwright: Playwright, app_url: str) -> Iterator[Launch]:
    """Starts Chromium with the given arguments; it is closed when the tests of the module are done."""
    path = chromium()
    if not path:
        pytest.skip("Chromium is not installed; install it with: sudo apt-get install chromium")
    browsers = []

    def start(*arguments: str) -> Browser:
        browsers.append(playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments]))
        return browsers[-1]

    first = start()
    pages.measure(first, app_url)
    first.close()
    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """A Chromium without a microphone."""
    return launch()
