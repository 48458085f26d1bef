"""aiortc publishes, the relay forwards, another aiortc decodes what it watches: VP8, H.264 and Opus, early and late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

from server.media.reference.plane import ReferencePlane
from server.node.node import RelayNode
from signaling import relay
from signaling.relay import Answer, Offer, RecorderRef
from tests.support.tap_listener import TapListener

GENEROUS = 30.0


class Picture(VideoStreamTrack):
    """320 × 240, of one grey that can be told after coding."""

    def __init__(self, grey: int) -> None:
        super().__init__()
        self.grey = grey

    async def recv(self) -> VideoFrame:
        pts, base = await self.next_timestamp()
        frame = VideoFrame(320, 240, "yuv420p")
        for plane, value in zip(frame.planes, (self.grey, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, base
        return frame


class Peer:
    """One aiortc client of the relay."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.pc.on("track", self._track)

    def _track(self, track: MediaStreamTrack) -> None:
        self.tracks[track.kind] = track

    async def publish(self, node: RelayNode, name: str, *codecs: str, grey: int = 200, sends: str = "") -> Answer:
        """Offer these video codecs in this order, and send the first, or ``sends``."""
        self.pc.addTrack(AudioStreamTrack())
        self.pc.addTrack(Picture(grey))
        self._prefer(*codecs)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        self._prefer(sends or codecs[0])
        return await self._negotiate(node.publish, name)

    def _prefer(self, *names: str) -> None:
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        wanted = [codec for name in (*names, "rtx") for codec in capabilities if codec.mimeType == f"video/{name}"]
        self.pc.getTransceivers()[1].setCodecPreferences(wanted)

    async def watch(self, node: RelayNode, name: str) -> Answer:
        self.pc.addTransceiver("audio", "recvonly")
        self.pc.addTransceiver("video", "recvonly")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return await self._negotiate(node.subscribe, name)

    async def _negotiate(self, call: object, name: str) -> Answer:
        answer: Answer = await call(Offer("lesson", name, "seat", self.pc.localDescription.sdp))  # type: ignore[operator]
        await self.pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        return answer

    async def sees(self, grey: int) -> VideoFrame:
        """Wait for a decoded picture of that grey."""
        async with asyncio.timeout(GENEROUS):
            while True:
                frame = await self.tracks["video"].recv()
                assert isinstance(frame, VideoFrame)
                if abs(bytes(frame.planes[0])[120 * frame.planes[0].line_size + 160] - grey) < 12:
                    return frame

    async def hears(self) -> AudioFrame:
        async with asyncio.timeout(GENEROUS):
            frame = await self.tracks["audio"].recv()
            assert isinstance(frame, AudioFrame)
            return frame


@pytest.fixture
async def node() -> AsyncIterator[RelayNode]:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    made = RelayNode(plane, addresses=["127.0.0.1"])
    await made.open_lesson("lesson", "Title", None)
    yield made
    await made.shut_down()
    await plane.close()


@pytest.fixture
async def peers() -> AsyncIterator[list[Peer]]:
    made = [Peer() for _ in range(3)]
    yield made
    await asyncio.gather(*(peer.pc.close() for peer in made))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_watcher_sees_and_hears_the_teacher(node: RelayNode, peers: list[Peer], codec: str) -> None:
    teacher, early, late = peers
    events = node.events()
    await early.watch(node, "early")
    await teacher.publish(node, "teacher", codec)
    frame = await early.sees(200)
    assert (frame.width, frame.height) == (320, 240)
    assert (await early.hears()).sample_rate == 48000
    await late.watch(node, "late")
    await late.sees(200)
    told = []
    async with asyncio.timeout(GENEROUS):
        async for event in events:
            told.append(event)
            if isinstance(event, relay.FirstFrame) and (event.connection, event.kind) == ("late", "video"):
                break
    live = [event for event in told if isinstance(event, relay.PublicationLive)]
    assert {(event.kind, event.codec) for event in live} == {("audio", "opus"), ("video", codec)}
    assert {event.connection for event in told if isinstance(event, relay.ConnectionUp)} >= {"teacher", "early"}


async def test_a_teacher_who_comes_back_is_seen_without_a_new_subscription(node: RelayNode, peers: list[Peer]) -> None:
    before, after, watcher = peers
    await before.publish(node, "before", "VP8", grey=200)
    await watcher.watch(node, "watcher")
    first = await watcher.sees(200)
    await after.publish(node, "after", "VP8", grey=60)
    second = await watcher.sees(60)
    assert first.pts is not None and second.pts is not None and second.pts > first.pts


async def test_a_teacher_may_send_the_second_codec_of_its_offer(
    node: RelayNode, peers: list[Peer], tmp_path: Path
) -> None:
    """As pion does, whose encoder has H.264 while its offer begins with VP8."""
    listener = TapListener()
    await listener.listen_unix(tmp_path / "tap")
    await node.open_lesson("lesson", "Title", RecorderRef(listener.address))
    teacher, early, late = peers
    await early.watch(node, "early")
    await teacher.publish(node, "teacher", "VP8", "H264", sends="H264")
    await early.sees(200)
    await late.watch(node, "late")
    await late.sees(200)
    await listener.hears_packets(100)
    assert {frame[5] for frame in await listener.hears("track", 2)} == {"H264", "opus"}
    await listener.die()


async def test_the_recorder_gets_what_is_published(node: RelayNode, peers: list[Peer], tmp_path: Path) -> None:
    listener = TapListener()
    await listener.listen_unix(tmp_path / "tap")
    await node.open_lesson("lesson", "Title", RecorderRef(listener.address))
    await peers[0].publish(node, "teacher", "VP8")
    await listener.hears_packets(100)
    tracks = {frame[5]: frame[2] for frame in await listener.hears("track", 2)}
    assert set(tracks) == {"VP8", "opus"}
    assert {frame[1] for frame in await listener.hears("clock", 2)} <= set(tracks.values())
    for frame in listener.named("rtp"):
        assert all(packet[0] >> 6 == 2 and len(packet) > 12 for _, packet in frame[2])
    await listener.die()
