"""The names that the plane counts under. All are there from the start: what is missing cannot be told from zero."""

from __future__ import annotations

from typing import Final

from ..plane import PlaneStats

COUNTERS: Final = (
    "rtp_in", "rtp_in_bytes", "rtp_out", "rtp_out_bytes", "rtcp_in", "rtcp_out", "lost_in",
    "nack_in", "nack_out", "rtx_in", "rtx_out", "rtx_refused", "keyframe_in", "keyframe_out",
    "srtp_forged", "srtp_replayed", "stun_in", "stun_bad", "stun_unknown", "dtls_failed", "junk", "unvalidated",
    "handshakes", "consent_lost", "icmp_errors", "commands_ignored",
)  # fmt: skip
DROPS: Final = ("socket", "burst", "tap", "history")


def zeroed() -> PlaneStats:
    return PlaneStats(counters=dict.fromkeys(COUNTERS, 0), drops=dict.fromkeys(DROPS, 0))
