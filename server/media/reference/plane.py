"""The plane in Python: one UDP socket, its peers, and the straight line from datagram to router to egress.

The single invariant: *a datagram that is not STUN reaches no parser unless its 5-tuple is in ``IceLite.paths``*
(``_datagram`` is the only way in). Everything runs in the loop's thread; nothing here waits.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from ..plane import (
    AddSink,
    AddSource,
    CloseTransport,
    Command,
    Event,
    OpenTransport,
    PlaneStats,
    RestartIce,
    TapItem,
    TransportLost,
    TransportReady,
)
from . import demux, sockets, srtp
from .dtls import Dtls, State
from .egress import Egress
from .ice import IceLite
from .identity import Identity
from .limits import CONSENT_NS, DATAGRAM, HANDSHAKE_NS, READ_BATCHES, SWEEP_NS, TICK_MS
from .peer import Credentials, Path, Peer
from .router import Router

COUNTERS: Final = (
    "rtp_in", "rtp_in_bytes", "rtp_out", "rtp_out_bytes", "rtcp_in", "rtcp_out", "lost_in",
    "nack_in", "nack_out", "rtx_in", "rtx_out", "rtx_refused", "keyframe_in", "keyframe_out",
    "srtp_forged", "srtp_replayed", "stun_in", "stun_bad", "stun_unknown", "dtls_failed", "junk", "unvalidated",
    "handshakes", "consent_lost", "icmp_errors", "commands_ignored",
)  # fmt: skip
DROPS: Final = ("socket", "burst", "tap", "history")


def _nobody(_items: Sequence[Any]) -> None:
    """Where events and tap items go until somebody listens."""


class ReferencePlane:
    """``server.media.plane.Plane`` in pure Python. Made by ``open``; lives in one event loop (asyncio or uvloop)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.on_events: Callable[[Sequence[Event]], None] = _nobody
        self.on_tap: Callable[[Sequence[TapItem]], None] = _nobody
        self._loop = loop
        self._identity = Identity()
        self._socket, self.families = sockets.bind(host, port)
        self._receiver = sockets.Receiver(self._socket.fileno())
        self._stats = PlaneStats(counters=dict.fromkeys(COUNTERS, 0), drops=dict.fromkeys(DROPS, 0))
        self._counters = self._stats.counters
        self._kernel_lost = self._cut = 0
        self._egress = Egress(self._socket.fileno(), self._stats)
        self._router = Router(self._egress, self._emit, self._stats, self._tap)
        self._ice = IceLite()
        self._peers: dict[int, Peer] = {}
        self._handshaking: dict[int, Peer] = {}
        self._events: list[Event] = []
        self._taps: list[TapItem] = []
        self._asked: list[bytes] = []
        """Raw sockaddrs of checks whose answers are queued."""
        self._ticking: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._swept_ns = 0
        loop.add_reader(self._socket.fileno(), self._readable)

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Bind and listen; port 0 lets the kernel choose. Raises ``OSError``: port in use, address not ours."""
        return cls(asyncio.get_running_loop(), host, port)

    @property
    def fingerprint(self) -> str:
        return self._identity.fingerprint

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def stats(self) -> PlaneStats:
        """A snapshot; the caller may keep it."""
        self._count_lost()
        snapshot = copy.deepcopy(self._stats)
        snapshot.transports = len(self._peers)
        return snapshot

    # --- commands ---------------------------------------------------------------------------------------------------

    def submit(self, commands: Sequence[Command]) -> None:
        now = time.monotonic_ns()
        for command in commands:
            match command:
                case OpenTransport():
                    self._open(command, now)
                case RestartIce():
                    self._restart(command)
                case CloseTransport():
                    self._close(command.transport)
                case AddSource() | AddSink():
                    peer = self._peers.get(command.transport)
                    if peer is None:
                        self._counters["commands_ignored"] += 1
                    else:
                        self._router.apply(command, peer, now)
                case _:
                    self._router.apply(command, None, now)
        self._flush()
        if self._router.busy:
            self._tick_soon()

    def _open(self, command: OpenTransport, now: int) -> None:
        credentials = _credentials(command)
        if command.transport in self._peers or self._ice.knows(credentials.ufrag):
            self._counters["commands_ignored"] += 1
            return
        peer = Peer(command.transport, credentials, now)
        peer.dtls = Dtls(self._identity.context, command.remote_fingerprints)
        self._peers[peer.id] = self._handshaking[peer.id] = peer
        self._ice.add(peer)
        self._keep_ticking()

    def _restart(self, command: RestartIce) -> None:
        peer, credentials = self._peers.get(command.transport), _credentials(command)
        if peer is None or self._ice.knows(credentials.ufrag):
            self._counters["commands_ignored"] += 1
        else:
            self._ice.restart(peer, credentials)

    def _close(self, transport: int) -> None:
        peer = self._peers.get(transport)
        if peer is None:
            self._counters["commands_ignored"] += 1
        else:
            self._forget(peer)

    async def close(self) -> None:
        """Say goodbye to every peer and release the port. No event follows."""
        for peer in list(self._peers.values()):
            self._forget(peer)
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for handle in (self._ticking, self._soon):
            if handle is not None:
                handle.cancel()
        self._events.clear()
        self._taps.clear()

    def _forget(self, peer: Peer, lost: TransportLost | None = None) -> None:
        """The one way out for a peer, whoever ended it."""
        if peer.dtls is not None:
            self._send(peer, peer.dtls.close())
        self._router.forget(peer)
        self._flush()  # what is queued points at the keys and addresses that go now
        self._ice.remove(peer)
        self._handshaking.pop(peer.id, None)
        del self._peers[peer.id]
        peer.forget()
        if lost is not None:
            self._emit(lost)

    # --- datagrams in -----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Read what waits, but never more than ``READ_BATCHES``: the loop's timers must come round in a flood too."""
        for _ in range(READ_BATCHES):
            mono, wall = time.monotonic_ns(), time.time_ns()
            try:
                batch, more = self._receiver.read()
            except OSError:  # an ICMP message about someone we sent to; the socket is well
                self._counters["icmp_errors"] += 1
                continue
            for source, slot, length in batch:
                try:
                    self._datagram(source, slot, length, mono, wall)
                except Exception as bug:  # reported, and the others' datagrams of this burst are still moved
                    self._loop.call_exception_handler(
                        {"message": "a datagram met a bug in the plane", "exception": bug}
                    )
            if not more:
                break
        self._after_burst()

    def _after_burst(self) -> None:
        self._router.tick(time.monotonic_ns(), time.time_ns())
        self._flush()
        if self._router.busy:
            self._tick_soon()
        if self._taps:
            items, self._taps = self._taps, []
            self.on_tap(items)

    def _flush(self) -> None:
        """Hand the batch to the kernel, and only then let go of the addresses it points at."""
        self._egress.flush()
        self._asked.clear()
        self._ice.dropped.clear()

    def _datagram(self, source: bytes, slot: int, length: int, mono: int, wall: int) -> None:
        receiver, counters = self._receiver, self._counters
        at = slot * DATAGRAM
        kind = demux.KINDS[receiver.data[at]] if length else demux.JUNK
        if kind == demux.STUN:
            self._stun(bytes(receiver.data[at : at + length]), source, mono)
            return
        path = self._ice.paths.get(source)
        if path is None:
            counters["unvalidated"] += 1
        elif kind == demux.MEDIA and length >= 12 and path.peer.inbound is not None:
            self._media(path, receiver.pointers[slot], receiver.data[at + 1], length, mono, wall)
        elif kind == demux.DTLS and length > 13:
            self._dtls(path.peer, bytes(receiver.data[at : at + length]), mono, wall)
        else:
            counters["junk"] += 1

    def _media(self, path: Path, pointer: Any, second: int, length: int, mono: int, wall: int) -> None:
        peer = path.peer
        inbound = peer.inbound
        assert inbound is not None
        rtcp = demux.is_rtcp(second)
        clear = (inbound.unprotect_rtcp_in_place if rtcp else inbound.unprotect)(pointer, length)
        if clear < 0:
            self._counters["srtp_replayed" if clear == srtp.REPLAYED else "srtp_forged"] += 1
            return
        path.heard_ns = peer.heard_ns = mono
        if rtcp:
            self._router.on_rtcp(peer, srtp.octets(pointer, clear), mono, wall)
        else:
            self._router.on_rtp(peer, pointer, clear, mono, wall)

    def _stun(self, data: bytes, source: bytes, mono: int) -> None:
        outcome = self._ice.check(data, source, mono)
        if outcome.verdict == "bad":
            self._counters["stun_bad"] += 1
        elif outcome.verdict == "unknown":
            self._counters["stun_unknown"] += 1
        else:
            self._counters["stun_in"] += 1
            if outcome.moved and outcome.peer is not None and outcome.peer.ready:
                self._router.peer_ready(outcome.peer, mono)
            if outcome.reply is not None:
                self._asked.append(source)
                self._egress.queue_datagram(sockets.name_pointer(source), len(source), outcome.reply)

    def _dtls(self, peer: Peer, data: bytes, mono: int, wall: int) -> None:
        dtls = peer.dtls
        assert dtls is not None
        before = dtls.state
        self._send(peer, dtls.feed(data, mono))
        if dtls.state is not before:
            self._dtls_moved(peer, dtls.state, wall)

    def _dtls_moved(self, peer: Peer, state: State, wall: int) -> None:
        if peer.inbound is None and peer.dtls is not None and peer.dtls.keys is not None:
            profile, material = peer.dtls.keys
            peer.outbound, peer.inbound = srtp.keys_from_dtls(profile, material, server=True)
            peer.dtls.keys = None
            peer.ready = True
            self._handshaking.pop(peer.id, None)
            self._counters["handshakes"] += 1
            self._emit(TransportReady(peer.id, wall))
            self._router.peer_ready(peer, time.monotonic_ns())
        if state is State.CLOSED:
            self._forget(peer, TransportLost(peer.id, "closed", wall))
        elif state in (State.FAILED, State.MISMATCH):
            self._counters["dtls_failed"] += 1
            self._forget(peer, TransportLost(peer.id, "fingerprint" if state is State.MISMATCH else "handshake", wall))

    def _send(self, peer: Peer, datagrams: list[bytes]) -> None:
        if peer.sockaddr is not None:
            for datagram in datagrams:
                self._egress.queue_datagram(peer.sockaddr, peer.sockaddr_len, datagram)

    # --- time -------------------------------------------------------------------------------------------------------

    def _keep_ticking(self) -> None:
        if self._ticking is None and self._peers:
            self._ticking = self._loop.call_later(TICK_MS / 1000, self._tick)

    def _tick_soon(self) -> None:
        """A sliced burst waits: go on after one turn of the loop, in which the socket is read and timers run."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._soon = None
        self._after_burst()

    def _tick(self) -> None:
        self._ticking = None
        self._keep_ticking()  # first: whatever happens below, the clock goes on
        mono, wall = time.monotonic_ns(), time.time_ns()
        for peer in list(self._handshaking.values()):
            dtls = peer.dtls
            assert dtls is not None
            self._send(peer, dtls.handle_timeout(mono))
            if dtls.state is not State.HANDSHAKE:
                self._dtls_moved(peer, dtls.state, wall)
        if mono - self._swept_ns >= SWEEP_NS:
            self._swept_ns = mono
            self._sweep(mono, wall)
        self._after_burst()

    def _sweep(self, mono: int, wall: int) -> None:
        for peer in list(self._peers.values()):
            if not peer.ready and mono - peer.opened_ns > HANDSHAKE_NS:
                self._forget(peer, TransportLost(peer.id, "handshake", wall))
            elif mono - peer.heard_ns > CONSENT_NS:
                self._counters["consent_lost"] += 1
                self._forget(peer, TransportLost(peer.id, "consent", wall))

    def _count_lost(self) -> None:
        """Carry over what the socket has counted since the last time."""
        lost, cut = self._receiver.lost, self._receiver.cut
        self._stats.drops["socket"] += lost - self._kernel_lost
        self._counters["junk"] += cut - self._cut
        self._kernel_lost, self._cut = lost, cut

    # --- what comes up ----------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) == 1:
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        events, self._events = self._events, []
        if events:
            self.on_events(events)

    def _tap(self, item: TapItem) -> None:
        self._taps.append(item)


def _credentials(command: OpenTransport | RestartIce) -> Credentials:
    return Credentials(command.local_ufrag.encode(), command.local_pwd.encode())
