"""One incoming track: which SSRCs belong to it, and its layers."""

from __future__ import annotations

from ...plane import AddSource, Codec, Extension, Layer
from ..limits import SOURCE_SSRCS
from .line import Line
from .streams import Stream

_CLEARLY = 1.5


class Route:
    """Where the packets of one SSRC go."""

    __slots__ = ("dead", "rid", "rtx", "source", "stream")

    def __init__(self, source: Source, rid: str, rtx: bool) -> None:
        self.source = source
        self.rid = rid
        self.rtx = rtx
        self.stream: Stream | None = None
        self.dead = False
        """Another SSRC has taken this layer over; stragglers must not take it back."""


class Source:
    """State of an ``AddSource``."""

    __slots__ = (
        "announced", "capture_id", "codecs", "declared", "extensions", "id", "kind", "level_id", "line", "mid",
        "mid_id", "repaired_rid_id", "rid_id", "rids", "routes", "rtx_codecs", "silent", "streams",
    )  # fmt: skip

    def __init__(self, command: AddSource, line: Line) -> None:
        self.id = command.source
        self.line = line
        self.kind = command.kind
        self.mid = command.mid
        self.codecs = {codec.payload_type: codec for codec in command.codecs}
        self.rtx_codecs = {
            codec.rtx_payload_type: codec for codec in command.codecs if codec.rtx_payload_type is not None
        }
        self.rids = command.rids
        self.mid_id = command.extensions.get(Extension.MID, 0)
        self.rid_id = command.extensions.get(Extension.RID, 0)
        self.repaired_rid_id = command.extensions.get(Extension.REPAIRED_RID, 0)
        self.level_id = command.extensions.get(Extension.AUDIO_LEVEL, 0)
        self.capture_id = command.extensions.get(Extension.ABS_CAPTURE_TIME, 0)
        self.extensions = bool(self.level_id or self.capture_id)
        """Whether packets of known SSRCs carry anything that is passed on."""
        self.declared: dict[int, bool] = {}
        """SSRC to "is RTX", as far as a=ssrc told. With rids the layers are told apart by rid, not by a=ssrc."""
        if not command.rids:
            for media, rtx in command.ssrcs[:1]:
                self.declared[media] = False
                if rtx is not None:
                    self.declared[rtx] = True
        self.routes: dict[int, Route] = {}
        self.streams: dict[str, Stream] = {}
        self.announced = False
        self.silent = False

    # --- whose packet is it (RFC 8843, 9.2; RFC 8852) -----------------------------------------------------------

    def claim(self, ssrc: int, payload_type: int, elements: dict[int, bytes]) -> Route | None:
        """A route for an SSRC whose header extensions (or declaration) say that it is of this source."""
        rtx = self.declared.get(ssrc)
        if rtx is not None:
            return Route(self, "", rtx)
        mid = elements.get(self.mid_id)
        if mid is not None and mid != self.mid.encode():
            return None
        for number, rtx in ((self.rid_id, False), (self.repaired_rid_id, True)):
            rid = elements.get(number, b"").decode("ascii", "replace") if number else ""
            if rid:
                if rid in self.rids:
                    return Route(self, rid, rtx)
                if self.rids or mid is None:
                    return None
        if mid is None or self.rids:
            return None
        return self.claim_by_payload_type(payload_type)

    def claim_by_payload_type(self, payload_type: int) -> Route | None:
        """The last resort, for encoders that send neither MID nor a=ssrc; right only where one source fits."""
        if self.rids:
            return None
        if payload_type in self.codecs:
            return Route(self, "", False)
        return Route(self, "", True) if payload_type in self.rtx_codecs else None

    def adopt(self, ssrc: int, route: Route) -> bool:
        """Remember the route; ``False`` when the source has used up its SSRCs."""
        if len(self.routes) >= SOURCE_SSRCS:
            return False
        self.routes[ssrc] = route
        return True

    # --- layers -------------------------------------------------------------------------------------------------

    def begin(self, route: Route, ssrc: int, codec: Codec, sequence: int, mono_ns: int) -> Stream:
        """A new incarnation of a layer. The caller moves the followers of the one before."""
        for known_ssrc, known in self.routes.items():
            if known.rid == route.rid and not known.rtx and known_ssrc != ssrc:
                known.dead = True
                known.stream = None
        stream = Stream(self.line, self.kind, route.rid, ssrc, codec, sequence, mono_ns)
        before = self.streams.get(route.rid)
        if before is not None:
            stream.size, stream.bitrate, stream.proven = before.size, before.bitrate, before.proven
        self.streams[route.rid] = route.stream = stream
        return stream

    def living(self) -> list[Stream]:
        """Layers that send, lowest first: by picture size where all tell it, else by bit rate.

        A layer that has only just begun does not count beside others: nothing is known of it yet.
        """
        alive = [stream for stream in self.streams.values() if stream.alive]
        proven = [stream for stream in alive if stream.proven] or alive
        sized = all(stream.size[0] for stream in proven)
        return sorted(proven, key=lambda x: (x.size[0] * x.size[1] if sized else 0, x.bitrate))

    def layers(self) -> tuple[Layer, ...]:
        alive = (stream.layer() for stream in self.streams.values() if stream.alive)
        return tuple(sorted(alive, key=lambda layer: layer.bitrate))

    def choose(self, rid: str | None, current: Stream | None) -> Stream | None:
        """The living layer nearest to a wish: the layer itself, else the next lower one, else the lowest.

        Without a wish that is known here ``current`` stays while it lives, else it is the lowest. ``None`` when
        nothing lives.
        """
        wished = self.streams.get(rid) if rid is not None else None
        if wished is not None and wished.alive:
            return wished
        living = self.living()
        if not living:
            return None
        if wished is None:
            return current if current is not None and current.alive and self._has(current) else living[0]
        area, bitrate = wished.size[0] * wished.size[1], wished.bitrate
        lower = [x for x in living if ((x.size[0] * x.size[1] < area) if area else (x.bitrate < bitrate))]
        return lower[-1] if lower else living[0]

    def best(self, current: Stream | None) -> Stream | None:
        """The highest living layer; where sizes are unknown it must be clearly above ``current``: rates jump."""
        living = self.living()
        if not living:
            return None
        best = living[-1]
        if current is not None and current.alive and self._has(current) and not all(x.size[0] for x in living):
            return best if best.bitrate > _CLEARLY * current.bitrate else current
        return best

    def _has(self, stream: Stream) -> bool:
        return self.streams.get(stream.rid) is stream

    @property
    def codec_name(self) -> str:
        stream = next(iter(self.streams.values()), None)
        return stream.codec.name if stream is not None else ""
