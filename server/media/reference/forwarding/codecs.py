"""What the router must know of a payload without decoding it: keyframe or not, picture size, VP8 numbers."""

from __future__ import annotations

from typing import NamedTuple

from . import h264, vp8


class Look(NamedTuple):
    """One payload looked at. ``keyframe``: a keyframe begins here, as far as this packet alone can tell."""

    keyframe: bool
    size: tuple[int, int] | None = None
    vp8: vp8.Descriptor | None = None


PLAIN = Look(False)
"""For audio, and for what we forward without knowing how to read it."""


def look(codec: str, payload: bytes) -> Look:
    """Inspect a payload of the codec with this canonical name. Never raises."""
    if codec == "VP8":
        descriptor = vp8.parse(payload)
        if descriptor is None:
            return PLAIN
        size = vp8.keyframe_size(payload, descriptor)
        return Look(size is not None, size, descriptor)
    if codec == "H264":
        units = h264.inspect(payload)
        if units.parameters:
            return Look(True, h264.picture_size(units.parameters))
        return Look(units.idr)
    return PLAIN
