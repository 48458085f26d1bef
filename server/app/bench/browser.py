"""Chromium on the classroom page: how long from opening the connection to the first frame on the screen."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from server.app.bench.lesson import Lesson
from server.app.demo.server import serving

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)
VISITS = 5
MEASURE = """
() => new Promise((resolve, reject) => {
  const began = performance.timeOrigin;
  const look = () => {
    const video = document.querySelector('video');
    if (video && video.videoWidth > 0 && video.currentTime > 0) resolve(Date.now() - began);
    else if (Date.now() - began > 20000) reject(new Error('no picture'));
    else requestAnimationFrame(look);
  };
  look();
})
"""


def available() -> bool:
    """Whether Debian's Chromium and playwright are here (``make test`` installs both)."""
    return CHROMIUM.exists() and importlib.util.find_spec("playwright") is not None


async def first_frame(data: Path) -> float:
    """Milliseconds from navigation to the first picture, the median of ``VISITS``: page load, WHEP, ICE, DTLS,
    keyframe and decoding together."""
    playwright: Any = importlib.import_module("playwright.async_api")
    times = []
    async with serving(data) as server, playwright.async_playwright() as driver:
        lesson = Lesson(server, data)
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        async with lesson.teacher():
            for visit in range(VISITS):
                page = await browser.new_page()
                await page.goto(lesson.link("classroom", "classroom", f"classroom {visit}"))
                times.append(float(await page.evaluate(MEASURE)))
                await page.close()
        await browser.close()
    return sorted(times)[VISITS // 2]
