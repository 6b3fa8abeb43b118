"""A real browser for tests: Debian's Chromium, driven by its own chromedriver over HTTP, without a library
between.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and CHROMEDRIVER else "no browser here: apt-get install chromium chromium-driver"

_TIMEOUT = 60.0
_KEYS = {
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "ArrowDown": "\ue015",
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
}


class Browser:
    """One window."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; give what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments: Any) -> Any:
        """Run a script until it returns something true."""
        deadline = time.monotonic() + _TIMEOUT
        while not (value := self.run(script, *arguments)):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{script} {arguments} did not become true; the page says:\n{self.text()[:2000]}"
                )
            time.sleep(0.05)
        return value

    def text(self, selector: str = "body") -> str:
        """Return what can be read."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """Return what can be read, element by element."""
        return list(
            self.run("return [...document.querySelectorAll(arguments[0])].map(n => n.innerText)", selector)
        )

    def click(self, selector: str) -> None:
        """Click as a user does, with the pointer in the middle of the element.

        A live list may draw its rows anew between the look for one and the click on it.
        """
        deadline = time.monotonic() + _TIMEOUT
        while True:
            (element,) = self._call("POST", "/element", {"using": "css selector", "value": selector}).values()
            try:
                self._call("POST", f"/element/{element}/click", {})
                return
            except AssertionError as error:
                if "stale element" not in str(error) or time.monotonic() > deadline:
                    raise

    def type(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        actions = []
        for key in keys:
            for sign in [_KEYS[key]] if key in _KEYS else key:
                actions += [{"type": "keyDown", "value": sign}, {"type": "keyUp", "value": sign}]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def drag(self, selector: str, begin: float, end: float) -> None:
        """Drag over an element, from one share of its width to another."""
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top, "
            "b.width, b.height]",
            selector,
        )
        left, top, width, height = box
        y = int(top + height / 2)
        moves = [int(left + width * share) for share in (begin, (begin + end) / 2, end)]
        steps = [{"type": "pointerMove", "duration": 50, "x": x, "y": y} for x in moves]
        actions = [
            steps[0],
            {"type": "pointerDown", "button": 0},
            *steps[1:],
            {"type": "pointerUp", "button": 0},
        ]
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def resize(self, width: int, height: int) -> None:
        """Make the page as large as this, below what windows may be."""
        self._call(
            "POST",
            "/goog/cdp/execute",
            {
                "cmd": "Emulation.setDeviceMetricsOverride",
                "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
            },
        )

    def dark(self, on: bool) -> None:
        """Have the page believe that the user prefers dark colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self._call(
            "POST",
            "/goog/cdp/execute",
            {"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}},
        )

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def errors(self) -> list[str]:
        """Return what the page complained of: scripts that failed or were refused, things that could not be
        loaded.
        """
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Start a browser without a window; `profile` is a folder for what it writes."""
    assert CHROMIUM is not None
    assert CHROMEDRIVER is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        [CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                with urllib.request.urlopen(f"{base}/status", timeout=5):
                    break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,800",
        ]
        options = {"binary": CHROMIUM, "args": [*flags, f"--user-data-dir={profile}"]}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = Browser(base)._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        browser = Browser(f"{base}/session/{session['sessionId']}")
        try:
            yield browser
        finally:
            browser._call("DELETE", "")
    finally:
        driver.terminate()
        driver.wait(20)
