"""The tap: what a relay sends a recorder, frame by frame. Imports nothing of ours; the relay side writes, we read.

A tap is a byte stream (Unix socket on one machine, TCP between machines). Each frame is a big-endian ``u32`` length
and a msgpack array whose first element names it. One tap carries any number of lessons. Over TCP the first two frames
are the challenge and its answer; a Unix socket is guarded by its folder's mode.

relay → recorder::

    ["hello", version, mac]                 mac: bytes, empty on a Unix socket
    ["open", lesson, title, started_ns]
    ["track", lesson, track, publication, kind, codec, clock, channels]
    ["rtp", track, [[arrival_ns, packet], ...]]
    ["clock", track, rtp, ntp_ns, arrival_ns]
    ["dropped", track, packets]             the relay's own queue was full
    ["silent", track]
    ["end", lesson]

recorder → relay::

    ["challenge", nonce]                    first frame after connect; nonce empty on a Unix socket
    ["ready"]                               the hello was right
    ["keyframe", track]
    ["state", lesson, state, lag_ms, seconds, gaps, detail]
    ["stats", {name: number}]               once a second
    ["done", lesson]

``track`` is a positive integer, unique within the tap. ``packet`` is a clear RTP packet without padding and
extensions; its SSRC is random and the track's alone. A relay that reconnects says ``open`` and ``track`` again for what
is live, then sends again what it sent in the last seconds: the recorder goes on with the same recording, and knows by
SSRC and sequence number what it has. ``done`` follows ``end`` once the lesson is in the library.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from typing import Any

import msgpack

VERSION = 1
MAX_FRAME = 4 * 1024 * 1024  # bytes; a batch of packets stays far below
_LENGTH = struct.Struct(">I")


class TapError(ValueError):
    """The stream is not a tap: wrong length, wrong msgpack, or not an array."""


def encode(*frame: Any) -> bytes:
    """One frame as bytes: length and msgpack array."""
    body: bytes = msgpack.packb(frame, use_bin_type=True)
    return _LENGTH.pack(len(body)) + body


def answer(secret: bytes, nonce: bytes) -> bytes:
    """The proof over TCP that a relay knows the bureau's secret (HMAC-SHA-256 of the nonce)."""
    return hmac.new(secret, b"kongzhong tap " + nonce, hashlib.sha256).digest()


class Decoder:
    """Bytes in, frames out; sans IO."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """Yield the frames that are whole.

        :raises TapError: at the first byte that cannot belong to a tap; the stream is then of no more use.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < length <= MAX_FRAME:
                raise TapError(f"frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            try:
                frame = msgpack.unpackb(body, raw=False, strict_map_key=False)
            except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
                # TypeError: a map whose key is an array, which cannot be hashed.
                raise TapError(f"not msgpack: {error}") from error
            if not isinstance(frame, list) or not frame or not isinstance(frame[0], str):
                raise TapError("a frame is an array that begins with its name")
            yield frame
