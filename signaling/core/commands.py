"""What the core is told (commands) and what it wants done (effects). Plain values; no clock, no socket, no await."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from signaling.core.attendance import Attendance
from signaling.core.lesson import Lesson
from signaling.messages import ServerMessage, Stats
from signaling.relay import RelayEvent
from signaling.roles import Role

Direction = Literal["publish", "watch"]

# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Learn:
    """The store has this lesson: new to us, or moved on by another process."""

    lesson: Lesson


@dataclass(frozen=True, slots=True)
class Join:
    """A seat asks for a connection. Unless an effect is ``Refuse``, the relay is asked next, then ``Opened`` or
    ``Failed`` follows."""

    lesson: str
    connection: str
    seat: str
    role: Role
    direction: Direction
    publication: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The relay has accepted the offer."""

    connection: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The relay has refused the offer."""

    connection: str


@dataclass(frozen=True, slots=True)
class Leave:
    """DELETE."""

    connection: str


@dataclass(frozen=True, slots=True)
class Attach:
    """A WebSocket has said hello."""

    lesson: str
    socket: str
    seat: str
    role: Role


@dataclass(frozen=True, slots=True)
class Detach:
    socket: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A relay says."""

    event: RelayEvent


@dataclass(frozen=True, slots=True)
class Reported:
    """A browser says; ``stats.connection`` is a public id, or empty."""

    lesson: str
    seat: str
    role: Role
    stats: Stats


@dataclass(frozen=True, slots=True)
class End:
    """Somebody who may has ended the lesson."""

    lesson: str


@dataclass(frozen=True, slots=True)
class Found:
    """The library has the lesson's resource."""

    lesson: str
    resource: str


@dataclass(frozen=True, slots=True)
class Jumped:
    """The wall clock was set ahead by ``by`` seconds, which did not pass; ``now`` has them already."""

    by: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; due at ``Core.next_time``."""


Command = Learn | Join | Opened | Failed | Leave | Attach | Detach | Heard | Reported | End | Found | Jumped | Tick

# --- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refuse:
    """The command changed nothing; ``code`` names the problem document."""

    code: str


@dataclass(frozen=True, slots=True)
class Forget:
    """The connection is over: its secret opens nothing any more. With ``at_relay`` the relay must be told to close."""

    lesson: str
    connection: str
    at_relay: bool


@dataclass(frozen=True, slots=True)
class CloseLesson:
    """The relay closes what is left of the lesson and tells the recorder to finish."""

    lesson: str


@dataclass(frozen=True, slots=True)
class Persist:
    lesson: Lesson


@dataclass(frozen=True, slots=True)
class Attended:
    interval: Attendance


@dataclass(frozen=True, slots=True)
class Tell:
    """To the sockets of a lesson: all, those of some roles, of one seat, or one socket."""

    lesson: str
    message: ServerMessage
    roles: frozenset[str] | None = None
    seat: tuple[str, str] | None = None  # (role, id)
    socket: str | None = None


@dataclass(frozen=True, slots=True)
class HangUp:
    """Say ``bye`` and close: one socket, or all of the lesson."""

    lesson: str
    code: int
    reason: str
    socket: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One observation for a histogram: seconds, or a share of 0..1. ``label`` is from a fixed set: a role, or who
    measured."""

    what: Literal["join", "first_frame", "latency", "watch_loss"]
    value: float
    label: str


Effect = Refuse | Forget | CloseLesson | Persist | Attended | Tell | HangUp | Measured
