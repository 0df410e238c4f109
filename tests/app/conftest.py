"""The app as people meet it: started with `streamlit run`, opened in Chromium.

Without Chromium these tests are skipped. Install it with: sudo apt-get install chromium
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
Launch = Callable[..., Browser]


@dataclass
class App:
    """A page that is being served, and the process that does it."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(script: str, folder: Path) -> Iterator[App]:
    """`streamlit run` of `script` on a free port of this computer; its log is kept in `folder`."""
    log = folder / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.address", "localhost"]
    command += ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    command += ["--browser.gatherUsageStats", "false"]
    paths = os.pathsep.join(filter(None, [str(ROOT / "app"), os.environ.get("PYTHONPATH")]))
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": paths}
        ) as process,
    ):
        try:
            _wait_for(f"http://localhost:{port}/_stcore/health", process, log)
            yield App(f"http://localhost:{port}", process)
        finally:
            process.kill()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)


@pytest.fixture(scope="session")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the app is served, as long as the tests run."""
    with running("app/app.py", tmp_path_factory.mktemp("app")) as app:
        yield app.url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Iterator[Launch]:
    """Start Chromium with the given arguments; it is closed when the tests of the module are done."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("Chromium is not installed; install it with: sudo apt-get install chromium")
    browsers = []

    def start(*arguments: str) -> Browser:
        browsers.append(
            playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *arguments])
        )
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    """A Chromium without a microphone."""
    return launch()
