"""The relay's tap when recorders come late, die, hang or lie: the lesson goes on, and what is lost is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.media.plane import RequestKeyframe, TapClock, TapPacket
from server.node import limits
from server.node.node import RelayNode
from server.node.tap_queue import TapQueue
from signaling.relay import Offer, RecorderRef, RecorderState
from tests.support.offers import audio, offer, video
from tests.support.recording_plane import RecordingPlane
from tests.support.tap_listener import GENEROUS, TapListener

PUBLISH = offer(audio("sendonly"), video("sendonly"))


class Relay:
    """A node with one published lesson and a hand on its taps."""

    def __init__(self, secret: bytes = b"") -> None:
        self.plane = RecordingPlane()
        self.node = RelayNode(self.plane, addresses=["192.0.2.1"], tap_secret=secret)
        self.events = self.node.events()
        self.sent = 0

    async def teach(self, address: str, lesson: str = "lesson") -> None:
        await self.node.open_lesson(lesson, "数学", RecorderRef(address))
        await self.node.publish(Offer(lesson, f"teacher of {lesson}", "seat", PUBLISH))

    @property
    def video(self) -> int:
        return next(tap for tap, command in self.plane.taps.items() if command.codecs[0].name == "VP8")

    def send(self, count: int = 1, size: int = 100) -> None:
        """Packets that carry their number."""
        items = [TapPacket(self.video, n, n.to_bytes(4) + bytes(size)) for n in range(self.sent, self.sent + count)]
        self.sent += count
        self.plane.on_tap(items)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(GENEROUS):
            while not condition():  # noqa: ASYNC110 (figures have no event to wait for)
                await asyncio.sleep(0.02)

    async def state(self, wanted: str) -> RecorderState:
        async with asyncio.timeout(GENEROUS):
            async for event in self.events:
                if isinstance(event, RecorderState) and event.state == wanted:
                    return event
        raise AssertionError("the events ended")

    def figure(self, name: str) -> float:
        return sum(stats.get(name, 0.0) for stats in self.node.recorder_stats().values())


def numbers(packets: list[bytes]) -> list[int]:
    return [int.from_bytes(packet[:4]) for packet in packets]


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = Relay()
    yield made
    await made.node.shut_down()


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[TapListener]:
    listener = TapListener()
    await listener.listen_unix(tmp_path / "tap")
    yield listener
    await listener.die()


async def test_recording_begins_by_itself_with_the_first_packet(relay: Relay, recorder: TapListener) -> None:
    await relay.teach(recorder.address)
    assert recorder.frames == [] and relay.node.recorder_stats()[recorder.address]["tap_connected"] == 0.0
    relay.plane.on_tap([TapPacket(relay.video, 777, b"first")])
    await recorder.hears("rtp")
    assert recorder.frames == [
        ["hello", 1, b""],
        ["open", "lesson", "数学", 777],
        ["track", "lesson", relay.video, "camera", "video", "VP8", 90000, 1],
        ["rtp", relay.video, [[777, b"first"]]],
    ]


async def test_packets_are_batched_and_clocks_keep_their_place(relay: Relay, recorder: TapListener) -> None:
    await relay.teach(recorder.address)
    relay.send(50)
    relay.plane.on_tap([TapClock(relay.video, 1, 2, 3)])
    relay.send(50)
    assert numbers(await recorder.hears_packets(100)) == list(range(100))
    names = [frame[0] for frame in recorder.frames[3:]]
    assert names == ["rtp", "clock", "rtp"]
    assert recorder.named("clock") == [["clock", relay.video, 1, 2, 3]]


async def test_a_recorder_that_comes_late_gets_what_waited(relay: Relay, tmp_path: Path) -> None:
    await relay.teach(f"unix:{tmp_path / 'tap'}")
    relay.send(10)
    waiting = await relay.state("buffering")
    assert waiting.lesson == "lesson" and waiting.lag_ms > 0
    late = TapListener()
    await late.listen_unix(tmp_path / "tap")
    assert numbers(await late.hears_packets(10)) == list(range(10))
    assert [frame[0] for frame in late.frames[:3]] == ["hello", "open", "track"]
    await late.die()


async def test_a_recorder_that_was_killed_is_told_everything_again(relay: Relay, tmp_path: Path) -> None:
    first = TapListener()
    await first.listen_unix(tmp_path / "tap")
    await relay.teach(first.address)
    relay.send(5)
    await first.hears_packets(5)
    await first.say("state", "lesson", "recording", 12.5, 30.0, 1, "fine")
    heard = await relay.state("recording")
    assert (heard.lag_ms, heard.seconds, heard.gaps, heard.detail) == (12.5, 30.0, 1, "fine")
    await first.die()
    await relay.until(lambda: relay.figure("tap_connected") == 0)
    relay.send(20)
    away = await relay.state("buffering")
    assert (away.seconds, away.gaps) == (30.0, 1)
    second = TapListener()
    await second.listen_unix(tmp_path / "tap")
    relay.send(5)
    assert set(numbers(await second.hears_packets(25))) >= set(range(5, 30))
    assert [frame[:3] for frame in second.frames[1:3]] == [["open", "lesson", "数学"], ["track", "lesson", relay.video]]
    assert relay.figure("tap_connections") == 2
    await second.die()


async def test_what_does_not_fit_is_dropped_oldest_first_and_told(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TAP_QUEUE_BYTES", 400_000)
    await relay.teach(f"unix:{tmp_path / 'tap'}")
    for _ in range(10):
        relay.send(100, size=1000)
        await asyncio.sleep(0)
    await relay.until(lambda: relay.figure("tap_queue_bytes") > 300_000)
    lost = int(relay.figure("tap_dropped"))
    assert 500 <= lost <= 700
    late = TapListener()
    await late.listen_unix(tmp_path / "tap")
    packets = numbers(await late.hears_packets(1000 - lost))
    assert packets == list(range(lost, 1000))
    assert await late.hears("dropped") == [["dropped", relay.video, lost]]
    names = [frame[0] for frame in late.frames]
    assert names.index("dropped") < names.index("rtp")
    await late.die()


async def test_a_recorder_that_does_not_read_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAP_QUEUE_BYTES", 1_000_000)
    monkeypatch.setattr(limits, "TAP_SILENCE", 0.5)
    stuck = TapListener(stalls=True)
    await stuck.listen_unix(tmp_path / "tap")
    relay = Relay()
    await relay.teach(stuck.address)
    relay.send()
    await relay.until(lambda: relay.figure("tap_connected") == 1)
    for _ in range(50):
        relay.send(100, size=1000)
        await asyncio.sleep(0)
    assert relay.figure("tap_queue_bytes") <= 1_000_000
    await relay.until(lambda: len(stuck.per_connection) >= 2)
    await relay.node.shut_down()
    await stuck.die()


async def test_a_recorder_that_falls_silent_is_connected_to_again(
    relay: Relay, recorder: TapListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TAP_SILENCE", 0.1)
    await relay.teach(recorder.address)
    relay.send()
    await recorder.hears("hello", 3)


async def test_a_recorder_that_speaks_something_else_is_left(relay: Relay, recorder: TapListener) -> None:
    await relay.teach(recorder.address)
    relay.send()
    await recorder.hears_packets(1)
    for frame in (["state", "lesson"], ["keyframe", "x"], ["stats", 3]):
        connections = len(recorder.per_connection)
        await recorder.say(*frame)
        await recorder.hears("hello", connections + 1)
    await recorder.hears("open", 4)


async def test_the_recorder_may_ask_for_keyframes_and_report(relay: Relay, recorder: TapListener) -> None:
    await relay.teach(recorder.address)
    relay.send()
    await recorder.hears_packets(1)
    await recorder.say("keyframe", relay.video)
    await recorder.say("keyframe", 999)
    await recorder.say("unknown", 1)
    await recorder.say("stats", {"lag_ms": 7, "segments": 3, "odd": float("nan")})
    await relay.until(lambda: relay.figure("segments") == 3)
    source = next(s for s, command in relay.plane.sources.items() if command.kind == "video")
    assert relay.plane.said(RequestKeyframe) == [RequestKeyframe(source)]
    assert "odd" not in relay.node.recorder_stats()[recorder.address]
    assert relay.figure("tap_connections") == 1


async def test_the_end_is_said_until_it_is_done(relay: Relay, tmp_path: Path) -> None:
    first = TapListener()
    await first.listen_unix(tmp_path / "tap")
    await relay.teach(first.address)
    relay.send(3)
    await relay.node.close_lesson("lesson")
    await first.hears("end")
    assert numbers(first.packets) == [0, 1, 2]
    assert first.frames[-1] == ["end", "lesson"]
    await first.die()
    second = TapListener()
    await second.listen_unix(tmp_path / "tap")
    await second.hears("end")
    assert [frame[0] for frame in second.frames] == ["hello", "open", "track", "rtp", "silent", "end"]
    await second.say("done", "lesson")
    await second.say("stats", {"heard": 1})
    await relay.until(lambda: relay.figure("heard") == 1)
    await second.die()
    third = TapListener()
    await third.listen_unix(tmp_path / "tap")
    await relay.teach(third.address, "next")
    relay.send()
    await third.hears("rtp")
    assert {frame[1] for frame in third.named("open")} == {"next"}
    assert third.named("end") == []
    await third.die()


async def test_a_source_that_falls_silent_is_told(relay: Relay, recorder: TapListener) -> None:
    await relay.teach(recorder.address)
    relay.send(2)
    await relay.node.close("teacher of lesson")
    assert await recorder.hears("silent") == [["silent", relay.video]]
    assert [frame[0] for frame in recorder.frames[-2:]] == ["rtp", "silent"]


async def test_what_waits_is_sent_before_the_relay_stops(recorder: TapListener) -> None:
    relay = Relay()
    await relay.teach(recorder.address)
    relay.send()
    await recorder.hears_packets(1)
    relay.send(200, size=1000)
    await relay.node.shut_down()
    assert len(await recorder.hears_packets(201)) == 201


@pytest.mark.parametrize(("ours", "accepted"), [(b"shared", True), (b"other", False), (b"", False)])
async def test_over_tcp_a_relay_proves_that_it_knows_the_secret(ours: bytes, accepted: bool) -> None:
    listener = TapListener(secret=b"shared")
    await listener.listen_tcp()
    relay = Relay(ours)
    await relay.teach(listener.address)
    relay.send()
    if accepted:
        await listener.hears_packets(1)
    else:
        await relay.until(lambda: len(listener.per_connection) >= 2)
        assert listener.packets == [] and relay.figure("tap_connections") == 0
    assert (listener.refused > 0) == (ours == b"other")
    await relay.node.shut_down()
    await listener.die()


def test_the_queue_drops_by_age_and_keeps_orders() -> None:
    queue = TapQueue()
    queue.add_order(b"open", "open", "lesson", 0.0)
    queue.add_media(b"old", track=1, packets=2, now=0.0)
    queue.add_order(b"end", "end", "lesson", 0.0)
    queue.add_media(b"new", track=1, packets=1, now=9.0)
    late = limits.TAP_QUEUE_AGE + 0.5
    assert queue.age(late) == late
    taken = [queue.take(late) for _ in range(4)]
    assert taken[1:] == [b"open", b"end", b"new"] and taken[0] is not None and b"dropped" in taken[0]
    assert queue.take(late) is None and not queue
    assert (queue.dropped, queue.bytes) == (2, 0)


def test_orders_can_be_taken_back() -> None:
    queue = TapQueue()
    queue.add_order(b"a", "end", "a", 0.0)
    queue.add_order(b"b", "end", "b", 0.0)
    queue.add_order(b"o", "open", "a", 0.0)
    queue.withdraw("end", "a")
    queue.withdraw("open")
    assert queue.take(0.0) == b"b"
    assert queue.take(0.0) is None


def test_what_went_lately_goes_again_in_order_and_orders_do_not() -> None:
    queue = TapQueue()
    queue.add_media(b"old", track=1, packets=1, now=0.0)
    queue.add_order(b"open", "open", "lesson", 1.0)
    queue.add_media(b"one", track=1, packets=1, now=5.0)
    queue.add_media(b"two", track=2, packets=1, now=6.0)
    assert [queue.take(6.0) for _ in range(4)] == [b"old", b"open", b"one", b"two"]
    late = limits.TAP_QUEUE_AGE + 1
    queue.add_media(b"three", track=1, packets=1, now=late)
    queue.rewind(late)
    assert queue.bytes == len(b"onetwothree")
    assert [queue.take(late) for _ in range(4)] == [b"one", b"two", b"three", None]
    assert (queue.bytes, queue.dropped) == (0, 0)
    queue.rewind(late)
    assert [queue.take(late) for _ in range(4)] == [b"one", b"two", b"three", None]


def test_what_is_kept_to_go_again_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAP_QUEUE_BYTES", 1000)
    queue = TapQueue()
    for number in range(50):
        queue.add_media(bytes((number,)) * 100, track=1, packets=1, now=0.0)
        assert queue.take(0.0)
    queue.rewind(0.0)
    again = list(iter(lambda: queue.take(0.0), None))
    assert [frame[0] for frame in again] == list(range(40, 50))
    assert queue.dropped == 0
