"""A headless browser, driven by the WebDriver protocol; tests that need one are skipped where none is installed."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

__all__ = ["Browser", "browser", "needs_browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with chromedriver here")


class Browser:
    """One window of a browser."""

    def __init__(self, base: str) -> None:
        self.base = base

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the driver answers to a command."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.base + path, data, {"Content-Type": "application/json"}), timeout=110) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, file: Path, width: int, height: int) -> None:
        """Show a file in a window of that size."""
        self.ask("/window/rect", {"width": width, "height": height})
        self.ask("/url", {"url": file.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self.ask("/execute/sync", {"script": script, "args": []})

    def log(self) -> list[str]:
        """Return what the browser complained of."""
        return [entry["message"] for entry in self.ask("/se/log", {"type": "browser"})]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it."""
    driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert driver.stdout is not None
        line = next(line for line in driver.stdout if "started successfully on port" in line)
        root = Browser(f"http://127.0.0.1:{line.rstrip().rstrip('.').rsplit(' ', 1)[1]}")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"binary": CHROMIUM, "args": arguments}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = root.ask("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Browser(f"{root.base}/session/{session}")
        with urlopen(Request(f"{root.base}/session/{session}", method="DELETE"), timeout=60):
            pass
    finally:
        driver.terminate()
        driver.wait(30)
