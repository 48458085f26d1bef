"""The one store of a source stream's payloads: what retransmissions, late joiners and taps are served from.

Sinks keep no packet and no list of packets. A number that went out leads back here through the sink's span (see
``follower``) in O(1), so a hundred sinks cost the store nothing.
"""

from __future__ import annotations

from ..limits import HISTORY_AUDIO_PACKETS, HISTORY_NS, HISTORY_OCTETS, HISTORY_PACKETS
from .vp8 import Descriptor


class Packet:
    """One packet of a source stream as it came, without padding and header extensions. Never changed."""

    __slots__ = (
        "capture", "keyframe", "level", "marker", "mono_ns", "payload", "sequence", "timestamp", "vp8", "wall_ns",
    )  # fmt: skip

    def __init__(
        self,
        sequence: int,
        timestamp: int,
        marker: int,
        payload: bytes,
        mono_ns: int,
        wall_ns: int,
        level: bytes | None,
        capture: bytes | None,
        keyframe: bool,
        vp8: Descriptor | None,
    ) -> None:
        self.sequence = sequence
        """Extended and compact: counts on past 2^16 and leaves out what was not to be forwarded."""
        self.timestamp = timestamp
        self.marker = marker
        self.payload = payload
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns
        self.level = level
        self.capture = capture
        self.keyframe = keyframe
        self.vp8 = vp8


class History:
    """The last packets of one stream by compact sequence number, bounded in number, octets and age."""

    __slots__ = ("_packets", "group_octets", "head", "keyframe", "limit", "octets", "tail")

    def __init__(self, audio: bool) -> None:
        self.limit = HISTORY_AUDIO_PACKETS if audio else HISTORY_PACKETS
        self._packets: dict[int, Packet] = {}
        self.head: Packet | None = None
        """The packet with the highest number."""
        self.tail = 0
        """No packet below this number is kept."""
        self.keyframe: Packet | None = None
        """Where the newest keyframe begins, while it and all since is kept."""
        self.octets = 0
        self.group_octets = 0
        """Of them, since the newest keyframe."""

    def __len__(self) -> int:
        return len(self._packets)

    def get(self, sequence: int) -> Packet | None:
        return self._packets.get(sequence)

    def add(self, packet: Packet) -> bool:
        """Keep it; ``False`` for a number that is kept already or lies before the tail."""
        packets, sequence = self._packets, packet.sequence
        if self.head is None:
            self.tail = sequence
        elif sequence in packets or sequence < self.tail:
            return False
        packets[sequence] = packet
        octets = len(packet.payload)
        self.octets += octets
        self.group_octets += octets
        if self.head is None or sequence > self.head.sequence:
            self.head = packet
        if packet.keyframe:
            self._note_keyframe(packet)
        self._trim(packet.mono_ns)
        return True

    def clear(self) -> None:
        """The stream has ended: keep its head alone, from which whatever follows goes on."""
        self._packets.clear()
        self.octets = self.group_octets = 0
        self.keyframe = None

    def _note_keyframe(self, packet: Packet) -> None:
        known = self.keyframe
        if known is None:
            self.keyframe = packet
            self.group_octets = len(packet.payload)
        elif packet.timestamp != known.timestamp:
            if packet.sequence > known.sequence:
                self.keyframe = packet
                self.group_octets = len(packet.payload)
        elif packet.sequence < known.sequence:  # parameter sets that were recovered after their IDR picture
            self.keyframe = packet

    def _trim(self, now: int) -> None:
        packets, oldest_ns = self._packets, now - HISTORY_NS
        while len(packets) > 1:
            packet = packets.get(self.tail)
            if packet is not None:
                if len(packets) <= self.limit and self.octets <= HISTORY_OCTETS and packet.mono_ns >= oldest_ns:
                    return
                del packets[self.tail]
                self.octets -= len(packet.payload)
                if packet is self.keyframe:
                    self.keyframe = None
            self.tail += 1
