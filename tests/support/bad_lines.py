"""A server, a lesson, and clients that reach it over bad lines: Chromium's pages and raw clients."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import statistics
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from playwright.async_api import Browser, Page, Route, async_playwright

from loadtest.rawclient import media, resource
from loadtest.teacher import VirtualTeacher
from server.app import folder
from server.app.demo.server import DemoServer, serving
from signaling.store import LessonStore
from signaling.tokens import Role, Tokens, load_or_make_secret
from tests.support.browser import FLAGS
from tests.support.impaired_line import ImpairedLine, Line
from tests.support.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FULL_RATE = 1_000_000  # bit/s of the highest layer: some 110 packets/s, so that losses come soon
KEEP_PEERS = """
  window.peers = [];
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer { constructor(...all) { super(...all); window.peers.push(this); } };
"""
STATS = """async () => {
  const peer = window.peers.at(-1);
  return peer ? [...(await peer.getStats()).values()] : [];
}"""


@dataclass(frozen=True, slots=True)
class Stats:
    """One reading of a page's getStats (W3C webrtc-stats)."""

    entries: list[dict[str, Any]]

    def one(self, kind: str, media_kind: str) -> dict[str, Any]:
        found = [each for each in self.entries if each["type"] == kind and each.get("kind") == media_kind]
        return found[0] if found else {}

    @property
    def video(self) -> dict[str, Any]:
        return self.one("inbound-rtp", "video")

    @property
    def audio(self) -> dict[str, Any]:
        return self.one("inbound-rtp", "audio")

    @property
    def frames(self) -> int:
        return int(self.video.get("framesDecoded", 0))

    @property
    def width(self) -> int:
        return int(self.video.get("frameWidth", 0))

    @property
    def repaired(self) -> int:
        """Video packets that were lost and came again."""
        return int(self.video.get("retransmittedPacketsReceived", 0))

    @property
    def voice_ms(self) -> float:
        """Of voice that was really played."""
        audio = self.audio
        return (audio.get("totalSamplesReceived", 0) - audio.get("concealedSamples", 0)) / 48

    @property
    def concealed(self) -> float:
        """Share of the voice that was made up."""
        return float(self.audio.get("concealedSamples", 0)) / max(1, self.audio.get("totalSamplesReceived", 0))

    @property
    def lips_ms(self) -> float | None:
        """How far the voice is ahead of the picture, on the publisher's clock; ``None`` before sender reports."""
        played = [each.get("estimatedPlayoutTimestamp") for each in (self.audio, self.video)]
        return None if None in played else float(played[0]) - float(played[1])

    @property
    def layers_sent(self) -> dict[str, dict[str, Any]]:
        """A publisher's video streams by rid."""
        return {
            each.get("rid", ""): each
            for each in self.entries
            if each["type"] == "outbound-rtp" and each["kind"] == "video"
        }


class Room:
    """A page and the line that it is on."""

    def __init__(self, page: Page, line: ImpairedLine) -> None:
        self.page = page
        self.line = line

    async def stats(self) -> Stats:
        return Stats(await self.page.evaluate(STATS))

    async def plays(self, frames: int = 15, voice_ms: float = 500) -> None:
        """Wait until so much more has been decoded, of both."""
        before = await self.stats()

        async def more() -> bool:
            now = await self.stats()
            return now.frames >= before.frames + frames and now.voice_ms >= before.voice_ms + voice_ms

        await eventually(more, f"{frames} more frames and {voice_ms} ms of voice after {before.frames} frames")

    async def lips_meet(self, within_ms: float, samples: int = 5) -> None:
        """Wait until the median of some readings, a quarter of a second apart, is small enough."""
        seen: list[float] = []

        async def meet() -> bool:
            await asyncio.sleep(0.25)
            lips = (await self.stats()).lips_ms
            if lips is not None:
                seen.append(lips)
            return len(seen) >= samples and abs(statistics.median(seen[-samples:])) <= within_ms

        await eventually(meet, f"lip sync within {within_ms} ms; seen {seen}")


class Stage:
    """Made by ``staged``."""

    def __init__(self, server: DemoServer, data: Path, browser: Browser | None) -> None:
        self.server = server
        self._browser = browser
        store = LessonStore(folder.lessons_file(data))
        self.lesson = store.create("bad lines").id
        store.close()
        self._tokens = Tokens(load_or_make_secret(data))

    def token(self, role: Role, seat: str) -> str:
        return self._tokens.issue(self.lesson, role, seat)

    def whip(self) -> str:
        return f"{self.server.url}/whip/{self.lesson}"

    def whep(self) -> str:
        return f"{self.server.url}/whep/{self.lesson}"

    def teacher(self) -> VirtualTeacher:
        """On a perfect line, with three layers."""
        return VirtualTeacher(
            self.whip(), self.token("teacher", "teacher"), clip=media.sample(FULL_RATE, simulcast=True)
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def room(
        self, line: Line, page: str = "classroom", role: Role = "classroom", seed: int = 1
    ) -> AsyncIterator[Room]:
        """A page of ours in Chromium on that line."""
        assert self._browser is not None
        context = await self._browser.new_context(permissions=["camera", "microphone"])
        async with ImpairedLine(line, seed) as impaired:
            tab = await context.new_page()
            await tab.add_init_script(KEEP_PEERS)

            async def reroute(route: Route) -> None:
                response = await route.fetch()
                await route.fulfill(response=response, body=impaired.through(await response.text()))

            await tab.route(re.compile(r"/(whip|whep)/"), reroute)
            token = self.token(role, f"{role} {seed}")
            await tab.goto(f"{self.server.url}/{page}#lesson={self.lesson}&token={token}")
            try:
                yield Room(tab, impaired)
            finally:
                await context.close()


@contextlib.asynccontextmanager
async def staged(data: Path, chromium: bool = True) -> AsyncIterator[Stage]:
    """A whole server in a process of its own, a lesson, and Chromium where it is wanted."""
    async with serving(data) as server:
        if not chromium:
            yield Stage(server, data, None)
            return
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=CHROMIUM, args=[*FLAGS, "--autoplay-policy=no-user-gesture-required"]
            )
            yield Stage(server, data, browser)
            await browser.close()


@contextlib.contextmanager
def over(line: ImpairedLine) -> Iterator[None]:
    """Raw clients that connect meanwhile do it over that line."""
    plain = resource.open_resource

    async def rerouted(*what: Any) -> resource.Resource:
        opened = await plain(*what)
        return replace(opened, answer=line.through(opened.answer))

    with mock.patch.object(resource, "open_resource", rerouted):
        yield
