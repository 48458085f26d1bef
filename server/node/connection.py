"""A connection as the relay keeps it: a publisher with its sources, or a watcher with its sinks and its layer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from server.media.plane import AddSink, AddSource, Codec, Command, Kind, Layer, LineReport, SetLayer
from server.negotiation.sdp import Credentials
from server.quality.chooser import LayerChooser
from server.quality.layers import SteadyLayers


def new_credentials() -> Credentials:
    """Ours for one transport: 96 and 192 bits, where RFC 8445, 5.3 asks for 24 and 128."""
    return Credentials(secrets.token_hex(12), secrets.token_hex(24))


def new_ssrc() -> int:
    return 1 + secrets.randbelow(0xFFFFFFFE)


@dataclass(slots=True, eq=False)
class Connection:
    """What publishers and watchers have in common. ``id`` is the public one; ``transport`` is the plane's."""

    id: str
    lesson: str
    seat: str
    publication: str
    transport: int
    local: Credentials
    remote: Credentials
    tag: tuple[str, ...]
    offered_at: float
    up: bool = False

    @property
    def etag(self) -> str:
        """Names the ICE credentials in force (RFC 9725, 4.3.1)."""
        return self.local.ufrag


@dataclass(slots=True, eq=False)
class Source:
    """One incoming track; ``layers`` are as measured, ``steady`` are those to choose among.

    ``sent`` is the codec that its packets showed last; before the first it may be any that was agreed on.
    """

    command: AddSource
    sent: Codec | None = None
    layers: tuple[Layer, ...] = ()
    steady: tuple[Layer, ...] = ()
    _smoothing: SteadyLayers = field(default_factory=SteadyLayers)

    @property
    def id(self) -> int:
        return self.command.source

    @property
    def codec(self) -> Codec:
        """The one sent, or the likeliest to be."""
        return self.sent or self.command.codecs[0]

    @property
    def possible(self) -> frozenset[str]:
        """Names of the codecs that its packets may be of."""
        return frozenset((self.sent.name,) if self.sent else (codec.name for codec in self.command.codecs))

    def shows(self, name: str) -> bool:
        """Packets of a codec came; whether that rules out what was possible before."""
        before, self.sent = self.possible, next((x for x in self.command.codecs if x.name == name), self.sent)
        return before != self.possible

    def measured(self, layers: tuple[Layer, ...], now: float) -> bool:
        """Take a new measurement; whether the set of layers to choose among has changed."""
        before = [layer.rid for layer in self.steady]
        self.layers = layers
        self.steady = self._smoothing.update(layers, now)
        return before != [layer.rid for layer in self.steady]


@dataclass(slots=True, eq=False)
class Publisher(Connection):
    sources: dict[Kind, Source] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Watcher(Connection):
    """``asked`` is the last layer asked of the plane, once ``has_asked``; ``live`` are the tracks that have begun."""

    sinks: dict[Kind, AddSink] = field(default_factory=dict)
    chooser: LayerChooser = field(default_factory=lambda: LayerChooser(0.0))
    asked: str | None = None
    has_asked: bool = False
    live: set[Kind] = field(default_factory=set)

    def refuses(self, source: Source) -> bool:
        """Whether it has a sink for the track and none of the sink's codecs can be the track's."""
        sink = self.sinks.get(source.command.kind)
        return sink is not None and source.possible.isdisjoint(codec.name for codec in sink.codecs)

    def choose(self, source: Source | None, report: LineReport | None, now: float) -> list[Command]:
        """Decide the layer anew and say so to the plane where it changed."""
        sink = self.sinks.get("video")
        if sink is None or source is None:
            return []
        rid = self.chooser.decide(source.steady, report, now)
        if not source.steady:
            # Before its first packet only a single stream is known by name.
            if source.command.rids or self.chooser.voice_only:
                return []
            rid = ""
        if self.has_asked and rid == self.asked:
            return []
        self.asked, self.has_asked = rid, True
        return [SetLayer(sink.sink, rid)]
