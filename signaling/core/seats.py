"""Seats: one classroom's (or teacher's) part in one lesson: when it was present, over what, and how well it hears.

The invariant: a seat is present while a socket of its is attached or a connection of its is up; every such span is one
interval, and none is ever forgotten (two with a short gap may become one when there are too many).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from signaling.core.commands import Direction
from signaling.core.lesson import rfc3339
from signaling.limits import INTERVALS_PER_SEAT
from signaling.messages import ConnectionView, SeatState, SeatView
from signaling.roles import Role

POOR_LOSS = 0.08
"""Smoothed loss from which pictures freeze between retransmissions; Opus with FEC still speaks."""
GOOD_LOSS = 0.03
"""Below this the seat counts as well again; the distance keeps it from flapping."""
_SMOOTHING = 0.3
"""Weight of a new report: about three reports (3 s) until a change shows."""

SeatKey = tuple[str, str]
"""(role, id): a classroom's token that borrows the teacher's seat name does not become the teacher."""


@dataclass(slots=True)
class Interval:
    """Unix seconds; ``end`` is ``None`` while present."""

    start: float
    end: float | None = None


@dataclass(slots=True)
class Connection:
    """One WHIP or WHEP connection, from the request on."""

    id: str
    lesson: str
    seat: SeatKey
    direction: Direction
    publication: str
    asked_at: float
    opened: bool = False  # the relay said yes
    up: bool = False  # ICE and DTLS are done
    flowing: bool = False  # media passes
    paused: bool = False  # the server sends voice only: the line carries no picture
    framed: bool = False  # time to first frame is known from a browser
    layer: str | None = None
    loss: float | None = None
    rtt_ms: float | None = None

    def view(self) -> ConnectionView:
        return ConnectionView(
            id=self.id,
            seat=self.seat[1],
            role=self.seat[0],
            direction=self.direction,
            publication=self.publication,
            since=rfc3339(self.asked_at),
            up=self.up,
            layer=self.layer,
            loss=self.loss,
            rtt_ms=self.rtt_ms,
        )


@dataclass(slots=True)
class Seat:
    id: str
    role: Role
    since: float
    intervals: list[Interval] = field(default_factory=list)
    connections: dict[str, Connection] = field(default_factory=dict)
    sockets: set[str] = field(default_factory=set)
    loss: float | None = None  # smoothed
    latency_ms: float | None = None
    latency_at: float = 0.0
    first_frame_ms: float | None = None
    poor: bool = False

    @property
    def key(self) -> SeatKey:
        return (self.role, self.id)

    @property
    def present(self) -> bool:
        return bool(self.intervals) and self.intervals[-1].end is None

    def settle(self, now: float) -> Interval | None:
        """Open or close the interval that follows from sockets and connections; the interval if something changed."""
        here = bool(self.sockets) or any(connection.up for connection in self.connections.values())
        if here == self.present:
            return None
        self.since = now
        if not here:
            self.intervals[-1].end = now
            self.loss, self.latency_ms, self.poor = None, None, False
            return self.intervals[-1]
        self.intervals.append(Interval(now))
        if len(self.intervals) > INTERVALS_PER_SEAT:
            self._merge()
        return self.intervals[-1]

    def split(self, before: float, after: float) -> tuple[Interval, ...]:
        """The clock jumped: whoever is present was so until ``before`` and is so again from ``after``."""
        if not self.present:
            return ()
        ended, begun = self.intervals[-1], Interval(after)
        ended.end = max(before, ended.start)
        self.since = after
        self.intervals.append(begun)
        if len(self.intervals) > INTERVALS_PER_SEAT:
            self._merge()
        return (ended, begun)

    def _merge(self) -> None:
        """Join the two finished intervals with the shortest gap between them."""
        gaps = [
            (later.start - (earlier.end or later.start), index)
            for index, (earlier, later) in enumerate(zip(self.intervals, self.intervals[1:-1], strict=False))
        ]
        index = min(gaps)[1]
        self.intervals[index].end = self.intervals.pop(index + 1).end

    def heard_loss(self, loss: float) -> None:
        """A report of 0..1, from the relay or from the browser."""
        self.loss = loss if self.loss is None else self.loss + _SMOOTHING * (loss - self.loss)
        if self.loss >= POOR_LOSS:
            self.poor = True
        elif self.loss <= GOOD_LOSS:
            self.poor = False

    @property
    def state(self) -> SeatState:
        if not self.present and not self.connections:
            return "gone"
        up = [connection for connection in self.connections.values() if connection.up]
        if self.connections and not up:
            return "connecting"
        flowing = [connection for connection in up if connection.flowing]
        if not flowing:
            return "waiting"
        return "poor" if self.poor or any(connection.paused for connection in flowing) else "watching"

    def view(self) -> SeatView:
        """Figures are rounded, so that a seat whose line only trembles is not told again every second."""
        watching = [c for c in self.connections.values() if c.direction == "watch" and c.up]
        rtts = [connection.rtt_ms for connection in self.connections.values() if connection.rtt_ms is not None]
        return SeatView(
            seat=self.id,
            role=self.role,
            present=self.present,
            since=rfc3339(self.since),
            connections=len(self.connections),
            state=self.state,
            layer=watching[0].layer if watching else None,
            loss=None if self.loss is None else round(self.loss, 2),
            rtt_ms=round(max(rtts), -1) if rtts else None,
            latency_ms=None if self.latency_ms is None else round(self.latency_ms, -1),
            first_frame_ms=None if self.first_frame_ms is None else round(self.first_frame_ms),
        )
