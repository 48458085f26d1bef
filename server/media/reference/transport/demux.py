"""What a datagram is, by its first octet (RFC 7983, 7) and, for media, its second (RFC 5761, 4)."""

from __future__ import annotations

from typing import Final

STUN: Final = 0
DTLS: Final = 1
MEDIA: Final = 2
JUNK: Final = 3  # ZRTP, TURN channels, QUIC and what has no meaning at all


def _kind(first: int) -> int:
    if first <= 3:
        return STUN
    if 20 <= first <= 63:
        return DTLS
    if 128 <= first <= 191:
        return MEDIA
    return JUNK


KINDS: Final = bytes(_kind(first) for first in range(256))
"""Kind per first octet."""


def is_rtcp(second: int) -> bool:
    """Whether a datagram of kind ``MEDIA`` is RTCP: packet types 192 to 223, which RTP with rtcp-mux never shows."""
    return 192 <= second <= 223
