"""Chromium without a window, over its debugging pipe: what a page does is seen, not guessed."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time


def find():
    """The browser's program; None: there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)


class Browser:
    """One page. Use as a context manager. prefix: of its command, to run it elsewhere."""

    def __init__(self, width=1100, height=1250, prefix=()):
        self.events, self._number, self._rest = [], 0, b""
        self._folder = tempfile.mkdtemp()
        ends = (*os.pipe(), *os.pipe())
        # Out of the way of 3 and 4, which the browser wants.
        theirs_in, self._out, self._in, theirs_out = (
            fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
        for end in ends:
            os.close(end)
        shell = f'exec 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *prefix, find(), "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--disable-background-networking", "--disable-component-update", "--no-first-run",
             f"--user-data-dir={self._folder}", f"--window-size={width},{height}",
             "about:blank"],
            pass_fds=(theirs_in, theirs_out), start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = None
        target = next(t for t in self.wait(lambda: self.call("Target.getTargets")["targetInfos"],
                                           "a page") if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"],
                                  flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        self.wait(self._is_removed, "the folder to be left alone")

    def _is_removed(self):
        """The browser's other processes may still write while they die."""
        shutil.rmtree(self._folder, ignore_errors=True)
        return not os.path.exists(self._folder)

    def _read(self, seconds):
        if not select.select([self._in], [], [], seconds)[0]:
            return
        part = os.read(self._in, 1 << 20)
        if not part:
            raise RuntimeError("the browser has ended")
        *whole, self._rest = (self._rest + part).split(b"\0")
        self.events += map(json.loads, whole)

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")

        def answer():
            self._read(0.1)
            return next((e for e in self.events if e.get("id") == message["id"]), None)

        found = self.wait(answer, method)
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        return found["result"]

    def wait(self, what, name, seconds=90):
        end = time.monotonic() + seconds
        while not (found := what()):
            if time.monotonic() > end:
                raise TimeoutError(name)
        return found

    def seen(self, method):
        """What the page did so far."""
        self._read(0)
        return [e["params"] for e in self.events if e.get("method") == method]

    def open(self, url, script=True):
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait(lambda: self.seen("Page.loadEventFired") or self._read(0.1), "the page")

    def html(self):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return self.call("DOM.getOuterHTML", nodeId=root)["outerHTML"]

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression,
                         returnByValue=True)["result"].get("value")

    def dark(self, on):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def screenshot(self):
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", clip=clip,
                                          captureBeyondViewport=True)["data"])
