"""Takes the pictures of the docs from the running product: ``make screenshots``. Needs Chromium and ffmpeg."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp
from playwright.async_api import Page, async_playwright

from loadtest.rawclient.media import SAMPLE
from server.app.bench.browser import CHROMIUM, FLAGS
from server.app.bench.lesson import Lesson
from server.app.demo.lesson import SCHOOLS
from server.app.demo.server import DemoServer, serving

HERE = Path(__file__).parent
TITLE = "认识分数"
LAPTOP, SCREEN, PHONE = (1366, 768), (1600, 900), (390, 844)


async def take(data: Path, camera: Path, voice: Path) -> None:
    devices = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
        f"--use-file-for-fake-audio-capture={voice}",
    )
    async with serving(data) as server, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=[*FLAGS, *devices])

        async def page(size: tuple[int, int], link: str, scheme: str = "light") -> Page:
            width, height = size
            opened = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            await opened.goto(link)
            return opened

        lesson = Lesson(server, data, TITLE)
        teacher = await page(LAPTOP, lesson.link("teach", "teacher", "林老师"))
        await teacher.click("#start:not([disabled])")
        rooms = [await page(SCREEN, lesson.link("classroom", "classroom", name)) for name in SCHOOLS]
        phone = await page(PHONE, lesson.link("classroom", "classroom", "枫树岭镇小学"))
        ops = await page((1366, 1280), server.url + "/ops#token=" + lesson.ops_token())
        await asyncio.sleep(40)  # charts want a few points
        await teacher.screenshot(path=HERE / "teach.png")
        await rooms[0].mouse.move(300, 300)
        await asyncio.sleep(0.5)
        await rooms[0].screenshot(path=HERE / "classroom.png")
        await phone.screenshot(path=HERE / "phone.png")
        await ops.screenshot(path=HERE / "ops.png")
        await end(server, lesson)
        await asyncio.sleep(8)
        library = await page(LAPTOP, server.url + "/library#token=" + lesson.ops_token())
        await asyncio.sleep(2)
        await library.screenshot(path=HERE / "library.png")
        await library.click("a[href^='/watch/']")
        await asyncio.sleep(3)
        await library.screenshot(path=HERE / "watch.png")
        await browser.close()


async def end(server: DemoServer, lesson: Lesson) -> None:
    headers = {"Authorization": f"Bearer {lesson.ops_token()}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.post(f"/api/lessons/{lesson.id}/end", json={}) as response,
    ):
        response.raise_for_status()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        camera, voice, data = Path(folder, "camera.mjpeg"), Path(folder, "voice.wav"), Path(folder, "data")
        convert = ["ffmpeg", "-v", "error", "-i", str(SAMPLE / "sample.mp4")]
        subprocess.run([*convert, "-an", "-c:v", "mjpeg", "-q:v", "2", str(camera)], check=True)
        subprocess.run([*convert, "-vn", "-ar", "48000", "-ac", "1", str(voice)], check=True)
        asyncio.run(take(data, camera, voice))


if __name__ == "__main__":
    sys.exit(main())
