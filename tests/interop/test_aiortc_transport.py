"""aiortc's own ICE agent and DTLS transport, unchanged, against the plane: the peers that the demo and others use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aioice
import pytest
from aiortc import RTCCertificate, RTCDtlsParameters
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsTransport, State

from server.media.plane import Event, OpenTransport, RestartIce, TransportLost, TransportReady
from server.media.reference.plane import ReferencePlane
from tests.support.raw_peer import GENEROUS

UFRAG, PASSWORD = "planeufrag", "a password for the plane"
SENDER_REPORT = bytes.fromhex("80c80006000000010000000000000000000000000000000000000000")


class Transport:
    """What ``RTCDtlsTransport`` wants from an ``RTCIceTransport``, around an ``aioice.Connection``."""

    role = "controlling"
    state = "completed"

    def __init__(self, connection: aioice.Connection) -> None:
        self._connection = connection
        self.received: list[bytes] = []

    async def _recv(self) -> bytes:
        return await self._connection.recv()

    async def _send(self, data: bytes) -> None:
        await self._connection.send(data)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(GENEROUS):
        while not condition():  # noqa: ASYNC110 - counters set no event
            await asyncio.sleep(0.01)


@pytest.fixture
async def connection() -> Any:
    connection = aioice.Connection(ice_controlling=True, use_ipv6=False)
    yield connection
    await connection.close()


async def aim(connection: aioice.Connection, port: int, ufrag: str, password: str) -> None:
    """Give the agent what an answer's SDP would."""
    address = connection.local_candidates[0].host
    connection.remote_is_lite = True
    connection.remote_username, connection.remote_password = ufrag, password
    await connection.add_remote_candidate(aioice.Candidate("1", 1, "udp", 2130706431, address, port, "host"))
    await connection.add_remote_candidate(None)


async def test_ice_dtls_and_srtcp_both_ways_and_goodbye(connection: aioice.Connection) -> None:
    plane = await ReferencePlane.open("", 0)
    events: list[Event] = []
    plane.on_events = events.extend
    certificate = RTCCertificate.generateCertificate()
    ours = tuple((print.algorithm, print.value) for print in certificate.getFingerprints())
    await connection.gather_candidates()
    plane.submit([OpenTransport(1, UFRAG, PASSWORD, connection.local_username, connection.local_password, ours)])
    await aim(connection, plane.port, UFRAG, PASSWORD)
    await connection.connect()

    dtls = RTCDtlsTransport(Transport(connection), [certificate])  # type: ignore[arg-type]
    dtls._set_role("client")
    heard: list[bytes] = []

    async def handle(data: bytes) -> None:
        heard.append(data)

    dtls._handle_rtcp_data = handle  # type: ignore[method-assign]
    await dtls.start(RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint("sha-256", plane.fingerprint)]))
    assert dtls._state is State.CONNECTED
    await until(lambda: [type(event) for event in events] == [TransportReady])

    peer = plane._peers.get(1)
    before = peer.heard_ns
    await dtls._send_rtp(SENDER_REPORT)
    await until(lambda: peer.heard_ns > before)
    assert peer.outbound is not None
    plane._ring.datagram(peer.sockaddr, peer.sockaddr_len, peer.outbound.protect_rtcp(SENDER_REPORT))
    plane._ring.flush()
    await until(lambda: heard == [SENDER_REPORT])

    await dtls.stop()
    await until(lambda: [event.reason for event in events if isinstance(event, TransportLost)] == ["closed"])
    assert plane.stats().counters["stun_bad"] == 0
    await plane.close()


async def test_ice_restart_with_a_second_agent_keeps_the_transport(connection: aioice.Connection) -> None:
    plane = await ReferencePlane.open("", 0)
    await connection.gather_candidates()
    plane.submit([OpenTransport(1, UFRAG, PASSWORD, connection.local_username, connection.local_password, ())])
    await aim(connection, plane.port, UFRAG, PASSWORD)
    await connection.connect()
    first = bytes(plane._peers.get(1).sockaddr)

    second = aioice.Connection(ice_controlling=True, use_ipv6=False)
    await second.gather_candidates()
    plane.submit([RestartIce(1, "renewed", "another password", second.local_username, second.local_password)])
    await aim(second, plane.port, "renewed", "another password")
    await second.connect()
    await until(lambda: bytes(plane._peers.get(1).sockaddr) != first)
    await second.close()
    await plane.close()
