"""All that the router keeps of one peer: its line, its sources by SSRC, its sinks by SSRC."""

from __future__ import annotations

from typing import Any

from ..transport.peer import Peer
from .line import Line
from .rtp import Header, read_extensions
from .sink import Sink
from .source import Route, Source


class Port(Line):
    """One peer as the router sees it."""

    __slots__ = ("routes", "sinks", "sources")

    def __init__(self, peer: Peer, now: int) -> None:
        super().__init__(peer, now)
        self.sources: dict[int, Source] = {}
        self.routes: dict[int, Route] = {}  # by SSRC
        self.sinks: dict[int, Sink] = {}  # by media SSRC

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

    def drop_source(self, source: Source) -> None:
        self.sources.pop(source.id, None)
        for ssrc in source.routes:
            self.routes.pop(ssrc, None)

    @property
    def empty(self) -> bool:
        return not self.sources and not self.sinks
