"""SRTP and SRTCP of one connection through pylibsrtp (RFC 3711, RFC 7714)."""

from __future__ import annotations

from typing import Any

import pylibsrtp

from loadtest.rawclient.dtls import SrtpKeys

_PROFILES: dict[str, int] = {
    "SRTP_AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "SRTP_AES128_CM_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
WINDOW = 1024  # packets; a retransmission may come that late


class Srtp:
    """Both directions. The ``open_*`` methods give ``None`` for what is forged, replayed or malformed."""

    __slots__ = ("_receiver", "_sender", "refused")

    def __init__(self, keys: SrtpKeys) -> None:
        self.refused = 0
        self._sender = self._session(keys.sending, keys, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._receiver = self._session(keys.receiving, keys, pylibsrtp.Policy.SSRC_ANY_INBOUND)

    @staticmethod
    def _session(key: bytes, keys: SrtpKeys, kind: int) -> Any:
        policy = pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=_PROFILES[keys.profile])
        policy.window_size = WINDOW
        return pylibsrtp.Session(policy)

    def seal_rtp(self, packet: bytes) -> bytes:
        """Protect one RTP packet of at most 1356 bytes."""
        sealed: bytes = self._sender.protect(packet)
        return sealed

    def seal_rtcp(self, packet: bytes) -> bytes:
        """Protect one compound RTCP packet."""
        sealed: bytes = self._sender.protect_rtcp(packet)
        return sealed

    def open_rtp(self, packet: bytes) -> bytes | None:
        """The clear RTP packet."""
        try:
            clear: bytes = self._receiver.unprotect(packet)
        except (pylibsrtp.Error, ValueError):
            self.refused += 1
            return None
        return clear

    def open_rtcp(self, packet: bytes) -> bytes | None:
        """The clear compound RTCP packet."""
        try:
            clear: bytes = self._receiver.unprotect_rtcp(packet)
        except (pylibsrtp.Error, ValueError):
            self.refused += 1
            return None
        return clear
