"""Our raw publisher and watcher against aiortc: a full ICE agent, DTLS client, and a real decoder."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Callable
from typing import Any

import av
import pytest
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from loadtest import clock
from loadtest.rawclient import media
from loadtest.rawclient.publisher import Publisher
from loadtest.rawclient.resource import Refusal, new_session
from loadtest.rawclient.watcher import Meters, Watcher, WatcherOptions
from tests.support.aiortc_endpoint import AiortcEndpoint


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_aiortc_decodes_what_the_publisher_sends(codec: str) -> None:
    clocks: list[int | None] = []

    def on_frame(kind: str, frame: Any) -> None:
        if kind == "video":
            clocks.append(clock.read_frame(frame))

    async with AiortcEndpoint(on_frame, token="t") as endpoint, new_session() as session:
        publisher = Publisher(session, f"{endpoint.url}/moved/whip/one", "t", media.sample(codec=codec))
        await publisher.start()
        await until(lambda: len(clocks) > 20 and endpoint.counts["audio"] > 50)
        await until(lambda: publisher.stats.rtt_ms is not None)
        await publisher.stop()
        assert endpoint.counts["deleted"] == 1
    assert None not in clocks
    assert clocks == sorted(set(clocks))
    assert publisher.stats.frames >= len(clocks)


async def test_a_keyframe_request_makes_a_jumping_publisher_send_one() -> None:
    clocks: list[int] = []

    def on_frame(kind: str, frame: Any) -> None:
        number = clock.read_frame(frame) if kind == "video" else None
        if number is not None:
            clocks.append(number)

    async with AiortcEndpoint(on_frame) as endpoint, new_session() as session:
        publisher = Publisher(session, f"{endpoint.url}/whip/one", "", media.sample(), keyframes="jump")
        await publisher.start()
        await until(lambda: len(clocks) > 5)
        (peer,) = endpoint.peers.values()
        receiver = next(r for r in peer.getReceivers() if r.track.kind == "video")
        (ssrc,) = [s.source for s in receiver.getSynchronizationSources()]
        await receiver._send_rtcp_pli(ssrc)
        await until(lambda: publisher.stats.keyframe_jumps > 0)
        seen = len(clocks)
        await until(lambda: len(clocks) > seen + 5)
        await publisher.stop()
    steps = [later - earlier for earlier, later in zip(clocks, clocks[1:], strict=False)]
    assert max(steps) > 1  # it skipped to a keyframe
    assert min(steps) >= 1


class Ticks(VideoStreamTrack):
    """Small moving pictures, encoded by aiortc."""

    async def recv(self) -> Any:
        pts, base = await self.next_timestamp()
        frame = av.VideoFrame(320, 240, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([pts // 3000 % 200 + 20]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, fractions.Fraction(base)
        return frame


async def test_a_watcher_counts_and_assembles_what_aiortc_sends() -> None:
    frames: list[Any] = []
    async with AiortcEndpoint(make_tracks=lambda: [AudioStreamTrack(), Ticks()]) as endpoint, new_session() as session:
        watcher = Watcher(session, f"{endpoint.url}/whep/one", "", Meters(), WatcherOptions(on_frame=frames.append))
        await watcher.start()
        await until(lambda: watcher.stats().frames > 20)
        (peer,) = endpoint.peers.values()
        report = await peer.getStats()
        stats = watcher.stats()
        await watcher.stop()
        assert endpoint.counts["deleted"] == 1
    sent = sum(s.packetsSent for s in report.values() if s.type == "outbound-rtp")
    assert stats.packets + stats.missing == pytest.approx(sent, abs=5)
    assert stats.lost == 0
    assert stats.forged == 0
    assert stats.connected_ms and stats.first_packet_ms and stats.first_keyframe_ms
    assert stats.first_packet_ms <= stats.first_keyframe_ms
    video = [frame for frame in frames if frame.codec != "opus"]
    assert video[0].key
    decoder = av.CodecContext.create({"H264": "h264", "VP8": "vp8"}[video[0].codec], "r")
    decoded = [picture for frame in video for picture in decoder.decode(av.Packet(frame.data))]
    assert decoded[0].width == 320
    assert any(frame.codec == "opus" for frame in frames)


async def test_a_refusal_carries_the_words_of_the_problem_document() -> None:
    async with AiortcEndpoint(token="right") as endpoint, new_session() as session:
        with pytest.raises(Refusal, match="wrong token") as caught:
            await Watcher(session, f"{endpoint.url}/whep/one", "wrong", Meters()).start()
        assert caught.value.status == 401
        assert caught.value.permanent


async def test_a_server_that_is_not_there_is_a_refusal_that_may_pass() -> None:
    async with new_session() as session:
        with pytest.raises(Refusal) as caught:
            await Publisher(session, "http://127.0.0.1:9/whip/one", "", media.sample()).start()
    assert not caught.value.permanent
