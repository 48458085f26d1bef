"""The port that signaling needs from a relay: negotiate, place, listen. Imports nothing of ours.

Within one process ``server.node`` implements it; across machines ``server.bus`` carries the same calls as msgpack. So
every argument and result is plain data, and every error that a caller can cause is a ``Refused``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

import msgspec


class Refused(Exception):
    """The relay says no, in a form that becomes a problem document (RFC 9457).

    ``code`` is one of ``not-sdp``, ``no-common-codec``, ``too-many-sections``, ``unsupported-sdp``,
    ``unknown-connection``, ``unknown-lesson``, ``unknown-layer``, ``not-live``, ``full``, ``bad-fragment``,
    ``unavailable``.
    ``extra`` may carry ``offered`` and ``accepted`` (lists of codec names).
    """

    def __init__(self, code: str, detail: str, extra: dict[str, list[str]] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.extra = extra or {}


class Offer(msgspec.Struct, frozen=True):
    """A client's SDP offer for one connection. ``connection`` is the public id chosen by signaling."""

    lesson: str
    connection: str
    seat: str
    sdp: str
    publication: str = "camera"  # what is published, or watched


class Answer(msgspec.Struct, frozen=True):
    sdp: str
    etag: str  # names the ICE credentials in force, unquoted


class RecorderRef(msgspec.Struct, frozen=True):
    """Where a lesson's tap goes: ``unix:/path`` or ``tcp:host:port``."""

    address: str


class LayerInfo(msgspec.Struct, frozen=True):
    rid: str
    bitrate: int
    width: int = 0
    height: int = 0
    frames: float = 0.0


# --- events: what a relay tells signaling ---------------------------------------------------------------------------


class ConnectionUp(msgspec.Struct, frozen=True, tag="connection-up"):
    lesson: str
    connection: str


class ConnectionDown(msgspec.Struct, frozen=True, tag="connection-down"):
    """Gone without a DELETE: ``consent``, ``handshake``, ``fingerprint``, ``closed``; or ``no-common-codec``: it waited
    before anybody published, and cannot play what is published now (a new offer is told which codec that is)."""

    lesson: str
    connection: str
    reason: str


class PublicationLive(msgspec.Struct, frozen=True, tag="publication-live"):
    """A publication sends: at its first packet, when its layers change, and at most once a second for the rates."""

    lesson: str
    connection: str
    publication: str
    kind: Literal["audio", "video"]
    codec: str
    layers: tuple[LayerInfo, ...]


class PublicationSilent(msgspec.Struct, frozen=True, tag="publication-silent"):
    lesson: str
    connection: str
    publication: str
    kind: Literal["audio", "video"]


class FirstFrame(msgspec.Struct, frozen=True, tag="first-frame"):
    """The first media packet of a watching connection has left; ``after_ms`` since its offer arrived at the relay."""

    lesson: str
    connection: str
    kind: Literal["audio", "video"]
    after_ms: float


class LayerNow(msgspec.Struct, frozen=True, tag="layer-now"):
    lesson: str
    connection: str
    rid: str | None
    chosen_by: Literal["server", "client"]


class Line(msgspec.Struct, frozen=True, tag="line"):
    """What a watching connection's line carries, about once a second."""

    lesson: str
    connection: str
    remb: int | None
    loss: float
    rtt_ms: float | None
    sent: int


class RecorderState(msgspec.Struct, frozen=True, tag="recorder-state"):
    """How the recording goes, about once a second: ``recording``, ``buffering`` (no recorder now), ``failing``."""

    lesson: str
    state: str
    lag_ms: float
    seconds: float
    gaps: int
    detail: str = ""


RelayEvent = (
    ConnectionUp | ConnectionDown | PublicationLive | PublicationSilent | FirstFrame | LayerNow | Line | RecorderState
)


class RelayPort(Protocol):
    """One relay, near or far. Every call may raise ``Refused`` and nothing else that a caller could act on."""

    async def open_lesson(self, lesson: str, title: str, recorder: RecorderRef | None) -> None:
        """Be ready for the lesson; idempotent. Recording starts by itself with the first publication."""

    async def close_lesson(self, lesson: str) -> None:
        """The lesson has ended: close all its connections, tell the recorder to finish. Idempotent."""

    async def publish(self, offer: Offer) -> Answer:
        """Accept a publisher (WHIP). Whoever held the same publication before is closed: signaling has decided that."""

    async def subscribe(self, offer: Offer) -> Answer:
        """Accept a watcher (WHEP), also before anybody publishes: media starts when the publication does."""

    async def trickle(self, connection: str, fragment: str) -> None:
        """RFC 8840 fragment with remote candidates. ICE-lite needs none of them; wrong ones are refused even so."""

    async def restart(self, connection: str, fragment: str) -> Answer:
        """ICE restart (RFC 9725, 4.3.3): the fragment's new credentials in; ours and the new etag out."""

    async def choose_layer(self, connection: str, rid: str | None) -> None:
        """A client's wish: a rid, or ``None`` for the server's own choice."""

    async def close(self, connection: str) -> None:
        """Idempotent."""

    def events(self) -> AsyncIterator[RelayEvent]:
        """From now on, in order; bounded: a reader that falls behind loses the oldest ``Line`` reports first."""


class RelayDirectory(Protocol):
    """Who forwards which lesson. The node that forwards a lesson is the only authority for it."""

    async def place(self, lesson: str) -> RelayPort:
        """The relay of the lesson; chooses the one with most room at the first call. ``Refused('unavailable')``."""

    async def recorder(self, lesson: str) -> RecorderRef | None:
        """The recorder with most room, or ``None`` when there is none (an alert, never a refusal)."""

    def all_events(self) -> AsyncIterator[RelayEvent]:
        """The events of every relay, merged."""
