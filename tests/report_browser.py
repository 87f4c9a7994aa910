"""Chromium, driven through its debugging pipe: messages are JSON that ends with a zero byte."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# The text that a key types, and its code.
KEYS = {"Tab": ("", 9), "Enter": ("\r", 13), " ": (" ", 32), "Escape": ("", 27)}
KEYS |= {"ArrowRight": ("", 39), "ArrowDown": ("", 40)}


class Browser:
    """One page of a running Chromium."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._sent, self._session, self._left = 0, "", b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.errors = list[Any]()  # that no script of the page caught
        self.call("Runtime.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while (answer := self._message()).get("id") != self._sent:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"])
        assert "error" not in answer, answer
        return answer["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._read.fileno(), 1 << 16)
            assert more, "Chromium has closed its pipe"
            self._left += more
        first, _, self._left = self._left.partition(b"\0")
        return json.loads(first)

    def open(self, path: Path, width: int = 1280, theme: str = "light") -> None:
        """Load a file as a screen of this width and theme shows it."""
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=path.as_uri())
        while not self.run(f"document.readyState === 'complete' && location == '{path.as_uri()}'"):
            time.sleep(0.02)

    def run(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """One stroke of a key."""
        text, code = KEYS[key]
        same = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)

    def close(self) -> None:
        """Close the pipe."""
        self._read.close()
        self._write.close()

    def focused(self) -> str:
        """The id of the element with the focus, or its text."""
        return self.run("document.activeElement.id || document.activeElement.textContent.trim()")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A Chromium with a new profile in this folder; it ends with the block."""
    assert CHROMIUM is not None
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    # Chromium reads from 3 and writes to 4.
    line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command = ["bash", "-c", line, "bash", CHROMIUM, *flags, f"--user-data-dir={folder / 'user'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=log)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        found = Browser(ours_in, ours_out)
        yield found
        found.close()
    finally:
        process.kill()
        process.wait()
