"""What the router keeps of one peer: its sources by SSRC, its sinks by SSRC, and what its feedback said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .limits import SECOND_NS
from .rtp import Header, read_extensions
from .source import Route, Source

if TYPE_CHECKING:
    from .peer import Peer
    from .sink import Sink


_FIRST_REPORT_NS: Final = 100_000_000


class Port:
    """One peer as the router sees it."""

    __slots__ = (
        "clock_offset_ns", "due_ns", "peer", "remb", "remb_sent", "routes", "rtt_ns", "rtx_sinks", "sent_before",
        "sent_ns", "sinks", "sockaddr", "sources",
    )  # fmt: skip

    def __init__(self, peer: Peer, now: int) -> None:
        self.peer = peer
        self.sources: dict[int, Source] = {}
        self.routes: dict[int, Route] = {}  # by SSRC
        self.sinks: dict[int, Sink] = {}  # by media SSRC
        self.rtx_sinks: dict[int, Sink] = {}
        self.due_ns = now + SECOND_NS
        self.remb: int | None = None
        self.rtt_ns = 0  # 0 while unknown
        self.remb_sent = 0
        self.sent_before = 0
        self.sent_ns = now
        self.clock_offset_ns: int | None = None
        """Publisher's wall clock minus ours, transit included, from its sender reports."""
        self.sockaddr: Any = None

    def learn(self, header: Header, data: Any) -> Route | None:
        """Find the source of an SSRC that was not seen before; ``None`` when none fits, or more than one does."""
        elements: dict[int, bytes] = {}
        if header.profile:
            elements = read_extensions(bytes(data[header.extensions_at : header.extensions_end]), header.profile)
        route = None
        for source in self.sources.values():
            route = source.claim(header.ssrc, header.payload_type, elements)
            if route is not None:
                break
        if route is None and not self._names_a_source(elements):
            fitting = [
                found
                for source in self.sources.values()
                if (found := source.claim_by_payload_type(header.payload_type)) is not None
            ]
            route = fitting[0] if len(fitting) == 1 else None
        if route is None or not route.source.adopt(header.ssrc, route):
            return None
        self.routes[header.ssrc] = route
        return route

    def _names_a_source(self, elements: dict[int, bytes]) -> bool:
        """Whether the packet carries a MID or a RID: then it belongs there or nowhere."""
        return any(
            source.mid_id in elements or source.rid_id in elements or source.repaired_rid_id in elements
            for source in self.sources.values()
        )

    def report_soon(self, now: int) -> None:
        """Media has begun: its reports should not wait for the second to be full."""
        self.due_ns = min(self.due_ns, now + _FIRST_REPORT_NS)

    def drop_source(self, source: Source) -> None:
        self.sources.pop(source.id, None)
        for ssrc in source.routes:
            self.routes.pop(ssrc, None)

    @property
    def empty(self) -> bool:
        return not self.sources and not self.sinks
