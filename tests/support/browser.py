"""What the page tests stand on: a running site, a Chromium with a camera of its own, and eyes for pixels and levels."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
Opener = Callable[..., Page]
"""What the fixture ``open_page`` gives."""
PATIENCE = 30.0  # seconds that a condition may take on a busy machine; none is expected to take more than a few
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--auto-select-desktop-capture-source=Entire screen",
    # Without a camera permission Chromium hides addresses behind mDNS names, which a machine without multicast
    # cannot resolve.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    # A name that is not localhost, and so not secure over http: the same server as a school's LAN would see it.
    "--host-resolver-rules=MAP school.test 127.0.0.1",
]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first truthy value of ``condition``; fails with ``what`` and the last value when none comes in time."""
    until = time.monotonic() + seconds
    value = condition()
    while not value:
        assert time.monotonic() < until, f"waited {seconds:.0f} s for {what}; the last value was {value!r}"
        time.sleep(0.1)
        value = condition()
    return value


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Site:
    """``kongzhong serve`` as a process of its own, on ports and a data folder of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.http = f"127.0.0.1:{free_port()}"
        self.media = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        self.url = f"http://{self.http}"
        self.log = data / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    # --- its life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        places = ["--data", str(self.data), "--http", self.http, "--media", self.media]
        command = [sys.executable, "-m", "server", "serve", *places]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_until(self._answers, f"{self.url}/healthz (see {self.log})")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, kill: bool = False) -> None:
        if self.process is None:
            return
        (self.process.kill if kill else self.process.terminate)()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    # --- what a test asks of it ---------------------------------------------------------------------------------------

    @cache  # noqa: B019 - a site lives as long as its test module
    def token(self, lesson: str, role: str, seat: str) -> str:
        who = ["--data", str(self.data), "--lesson", lesson, "--role", role, "--seat", seat]
        done = subprocess.run([sys.executable, "-m", "server", "token", *who], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def api(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token or self.token('*', 'ops', 'test')}"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.loads(response.read() or b"null")

    def create_lesson(self, title: str) -> str:
        lesson: str = self.api("POST", "/api/lessons", {"title": title})["id"]
        return lesson

    def link(self, page: str, lesson: str, role: str, seat: str) -> str:
        return f"{self.url}{page}#lesson={lesson}&token={self.token(lesson, role, seat)}"

    @contextmanager
    def teaching(self, lesson: str, *options: str) -> Iterator[None]:
        """A teacher without a browser publishes the test picture and tone meanwhile."""
        command = [sys.executable, "-m", "tests.support.whip_teacher", f"{self.url}/whip/{lesson}", *options]
        environment = {**os.environ, "TEACHER_TOKEN": self.token(lesson, "teacher", "teacher")}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        try:
            if process.stdout.readline().strip() != b"teaching":
                raise AssertionError(process.stderr.read().decode())
            yield
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()
            process.stderr.close()

    def recorded(self, title: str, seconds: float = 6.0) -> tuple[str, str]:
        """Teach a lesson of that title, end it, wait for its entry: (lesson, resource)."""
        lesson = self.create_lesson(title)
        with self.teaching(lesson):
            time.sleep(seconds)  # the length of the recording, not a guess at how long something takes
            self.api("POST", f"/api/lessons/{lesson}/end")
        path = f"/api/lessons/{lesson}"
        resource = wait_until(lambda: self.api("GET", path).get("resource"), "the library entry", 90)
        return lesson, resource


# --- the browser ------------------------------------------------------------------------------------------------------


def launch(playwright: Playwright, autoplay: str = "no-user-gesture-required") -> Browser:
    flags = [*FLAGS, f"--autoplay-policy={autoplay}"]
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


def launch_like(browser: Browser, autoplay: str) -> Browser:
    """One more Chromium of the same driver, with another autoplay policy."""
    flags = [*FLAGS, f"--autoplay-policy={autoplay}"]
    return browser.browser_type.launch(executable_path=CHROMIUM, args=flags)


class Errors:
    """What a page complained about; a test ends with ``assert not errors.seen``."""

    def __init__(self, page: Page) -> None:
        self.seen: list[str] = []
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
        page.on("console", self._console)

    # Refused requests and plain http are part of some tests; a broken policy or script never is.
    EXPECTED = (
        "Failed to load resource",
        "ERR_",
        "WebSocket connection to",
        "Cross-Origin-Opener-Policy header has been ignored",
    )

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(each in message.text for each in self.EXPECTED):
            self.seen.append(message.text)


LOOK = """video => {
  if (!video || video.readyState < 2 || !video.videoWidth) return null;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [32, 18];
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.drawImage(video, 0, 0, 32, 18);
  const data = pen.getImageData(0, 0, 32, 18).data;
  return Array.from({length: 32 * 18}, (_, at) => [data[at * 4], data[at * 4 + 1], data[at * 4 + 2]]);
}"""


def look(page: Page, selector: str) -> list[list[int]] | None:
    """What a <video> shows, as 32 x 18 pixels of [red, green, blue], or ``None`` before its first frame."""
    pixels: list[list[int]] | None = page.locator(selector).evaluate(LOOK)
    return pixels


def is_moving(page: Page, selector: str) -> bool:
    """Whether the picture changes within half a second or so."""
    before = look(page, selector)
    page.wait_for_timeout(400)
    after = look(page, selector)
    if before is None or after is None:
        return False
    changed = sum(
        1 for a, b in zip(before, after, strict=True) if sum(abs(x - y) for x, y in zip(a, b, strict=True)) > 60
    )
    return changed >= 2


LISTEN = """async video => {
  if (!video.srcObject || !video.srcObject.getAudioTracks().length) return 0;
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(video.srcObject).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  for (let turn = 0; turn < 15; turn += 1) {
    await new Promise((done) => setTimeout(done, 100));
    analyser.getFloatTimeDomainData(samples);
    for (const sample of samples) loudest = Math.max(loudest, Math.abs(sample));
  }
  await context.close();
  return loudest;
}"""


def loudness(page: Page, selector: str) -> float:
    """The loudest sample (0..1) that a <video>'s stream plays within 1.5 s."""
    level: float = page.locator(selector).evaluate(LISTEN)
    return level


def is_test_picture(page: Page, selector: str) -> bool:
    """Red on the left, blue on the right."""
    pixels = look(page, selector)
    if pixels is None:
        return False
    left, right = pixels[2 * 32 + 4], pixels[2 * 32 + 28]
    return left[0] > left[2] + 60 and right[2] > right[0] + 60
