"""Chromium simulcast through the relay to another Chromium: the full picture comes by itself, wishes are kept."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from server.media.reference.plane import ReferencePlane
from server.node.node import RelayNode
from signaling.relay import Answer, Offer, Refused

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
NEGOTIATE = """
async (pc, path) => {
  await pc.setLocalDescription();
  const response = await fetch(path, {method: 'POST', body: pc.localDescription.sdp});
  const sdp = await response.text();
  if (!response.ok) throw new Error(sdp);
  await pc.setRemoteDescription({type: 'answer', sdp});
}"""
PUBLISH = f"""
async (codec) => {{
  const size = {{width: 1280, height: 720, frameRate: 15}};
  const media = await navigator.mediaDevices.getUserMedia({{audio: true, video: size}});
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver(media.getAudioTracks()[0], {{direction: 'sendonly', streams: [media]}});
  const video = pc.addTransceiver(media.getVideoTracks()[0], {{direction: 'sendonly', streams: [media], sendEncodings: [
    {{rid: 'l', scaleResolutionDownBy: 4, maxBitrate: 150000}},
    {{rid: 'm', scaleResolutionDownBy: 2, maxBitrate: 500000}},
    {{rid: 'h', maxBitrate: 1500000}}]}});
  const codecs = RTCRtpSender.getCapabilities('video').codecs;
  video.setCodecPreferences(codecs.filter(c => [`video/${{codec}}`, 'video/rtx'].includes(c.mimeType)));
  await ({NEGOTIATE})(pc, '/whip');
}}"""
WATCH = f"""
async () => {{
  const pc = window.pc = new RTCPeerConnection();
  const stream = new MediaStream();
  const video = window.video = document.createElement('video');
  video.muted = video.autoplay = true;
  document.body.append(video);
  pc.ontrack = event => {{ stream.addTrack(event.track); video.srcObject = stream; }};
  for (const kind of ['audio', 'video']) pc.addTransceiver(kind, {{direction: 'recvonly'}});
  await ({NEGOTIATE})(pc, '/whep');
}}"""


class Stage:
    """A relay behind two plain HTTP doors."""

    def __init__(self, node: RelayNode) -> None:
        self.node = node
        self.app = web.Application()
        self.app.router.add_get("/", self._page)
        self.app.router.add_post("/whip", self._whip)
        self.app.router.add_post("/whep", self._whep)

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><body></body>", content_type="text/html")

    async def _whip(self, request: web.Request) -> web.Response:
        return await self._answer(self.node.publish(Offer("lesson", "teacher", "seat", await request.text())))

    async def _whep(self, request: web.Request) -> web.Response:
        return await self._answer(self.node.subscribe(Offer("lesson", "classroom", "seat", await request.text())))

    async def _answer(self, call: object) -> web.Response:
        try:
            answer: Answer = await call  # type: ignore[misc]
        except Refused as error:
            return web.Response(text=str(error), status=400)
        return web.Response(text=answer.sdp, status=201, content_type="application/sdp")


@pytest.fixture
async def stage() -> AsyncIterator[tuple[RelayNode, str]]:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    node = RelayNode(plane, addresses=["127.0.0.1"])
    await node.open_lesson("lesson", "Title", None)
    runner = web.AppRunner(Stage(node).app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield node, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()
    await node.shut_down()
    await plane.close()


async def width(page: Page, wanted: int) -> None:
    """Wait until pictures of that width are shown, and still move."""
    await page.wait_for_function("w => window.video.videoWidth === w", arg=wanted, timeout=60_000)
    shown = await page.evaluate("video.getVideoPlaybackQuality().totalVideoFrames")
    await page.wait_for_function(
        "n => window.video.getVideoPlaybackQuality().totalVideoFrames > n + 5", arg=shown, timeout=60_000
    )


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_layers_reach_the_watcher(stage: tuple[RelayNode, str], codec: str) -> None:
    node, url = stage
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        teacher, classroom = await browser.new_page(), await browser.new_page()
        await asyncio.gather(teacher.goto(url), classroom.goto(url))
        await teacher.evaluate(PUBLISH, codec)
        await classroom.evaluate(WATCH)
        await width(classroom, 1280)
        await node.choose_layer("classroom", "l")
        await width(classroom, 320)
        await node.choose_layer("classroom", "h")
        await width(classroom, 1280)
        await browser.close()
