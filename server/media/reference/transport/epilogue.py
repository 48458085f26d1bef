"""What is left of a DTLS association after its handshake: our last flight, a way to say goodbye and a way to hear it.

OpenSSL keeps 75 KB for an association that will carry one more record in its life, the peer's close_notify or ours
(RFC 6347, RFC 5288). This keeps a key and a salt for reading, and what we may have to send ready sealed: half a
kilobyte.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SUITE: Final = "ECDHE-ECDSA-AES128-GCM-SHA256"
"""The one suite that every WebRTC client must have (RFC 8827, 6.5), and the one that is read here."""

_ALERT: Final = 21
_HANDSHAKE: Final = 22
_EPOCH: Final = b"\0\1"
_VERSION: Final = b"\xfe\xfd"
_HEADER: Final = 13
_NONCE: Final = 8  # its explicit part
_TAG: Final = 16
_KEY: Final = 16
_SALT: Final = 4
_FINISHED: Final = _HEADER + _NONCE + 12 + 12 + _TAG
_CLOSE_NOTIFY: Final = b"\x01\x00"
_FATAL: Final = 2
# Far above what OpenSSL can have used, so that the peer's replay window takes it (RFC 6347, 4.1.2.6).
_OUR_NUMBER: Final = _EPOCH + (1 << 40).to_bytes(6, "big")


class Epilogue:
    __slots__ = ("_key", "_salt", "goodbye", "last_flight")

    def __init__(self, master_secret: bytes, client_random: bytes, server_random: bytes, last_flight: bytes) -> None:
        block = _expand(master_secret, b"key expansion" + server_random + client_random, 2 * (_KEY + _SALT))
        self._key = block[:_KEY]
        self._salt = block[2 * _KEY : 2 * _KEY + _SALT]
        self.goodbye = _seal(AESGCM(block[_KEY : 2 * _KEY]), block[2 * _KEY + _SALT :], _CLOSE_NOTIFY)
        """Our close_notify, a whole datagram."""
        self.last_flight = last_flight
        """ChangeCipherSpec and Finished, one datagram. Sent again it is to the peer what a network's duplicate is."""

    def asks_again(self, datagram: bytes) -> bool:
        """Whether the peer repeats its Finished, not having had ours (RFC 6347, 4.2.4). Nothing proves that it is the
        peer, but the answer is hardly longer than the question."""
        return any(
            record[0] == _HANDSHAKE and record[3:5] == _EPOCH and len(record) >= _FINISHED
            for record in _records(datagram)
        )

    def ended_by(self, datagram: bytes) -> bool:
        """Whether it holds an authentic close_notify or fatal alert of the peer. It ends once: replays do no harm."""
        for record in _records(datagram):
            alert = self._open(record) if record[0] == _ALERT else b""
            if len(alert) == 2 and (alert == _CLOSE_NOTIFY or alert[0] == _FATAL):
                return True
        return False

    def _open(self, record: bytes) -> bytes:
        body = record[_HEADER + _NONCE :]
        if len(body) < _TAG:
            return b""
        nonce = self._salt + record[_HEADER : _HEADER + _NONCE]
        try:
            return AESGCM(self._key).decrypt(nonce, body, _associated(record[3:11], len(body) - _TAG))
        except InvalidTag:
            return b""


def _records(datagram: bytes) -> Iterator[bytes]:
    at = 0
    while len(datagram) - at >= _HEADER:
        end = at + _HEADER + int.from_bytes(datagram[at + 11 : at + _HEADER], "big")
        if end > len(datagram):
            return
        yield datagram[at:end]
        at = end


def _seal(cipher: AESGCM, salt: bytes, alert: bytes) -> bytes:
    # OpenSSL counts its explicit nonces up from a random start; a second random start in 2^64 does not meet it.
    explicit = secrets.token_bytes(_NONCE)
    body = explicit + cipher.encrypt(salt + explicit, alert, _associated(_OUR_NUMBER, len(alert)))
    return bytes((_ALERT,)) + _VERSION + _OUR_NUMBER + len(body).to_bytes(2, "big") + body


def _associated(number: bytes, length: int) -> bytes:
    return number + bytes((_ALERT,)) + _VERSION + length.to_bytes(2, "big")


def _expand(secret: bytes, seed: bytes, length: int) -> bytes:
    """P_SHA256 (RFC 5246, 5)."""
    output, chained = b"", seed
    while len(output) < length:
        chained = hmac.digest(secret, chained, "sha256")
        output += hmac.digest(secret, chained + seed, "sha256")
    return output[:length]
