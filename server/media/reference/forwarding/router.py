"""The router: from a clear packet of a publisher to sealed packets for everybody who follows it. Sans-IO.

The single invariant: *nothing here waits, and nothing costs per sink what can be paid per packet.* A packet is read
once (``ingress``), kept once (``history``), prepared once per shape (``sender``), and numbered and sealed for all sinks
together (``egress``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...plane import Command, Event, PlaneStats, TapItem
from ..transport.peer import Peer
from .clock import Moment
from .egress import Egress
from .feedback import Feedback
from .ingress import Ingress
from .layers import Layers
from .sender import Sender
from .upkeep import Upkeep
from .wiring import Wiring


class Router:
    """Commands, packets and time in; datagrams (through ``egress``), events and tap items out.

    Times are an argument: monotonic and wall clock in nanoseconds.
    """

    def __init__(
        self,
        egress: Egress,
        emit: Callable[[Event], None],
        stats: PlaneStats,
        tap_out: Callable[[TapItem], None],
    ) -> None:
        self._counters = stats.counters
        self._moment = Moment()
        self._sender = Sender(egress, stats)
        self._layers = Layers(self._sender, emit, stats, self._moment)
        self.wiring = Wiring(self._layers, self._moment, stats, tap_out)
        self._upkeep = Upkeep(self.wiring, self._layers, self._sender, emit, self._moment, stats)
        self._ingress = Ingress(self.wiring, self._layers, self._upkeep, self._sender, egress, self._moment, stats)
        self._feedback = Feedback(self._sender, self._layers, stats)

    @property
    def busy(self) -> bool:
        """Whether joiners could be served further at once: call ``tick`` again as soon as live media allows."""
        return self._layers.bursts.busy

    def _at(self, mono_ns: int, wall_ns: int) -> None:
        self._moment.set(mono_ns, wall_ns)
        self._sender.at(wall_ns)

    def apply(self, command: Command, peer: Peer | None, mono_ns: int) -> bool:
        """Carry one command out. ``peer`` is the transport of AddSource and AddSink. ``False``, and nothing done, for a
        command that names what is not there (any more), or adds what is."""
        self._moment.advance(mono_ns)
        return self.wiring.apply(command, peer)

    def on_rtp(self, peer: Peer, buf: Any, length: int, mono_ns: int, wall_ns: int) -> None:
        """One clear RTP packet; ``buf`` is read during the call only."""
        self._at(mono_ns, wall_ns)
        self._ingress.take(peer, buf, length)

    def on_rtcp(self, peer: Peer, data: bytes, mono_ns: int, wall_ns: int) -> None:
        """One clear compound packet."""
        self._at(mono_ns, wall_ns)
        self._counters["rtcp_in"] += 1
        port = self.wiring.ports.get(peer.id)
        if port is not None:
            self._feedback.take(port, data, mono_ns, wall_ns)

    def peer_ready(self, peer: Peer, mono_ns: int) -> None:
        """It has keys and a path, or another path than before: what waited for it starts, the rest goes there now."""
        self._moment.advance(mono_ns)
        port = self.wiring.ports.get(peer.id)
        for sink in port.sinks.values() if port is not None else ():
            self._layers.touch(sink)
            self._layers.settle(sink, mono_ns)

    def forget(self, peer: Peer) -> None:
        """The peer has gone: so have its sources and sinks."""
        self.wiring.forget(peer)

    def tick(self, mono_ns: int, wall_ns: int) -> None:
        """Do what is due. Cheap to call too often: timers are looked at each ``TICK_NS``, joiners at every call."""
        self._at(mono_ns, wall_ns)
        bursts = self._layers.bursts
        if len(bursts):
            bursts.slice(mono_ns)
        if self._upkeep.tick():
            self._feedback.tick()
