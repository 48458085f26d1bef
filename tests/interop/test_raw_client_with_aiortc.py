"""Our raw publisher and watcher against aiortc: a full ICE agent, DTLS client, and a real decoder."""

from __future__ import annotations

import fractions
from itertools import pairwise
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
from tests.support.waiting import until


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
    steps = [later - earlier for earlier, later in pairwise(clocks)]
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


async def test_a_watcher_asks_for_what_its_line_lost_and_gets_it_by_rtx() -> None:
    async with AiortcEndpoint(make_tracks=lambda: [Ticks()]) as endpoint, new_session() as session:
        watcher = Watcher(session, f"{endpoint.url}/whep/one", "", Meters(), WatcherOptions(open_every=1))
        lose_every(11, watcher)
        await watcher.start()
        await until(lambda: watcher.stats().recovered >= 5)
        stats = watcher.stats()
        await watcher.stop()
    assert stats.nacks >= 5
    assert stats.lost == 0
    assert stats.forged == 0


async def test_a_watcher_without_feedback_counts_the_loss_instead() -> None:
    async with AiortcEndpoint(make_tracks=lambda: [Ticks()]) as endpoint, new_session() as session:
        watcher = Watcher(session, f"{endpoint.url}/whep/one", "", Meters(), WatcherOptions(feedback=False))
        lose_every(11, watcher)
        await watcher.start()
        await until(lambda: watcher.stats().lost >= 3)
        stats = watcher.stats()
        await watcher.stop()
    assert (stats.recovered, stats.nacks, stats.plis) == (0, 0, 0)


def lose_every(nth: int, watcher: Watcher) -> None:
    """Let the watcher's line lose every ``nth`` media packet of its first streams, never a retransmission."""
    take, count = watcher._rtp, 0

    def lossy(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % nth or data[1] & 0x7F in watcher._repairs:
            take(data)

    watcher._peer._on_rtp = lossy


async def test_a_publisher_repairs_what_the_server_reports_missing() -> None:
    clocks: list[int | None] = []

    def on_frame(kind: str, frame: Any) -> None:
        if kind == "video":
            clocks.append(clock.read_frame(frame))

    async with AiortcEndpoint(on_frame) as endpoint, new_session() as session:
        publisher = Publisher(session, f"{endpoint.url}/whip/one", "", media.sample(bitrate=1_000_000))
        send, count = publisher._peer.send_sealed, 0

        def lossy(packet: bytes) -> None:
            nonlocal count
            count += 1
            if count % 13 or packet[1] & 0x7F not in (96,):
                send(packet)

        publisher._peer.send_sealed = lossy  # type: ignore[method-assign]
        await publisher.start()
        await until(lambda: publisher.stats.retransmitted >= 5 and len(clocks) > 30)
        await publisher.stop()
    assert publisher.stats.not_in_history == 0
    assert None not in clocks
    assert clocks == sorted(set(clocks))
