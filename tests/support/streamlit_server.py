"""The app as users start it: `streamlit run` on a free port of this computer, and the path of Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class App:
    """The address of a served page, and the process that serves it."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def running(script: str, folder: Path) -> Iterator[App]:
    """Run `streamlit run` on `script`, a path below ROOT; the log is written to `folder`."""
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
    deadline = time.monotonic() + 180  # far more than under load; a process that ends is noticed at once
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)


def chromium() -> str | None:
    """Path of the system's Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser")
