"""What the real recorder made, played by real Chromium from the library: sought, read off the pixels, by cookie."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Response, expect

from loadtest import clock
from loadtest.rawclient.media import SAMPLE, Clip, load, sample
from loadtest.teacher import VirtualTeacher
from tests.support.browser import PATIENCE, Opener, Site, wait_until
from tests.support.whole_server import Watched, vanish, watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MS = PATIENCE * 1000


@dataclass(frozen=True)
class Recording:
    lesson: str
    resource: dict[str, Any]
    seen: Watched
    """By FFmpeg: what Chromium must show."""


def taught(site: Site, title: str, *clips: Clip) -> Recording:
    """Teach each clip for some seconds, the publisher's machine dying in between; wait for the library."""
    lesson = site.create_lesson(title)
    token = site.token(lesson, "teacher", "teacher")

    async def teach() -> None:
        for number, clip in enumerate(clips, 1):
            teacher = VirtualTeacher(f"{site.url}/whip/{lesson}", token, clip=clip)
            await teacher.start()
            await asyncio.sleep(5)  # of recording
            if number < len(clips):
                await vanish(teacher)
                await asyncio.sleep(3)  # of gap
                continue
            await asyncio.to_thread(site.api, "POST", f"/api/lessons/{lesson}/end", {})
            await teacher.stop()

    with ThreadPoolExecutor(1) as thread:  # Playwright has this thread's loop
        thread.submit(asyncio.run, teach()).result()
    found = wait_until(lambda: site.api("GET", f"/api/lessons/{lesson}").get("resource"), "the library entry", 90)
    resource = site.api("GET", f"/api/library/{found}")
    [file] = [each for each in (Path(site.data) / "archive" / found).iterdir() if each.stem == "lesson"]
    return Recording(lesson, resource, watch(file))


@pytest.fixture(scope="module")
def recordings(kongzhong_server: Site) -> dict[str, Recording]:
    return {
        "mp4": taught(kongzhong_server, "水的三态变化", sample()),
        "webm": taught(kongzhong_server, "小数的加减法", sample(codec="VP8")),
        "resized": taught(kongzhong_server, "静夜思", sample(), load([SAMPLE / "sample-l.mp4"])),
    }


SEEK = """async (video, at) => {
  video.pause();
  const began = performance.now();
  const sought = new Promise((done) => video.addEventListener('seeked', done, {once: true}));
  const shown = new Promise((done) => video.requestVideoFrameCallback((_, frame) => done(frame.mediaTime)));
  video.currentTime = at;
  await sought;
  const mediaTime = await Promise.race([shown, new Promise((done) => setTimeout(() => done(null), 5000))]);
  return {mediaTime, took: performance.now() - began, width: video.videoWidth};
}"""
PIXELS = """video => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext('2d').drawImage(video, 0, 0);
  return canvas.toDataURL('image/png');
}"""


def clock_shown(page: Page) -> int | None:
    """The clock in the picture that the player shows."""
    data = page.locator("#video").evaluate(PIXELS).partition(",")[2]
    return clock.read_image(Image.open(BytesIO(base64.b64decode(data))))


def clock_at(seen: Watched, at: float) -> set[int]:
    """The clocks that may be shown at a time: of the picture that lasts then, and of its neighbours."""
    index = max((index for index, (begin, _) in enumerate(seen.pictures) if begin <= at + 0.001), default=0)
    return {number for _, number in seen.pictures[max(0, index - 1) : index + 2]}


def ready(page: Page) -> None:
    expect(page.locator("#found")).to_be_visible(timeout=MS)
    wait_until(lambda: page.locator("#video").evaluate("video => video.readyState >= 2"), "the first picture")


@pytest.mark.parametrize("kind", ["mp4", "webm", "resized"])
def test_a_recording_is_sought_to_the_picture(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, Recording], kind: str
) -> None:
    made = recordings[kind]
    responses: list[Response] = []
    page = open_page("about:blank")
    page.on("response", lambda response: responses.append(response) if "/media" in response.url else None)
    page.goto(kongzhong_server.link(f"/watch/{made.resource['id']}", made.lesson, "teacher", "teacher"))
    ready(page)
    video = page.locator("#video")
    video.evaluate("video => { video.muted = true; }")
    assert video.evaluate("video => video.duration") == pytest.approx(made.resource["duration"], abs=0.1)
    length = made.seen.pictures[-1][0]
    for part in (0.5, 0.95, 0.1, 0.75):
        found = video.evaluate(SEEK, length * part)
        print(f"SEEK {kind} {part} {found}")
        shown = clock_shown(page)
        assert shown in clock_at(made.seen, length * part), (part, shown, found)
    assert {response.status for response in responses} == {206}
    assert all("authorization" not in response.request.headers for response in responses)


@pytest.mark.parametrize("kind", ["mp4", "webm", "resized"])
def test_a_recording_plays_through(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, Recording], kind: str
) -> None:
    """At double speed, to its end, also over a gap and a change of size: no error, no stall, the right last picture."""
    made = recordings[kind]
    page = open_page(kongzhong_server.link(f"/watch/{made.resource['id']}", made.lesson, "teacher", "teacher"))
    ready(page)
    video = page.locator("#video")
    video.evaluate(
        "video => { video.muted = true; video.currentTime = 0; video.playbackRate = 2; return video.play(); }"
    )
    wait_until(lambda: video.evaluate("video => video.ended || video.error !== null"), "the end of the recording")
    assert video.evaluate("video => video.error && video.error.message") is None
    assert clock_shown(page) in {number for _, number in made.seen.pictures[-3:]}
    if kind == "resized":
        assert video.evaluate("video => video.videoWidth") == 320


def test_the_gap_of_a_publisher_that_died_is_told_in_words(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, Recording]
) -> None:
    made = recordings["resized"]
    page = open_page(kongzhong_server.link(f"/watch/{made.resource['id']}", made.lesson, "teacher", "teacher"))
    ready(page)
    told = " ".join(page.locator("#gap-list button").all_inner_texts())
    assert "缺少画面" in told and "缺少声音" in told


def test_an_unpublished_recording_stays_shut_without_the_cookie(
    kongzhong_server: Site, open_page: Opener, recordings: dict[str, Recording]
) -> None:
    shut, other = recordings["mp4"], recordings["webm"]
    page = open_page(kongzhong_server.link(f"/watch/{other.resource['id']}", other.lesson, "teacher", "teacher"))
    ready(page)  # this one's cookie is set
    fetch = "path => fetch(path, {headers: {Range: 'bytes=0-9'}}).then((response) => response.status)"
    assert page.evaluate(fetch, f"/api/library/{other.resource['id']}/media") == 206
    assert page.evaluate(fetch, f"/api/library/{shut.resource['id']}/media") == 401
