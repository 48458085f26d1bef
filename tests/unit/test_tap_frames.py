"""Tap frames from their bytes: what cannot be one is refused by name, and whatever was whole before it is read."""

from __future__ import annotations

import msgpack
import pytest

from recorder import tap


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "junk",
    [
        framed(msgpack.packb(["open"]) + b"more"),
        framed(b"\x92\xa4open"),
        framed(b"\x91\xa1\xff"),
        framed(b"\x92\xa4open\x81\x91\x01\x02"),
        framed(msgpack.packb({"open": 1})),
        framed(msgpack.packb([])),
        framed(msgpack.packb([1])),
        framed(b""),
        (tap.MAX_FRAME + 1).to_bytes(4, "big"),
    ],
    ids=["more-than-one", "torn", "not-utf8", "array-as-key", "map", "empty-array", "no-name", "empty", "too-long"],
)
def test_junk_is_refused_after_the_frames_before_it(junk: bytes) -> None:
    frames = tap.Decoder().feed(tap.encode("silent", 7) + junk)
    assert next(frames) == ["silent", 7]
    with pytest.raises(tap.TapError):
        next(frames)
