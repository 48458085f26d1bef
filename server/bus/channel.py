"""The direct line's frames, sans IO: a mutual proof of the bureau's secret, then frames with a MAC and a number each.

The invariant: nothing is decoded before its sender proved that it knows the secret, and nothing is accepted twice, out
of order, or reflected.  ::

    relay  → caller   challenge: 32 random bytes
    caller → relay    32 random bytes, HMAC(secret, "caller" + both)
    relay  → caller   HMAC(secret, "relay" + both)
    then each way     frames, with keys of their own per direction

A frame is a ``u32`` length, a MAC (HMAC-SHA-256 over number and body, cut to 16 bytes) and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterator
from typing import Literal

from server.bus.limits import FRAME_MAX, GREETING_MAX

NONCE = 32
_MAC = 16
_LENGTH = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")

End = Literal["caller", "relay"]


class ChannelError(Exception):
    """The peer is not one of ours, or the stream was touched: hang up."""


class Channel:
    """One end of a direct line. ``greeting()`` is sent first; then ``receive`` what comes and send what it leaves in
    ``outgoing``; frames may be sealed once ``ready``."""

    def __init__(self, end: End, secret: bytes) -> None:
        self._end: End = end
        self._secret = secret
        self._nonce = secrets.token_bytes(NONCE)
        self._both = b""
        self._buffer = bytearray()
        self._seal_key = self._open_key = b""
        self._sent = self._received = 0
        self.ready = False
        self.outgoing = bytearray()

    def greeting(self) -> bytes:
        """The relay's challenge; the caller has nothing to say first."""
        return self._plain(self._nonce) if self._end == "relay" else b""

    def seal(self, body: bytes) -> bytes:
        """One frame for the peer.

        :raises ChannelError: before the proof, or a body over ``FRAME_MAX``
        """
        if not self.ready:
            raise ChannelError("not yet proved")
        if len(body) + _MAC > FRAME_MAX:
            raise ChannelError(f"frame of {len(body)} bytes")
        mac = _mac(self._seal_key, _NUMBER.pack(self._sent) + body)
        self._sent += 1
        return _LENGTH.pack(_MAC + len(body)) + mac + body

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The bodies of the frames that are whole.

        :raises ChannelError: at the first byte that cannot be the peer's
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < length <= (FRAME_MAX if self.ready else GREETING_MAX):
                raise ChannelError(f"frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            frame = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            if self.ready:
                yield self._open(frame)
            else:
                self._greet(frame)

    def _open(self, frame: bytes) -> bytes:
        mac, body = frame[:_MAC], frame[_MAC:]
        if not hmac.compare_digest(mac, _mac(self._open_key, _NUMBER.pack(self._received) + body)):
            raise ChannelError("wrong MAC")
        self._received += 1
        return body

    def _greet(self, frame: bytes) -> None:
        if self._end == "relay":
            self._check_caller(frame)
        elif not self._both:
            self._answer_challenge(frame)
        else:
            self._expect(frame, "relay")
            self._begin()

    def _answer_challenge(self, frame: bytes) -> None:
        if len(frame) != NONCE:
            raise ChannelError("not a challenge")
        self._both = frame + self._nonce
        self.outgoing += self._plain(self._nonce + self._proof("caller"))

    def _check_caller(self, frame: bytes) -> None:
        self._both = self._nonce + frame[:NONCE]
        self._expect(frame[NONCE:], "caller")
        self.outgoing += self._plain(self._proof("relay"))
        self._begin()

    def _expect(self, proof: bytes, end: End) -> None:
        if not hmac.compare_digest(proof, self._proof(end)):
            raise ChannelError("the peer does not know the secret")

    def _begin(self) -> None:
        keys = {end: self._derive(f"frames of the {end}") for end in ("caller", "relay")}
        self._seal_key = keys[self._end]
        self._open_key = keys["relay" if self._end == "caller" else "caller"]
        self.ready = True

    def _proof(self, end: End) -> bytes:
        return self._derive(f"proof of the {end}")

    def _derive(self, purpose: str) -> bytes:
        return hmac.new(self._secret, b"kongzhong control 1 " + purpose.encode() + self._both, hashlib.sha256).digest()

    @staticmethod
    def _plain(body: bytes) -> bytes:
        return _LENGTH.pack(len(body)) + body


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()[:_MAC]
