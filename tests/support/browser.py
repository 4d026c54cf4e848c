"""A headless Chromium, controlled through pipes by its DevTools protocol: no driver, no library, no port.

Messages are JSON, each followed by a zero byte (chromium --remote-debugging-pipe).
"""

import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.require import required

_ACCESSIBILITY = Path(__file__).with_name("accessibility.js").read_text()
_TIMEOUT = 30.0  # seconds; a cold start on a busy machine


class Browser:
    """One page of a browser.

    Attributes:
        requests: the URLs that the page requested.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol. Return its result."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda message: message.get("id") == number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.requests.clear()
        self.call("Page.navigate", url=url)
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def show(self, path: Path, *, width: int, scheme: str) -> None:
        """Open a file as a phone (narrow) or a desktop shows it.

        Args:
            path: an HTML file.
            width: in pixels.
            scheme: light or dark.
        """
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.open(f"file://{path}")

    def unfold(self) -> None:
        """Show all details of the page."""
        self.run("document.querySelectorAll('details').forEach(element => element.open = true)")

    def accessibility_faults(self) -> list[str]:
        """Return what keeps people from reading the page as it is."""
        faults: list[str] = self.run(_ACCESSIBILITY)
        return faults

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + _TIMEOUT
        while True:
            while b"\0" in self._buffer:
                data, _, self._buffer = self._buffer.partition(b"\0")
                got: dict[str, Any] = json.loads(data)
                if got.get("method") == "Network.requestWillBeSent":
                    self.requests.append(got["params"]["request"]["url"])
                if wanted(got):
                    return got
            assert time.monotonic() < end, "the browser does not respond"
            if select.select([self._receive], [], [], 1.0)[0]:
                chunk = os.read(self._receive, 1 << 20)
                assert chunk, "the browser has ended"
                self._buffer += chunk


@contextmanager
def browser(folder: Path, *, size: str = "1200,900") -> Iterator[Browser]:
    """A browser with a fresh profile. Without Chromium the test is skipped, in CI it fails."""
    program = required("chromium", "chromium")
    # The browser reads from its descriptor 3 and writes to 4.
    theirs_in, ours_out = (_high(fd) for fd in os.pipe())
    ours_in, theirs_out = (_high(fd) for fd in os.pipe())

    def hand_over() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--window-size={size}",
        "--no-first-run",
    ]
    command += [
        "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}",
        "--remote-debugging-pipe",
    ]
    with (folder / "chromium.log").open("wb") as log:
        running = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=(3, 4), preexec_fn=hand_over
        )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(10)


def _high(descriptor: int) -> int:
    """Return a duplicate of a descriptor with a number above 4, and close it."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved
