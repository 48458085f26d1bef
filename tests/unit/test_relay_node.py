"""The relay as signaling sees it: publishers, watchers before and after them, layers, restarts, bounds, events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from server.media.plane import (
    AddTap,
    BindSink,
    CloseTransport,
    Layer,
    LineReport,
    OpenTransport,
    RestartIce,
    SetLayer,
    SinkLayer,
    SinkLive,
    SourceLayers,
    SourceSilent,
    TransportLost,
    TransportReady,
)
from server.negotiation.sdp import parse
from server.node import limits
from server.node.addresses import candidate_addresses
from server.node.events import EventHub
from server.node.local import LocalDirectory
from server.node.node import RelayNode
from signaling import relay
from signaling.relay import Answer, Offer, RecorderRef, Refused, RelayEvent
from tests.support.offers import TRANSPORT, audio, load, offer, video
from tests.support.recording_plane import RecordingPlane

PUBLISH = offer(audio("sendonly"), video("sendonly"))
WATCH = offer(audio("recvonly"), video("recvonly"))
VOICE = offer(audio("sendonly"), session=())
H264_LINES = ["a=rtpmap:102 H264/90000", "a=fmtp:102 packetization-mode=1;profile-level-id=42e01f"]
H264_VIDEO = ["m=video 9 UDP/TLS/RTP/SAVPF 102", "a=mid:1", "a=DIRECTION", *TRANSPORT, *H264_LINES]
BOTH_CODECS = offer(
    audio("sendonly"), [line.replace("SAVPF 96", "SAVPF 96 102") for line in video("sendonly", *H264_LINES)]
)
SIMULCAST = load("chromium-publish-simulcast-vp8")
LAYERS = (Layer("l", 150_000, 320, 180), Layer("m", 500_000, 640, 360), Layer("h", 1_500_000, 1280, 720))
FRESH = "a=ice-ufrag:fresh\r\na=ice-pwd:" + "f" * 24 + "\r\n"


def h264(direction: str) -> str:
    return offer(audio(direction), [line.replace("DIRECTION", direction) for line in H264_VIDEO])


@dataclass
class Scene:
    """One relay with one lesson, time in hand, and its events collected."""

    plane: RecordingPlane = field(default_factory=RecordingPlane)
    now: float = 100.0
    capacity: int = limits.CONNECTIONS

    def __post_init__(self) -> None:
        self.node = RelayNode(
            self.plane, addresses=["192.0.2.1", "2001:db8::1"], clock=lambda: self.now, capacity=self.capacity
        )
        self.reader = self.node.events()

    async def publish(self, connection: str = "teacher", sdp: str = PUBLISH, publication: str = "camera") -> Answer:
        return await self.node.publish(Offer("lesson", connection, "seat", sdp, publication))

    async def watch(self, connection: str = "classroom", sdp: str = WATCH, publication: str = "camera") -> Answer:
        return await self.node.subscribe(Offer("lesson", connection, "seat", sdp, publication))

    def transport(self, answer: Answer) -> int:
        ufrag = parse(answer.sdp).media[0].attribute("ice-ufrag")
        return next(t for t, opened in self.plane.transports.items() if opened.local_ufrag == ufrag)

    def source(self, answer: Answer, kind: str = "video") -> int:
        transport = self.transport(answer)
        return next(s for s, c in self.plane.sources.items() if c.transport == transport and c.kind == kind)

    def sink(self, answer: Answer, kind: str = "video") -> int:
        transport = self.transport(answer)
        return next(s for s, c in self.plane.sinks.items() if c.transport == transport and c.kind == kind)

    def layers(self, answer: Answer, layers: tuple[Layer, ...] = LAYERS, codec: str = "VP8") -> None:
        self.plane.happen(SourceLayers(self.source(answer), codec, layers, 0))

    async def events(self) -> list[RelayEvent]:
        """All that have happened and not been read."""
        marker = relay.ConnectionUp("marker", "")
        self.node._hub.emit(marker)
        told: list[RelayEvent] = []
        async for event in self.reader:
            if event == marker:
                break
            told.append(event)
        return told


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.node.open_lesson("lesson", "Title", None)
    yield made
    await made.node.shut_down()


async def refused(call: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_publisher_and_a_watcher_are_bound(scene: Scene) -> None:
    published, watched = await scene.publish(), await scene.watch()
    for kind in ("audio", "video"):
        assert scene.plane.bound[scene.sink(watched, kind)] == scene.source(published, kind)
    assert scene.plane.layers[scene.sink(watched)] == ""  # the only stream of the publisher
    candidates = list(parse(watched.sdp).media[0].attributes("candidate"))
    assert [line.split()[4:6] for line in candidates] == [["192.0.2.1", "5004"], ["2001:db8::1", "5004"]]
    assert published.etag != watched.etag


async def test_a_watcher_may_come_before_the_publisher(scene: Scene) -> None:
    watched = await scene.watch()
    assert scene.plane.bound[scene.sink(watched)] is None
    published = await scene.publish()
    assert scene.plane.bound[scene.sink(watched)] == scene.source(published)
    assert scene.plane.layers[scene.sink(watched)] == ""


async def test_a_publication_is_found_by_its_name(scene: Scene) -> None:
    camera, screen = await scene.publish(), await scene.publish("screen", publication="screen")
    watched = await scene.watch(publication="screen")
    assert scene.plane.bound[scene.sink(watched)] == scene.source(screen)
    assert scene.transport(camera) in scene.plane.transports


async def test_a_teacher_who_comes_back_replaces_the_old_connection(scene: Scene) -> None:
    first, watched = await scene.publish("before", SIMULCAST), await scene.watch()
    scene.layers(first)
    old, sink = scene.transport(first), scene.sink(watched)
    assert scene.plane.layers[sink] == "m"
    second = await scene.publish("after")
    assert old not in scene.plane.transports
    assert scene.plane.bound[sink] == scene.source(second)
    assert scene.plane.layers[sink] == ""
    batch = scene.plane.batches[-1]
    closing = batch.index(CloseTransport(old))
    assert all(index < closing for index, c in enumerate(batch) if isinstance(c, BindSink))
    assert (await refused(scene.node.trickle("before", "a=end-of-candidates"))).code == "unknown-connection"


async def test_sinks_wait_when_the_publisher_is_lost_and_follow_the_next(scene: Scene) -> None:
    first, watched = await scene.publish(), await scene.watch()
    sink = scene.sink(watched)
    scene.plane.happen(TransportLost(scene.transport(first), "consent", 0))
    assert scene.plane.bound[sink] is None
    assert relay.ConnectionDown("lesson", "teacher", "consent") in await scene.events()
    second = await scene.publish("again")
    assert scene.plane.bound[sink] == scene.source(second)


async def test_a_publisher_without_video_leaves_the_video_sinks_unbound(scene: Scene) -> None:
    await scene.publish()
    watched = await scene.watch()
    second = await scene.publish("voice", VOICE)
    assert scene.plane.bound[scene.sink(watched)] is None
    assert scene.plane.bound[scene.sink(watched, "audio")] == scene.source(second, "audio")


async def test_a_watcher_that_cannot_play_what_is_published_is_told_which_codec(scene: Scene) -> None:
    await scene.publish(sdp=h264("sendonly"))
    error = await refused(scene.watch())
    assert (error.code, error.extra) == ("no-common-codec", {"offered": ["VP8"], "accepted": ["H264"]})
    assert scene.node.stats().connections == 1
    await scene.watch("other", h264("recvonly"))


async def test_a_waiting_watcher_that_cannot_play_what_comes_is_let_go(scene: Scene) -> None:
    watched = await scene.watch()
    transport = scene.transport(watched)
    await scene.publish(sdp=h264("sendonly"))
    assert transport not in scene.plane.transports
    assert relay.ConnectionDown("lesson", "classroom", "no-common-codec") in await scene.events()


async def test_refusals_of_negotiation_are_the_ports(scene: Scene) -> None:
    assert (await refused(scene.publish(sdp="hello"))).code == "not-sdp"
    assert (await refused(scene.watch(sdp="v=0\n" + "m=video 9 RTP/SAVPF 96\n" * 200))).code == "too-many-sections"
    error = await refused(scene.watch(sdp=load("chromium-watch-av1-vp9-only")))
    assert error.extra == {"offered": ["AV1", "VP9"], "accepted": ["VP8", "H264"]}
    assert scene.plane.batches == []
    assert scene.node.stats().refused_total == 3


async def test_unknown_lessons_and_connections_are_refused(scene: Scene) -> None:
    assert (await refused(scene.node.publish(Offer("other", "c", "s", PUBLISH)))).code == "unknown-lesson"
    for call in (scene.node.trickle("x", FRESH), scene.node.restart("x", FRESH), scene.node.choose_layer("x", None)):
        assert (await refused(call)).code == "unknown-connection"
    await scene.node.close("x")
    await scene.node.close_lesson("x")
    await scene.publish()
    assert (await refused(scene.publish())).code == "unavailable"


async def test_connections_and_pending_handshakes_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING", 2)
    monkeypatch.setattr(limits, "CONNECTIONS_PER_LESSON", 3)
    first, _ = await scene.watch("1"), await scene.watch("2")
    assert (await refused(scene.watch("3"))).code == "full"
    scene.plane.happen(TransportReady(scene.transport(first), 0))
    await scene.watch("3")
    await scene.node.close("2")
    await scene.watch("4")
    monkeypatch.setattr(limits, "PENDING", 9)
    assert (await refused(scene.watch("5"))).code == "full"
    monkeypatch.setattr(limits, "LESSONS", 1)
    assert (await refused(scene.node.open_lesson("more", "", None))).code == "full"
    await scene.node.open_lesson("lesson", "Title", None)


async def test_an_ended_lesson_is_gone_with_all_its_connections(scene: Scene) -> None:
    await scene.publish()
    await scene.watch()
    await scene.node.close_lesson("lesson")
    assert not scene.plane.transports and not scene.plane.sinks and not scene.plane.sources
    assert (await refused(scene.watch("late"))).code == "unknown-lesson"
    assert scene.node.stats().connections == 0 and scene.node.stats().pending == 0


async def test_a_closed_connection_is_forgotten(scene: Scene) -> None:
    watched = await scene.watch()
    transport = scene.transport(watched)
    await scene.node.close("classroom")
    await scene.node.close("classroom")
    assert transport not in scene.plane.transports
    assert scene.plane.said(CloseTransport) == [CloseTransport(transport)]
    scene.plane.happen(TransportReady(transport, 0), LineReport(transport, None, 0.0, None, 0, 0))
    assert await scene.events() == []


async def test_an_ice_restart_gets_new_credentials_and_a_new_etag(scene: Scene) -> None:
    before = await scene.publish()
    transport = scene.transport(before)
    after = await scene.node.restart("teacher", FRESH)
    told = scene.plane.said(RestartIce)[0]
    assert (told.transport, told.remote_ufrag, told.remote_pwd) == (transport, "fresh", "f" * 24)
    assert after.etag != before.etag
    assert f"a=ice-ufrag:{told.local_ufrag}\r\na=ice-pwd:{told.local_pwd}\r\n" in after.sdp
    assert "a=candidate:1 1 udp 2130706431 192.0.2.1 5004 typ host\r\n" in after.sdp
    again = await refused(scene.node.restart("teacher", FRESH))
    assert again.code == "bad-fragment"


async def test_trickle_takes_candidates_and_refuses_other_credentials(scene: Scene) -> None:
    await scene.publish()
    mine = "a=ice-ufrag:theirs\r\na=ice-pwd:" + "theirpwd" * 4 + "\r\na=end-of-candidates\r\n"
    batches = len(scene.plane.batches)
    await scene.node.trickle("teacher", mine)
    await scene.node.trickle("teacher", "a=end-of-candidates")
    assert (await refused(scene.node.trickle("teacher", FRESH))).code == "bad-fragment"
    assert (await refused(scene.node.trickle("teacher", "junk"))).code == "bad-fragment"
    assert len(scene.plane.batches) == batches


async def test_layers_follow_the_line_and_the_client(scene: Scene) -> None:
    published, watched = await scene.publish(sdp=SIMULCAST), await scene.watch()
    sink, transport = scene.sink(watched), scene.transport(watched)
    assert sink not in scene.plane.layers  # which layers live is not known yet
    scene.layers(published)
    assert scene.plane.layers[sink] == "m"
    for _ in range(12):
        scene.now += 1.0
        scene.layers(published)
        scene.plane.happen(LineReport(transport, 5_000_000, 0.0, 20.0, 600_000, 0))
    assert scene.plane.layers[sink] == "h"
    await scene.node.choose_layer("classroom", "l")
    assert scene.plane.layers[sink] == "l"
    scene.plane.happen(SinkLayer(sink, "l", 0))
    assert relay.LayerNow("lesson", "classroom", "l", "client") in await scene.events()
    assert (await refused(scene.node.choose_layer("classroom", "x"))).code == "unknown-layer"
    assert (await refused(scene.node.choose_layer("teacher", "l"))).code == "unknown-layer"
    await scene.node.choose_layer("classroom", None)
    assert [command.rid for command in scene.plane.said(SetLayer)] == ["m", "h", "l"]
    assert scene.node.stats().layer_changes_total == 1


async def test_a_line_that_carries_no_video_keeps_the_voice(scene: Scene) -> None:
    published, watched = await scene.publish(), await scene.watch()
    scene.layers(published, (Layer("", 1_500_000),))
    for _ in range(8):
        scene.now += 1.0
        scene.plane.happen(LineReport(scene.transport(watched), 100_000, 0.3, 900.0, 1_500_000, 0))
    assert scene.plane.layers[scene.sink(watched)] is None
    assert scene.node.stats().voice_only == 1
    assert scene.plane.bound[scene.sink(watched, "audio")] == scene.source(published, "audio")


async def test_one_slow_classroom_does_not_move_another(scene: Scene) -> None:
    published, slow, fast = await scene.publish(sdp=SIMULCAST), await scene.watch("slow"), await scene.watch("fast")
    for _ in range(10):
        scene.now += 1.0
        scene.layers(published)
        scene.plane.happen(
            LineReport(scene.transport(slow), 180_000, 0.15, 500.0, 500_000, 0),
            LineReport(scene.transport(fast), 5_000_000, 0.0, 20.0, 500_000, 0),
        )
    assert scene.plane.layers[scene.sink(slow)] in ("l", None)
    assert scene.plane.layers[scene.sink(fast)] == "h"


async def test_what_happens_is_told_in_order(scene: Scene) -> None:
    published, watched = await scene.publish(sdp=SIMULCAST), await scene.watch()
    scene.now += 0.25
    sink = scene.sink(watched)
    scene.plane.happen(TransportReady(scene.transport(watched), 0), TransportReady(scene.transport(watched), 0))
    scene.layers(published, LAYERS[:1])
    scene.plane.happen(SinkLive(sink, 0), SinkLive(sink, 0), SourceSilent(scene.source(published), 0))
    scene.plane.happen(LineReport(scene.transport(watched), None, 0.01, 30.0, 9, 0))
    assert await scene.events() == [
        relay.ConnectionUp("lesson", "classroom"),
        relay.PublicationLive(
            "lesson", "teacher", "camera", "video", "VP8", (relay.LayerInfo("l", 150_000, 320, 180, 0.0),)
        ),
        relay.FirstFrame("lesson", "classroom", "video", 250.0),
        relay.PublicationSilent("lesson", "teacher", "camera", "video"),
        relay.Line("lesson", "classroom", None, 0.01, 30.0, 9),
    ]


async def test_a_reader_that_falls_behind_loses_line_reports_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENTS", 4)
    hub = EventHub()
    reader = hub.reader()
    up = [relay.ConnectionUp("lesson", str(n)) for n in range(3)]
    lines = [relay.Line("lesson", str(n), None, 0.0, None, 0) for n in range(3)]
    live = relay.PublicationLive("lesson", "t", "camera", "video", "VP8", ())
    for event in (up[0], lines[0], lines[1], live, up[1], lines[2], up[2]):
        hub.emit(event)
    hub.close()
    assert [event async for event in reader] == [up[0], live, up[1], up[2]]
    assert hub.dropped == reader.dropped == 3


async def test_readers_that_are_gone_are_forgotten(scene: Scene) -> None:
    for _ in range(2 * limits.READERS):
        scene.node.events()
    kept = [scene.node.events() for _ in range(limits.READERS - 1)]
    assert (await refused(_as_call(scene.node.events))).code == "full"
    del kept


async def _as_call(function: object) -> None:
    function()  # type: ignore[operator]


async def test_a_reader_waits_for_what_comes(scene: Scene) -> None:
    waiting = asyncio.create_task(anext(scene.reader))
    await asyncio.sleep(0)
    watched = await scene.watch()
    scene.plane.happen(TransportReady(scene.transport(watched), 0))
    assert await waiting == relay.ConnectionUp("lesson", "classroom")


async def test_taps_follow_the_publications(scene: Scene) -> None:
    await scene.node.open_lesson("lesson", "Title", RecorderRef("unix:/nowhere/at/all"))
    first = await scene.publish()
    taps = {tap: command.codecs[0].name for tap, command in scene.plane.taps.items()}
    assert sorted(taps.values()) == ["VP8", "opus"]
    assert {scene.plane.bound[tap] for tap in taps} == {scene.source(first), scene.source(first, "audio")}
    second = await scene.publish("again")
    assert {scene.plane.bound[tap] for tap in taps} == {scene.source(second), scene.source(second, "audio")}
    third = await scene.publish("other codec", h264("sendonly"))
    assert sorted(command.codecs[0].name for command in scene.plane.taps.values()) == ["H264", "opus"]
    assert len(scene.plane.said(AddTap)) == 3
    assert {scene.plane.bound[tap] for tap in scene.plane.taps} == {
        scene.source(third),
        scene.source(third, "audio"),
    }
    await scene.node.close_lesson("lesson")
    assert not scene.plane.taps


async def test_the_packets_tell_which_of_the_agreed_codecs_it_is(scene: Scene) -> None:
    await scene.node.open_lesson("lesson", "Title", RecorderRef("unix:/nowhere/at/all"))
    published = await scene.publish(sdp=BOTH_CODECS)
    vp8, both = await scene.watch("vp8"), await scene.watch("both", BOTH_CODECS.replace("sendonly", "recvonly"))
    await scene.watch("h264", h264("recvonly"))
    gone, stays = scene.transport(vp8), scene.sink(both)
    await scene.events()
    scene.layers(published, (Layer("", 500_000),), "H264")
    assert [command.transport for command in scene.plane.said(CloseTransport)] == [gone]
    assert relay.ConnectionDown("lesson", "vp8", "no-common-codec") in await scene.events()
    assert scene.plane.bound[stays] == scene.source(published)
    assert sorted(command.codecs[0].name for command in scene.plane.taps.values()) == ["H264", "opus"]
    assert {scene.plane.bound[tap] for tap in scene.plane.taps} == {
        scene.source(published),
        scene.source(published, "audio"),
    }
    assert (await refused(scene.watch("late"))).extra == {"offered": ["VP8"], "accepted": ["H264"]}


async def test_a_recorded_track_goes_on_when_its_codec_may_come_again(scene: Scene) -> None:
    await scene.node.open_lesson("lesson", "Title", RecorderRef("unix:/nowhere/at/all"))
    scene.layers(await scene.publish(sdp=BOTH_CODECS), (Layer("", 500_000),), "H264")
    before = dict(scene.plane.taps)
    again = await scene.publish("again", BOTH_CODECS)
    scene.layers(again, (Layer("", 500_000),), "H264")
    assert scene.plane.taps == before
    assert {scene.plane.bound[tap] for tap in before} == {scene.source(again), scene.source(again, "audio")}
    assert not [event for event in await scene.events() if isinstance(event, relay.ConnectionDown)]


async def test_a_recorder_that_comes_late_gets_what_is_published(scene: Scene) -> None:
    published = await scene.publish()
    assert not scene.plane.taps
    await scene.node.open_lesson("lesson", "Title", RecorderRef("unix:/nowhere/at/all"))
    await scene.node.open_lesson("lesson", "Title", RecorderRef("unix:/nowhere/at/all"))
    assert {scene.plane.bound[tap] for tap in scene.plane.taps} == {
        scene.source(published),
        scene.source(published, "audio"),
    }
    for wrong in ("", "unix:", "tcp:host", "tcp:host:99999", "http:x"):
        assert (await refused(scene.node.open_lesson("lesson", "", RecorderRef(wrong)))).code == "unavailable"


async def test_the_relay_without_an_address_of_its_plane_refuses(scene: Scene) -> None:
    lonely = RelayNode(RecordingPlane(frozenset({"ipv6"})), addresses=["192.0.2.1"])
    await lonely.open_lesson("lesson", "", None)
    error = await refused(lonely.publish(Offer("lesson", "c", "s", PUBLISH)))
    assert error.code == "unavailable"
    fresh = RelayNode(RecordingPlane(), addresses=lambda: ["192.0.2.7"])
    await fresh.open_lesson("lesson", "", None)
    assert "192.0.2.7 5004" in (await fresh.publish(Offer("lesson", "c", "s", PUBLISH))).sdp


async def test_the_local_directory_knows_one_relay(scene: Scene) -> None:
    directory = LocalDirectory(scene.node, None)
    assert await directory.place("any") is scene.node
    assert await directory.recorder("any") is None
    events = directory.all_events()
    watched = await scene.watch()
    scene.plane.happen(TransportReady(scene.transport(watched), 0))
    assert await anext(events) == relay.ConnectionUp("lesson", "classroom")


def test_credentials_are_as_strong_as_asked() -> None:
    plane = RecordingPlane()
    node = RelayNode(plane, addresses=["192.0.2.1"])

    async def two() -> None:
        await node.open_lesson("lesson", "", None)
        for name in ("a", "b"):
            await node.subscribe(Offer("lesson", name, "s", WATCH))

    asyncio.run(two())
    opened = plane.said(OpenTransport)
    assert len({command.local_ufrag for command in opened}) == 2
    assert all(len(command.local_pwd) >= 32 for command in opened)


def test_candidate_addresses() -> None:
    assert candidate_addresses("192.0.2.4") == ["192.0.2.4"]
    everywhere = candidate_addresses("0.0.0.0")
    assert everywhere == candidate_addresses("") and "127.0.0.1" in everywhere
    assert not any(address.startswith("fe80") for address in everywhere)
    loopback = [address for address in everywhere if address in ("127.0.0.1", "::1")]
    assert everywhere[-len(loopback) :] == loopback
    announced = candidate_addresses("0.0.0.0", ["203.0.113.9"])
    assert announced[0] == "203.0.113.9" and set(announced[1:]) == set(loopback)
    with pytest.raises(ValueError, match="does not appear"):
        candidate_addresses("0.0.0.0", ["localhost"])


async def test_a_full_relay_refuses_watchers_and_lets_the_teacher_in() -> None:
    scene = Scene(capacity=1)
    await scene.node.open_lesson("lesson", "Title", None)
    await scene.watch("1")
    assert (await refused(scene.watch("2"))).code == "full"
    await scene.publish()
    await scene.node.close("1")
    await scene.watch("2")
    await scene.node.shut_down()
