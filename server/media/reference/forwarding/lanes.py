"""Lanes: the numbers of many sinks side by side, in the forms in which a fan-out adds and copies them at once."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Any

from ..transport.kernel import address_of


def _lanes(values: Sequence[int], octets: int) -> int:
    return int.from_bytes(b"".join(value.to_bytes(octets, "big") for value in values), "big")


class Lane:
    """One sink's place in a fan-out."""

    __slots__ = (
        "picture_offset", "sequence_offset", "session", "sockaddr", "sockaddr_len", "ssrc", "timestamp_offset",
        "tl0_offset",
    )  # fmt: skip

    def __init__(
        self,
        session: Any,
        sockaddr: Any,
        sockaddr_len: int,
        ssrc: int,
        sequence_offset: int,
        timestamp_offset: int,
        picture_offset: int = 0,
        tl0_offset: int = 0,
    ) -> None:
        self.session = session  # srtp_t
        self.sockaddr = sockaddr
        self.sockaddr_len = sockaddr_len
        self.ssrc = ssrc
        self.sequence_offset = sequence_offset
        self.timestamp_offset = timestamp_offset
        self.picture_offset = picture_offset
        self.tl0_offset = tl0_offset


class Lanes:
    """At most ``LANES`` lanes side by side, in the forms in which ``Egress.fan_out`` wants them."""

    __slots__ = (
        "_keep",
        "address_lengths",
        "addresses",
        "count",
        "ones32",
        "ones64",
        "pictures",
        "sequences",
        "sessions",
        "ssrcs",
        "timestamps",
        "tl0s",
    )  # fmt: skip

    def __init__(self, lanes: Sequence[Lane]) -> None:
        count = self.count = len(lanes)
        self.sessions = [lane.session for lane in lanes]
        self._keep = [lane.sockaddr for lane in lanes]
        self.addresses = memoryview(array("Q", [address_of(lane.sockaddr) for lane in lanes]))
        self.address_lengths = memoryview(array("I", [lane.sockaddr_len for lane in lanes]))
        ssrcs = array("I", [lane.ssrc for lane in lanes])
        if sys.byteorder == "little":
            ssrcs.byteswap()
        self.ssrcs = memoryview(ssrcs)
        # A lane is twice as wide as its number: the carry of an addition never reaches the neighbour.
        self.ones32 = _lanes([1] * count, 4)
        self.ones64 = _lanes([1] * count, 8)
        self.sequences = _lanes([lane.sequence_offset & 0xFFFF for lane in lanes], 4)
        self.timestamps = _lanes([lane.timestamp_offset & 0xFFFFFFFF for lane in lanes], 8)
        self.pictures = _lanes([lane.picture_offset & 0x7FFF for lane in lanes], 4)
        self.tl0s = _lanes([lane.tl0_offset & 0xFF for lane in lanes], 4)
