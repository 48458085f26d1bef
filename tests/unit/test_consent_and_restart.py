"""How a transport lives and ends on a real socket: ready, silent, restarted, moved, closed."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import uvloop

from server.media.plane import (
    AddSink,
    AddSource,
    CloseTransport,
    Codec,
    Event,
    OpenTransport,
    RequestKeyframe,
    RestartIce,
    TransportLost,
    TransportReady,
)
from server.media.reference import plane as plane_module
from server.media.reference.counters import COUNTERS
from server.media.reference.limits import CONSENT_NS, HANDSHAKE_NS, PATH_SILENT_NS
from server.media.reference.plane import ReferencePlane
from tests.support.raw_peer import GENEROUS, Certificate, RawPeer

RECEIVER_REPORT = bytes.fromhex("80c9000111223344")


class Clock:
    """The plane's clock, which a test may move on."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self.ahead_ns

    def time_ns(self) -> int:
        return time.time_ns() + self.ahead_ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(plane_module, "time", clock)
    return clock


class Watched:
    """A plane and everything it has said."""

    def __init__(self, plane: ReferencePlane) -> None:
        self.plane = plane
        self.events: list[Event] = []
        self.submitting = False
        plane.on_events = self._heard

    def _heard(self, events: Sequence[Event]) -> None:
        assert not self.submitting, "events never come from within submit"
        self.events.extend(events)

    def submit(self, *commands: Any) -> None:
        self.submitting = True
        self.plane.submit(commands)
        self.submitting = False

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(GENEROUS):
            while not condition():  # noqa: ASYNC110 - counters and clocks set no event
                await asyncio.sleep(0.01)

    def lost(self) -> list[tuple[int, str]]:
        return [(event.transport, event.reason) for event in self.events if isinstance(event, TransportLost)]

    def ready(self) -> list[int]:
        return [event.transport for event in self.events if isinstance(event, TransportReady)]

    def count(self, name: str) -> int:
        return self.plane.stats().counters[name]


@pytest.fixture
async def watched(clock: Clock) -> AsyncIterator[Watched]:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    yield Watched(plane)
    await plane.close()


@pytest.fixture
async def peer(watched: Watched) -> AsyncIterator[RawPeer]:
    peer = RawPeer()
    yield peer
    peer.close()


async def join(watched: Watched, peer: RawPeer, transport: int = 1) -> None:
    watched.submit(peer.open_transport(transport))
    await peer.connect(watched.plane.port)
    await watched.until(lambda: transport in watched.ready())


async def test_a_peer_joins_and_the_counters_say_so(watched: Watched, peer: RawPeer) -> None:
    assert dict.fromkeys(COUNTERS, 0) == watched.plane.stats().counters
    await join(watched, peer)
    assert watched.ready() == [1]
    assert watched.plane.stats().transports == 1
    assert watched.count("handshakes") == 1
    assert watched.count("stun_in") >= 1
    assert watched.lost() == []


def test_a_whole_life_under_uvloop() -> None:
    async def life() -> None:
        watched, peer = Watched(await ReferencePlane.open("127.0.0.1", 0)), RawPeer()
        await join(watched, peer)
        watched.submit(peer.restart_ice(1))
        peer.bind(watched.plane.port)
        await peer.check()
        peer.goodbye()
        await watched.until(lambda: watched.lost() == [(1, "closed")])
        await watched.plane.close()
        peer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(life())


async def test_stats_are_a_snapshot(watched: Watched, peer: RawPeer) -> None:
    before = watched.plane.stats()
    await join(watched, peer)
    assert before.counters["handshakes"] == 0
    assert before.transports == 0


async def test_a_silent_peer_is_gone_after_thirty_seconds_and_not_before(
    watched: Watched, peer: RawPeer, clock: Clock
) -> None:
    await join(watched, peer)
    clock.ahead_ns += CONSENT_NS - 5_000_000_000
    await asyncio.sleep(0.4)  # more than one sweep
    assert watched.lost() == []
    clock.ahead_ns += 5_000_000_000
    await watched.until(lambda: watched.lost() == [(1, "consent")])
    assert watched.count("consent_lost") == 1
    assert watched.plane.stats().transports == 0


async def test_checks_and_srtp_both_keep_a_peer_alive_but_forgeries_do_not(
    watched: Watched, peer: RawPeer, clock: Clock
) -> None:
    await join(watched, peer)
    step = CONSENT_NS - 5_000_000_000
    clock.ahead_ns += step
    await peer.check()
    clock.ahead_ns += step
    heard = watched.plane._peers.get(1).heard_ns
    peer.send_rtcp(RECEIVER_REPORT)
    await watched.until(lambda: watched.plane._peers.get(1).heard_ns > heard)
    await asyncio.sleep(0.4)
    assert watched.lost() == []
    clock.ahead_ns += step
    peer.send(b"\x80\x60" + bytes(40))
    peer.send(b"\x17\xfe\xfd\x00\x01" + bytes(40))
    await watched.until(lambda: watched.count("srtp_forged") == 1)
    clock.ahead_ns += 6_000_000_000
    await watched.until(lambda: watched.lost() == [(1, "consent")])


@pytest.mark.parametrize("stage", ["nothing", "validated", "hello"])
async def test_a_handshake_that_never_completes_ends_after_fifteen_seconds(
    watched: Watched, peer: RawPeer, clock: Clock, stage: str
) -> None:
    watched.submit(peer.open_transport(7))
    peer.bind(watched.plane.port)
    if stage != "nothing":
        await peer.check()
    if stage == "hello":
        peer.lossy = lambda _: True
        peer.begin_handshake()
    await asyncio.sleep(0.1)
    clock.ahead_ns += HANDSHAKE_NS
    await watched.until(lambda: watched.lost() == [(7, "handshake")])
    assert watched.plane.stats().transports == 0


async def test_a_wrong_fingerprint_is_lost_with_that_reason(watched: Watched, peer: RawPeer) -> None:
    watched.submit(peer.open_transport(1, (("sha-256", Certificate().fingerprint()),)))
    with pytest.raises(ConnectionError):
        await peer.connect(watched.plane.port)
    await watched.until(lambda: watched.lost() == [(1, "fingerprint")])
    assert watched.ready() == []
    assert watched.count("dtls_failed") == 1


async def test_close_notify_from_the_peer(watched: Watched, peer: RawPeer) -> None:
    await join(watched, peer)
    peer.goodbye()
    await watched.until(lambda: watched.lost() == [(1, "closed")])


async def test_close_transport_says_goodbye_and_reports_nothing(watched: Watched, peer: RawPeer) -> None:
    await join(watched, peer)
    watched.submit(CloseTransport(1))
    await peer.until(lambda: peer.alerted)
    assert watched.plane.stats().transports == 0
    assert watched.lost() == []


async def test_closing_the_plane_says_goodbye_to_all_and_frees_the_port(clock: Clock) -> None:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    peers = [RawPeer(), RawPeer()]
    plane.submit([peer.open_transport(number) for number, peer in enumerate(peers, 1)])
    for peer in peers:
        await peer.connect(plane.port)
    port = plane.port
    await plane.close()
    await plane.close()
    for peer in peers:
        await peer.until(lambda peer=peer: peer.alerted)  # type: ignore[misc]
        peer.close()
    again = await ReferencePlane.open("127.0.0.1", port)
    await again.close()


async def test_lost_datagrams_do_not_prevent_a_join(watched: Watched, peer: RawPeer) -> None:
    seen: set[int] = set()

    def first_of_each_kind(datagram: bytes) -> bool:
        kind = datagram[0]
        new = kind not in seen
        seen.add(kind)
        return new

    peer.lossy = first_of_each_kind
    await join(watched, peer)


# --- ICE restart and moving ---


async def test_restart_keeps_keys_and_moves_media_to_the_new_address(watched: Watched, peer: RawPeer) -> None:
    await join(watched, peer)
    keys = watched.plane._peers.get(1).outbound
    watched.submit(peer.restart_ice(1))
    peer.bind(watched.plane.port)
    await peer.check()
    moved = watched.plane._peers.get(1)
    assert moved.outbound is keys
    assert peer.sock is not None
    assert int.from_bytes(bytes(moved.sockaddr)[2:4], "big") == peer.sock.getsockname()[1]
    heard = moved.heard_ns
    peer.send_rtcp(RECEIVER_REPORT)
    await watched.until(lambda: moved.heard_ns > heard)
    assert watched.lost() == []


async def test_a_listener_that_moves_hears_on_from_the_next_packet(watched: Watched) -> None:
    opus = (Codec("opus", 111, 48000, 2),)
    speaker, listener = RawPeer(), RawPeer()
    await join(watched, speaker, 1)
    await join(watched, listener, 2)
    watched.submit(
        AddSource(1, 1, "audio", "0", opus, {}), AddSink(2, 2, "audio", "0", 77, None, opus, {}, "cname", source=1)
    )

    async def speak(first: int, last: int) -> None:
        for number in range(first, last):
            speaker.send_rtp(struct.pack("!BBHII", 0x80, 111, number, 960 * number, 0x5EA) + b"voice" * 10)
        await listener.until(lambda: len(listener.rtp) == last - first)

    await speak(0, 5)
    listener.rtp.clear()
    watched.submit(listener.restart_ice(2))
    listener.bind(watched.plane.port)
    await listener.check()
    await speak(5, 10)
    speaker.close()
    listener.close()


async def test_a_bug_met_by_one_datagram_is_reported_and_the_others_go_on(
    watched: Watched, peer: RawPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await join(watched, peer)
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    bug = ZeroDivisionError("made up")

    def broken(*_: Any) -> None:
        raise bug

    monkeypatch.setattr(watched.plane._router, "on_rtcp", broken)
    peer.send_rtcp(RECEIVER_REPORT)
    await peer.check()
    assert reported == [bug]
    assert watched.lost() == []


async def test_old_credentials_hold_until_the_new_are_used(watched: Watched, peer: RawPeer) -> None:
    await join(watched, peer)
    old = peer.server_ufrag, peer.server_pwd
    restart = peer.restart_ice(1)
    new = peer.server_ufrag, peer.server_pwd
    peer.server_ufrag, peer.server_pwd = old
    watched.submit(restart)
    await peer.check()
    peer.server_ufrag, peer.server_pwd = new
    await peer.check()
    peer.server_ufrag, peer.server_pwd = old
    peer.send(bytes(peer.request()))
    await watched.until(lambda: watched.count("stun_unknown") == 1)


async def test_a_restart_in_mid_handshake_does_not_disturb_it(watched: Watched, peer: RawPeer) -> None:
    watched.submit(peer.open_transport(1))
    peer.bind(watched.plane.port)
    await peer.check()
    peer.begin_handshake()
    watched.submit(peer.restart_ice(1))
    await peer.check()
    await peer.handshake()
    await watched.until(lambda: watched.ready() == [1])


async def test_a_new_nat_binding_is_followed_without_a_nomination(
    watched: Watched, peer: RawPeer, clock: Clock
) -> None:
    await join(watched, peer)
    peer.bind(watched.plane.port)
    clock.ahead_ns += PATH_SILENT_NS + 1
    await peer.check(nominate=False)
    assert peer.sock is not None
    sent_to = bytes(watched.plane._peers.get(1).sockaddr)
    assert int.from_bytes(sent_to[2:4], "big") == peer.sock.getsockname()[1]


# --- commands that come too late, or twice ---


async def test_unknown_and_repeated_ids_are_ignored_and_counted(watched: Watched, peer: RawPeer) -> None:
    await join(watched, peer)
    vp8 = (Codec("VP8", 96, 90000),)
    twice = OpenTransport(1, "fresh", "password", "a", "b", ())
    same_ufrag = OpenTransport(2, peer.server_ufrag, "password", "a", "b", ())
    before = watched.count("commands_ignored")
    late = (
        twice,
        same_ufrag,
        CloseTransport(99),
        RestartIce(99, "x", "y", "z", "w"),
        AddSource(1, 99, "video", "0", vp8, {}),
        AddSink(2, 99, "video", "0", 5, None, vp8, {}, "cname"),
    )
    watched.submit(*late)
    assert watched.count("commands_ignored") == before + len(late)
    watched.submit(RequestKeyframe(12345))
    assert watched.plane.stats().transports == 1
    await peer.check()


# --- addresses ---


async def test_a_port_in_use_is_an_os_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError) as caught:
            await ReferencePlane.open("127.0.0.1", taken.getsockname()[1])
        assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("host", ["no-such-literal", "203.0.113.77"])
async def test_an_address_that_is_not_ours_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError):
        await ReferencePlane.open(host, 0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "families"),
    [
        ("", {"ipv4", "ipv6"}),
        ("*", {"ipv4", "ipv6"}),
        ("::", {"ipv4", "ipv6"}),
        ("0.0.0.0", {"ipv4"}),
        ("127.0.0.1", {"ipv4"}),
        ("::1", {"ipv6"}),
    ],
)
async def test_one_port_serves_the_families_that_the_host_names(host: str, families: set[str]) -> None:
    if "ipv6" in families and not has_ipv6():
        pytest.skip("this kernel has no IPv6")
    watched = Watched(await ReferencePlane.open(host, 0))
    assert watched.plane.families == families
    for number, address in enumerate(({"ipv4": "127.0.0.1", "ipv6": "::1"}[family] for family in sorted(families)), 1):
        peer = RawPeer(host=address)
        await join(watched, peer, number)
        reply = await peer.check()
        assert peer.sock is not None
        assert reply.attributes["XOR-MAPPED-ADDRESS"] == peer.sock.getsockname()[:2]
        peer.close()
    await watched.plane.close()


async def test_without_ipv6_in_the_kernel_ipv4_alone_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def no_ipv6(family: int = socket.AF_INET, *args: Any, **kwargs: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *args, **kwargs)

    monkeypatch.setattr(plane_module.sockets.socket, "socket", no_ipv6)
    plane = await ReferencePlane.open("", 0)
    assert plane.families == {"ipv4"}
    await plane.close()
