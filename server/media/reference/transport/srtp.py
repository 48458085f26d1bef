"""SRTP and SRTCP keys of one peer (RFC 3711, RFC 7714), in place over libsrtp through pylibsrtp's own cffi binding.

The single invariant: *one owner of each sending key.* An ``Outbound`` is made once per DTLS handshake and is never
copied; AES-GCM with a repeated nonce would give the key away. A session is freed when the last holder lets it go, so a
batch that still points at it can never reach freed memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pylibsrtp import Error, Policy
from pylibsrtp._binding import ffi, lib

from ..limits import INBOUND_SSRCS, REPLAY_WINDOW

TAG: Final = 16
"""Head-room in bytes that ``lib.srtp_protect`` needs behind an RTP packet, whatever the profile."""

RTCP_TRAILER: Final = 4 + TAG
"""SRTCP adds the E-bit and index word as well (RFC 3711, 3.4)."""

FORGED: Final = -1
REPLAYED: Final = -2

_RTCP_ROOM: Final = 4096
# srtp_err_status_replay_fail, _replay_old, _pkt_idx_old of libsrtp's err.h; the binding exports "ok" only.
_REPLAY_CODES: Final = frozenset({9, 10, 26})


def octets(pointer: Any, length: int) -> bytes:
    """A copy of what lies in C memory."""
    return ffi.buffer(pointer, length)[:]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Profile:
    """A DTLS-SRTP protection profile (RFC 5764, 4.1.2; RFC 7714, 14.2)."""

    name: bytes  # as OpenSSL spells it
    libsrtp: int
    key_length: int
    salt_length: int

    @property
    def material_length(self) -> int:
        """Octets of exported keying material needed for both directions."""
        return 2 * (self.key_length + self.salt_length)


AEAD_AES_128_GCM: Final = Profile(b"SRTP_AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12)
AES128_CM_SHA1_80: Final = Profile(b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14)

PROFILES: Final = (AEAD_AES_128_GCM, AES128_CM_SHA1_80)
"""In order of preference: GCM costs half of CM with SHA-1."""


def profile_named(name: bytes) -> Profile | None:
    return next((profile for profile in PROFILES if profile.name == name), None)


def _session(profile: Profile, key: bytes, ssrc_type: int) -> Any:
    policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile.libsrtp)
    policy.window_size = REPLAY_WINDOW
    created = ffi.new("srtp_t *")
    status = lib.srtp_create(created, policy._policy)
    if status != lib.srtp_err_status_ok:
        raise Error(f"srtp_create: status {status}")
    return ffi.gc(created[0], lib.srtp_dealloc)


class Outbound:
    """Our sending key. ``session`` is a ``srtp_t`` for ``lib.srtp_protect(session, pointer, int *length)``."""

    __slots__ = ("session",)

    def __init__(self, profile: Profile, key: bytes) -> None:
        self.session: Any = _session(profile, key, Policy.SSRC_ANY_OUTBOUND)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Seal one compound packet. Raises ``ValueError`` when it is longer than any datagram we would send."""
        if len(packet) > _RTCP_ROOM - RTCP_TRAILER:
            raise ValueError("RTCP compound packet is too long")
        room = ffi.new("unsigned char[]", len(packet) + RTCP_TRAILER)
        ffi.memmove(room, packet, len(packet))
        length = ffi.new("int *", len(packet))
        if lib.srtp_protect_rtcp(self.session, room, length) != lib.srtp_err_status_ok:
            raise ValueError("libsrtp cannot seal this RTCP packet")
        return octets(room, length[0])

    def close(self) -> None:
        self.session = None


class Inbound:
    """The peer's sending key. Every packet that it refuses is either forged or replayed; nothing else comes of it."""

    __slots__ = ("_length", "_session", "_ssrcs")

    def __init__(self, profile: Profile, key: bytes) -> None:
        self._session: Any = _session(profile, key, Policy.SSRC_ANY_INBOUND)
        self._length: Any = ffi.new("int *")  # not shared: cffi lets go of the GIL during the call
        self._ssrcs: set[int] = set()

    def unprotect(self, pointer: Any, length: int) -> int:
        """Open an SRTP packet in place (``pointer`` is writable); the clear length, ``FORGED`` or ``REPLAYED``."""
        return self._open(lib.srtp_unprotect, pointer, length, 8)

    def unprotect_rtcp_in_place(self, pointer: Any, length: int) -> int:
        """Open an SRTCP packet in place; the clear length, ``FORGED`` or ``REPLAYED``."""
        return self._open(lib.srtp_unprotect_rtcp, pointer, length, 4)

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Open an SRTCP packet, or ``None`` when it is forged, replayed or longer than a datagram can be."""
        if len(packet) > _RTCP_ROOM:
            return None
        room = ffi.from_buffer(bytearray(packet), require_writable=True)
        length = self.unprotect_rtcp_in_place(room, len(packet))
        return None if length < 0 else octets(room, length)

    def _open(self, function: Any, pointer: Any, length: int, ssrc_at: int) -> int:
        if length < 12:
            return FORGED
        # libsrtp keeps a stream (keys, replay list) for each SSRC that authenticates and searches them in a row:
        # a peer with valid keys that draws SSRCs at random must not be able to fill our memory with them.
        ssrc = int.from_bytes(ffi.buffer(pointer + ssrc_at, 4), "big")
        known = ssrc in self._ssrcs
        if not known and len(self._ssrcs) >= INBOUND_SSRCS:
            return FORGED
        cell = self._length
        cell[0] = length
        status = function(self._session, pointer, cell)
        if status == 0:
            if not known:
                self._ssrcs.add(ssrc)
            return cell[0]  # type: ignore[no-any-return]
        return REPLAYED if status in _REPLAY_CODES else FORGED

    def close(self) -> None:
        self._session = None


def keys_from_dtls(profile: Profile, material: bytes, *, server: bool) -> tuple[Outbound, Inbound]:
    """Both directions from the DTLS exporter: client key, server key, client salt, server salt (RFC 5764, 4.2)."""
    if len(material) != profile.material_length:
        raise ValueError(f"{profile.material_length} octets of keying material are needed")
    key, salt = profile.key_length, profile.salt_length
    client = material[:key] + material[2 * key : 2 * key + salt]
    ours = material[key : 2 * key] + material[2 * key + salt :]
    sending, receiving = (ours, client) if server else (client, ours)
    return Outbound(profile, sending), Inbound(profile, receiving)
