"""What strangers and forgers can send to the media port: it changes nothing but a counter, and a lesson goes on.

Each test ends with a peer that joins, or that is still heard, so that "nothing happened" is shown and not assumed.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from server.media.plane import Event, TransportLost, TransportReady
from server.media.reference import limits
from server.media.reference.plane import ReferencePlane
from tests.support.raw_peer import GENEROUS, Certificate, RawPeer

RECEIVER_REPORT = bytes.fromhex("80c9000111223344")
STRANGERS = ("junk", "unvalidated", "stun_bad", "stun_unknown", "stun_in")


class Stage:
    def __init__(self, plane: ReferencePlane) -> None:
        self.plane = plane
        self.events: list[Event] = []
        plane.on_events = self.events.extend

    def count(self, *names: str) -> int:
        counters = self.plane.stats().counters
        return sum(counters[name] for name in names)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(GENEROUS):
            while not condition():  # noqa: ASYNC110 - counters set no event
                await asyncio.sleep(0.005)

    async def join(self, peer: RawPeer, transport: int) -> None:
        self.plane.submit([peer.open_transport(transport)])
        await peer.connect(self.plane.port)
        await self.until(lambda: any(isinstance(e, TransportReady) and e.transport == transport for e in self.events))

    async def still_heard(self, peer: RawPeer, transport: int = 1) -> None:
        """Its next report is opened, and nobody has been lost."""
        state = self.plane._peers.get(transport)
        before = state.heard_ns
        peer.send_rtcp(RECEIVER_REPORT)
        await self.until(lambda: state.heard_ns > before)
        assert not any(isinstance(event, TransportLost) for event in self.events)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    yield Stage(plane)
    await plane.close()


@pytest.fixture
async def peer() -> AsyncIterator[RawPeer]:
    peer = RawPeer()
    yield peer
    peer.close()


@pytest.fixture
def stranger(stage: Stage) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(("127.0.0.1", stage.plane.port))
        yield sock


def silent(stranger: socket.socket) -> bool:
    try:
        stranger.recv(2048)
    except BlockingIOError:
        return True
    return False


def every_first_octet_and_length() -> list[bytes]:
    """65 lengths of 256 first octets, the rest random but reproducible."""
    source = random.Random(5)
    return [
        (bytes((first,)) + source.randbytes(length - 1)) if length else b""
        for first in range(256)
        for length in range(65)
    ]


async def send_all(stage: Stage, send: Callable[[bytes], Any], datagrams: list[bytes], counted: tuple[str, ...]) -> int:
    """Send without overrunning the plane's socket, and wait until every one has been counted."""
    before = stage.count(*counted)
    for start in range(0, len(datagrams), 100):
        for datagram in datagrams[start : start + 100]:
            send(datagram)
        await stage.until(lambda upto=start + 100: stage.count(*counted) - before >= min(upto, len(datagrams)))  # type: ignore[misc]
    return stage.count(*counted) - before


async def test_all_first_octets_and_lengths_from_a_stranger(
    stage: Stage, peer: RawPeer, stranger: socket.socket
) -> None:
    await stage.join(peer, 1)
    datagrams = every_first_octet_and_length()
    in_before = stage.count("stun_in")
    assert await send_all(stage, stranger.send, datagrams, STRANGERS) == len(datagrams)
    assert stage.count("stun_in") == in_before
    assert silent(stranger)
    await stage.still_heard(peer)


async def test_all_first_octets_and_lengths_from_a_validated_address(stage: Stage, peer: RawPeer) -> None:
    """They reach the parsers here: SRTP, DTLS and STUN each refuse them, and the transport lives on."""
    await stage.join(peer, 1)
    datagrams = [datagram for datagram in every_first_octet_and_length() if not 20 <= (datagram or b"\0")[0] <= 63]
    counted = (*STRANGERS, "srtp_forged", "srtp_replayed")
    assert await send_all(stage, peer.send, datagrams, counted) == len(datagrams)
    for datagram in every_first_octet_and_length():
        if 20 <= (datagram or b"\0")[0] <= 63:
            peer.send(datagram)
            await asyncio.sleep(0)
    await stage.still_heard(peer)


async def test_all_first_octets_and_lengths_during_the_handshake(stage: Stage, peer: RawPeer) -> None:
    stage.plane.submit([peer.open_transport(1)])
    peer.bind(stage.plane.port)
    await peer.check()
    for datagram in every_first_octet_and_length()[::7]:
        if not datagram or datagram[0] not in (21, 22):  # clear alerts and handshake messages are real at this stage
            peer.send(datagram)
            await asyncio.sleep(0)
    await peer.handshake()
    await stage.until(lambda: stage.events)
    await stage.still_heard(peer)


async def test_a_flood_of_junk_starves_neither_the_loop_nor_a_join(stage: Stage, stranger: socket.socket) -> None:
    flooding = True
    sent = 0

    def flood() -> None:
        nonlocal sent
        junk = [os.urandom(200), b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), b"\x80\x60" + bytes(900), b"\x16" + bytes(99)]
        while flooding:
            try:
                stranger.send(junk[sent % len(junk)])
                sent += 1
            except BlockingIOError:
                pass

    task = asyncio.get_running_loop().run_in_executor(None, flood)
    try:
        for transport in range(1, 4):
            peer = RawPeer()
            await stage.join(peer, transport)
            await stage.still_heard(peer, transport)
            peer.close()
    finally:
        flooding = False
        await task
    assert sent > 1000
    assert stage.count("junk", "unvalidated", "stun_bad", "stun_unknown") > 0
    assert silent(stranger)


async def test_datagrams_longer_than_an_ethernet_carries_are_dropped(stage: Stage, peer: RawPeer) -> None:
    await stage.join(peer, 1)
    before = stage.count("junk")
    for length in (limits.DATAGRAM + 1, 9000, 60_000):
        peer.send(b"\x80\x60" + bytes(length - 2))
    await stage.until(lambda: stage.count("junk") == before + 3)
    await stage.still_heard(peer)


# --- STUN ---


async def test_stun_with_an_unknown_ufrag_gets_no_answer(stage: Stage, peer: RawPeer, stranger: socket.socket) -> None:
    await stage.join(peer, 1)
    real = peer.server_ufrag
    peer.server_ufrag = "somebody"
    stranger.send(bytes(peer.request()))
    peer.server_ufrag = real
    await stage.until(lambda: stage.count("stun_unknown") == 1)
    assert silent(stranger)
    await stage.still_heard(peer)


async def test_stun_with_bad_integrity_or_fingerprint_gets_no_answer_and_no_path(
    stage: Stage, peer: RawPeer, stranger: socket.socket
) -> None:
    await stage.join(peer, 1)
    stranger.send(bytes(peer.request(key="a guess")))
    good = bytes(peer.request())
    stranger.send(good[:-1] + bytes((good[-1] ^ 1,)))
    stranger.send(good[:40] + bytes((good[40] ^ 1,)) + good[41:])
    await stage.until(lambda: stage.count("stun_bad") == 3)
    assert silent(stranger)
    stranger.send(b"\x80\x60" + bytes(40))
    await stage.until(lambda: stage.count("unvalidated") == 1)
    await stage.still_heard(peer)


async def test_a_replayed_check_from_elsewhere_is_answered_there_but_takes_nothing_over(
    stage: Stage, peer: RawPeer, stranger: socket.socket
) -> None:
    """Whoever has seen a check can replay it, and gets a path by it; but no keys, and, not nominating, no media."""
    await stage.join(peer, 1)
    stranger.send(bytes(peer.request(nominate=False)))
    await stage.until(lambda: not silent(stranger))
    assert peer.sock is not None
    selected = bytes(stage.plane._peers.get(1).sockaddr)
    assert int.from_bytes(selected[2:4], "big") == peer.sock.getsockname()[1]
    stranger.send(b"\x80\x60" + bytes(40))
    await stage.until(lambda: stage.count("srtp_forged") == 1)
    await stage.still_heard(peer)


# --- DTLS ---


def client_hello(certificate: Certificate) -> bytes:
    foreign = RawPeer(certificate=certificate)
    caught: list[bytes] = []
    foreign.send = caught.append  # type: ignore[method-assign]
    foreign.begin_handshake()
    return caught[0]


async def test_a_foreign_hello_from_elsewhere_is_dropped_unread(
    stage: Stage, peer: RawPeer, stranger: socket.socket
) -> None:
    hello = client_hello(Certificate())
    stage.plane.submit([peer.open_transport(1)])
    peer.bind(stage.plane.port)
    stranger.send(hello)
    await peer.check()
    stranger.send(hello)
    peer.begin_handshake()
    stranger.send(hello)
    await peer.handshake()
    await stage.until(lambda: stage.events)
    assert stage.count("unvalidated") == 3
    assert silent(stranger), "no amplification: a stranger's hello is not answered"
    await stage.still_heard(peer)


async def test_a_foreign_hello_with_the_peers_own_address_in_mid_handshake(stage: Stage, peer: RawPeer) -> None:
    hello = client_hello(Certificate())
    stage.plane.submit([peer.open_transport(1)])
    peer.bind(stage.plane.port)
    await peer.check()
    peer.begin_handshake()
    for _ in range(5):
        peer.send(hello)
        await asyncio.sleep(0)
    await peer.handshake()
    peer.send(hello)
    await stage.until(lambda: stage.events)
    await stage.still_heard(peer)


async def test_a_foreign_hello_from_another_peers_address_disturbs_neither(stage: Stage, peer: RawPeer) -> None:
    """The other peer's own handshake replaces it, as soon as its hello is repeated."""
    other = RawPeer()
    stage.plane.submit([peer.open_transport(1), other.open_transport(2)])
    for each in (peer, other):
        each.bind(stage.plane.port)
        await each.check()
    peer.begin_handshake()
    other.lossy = lambda _: True  # it would not listen to answers that it did not ask for
    other.send(client_hello(Certificate()))
    await peer.handshake()
    await stage.until(lambda: stage.events)
    await stage.still_heard(peer)
    other.lossy = lambda _: False
    await other.handshake()
    await stage.until(lambda: len(stage.events) == 2)
    await stage.still_heard(other, 2)
    other.close()


# --- SRTP ---


def rtp(sequence: int, ssrc: int = 0x1234) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, sequence, 3000 * sequence, ssrc) + b"payload" * 20


async def test_forged_and_replayed_srtp_are_counted_and_dropped(stage: Stage, peer: RawPeer) -> None:
    await stage.join(peer, 1)
    genuine = peer.seal_rtp(rtp(1))
    forged = [genuine[:at] + bytes((genuine[at] ^ 0x01,)) + genuine[at + 1 :] for at in range(2, len(genuine))]
    assert await send_all(stage, peer.send, forged, ("srtp_forged",)) == len(forged)
    peer.send(genuine)
    await stage.until(lambda: len(stage.plane._peers.get(1).inbound._ssrcs) == 1)  # type: ignore[union-attr]
    for _ in range(3):
        peer.send(genuine)
    await stage.until(lambda: stage.count("srtp_replayed") == 3)
    assert stage.count("srtp_forged") == len(forged)
    await stage.still_heard(peer)


async def test_a_packet_older_than_the_replay_list_is_dropped_one_within_it_is_taken(
    stage: Stage, peer: RawPeer
) -> None:
    await stage.join(peer, 1)
    sealed = {number: peer.seal_rtp(rtp(number)) for number in range(1, limits.REPLAY_WINDOW + 11)}
    peer.send(sealed[limits.REPLAY_WINDOW + 10])
    inbound = stage.plane._peers.get(1).inbound
    assert inbound is not None
    await stage.until(lambda: inbound._ssrcs)
    peer.send(sealed[1])
    await stage.until(lambda: stage.count("srtp_replayed") == 1)
    peer.send(sealed[50])
    await stage.still_heard(peer)
    assert stage.count("srtp_replayed") == 1
    assert stage.count("srtp_forged") == 0


async def test_forged_and_replayed_srtcp_are_counted_and_dropped(stage: Stage, peer: RawPeer) -> None:
    await stage.join(peer, 1)
    genuine = peer.seal_rtcp(RECEIVER_REPORT)
    forged = [genuine[:at] + bytes((genuine[at] ^ 0x80,)) + genuine[at + 1 :] for at in range(4, len(genuine))]
    await send_all(stage, peer.send, forged, ("srtp_forged", "srtp_replayed"))
    peer.send(genuine)
    await stage.until(lambda: stage.plane._peers.get(1).inbound._ssrcs)  # type: ignore[union-attr]
    before = stage.count("srtp_replayed")
    peer.send(genuine)
    await stage.until(lambda: stage.count("srtp_replayed") == before + 1)
    await stage.still_heard(peer)


async def test_one_peers_packets_from_another_peers_address_are_forgeries(stage: Stage, peer: RawPeer) -> None:
    other = RawPeer()
    await stage.join(peer, 1)
    await stage.join(other, 2)
    other.send(peer.seal_rtp(rtp(1)))
    await stage.until(lambda: stage.count("srtp_forged") == 1)
    await stage.still_heard(peer)
    await stage.still_heard(other, 2)
    other.close()


async def test_a_peer_that_draws_ssrcs_at_random_is_bounded(stage: Stage, peer: RawPeer) -> None:
    await stage.join(peer, 1)
    inbound = stage.plane._peers.get(1).inbound
    assert inbound is not None
    for ssrc in range(1, limits.INBOUND_SSRCS + 21):
        peer.send_rtp(rtp(1, ssrc))
    await stage.until(lambda: stage.count("srtp_forged") == 20)
    assert len(inbound._ssrcs) == limits.INBOUND_SSRCS
    taken = stage.count("rtp_in")
    peer.send_rtp(rtp(2, 1))  # one that was there before is still opened
    await stage.until(lambda: stage.count("rtp_in") == taken + 1)
    assert stage.count("srtp_forged") == 20


async def test_media_before_the_handshake_is_junk(stage: Stage, peer: RawPeer) -> None:
    stage.plane.submit([peer.open_transport(1)])
    peer.bind(stage.plane.port)
    await peer.check()
    peer.send(b"\x80\x60" + bytes(100))
    await stage.until(lambda: stage.count("junk") == 1)
    await peer.handshake()
    await stage.until(lambda: stage.events)
    await stage.still_heard(peer)
