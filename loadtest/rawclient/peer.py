"""One WebRTC connection over one UDP socket: ICE, DTLS and SRTP wired to asyncio, media handed on by callbacks."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from functools import lru_cache

from loadtest import limits
from loadtest.rawclient import dtls, ice, sdp
from loadtest.rawclient.srtp import Srtp


class Unreachable(Exception):
    """The connection was not made: ICE, DTLS or time ran out."""


@lru_cache(maxsize=64)
def route_address(host: str) -> tuple[socket.AddressFamily, str]:
    """Family and address that this machine uses towards ``host``: the host candidate to offer.

    :raises OSError: unknown host.
    """
    family, _, _, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return family, str(probe.getsockname()[0])


class Peer(asyncio.DatagramProtocol):
    """``open`` the socket, put ``ufrag``, ``pwd``, ``hosts`` in an offer, ``connect`` with the answer.

    ``on_rtp`` gets sealed packets, ``on_rtcp`` clear compound packets, ``on_lost`` the reason, once, after ``connect``
    has succeeded and the peer is gone.
    """

    def __init__(
        self, on_rtp: Callable[[bytes], None], on_rtcp: Callable[[bytes], None], on_lost: Callable[[str], None]
    ) -> None:
        self.ufrag, self.pwd = ice.credentials()
        self.hosts: list[tuple[str, int]] = []
        self.srtp: Srtp | None = None
        self.junk = 0
        self._on_rtp, self._on_rtcp, self._on_lost = on_rtp, on_rtcp, on_lost
        self._ice = ice.IceAgent(self.ufrag, self.pwd)
        self._dtls: dtls.Dtls | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._family = socket.AF_INET
        self._timer: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = False
        self._handshaking = False
        self._early: list[bytes] = []

    @property
    def rtt(self) -> float | None:
        """Seconds, of the last consent check."""
        return self._ice.rtt

    @property
    def consent_age(self) -> float:
        """Seconds since the server last answered a check."""
        return time.monotonic() - self._ice.consent_seen

    def probe(self) -> None:
        """Send a consent check now."""
        self._ice.hurry()
        self._poll()

    async def open(self, host: str) -> None:
        """Bind a socket for a server whose HTTP is at ``host``.

        :raises OSError: no socket, or the host is unknown.
        """
        family, address = route_address(host)
        await self._bind(family)
        assert self._transport is not None
        self.hosts = [(address, self._transport.get_extra_info("sockname")[1])]

    async def _bind(self, family: socket.AddressFamily) -> None:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.SOCKET_BUFFER)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
        self._family = family
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)

    async def connect(self, answer: sdp.Answer, timeout: float = limits.CONNECT_TIMEOUT) -> None:
        """Run ICE and DTLS with the server that gave ``answer``.

        :raises Unreachable: says which of them failed.
        """
        candidates = await self._resolve(answer.candidates)
        if candidates and not any(family == self._family for family, _, _ in candidates):
            assert self._transport is not None
            self._transport.close()
            await self._bind(candidates[0][0])
        usable = [(address, priority) for family, address, priority in candidates if family == self._family]
        self._dtls = dtls.Dtls(client=answer.setup == "passive", fingerprints=answer.fingerprints)
        self._ice.start(answer.ufrag, answer.pwd, answer.lite, usable, time.monotonic())
        self._poll()
        try:
            await asyncio.wait_for(self._ready, timeout)
        except TimeoutError:
            stage = "ICE" if self._ice.selected is None else "DTLS"
            raise Unreachable(f"{stage} did not finish within {timeout:.0f} s") from None

    @staticmethod
    async def _resolve(
        candidates: tuple[sdp.Candidate, ...],
    ) -> list[tuple[socket.AddressFamily, ice.Address, int]]:
        """Addresses of the candidates; host names are looked up, those that are unknown left out."""
        loop = asyncio.get_running_loop()
        found = []
        for candidate in candidates:
            try:
                version = ipaddress.ip_address(candidate.host).version
                family, host = (socket.AF_INET6 if version == 6 else socket.AF_INET), candidate.host
            except ValueError:
                try:
                    infos = await loop.getaddrinfo(candidate.host, candidate.port, type=socket.SOCK_DGRAM)
                except OSError:
                    continue
                family, host = infos[0][0], str(infos[0][4][0])
            found.append((family, (host, candidate.port), candidate.priority))
        return found

    def send_rtp(self, packet: bytes) -> bytes:
        """Seal and send; gives the sealed packet. Only after ``connect``."""
        assert self.srtp is not None
        sealed = self.srtp.seal_rtp(packet)
        self.send_sealed(sealed)
        return sealed

    def send_sealed(self, packet: bytes) -> None:
        """Send what was sealed before."""
        if self._transport is not None and not self._closed:
            self._transport.sendto(packet, self._ice.selected)

    def send_rtcp(self, packet: bytes) -> None:
        """Seal and send a compound packet."""
        if self.srtp is not None:
            self.send_sealed(self.srtp.seal_rtcp(packet))

    def close(self) -> None:
        """Send close_notify and release the socket."""
        if self._closed:
            return
        if self._dtls is not None and self._ice.selected is not None:
            self._send_all(self._dtls.close())
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        if not self._ready.done():
            self._ready.cancel()

    # --- from the socket --------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Demultiplex by the first byte (RFC 7983)."""
        first = data[0] if data else 255
        if 127 < first < 192 and self.srtp is not None and len(data) >= 12:
            if 191 < data[1] < 224:
                clear = self.srtp.open_rtcp(data)
                if clear is not None:
                    self._on_rtcp(clear)
            else:
                self._on_rtp(data)
        elif first < 4:
            for reply, to in self._ice.receive(data, (addr[0], addr[1]), time.monotonic()):
                self._send(reply, to)
            self._poll()
        elif 19 < first < 64 and self._dtls is not None:
            self._feed_dtls(data)
        else:
            self.junk += 1

    def error_received(self, exc: Exception) -> None:
        """ICMP errors: a candidate that does not answer, or a server that is gone. The checks will tell."""
        self.junk += 1

    def _send(self, data: bytes, to: ice.Address) -> None:
        if self._transport is not None and not self._closed:
            self._transport.sendto(data, to)

    def _send_all(self, datagrams: list[bytes]) -> None:
        if self._ice.selected is not None:
            for datagram in datagrams:
                self._send(datagram, self._ice.selected)

    def _feed_dtls(self, data: bytes) -> None:
        assert self._dtls is not None
        if self._ice.selected is None:
            # An active server may be faster than our nomination; its flight would come again only a second later.
            if len(self._early) < 8:
                self._early.append(data)
            return
        try:
            self._send_all(self._dtls.receive(data))
        except dtls.DtlsError as error:
            self._fail(str(error))
            return
        if self._dtls.keys is not None and self.srtp is None:
            self.srtp = Srtp(self._dtls.keys)
            if not self._ready.done():
                self._ready.set_result(None)
        elif self._dtls.closed:
            self._fail("the server closed the connection")
        self._schedule()

    def _poll(self) -> None:
        if self._closed:
            return
        for data, to in self._ice.poll(time.monotonic()):
            self._send(data, to)
        if self._ice.failed:
            self._fail("no consent for 30 s" if self.srtp else "no candidate answered")
            return
        if self._dtls is not None and self._ice.selected is not None:
            self._run_dtls()
        self._schedule()

    def _run_dtls(self) -> None:
        assert self._dtls is not None
        if self._dtls.keys is not None:
            return
        if not self._handshaking:
            self._handshaking = True
            self._send_all(self._dtls.start())
            early, self._early = self._early, []
            for data in early:
                self._feed_dtls(data)
        else:
            self._send_all(self._dtls.retransmit())

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        delay = max(0.001, self._ice.due - time.monotonic())
        wait = self._dtls.timeout() if self._dtls is not None and self._ice.selected is not None else None
        if wait is not None:
            delay = min(delay, max(0.001, wait))
        if delay < 3600:
            self._timer = asyncio.get_running_loop().call_later(delay, self._poll)

    def _fail(self, reason: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(Unreachable(reason))
            self.close()
        elif not self._closed:
            self.close()
            self._on_lost(reason)
