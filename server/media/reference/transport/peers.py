"""All peers of one port: what a datagram is, whose it is, and how a peer comes, moves and goes. Sans-IO.

The single invariant: *a datagram that is not STUN reaches no parser unless its 5-tuple is in ``IceLite.paths``*
(``datagram`` is the only way in). What is sent goes into the ``Ring``; clear media goes to ``Media``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ...plane import Event, OpenTransport, PlaneStats, RestartIce, TransportLost, TransportReady
from ..limits import CONSENT_NS, HANDSHAKE_NS, SWEEP_NS
from . import demux, srtp
from .dtls import Dtls, State
from .ice import IceLite
from .identity import Identity
from .kernel import pointer_to
from .peer import Credentials, Path, Peer
from .ring import Ring


class Media(Protocol):
    """Who takes the clear packets of the peers, and must know how they fare. Times: monotonic and wall, ns."""

    def on_rtp(self, peer: Peer, buf: Any, length: int, mono_ns: int, wall_ns: int) -> None: ...

    def on_rtcp(self, peer: Peer, data: bytes, mono_ns: int, wall_ns: int) -> None: ...

    def peer_ready(self, peer: Peer, mono_ns: int) -> None:
        """It has keys and a path, or another path than before."""

    def forget(self, peer: Peer) -> None:
        """It goes now; its keys and address hold for this call."""


class Peers:
    def __init__(
        self, identity: Identity, ring: Ring, media: Media, emit: Callable[[Event], None], stats: PlaneStats
    ) -> None:  # fmt: skip
        self._identity = identity
        self._ring = ring
        self._media = media
        self._emit = emit
        self._counters = stats.counters
        self._ice = IceLite()
        self._peers: dict[int, Peer] = {}
        self._handshaking: dict[int, Peer] = {}
        self._asked: list[bytes] = []
        """Raw sockaddrs of checks whose answers are queued."""
        self._swept_ns = 0

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, transport: int) -> Peer | None:
        return self._peers.get(transport)

    # --- commands ---------------------------------------------------------------------------------------------------

    def open(self, command: OpenTransport, now: int) -> bool:
        """``False`` for an id or ufrag that is in use."""
        credentials = _credentials(command)
        if command.transport in self._peers or self._ice.knows(credentials.ufrag):
            return False
        peer = Peer(command.transport, credentials, now)
        peer.dtls = Dtls(self._identity.context, command.remote_fingerprints)
        self._peers[peer.id] = self._handshaking[peer.id] = peer
        self._ice.add(peer)
        return True

    def restart(self, command: RestartIce) -> bool:
        """``False`` for a peer that is not known, or a ufrag that is in use."""
        peer, credentials = self._peers.get(command.transport), _credentials(command)
        if peer is None or self._ice.knows(credentials.ufrag):
            return False
        self._ice.restart(peer, credentials)
        return True

    def close(self, transport: int) -> bool:
        """``False`` for a peer that is not known."""
        peer = self._peers.get(transport)
        if peer is not None:
            self._forget(peer)
        return peer is not None

    def close_all(self) -> None:
        for peer in list(self._peers.values()):
            self._forget(peer)

    def _forget(self, peer: Peer, lost: TransportLost | None = None) -> None:
        """The one way out for a peer, whoever ended it."""
        if peer.dtls is not None:
            self._send(peer, peer.dtls.close())
        self._media.forget(peer)
        self.flush()  # what is queued points at the keys and addresses that go now
        self._ice.remove(peer)
        self._handshaking.pop(peer.id, None)
        del self._peers[peer.id]
        peer.forget()
        if lost is not None:
            self._emit(lost)

    # --- datagrams --------------------------------------------------------------------------------------------------

    def datagram(self, source: bytes, pointer: Any, length: int, mono: int, wall: int) -> None:
        """Take one datagram from ``source`` (a raw sockaddr); what ``pointer`` points at is opened in place."""
        kind = demux.KINDS[pointer[0]] if length else demux.JUNK
        if kind == demux.STUN:
            self._stun(srtp.octets(pointer, length), source, mono)
            return
        path = self._ice.paths.get(source)
        if path is None:
            self._counters["unvalidated"] += 1
        elif kind == demux.MEDIA and length >= 12 and path.peer.inbound is not None:
            self._open(path, pointer, length, mono, wall)
        elif kind == demux.DTLS and length > 13:
            self._dtls(path.peer, srtp.octets(pointer, length), mono, wall)
        else:
            self._counters["junk"] += 1

    def _open(self, path: Path, pointer: Any, length: int, mono: int, wall: int) -> None:
        peer = path.peer
        inbound = peer.inbound
        assert inbound is not None
        rtcp = demux.is_rtcp(pointer[1])
        clear = (inbound.unprotect_rtcp_in_place if rtcp else inbound.unprotect)(pointer, length)
        if clear < 0:
            self._counters["srtp_replayed" if clear == srtp.REPLAYED else "srtp_forged"] += 1
            return
        path.heard_ns = peer.heard_ns = mono
        if rtcp:
            self._media.on_rtcp(peer, srtp.octets(pointer, clear), mono, wall)
        else:
            self._media.on_rtp(peer, pointer, clear, mono, wall)

    def _stun(self, data: bytes, source: bytes, mono: int) -> None:
        outcome = self._ice.check(data, source, mono)
        if outcome.verdict == "bad":
            self._counters["stun_bad"] += 1
        elif outcome.verdict == "unknown":
            self._counters["stun_unknown"] += 1
        else:
            self._counters["stun_in"] += 1
            for peer in outcome.moved:
                if peer.ready:
                    self._media.peer_ready(peer, mono)
            if outcome.reply is not None:
                self._asked.append(source)
                self._ring.datagram(pointer_to(source), len(source), outcome.reply)

    def _dtls(self, peer: Peer, data: bytes, mono: int, wall: int) -> None:
        dtls = peer.dtls
        assert dtls is not None
        before = dtls.state
        self._send(peer, dtls.feed(data, mono))
        if dtls.state is not before:
            self._dtls_moved(peer, dtls, mono, wall)

    def _dtls_moved(self, peer: Peer, dtls: Dtls, mono: int, wall: int) -> None:
        if peer.inbound is None and dtls.keys is not None:
            profile, material = dtls.keys
            peer.outbound, peer.inbound = srtp.keys_from_dtls(profile, material, server=True)
            dtls.keys = None
            peer.ready = True
            self._handshaking.pop(peer.id, None)
            self._counters["handshakes"] += 1
            self._emit(TransportReady(peer.id, wall))
            self._media.peer_ready(peer, mono)
        if dtls.state is State.CLOSED:
            self._forget(peer, TransportLost(peer.id, "closed", wall))
        elif dtls.state in (State.FAILED, State.MISMATCH):
            self._counters["dtls_failed"] += 1
            mismatch = dtls.state is State.MISMATCH
            self._forget(peer, TransportLost(peer.id, "fingerprint" if mismatch else "handshake", wall))

    def _send(self, peer: Peer, datagrams: list[bytes]) -> None:
        if peer.sockaddr is not None:
            for datagram in datagrams:
                self._ring.datagram(peer.sockaddr, peer.sockaddr_len, datagram)

    def flush(self) -> None:
        """Hand the batch to the kernel, and only then let go of the addresses it points at."""
        self._ring.flush()
        self._asked.clear()
        self._ice.dropped.clear()

    # --- time -------------------------------------------------------------------------------------------------------

    def tick(self, mono: int, wall: int) -> None:
        """Do what is due: repeat handshake flights, give up on peers that are silent."""
        for peer in list(self._handshaking.values()):
            dtls = peer.dtls
            assert dtls is not None
            self._send(peer, dtls.handle_timeout(mono))
            if dtls.state is not State.HANDSHAKE:
                self._dtls_moved(peer, dtls, mono, wall)
        if mono - self._swept_ns >= SWEEP_NS:
            self._swept_ns = mono
            self._sweep(mono, wall)

    def _sweep(self, mono: int, wall: int) -> None:
        for peer in list(self._peers.values()):
            if not peer.ready and mono - peer.opened_ns > HANDSHAKE_NS:
                self._forget(peer, TransportLost(peer.id, "handshake", wall))
            elif mono - peer.heard_ns > CONSENT_NS:
                self._counters["consent_lost"] += 1
                self._forget(peer, TransportLost(peer.id, "consent", wall))


def _credentials(command: OpenTransport | RestartIce) -> Credentials:
    return Credentials(command.local_ufrag.encode(), command.local_pwd.encode())
