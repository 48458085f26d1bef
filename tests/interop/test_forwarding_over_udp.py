"""The whole plane over real sockets: one publisher, several subscribers, loss in both directions, a late joiner."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from server.media.plane import AddSink, AddSource, AddTap, Codec, Event, SinkLive, TapItem, TapPacket
from server.media.reference.forwarding import rtcp, rtp
from server.media.reference.plane import ReferencePlane
from tests.support.raw_peer import RawPeer
from tests.support.routing import PUBLISHER_IDS, SUBSCRIBER_IDS, VP8, packet, vp8_payload
from tests.support.waiting import until

VIDEO, RTX = 500, 501
OPUS = Codec("opus", 111, 48000, channels=2)


class Classroom:
    """A subscriber; it asks again for what it misses."""

    def __init__(self, peer: RawPeer, number: int) -> None:
        self.peer = peer
        self.ssrc = 1000 * number
        self.packets: dict[int, bytes] = {}  # payload by sequence number
        self.recovered = 0
        peer.on_rtp = self._take

    def _take(self, data: bytes) -> None:
        header = rtp.parse(data, len(data))
        assert header is not None
        payload = data[header.start : header.end]
        if header.ssrc == self.ssrc:
            self.packets[header.sequence] = payload
        elif header.ssrc == self.ssrc + 1:
            self.packets.setdefault(int.from_bytes(payload[:2], "big"), payload[2:])
            self.recovered += 1

    @property
    def payloads(self) -> list[bytes]:
        return [self.packets[number] for number in sorted(self.packets)]

    def ask_for_holes(self) -> None:
        numbers = sorted(self.packets)
        holes = [missing for a, b in pairwise(numbers) for missing in range(a + 1, b)]
        if holes:
            self.peer.send_rtcp(rtcp.receiver_report(9) + rtcp.nack(9, self.ssrc, holes))


class Lesson:
    def __init__(self, plane: ReferencePlane) -> None:
        self.plane = plane
        self.events: list[Event] = []
        self.taps: list[TapItem] = []
        plane.on_events = self.events.extend
        plane.on_tap = self.taps.extend
        self.teacher = RawPeer()
        self.rooms: list[Classroom] = []
        self.sent: list[bytes] = []
        self._sequence = 100

    async def begin(self) -> None:
        source = AddSource(1, 1, "video", "0", (VP8,), PUBLISHER_IDS, ssrcs=((VIDEO, RTX),))
        self.plane.submit([self.teacher.open_transport(1), source])
        await self.teacher.connect(self.plane.port)

    async def join(self, host: str = "127.0.0.1", profiles: bytes | None = None) -> Classroom:
        number = len(self.rooms) + 2
        peer = RawPeer(host=host, profiles=profiles) if profiles else RawPeer(host=host)
        room = Classroom(peer, number)
        self.rooms.append(room)
        sink = AddSink(number, number, "video", "0", room.ssrc, room.ssrc + 1, (VP8,), SUBSCRIBER_IDS, "teacher", 1)
        self.plane.submit([room.peer.open_transport(number), sink])
        await room.peer.connect(self.plane.port)
        return room

    def packet(self, key: bool = False, begins: bool = True) -> bytes:
        payload = vp8_payload(self._sequence, self._sequence, key=key, begins=begins) + random.randbytes(800)
        self.sent.append(payload)
        self._sequence += 1
        return packet(VIDEO, self._sequence, 3000 * self._sequence, payload)

    async def teach(self, packets: int, lost: Callable[[int], bool] = lambda index: False) -> list[bytes]:
        """Send packets; those that are ``lost`` are returned instead."""
        kept = []
        for index in range(packets):
            data = self.packet(key=not self.sent)
            if lost(index):
                kept.append(data)
            else:
                self.teacher.send_rtp(data)
            if index % 4 == 3:
                await asyncio.sleep(0.004)
        return kept


@asynccontextmanager
async def lesson() -> AsyncIterator[Lesson]:
    plane = await ReferencePlane.open("", 0)
    running = Lesson(plane)
    try:
        await running.begin()
        yield running
    finally:
        for peer in [running.teacher, *(room.peer for room in running.rooms)]:
            peer.close()
        await plane.close()


async def test_everybody_gets_every_packet_as_it_was() -> None:
    async with lesson() as running:
        rooms = [await running.join() for _ in range(4)]
        await running.teach(400)
        for room in rooms:
            await room.peer.until(lambda room=room: len(room.packets) == 400)
            assert [payload[5:] for payload in room.payloads] == [payload[5:] for payload in running.sent]
            assert not room.peer.undecryptable
        assert {event.sink for event in running.events if isinstance(event, SinkLive)} == {2, 3, 4, 5}
        stats = running.plane.stats()
        assert stats.counters["rtp_in"] == 400
        assert stats.counters["rtp_out"] == 1600
        assert sum(stats.transit.counts) > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("profile", [b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"])
async def test_every_profile_and_family_side_by_side(host: str, profile: bytes) -> None:
    async with lesson() as running:
        if len(running.plane.families) < 2:
            pytest.skip("no IPv6 here")
        usual = await running.join()
        room = await running.join(host, profile)
        await running.teach(40)
        for each in (usual, room):
            await each.peer.until(lambda each=each: len(each.packets) == 40)
        assert room.peer.profile == profile


async def test_losses_towards_a_classroom_are_healed_by_rtx() -> None:
    async with lesson() as running:
        room, other = await running.join(), await running.join()
        await running.teach(100)
        await room.peer.until(lambda: len(room.packets) == 100)
        dice = random.Random(4)
        room.peer.lossy = lambda data: 128 <= data[0] <= 191 and dice.random() < 0.05
        await running.teach(400)
        room.peer.lossy = lambda data: False
        await running.teach(4)

        async with asyncio.timeout(20):
            while len(room.packets) < 504:
                room.ask_for_holes()
                await asyncio.sleep(0.15)
        assert room.recovered > 5
        assert [payload[5:] for payload in room.payloads] == [payload[5:] for payload in running.sent]
        await other.peer.until(lambda: len(other.packets) == 504)
        assert other.recovered == 0


async def test_losses_from_the_teacher_are_healed_before_the_classrooms_notice() -> None:
    async with lesson() as running:
        rooms = [await running.join() for _ in range(2)]
        kept = await running.teach(200, lost=lambda index: index % 20 == 7)
        wanted = {int.from_bytes(data[2:4], "big"): data for data in kept}
        answered: set[int] = set()

        def answer() -> bool:
            for compound in running.teacher.rtcp:
                for item in rtcp.parse(compound):
                    for number in item.sequences if isinstance(item, rtcp.Nack) else ():
                        if number in wanted and number not in answered:
                            original = wanted[number]
                            again = packet(RTX, len(answered), int.from_bytes(original[4:8], "big"),
                                           original[2:4] + original[12:], payload_type=97)  # fmt: skip
                            running.teacher.send_rtp(again)
                            answered.add(number)
            return len(answered) == len(wanted)

        await running.teacher.until(answer)
        for room in rooms:
            await room.peer.until(lambda room=room: len(room.packets) == 200)
            assert [payload[5:] for payload in room.payloads] == [payload[5:] for payload in running.sent]
        assert running.plane.stats().counters["lost_in"] == 0


async def test_a_late_joiner_starts_from_the_cache_and_the_teacher_is_not_asked() -> None:
    async with lesson() as running:
        await running.join()
        await running.teach(300)
        before = running.plane.stats().counters["keyframe_out"]
        late = await running.join()
        await running.teach(20)
        await late.peer.until(lambda: len(late.packets) == 320)
        assert [payload[5:] for payload in late.payloads] == [payload[5:] for payload in running.sent]
        assert running.plane.stats().counters["keyframe_out"] == before


async def test_a_classroom_that_moves_to_another_address_goes_on() -> None:
    async with lesson() as running:
        room = await running.join()
        await running.teach(20)
        await room.peer.until(lambda: len(room.packets) == 20)
        room.peer.bind(running.plane.port)
        await room.peer.check()
        await running.teach(20)
        await room.peer.until(lambda: len(room.packets) == 40)
        assert sorted(room.packets) == list(range(min(room.packets), min(room.packets) + 40))


async def test_a_tap_hears_the_lesson_in_clear() -> None:
    async with lesson() as running:
        running.plane.submit([AddTap(99, 1, (Codec("VP8", 120, 90000),))])
        await running.teach(50)
        await until(lambda: len(running.taps) == 50)
        packets = [item.data for item in running.taps if isinstance(item, TapPacket)]
        assert [data[12:] for data in packets] == running.sent
        assert {data[1] & 0x7F for data in packets} == {120}
