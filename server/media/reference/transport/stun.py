"""STUN messages as ICE-lite needs them (RFC 8489, RFC 8445): read one binding request, write one answer.

``aioice.stun`` does the same and more in three times the time (22 against 7 µs for reading, proving and answering one
check); a plane does this for every consent check of every peer, and has to refuse junk before it hashes anything.
"""

from __future__ import annotations

import hmac
import socket
from binascii import crc32
from dataclasses import dataclass
from struct import Struct, unpack_from
from typing import Final, Literal

COOKIE: Final = b"\x21\x12\xa4\x42"
HEADER: Final = 20
BINDING_REQUEST: Final = b"\x00\x01"
BINDING_INDICATION: Final = b"\x00\x11"

_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111

_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_XOR_MAPPED_ADDRESS: Final = 0x0020
_USE_CANDIDATE: Final = 0x0025
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_ICE_CONTROLLING: Final = 0x802A

# Comprehension-required and understood, though most say nothing to an ICE-lite agent (RFC 8489, 18.3; RFC 8445, 16.1).
_UNDERSTOOD: Final = frozenset(
    {_USERNAME, _MESSAGE_INTEGRITY, _USE_CANDIDATE, 0x0001, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0020, 0x0024}
)
_INTEGRITY_LENGTH: Final = 24  # with its header
_FINGERPRINT_LENGTH: Final = 8
_FINGERPRINT_XOR: Final = 0x5354554E

_head = Struct("!HH4s12s")
_attribute = Struct("!HH")


@dataclass(slots=True)
class Request:
    """A well-formed binding request, its integrity not yet checked."""

    data: bytes
    transaction: bytes
    username: bytes
    integrity_at: int
    use_candidate: bool
    role: Literal["controlling", "controlled"] | None
    not_understood: list[int]

    def authentic(self, password: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY fits (RFC 8489, 14.5)."""
        at = self.integrity_at
        covered = self.data[:2] + (at + _INTEGRITY_LENGTH - HEADER).to_bytes(2, "big") + self.data[4:at]
        return hmac.compare_digest(hmac.digest(password, covered, "sha1"), self.data[at + 4 : at + _INTEGRITY_LENGTH])


def looks_like_stun(data: bytes | bytearray | memoryview) -> bool:
    """The cheap look: lengths and magic cookie (RFC 8489, 6.3)."""
    length = len(data)
    return length >= HEADER and data[4:8] == COOKIE and (data[2] << 8 | data[3]) == length - HEADER and not length & 3


def read_request(data: bytes) -> Request | None:
    """The binding request in a message that ``looks_like_stun``, or ``None``: another message, attributes that run
    over the end, no USERNAME or MESSAGE-INTEGRITY, a FINGERPRINT that is wrong or not last."""
    if data[:2] != BINDING_REQUEST:
        return None
    username: bytes | None = None
    role: Literal["controlling", "controlled"] | None = None
    use_candidate = False
    integrity_at = 0
    not_understood: list[int] = []
    at, end = HEADER, len(data)
    while at < end:
        kind, length = _attribute.unpack_from(data, at)
        value = at + 4
        if value + length > end:
            return None
        if kind == _FINGERPRINT:
            if length != 4 or value + 4 != end or not _fingerprint_fits(data, at):
                return None
        elif integrity_at:
            pass  # RFC 8489, 9: what follows MESSAGE-INTEGRITY is not authentic
        elif kind == _MESSAGE_INTEGRITY:
            if length != _INTEGRITY_LENGTH - 4:
                return None
            integrity_at = at
        elif kind == _USERNAME:
            username = data[value : value + length]
        elif kind == _USE_CANDIDATE:
            use_candidate = True
        elif kind == _ICE_CONTROLLING:
            role = "controlling"
        elif kind == _ICE_CONTROLLED:
            role = "controlled"
        elif kind < 0x8000 and kind not in _UNDERSTOOD:
            not_understood.append(kind)
        at = value + (length + 3 & ~3)
    if username is None or not integrity_at:
        return None
    return Request(data, data[8:HEADER], username, integrity_at, use_candidate, role, not_understood)


def _fingerprint_fits(data: bytes, at: int) -> bool:
    return int(unpack_from("!I", data, at + 4)[0]) == crc32(data[:at]) ^ _FINGERPRINT_XOR


def success(transaction: bytes, password: bytes, mapped: tuple[bytes, int]) -> bytes:
    """A binding success; ``mapped`` is the packed address (4 or 16 octets) and port the request came from."""
    return _sealed(_BINDING_SUCCESS, transaction, password, _xor_mapped_address(transaction, *mapped))


def role_conflict(transaction: bytes, password: bytes) -> bytes:
    """487 (RFC 8445, 7.3.1.1)."""
    return _error(transaction, password, 487, b"Role Conflict")


def unknown_attributes(transaction: bytes, password: bytes, kinds: list[int]) -> bytes:
    """420 with the attributes that were not understood (RFC 8489, 6.3.1)."""
    listed = b"".join(kind.to_bytes(2, "big") for kind in kinds)
    return _error(transaction, password, 420, b"Unknown Attribute", _tlv(_UNKNOWN_ATTRIBUTES, listed))


def _error(transaction: bytes, password: bytes, code: int, reason: bytes, more: bytes = b"") -> bytes:
    value = bytes((0, 0, code // 100, code % 100)) + reason
    return _sealed(_BINDING_ERROR, transaction, password, _tlv(_ERROR_CODE, value) + more)


def _tlv(kind: int, value: bytes) -> bytes:
    return _attribute.pack(kind, len(value)) + value + bytes(-len(value) & 3)


def _xor_mapped_address(transaction: bytes, address: bytes, port: int) -> bytes:
    mask = int.from_bytes((COOKIE + transaction)[: len(address)], "big")
    hidden = (int.from_bytes(address, "big") ^ mask).to_bytes(len(address), "big")
    family = 1 if len(address) == 4 else 2
    return _tlv(_XOR_MAPPED_ADDRESS, bytes((0, family)) + (port ^ 0x2112).to_bytes(2, "big") + hidden)


def _sealed(kind: int, transaction: bytes, password: bytes, body: bytes) -> bytes:
    covered = _head.pack(kind, len(body) + _INTEGRITY_LENGTH, COOKIE, transaction) + body
    body += _tlv(_MESSAGE_INTEGRITY, hmac.digest(password, covered, "sha1"))
    covered = _head.pack(kind, len(body) + _FINGERPRINT_LENGTH, COOKIE, transaction) + body
    return covered + _tlv(_FINGERPRINT, (crc32(covered) ^ _FINGERPRINT_XOR).to_bytes(4, "big"))


def address_of(name: bytes) -> tuple[bytes, int]:
    """Packed address and port of a raw ``sockaddr_in`` or ``sockaddr_in6``; an IPv4-mapped address becomes IPv4."""
    port = name[2] << 8 | name[3]
    if int.from_bytes(name[:2], _NATIVE) == socket.AF_INET:
        return name[4:8], port
    address = name[8:24]
    return (address[12:] if address[:12] == _MAPPED else address), port


_MAPPED: Final = bytes(10) + b"\xff\xff"
_NATIVE: Final[Literal["little", "big"]] = "little" if Struct("=H").pack(1)[0] else "big"
