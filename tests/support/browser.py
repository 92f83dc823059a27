"""A real Chromium, steered over a pair of pipes (the DevTools protocol), so that tests need no driver package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = next((path for name in BROWSERS if (path := shutil.which(name))), None)

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip

_LAUNCHER = """
import os, sys
for given, between in ((sys.argv[1], 100), (sys.argv[2], 101)):
    os.dup2(int(given), between)
for between, wanted in ((100, 3), (101, 4)):
    os.dup2(between, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads commands from descriptor 3 and writes answers to descriptor 4."""


class Browser:
    """One page in a browser; close it or use it as a context manager."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        from_browser, to_us = os.pipe()
        from_us, to_browser = os.pipe()
        arguments = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "--no-startup-window"]
        self._process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _LAUNCHER, str(from_us), str(to_us), *arguments],
            pass_fds=(from_us, to_us),
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._in, self._out = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._number, self._read = 0, b""
        self.events: list[dict[str, Any]] = []
        self._session = ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._in.close()
        self._out.close()

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its result; events meanwhile are kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._in.write(json.dumps(message).encode() + b"\0")
        self._in.flush()
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Go to a page, anew even where it is open, and wait until it has loaded."""
        self("Page.navigate", url="about:blank")
        self.events.clear()
        self("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        done = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            keys = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self("Input.dispatchKeyEvent", **keys, **({"text": text} if text and kind == "keyDown" else {}))

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self("Input.insertText", text=text)

    def window(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Set size and theme."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[theme])

    def picture(self, path: Path) -> None:
        """Write a PNG of what the window shows."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Errors of scripts and of the page's policy since it was opened."""
        self.run("1")
        thrown = [each for each in self.events if each["method"] == "Runtime.exceptionThrown"]
        logged = [each for each in self.events if each["method"] == "Log.entryAdded"]
        return [json.dumps(each["params"]) for each in (*thrown, *logged)]

    def requests(self) -> list[str]:
        """What the page has loaded."""
        sent = [each for each in self.events if each["method"] == "Network.requestWillBeSent"]
        return [str(each["params"]["request"]["url"]) for each in sent]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            block = os.read(self._out.fileno(), 1 << 16)
            assert block, "the browser has gone"
            self._read += block
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message
