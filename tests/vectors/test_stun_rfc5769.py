"""The sample messages of RFC 5769, 2.1 to 2.3: one is read as a request, two are what our answers must look like."""

from __future__ import annotations

import ipaddress

from server.media.reference.transport import stun

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"  # SOFTWARE
    "002400046e0001ff"  # PRIORITY
    "80290008932ff9b151263b36"  # ICE-CONTROLLED
    "00060009" + "6576746a3a68367659" + "202020"  # USERNAME, padded with spaces
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
IPV4_ANSWER = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
IPV6_ANSWER = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)


def attribute(message: bytes, kind: int) -> bytes:
    at = 20
    while at < len(message):
        found, length = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if found == kind:
            return message[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)
    raise AssertionError(f"attribute {kind:#06x} is missing")


def test_request_is_read_and_authentic() -> None:
    assert stun.looks_like_stun(REQUEST)
    request = stun.read_request(REQUEST)
    assert request is not None
    assert request.transaction == TRANSACTION
    assert request.username == b"evtj:h6vY"
    assert request.role == "controlled"
    assert not request.use_candidate
    assert not request.not_understood
    assert request.authentic(PASSWORD)
    assert not request.authentic(PASSWORD + b"x")


def test_any_flipped_bit_of_the_request_is_noticed() -> None:
    """But for the type of FINGERPRINT itself: without one, MESSAGE-INTEGRITY still speaks for the message."""
    for at in (*range(len(REQUEST) - 8), *range(len(REQUEST) - 6, len(REQUEST))):
        for bit in range(8):
            changed = REQUEST[:at] + bytes((REQUEST[at] ^ 1 << bit,)) + REQUEST[at + 1 :]
            request = stun.read_request(changed) if stun.looks_like_stun(changed) else None
            assert request is None or not request.authentic(PASSWORD), (at, bit)


def test_answers_carry_the_mapped_addresses_of_the_rfc() -> None:
    for host, sample in (("192.0.2.1", IPV4_ANSWER), ("2001:db8:1234:5678:11:2233:4455:6677", IPV6_ANSWER)):
        ours = stun.success(TRANSACTION, PASSWORD, (ipaddress.ip_address(host).packed, 32853))
        assert attribute(ours, 0x0020) == attribute(sample, 0x0020)


def test_integrity_and_fingerprint_of_the_answers_are_computed_as_in_the_rfc() -> None:
    """Our answers have no SOFTWARE attribute; with the sample's put in front the whole message must be the sample."""
    software = IPV4_ANSWER[20:36]
    address = stun._xor_mapped_address(TRANSACTION, ipaddress.ip_address("192.0.2.1").packed, 32853)
    assert stun._sealed(0x0101, TRANSACTION, PASSWORD, software + address) == IPV4_ANSWER
    address = stun._xor_mapped_address(
        TRANSACTION, ipaddress.ip_address("2001:db8:1234:5678:11:2233:4455:6677").packed, 32853
    )
    assert stun._sealed(0x0101, TRANSACTION, PASSWORD, software + address) == IPV6_ANSWER
