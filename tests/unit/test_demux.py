"""Every first octet has exactly one meaning, RFC 7983's, and RTCP is told from RTP by RFC 5761's range."""

from __future__ import annotations

from server.media.reference.transport import demux


def test_first_octets_follow_rfc_7983() -> None:
    expected = {
        **dict.fromkeys(range(4), demux.STUN),
        **dict.fromkeys(range(20, 64), demux.DTLS),
        **dict.fromkeys(range(128, 192), demux.MEDIA),
    }
    assert [demux.KINDS[first] for first in range(256)] == [expected.get(first, demux.JUNK) for first in range(256)]


def test_sender_reports_to_feedback_are_rtcp() -> None:
    assert all(demux.is_rtcp(kind) for kind in (192, 200, 201, 202, 203, 204, 205, 206, 207, 223))


def test_payload_types_of_webrtc_are_not_rtcp() -> None:
    dynamic = range(96, 128)
    assert not any(demux.is_rtcp(payload_type) or demux.is_rtcp(0x80 | payload_type) for payload_type in dynamic)
    assert not any(demux.is_rtcp(0x80 | payload_type) for payload_type in range(64))
