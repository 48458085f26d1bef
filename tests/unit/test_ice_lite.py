"""ICE-lite: who is answered, with what, and which 5-tuple is sent to (RFC 8445, RFC 8489)."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st

from server.media.reference import limits
from server.media.reference.transport.ice import IceLite
from server.media.reference.transport.peer import Credentials, Peer
from server.media.reference.transport.stun import looks_like_stun, read_request

SECOND = 1_000_000_000
CREDENTIALS = Credentials(b"ours", b"a password of ours")
RENEWED = Credentials(b"newer", b"another password")


def name(host: str, port: int) -> bytes:
    """A raw sockaddr as recvmmsg hands it over."""
    address = ipaddress.ip_address(host)
    if address.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, address.packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, address.packed, 0)


HOME = name("192.0.2.1", 5000)
ROAD = name("198.51.100.9", 6000)


def check(
    credentials: Credentials = CREDENTIALS,
    *,
    nominate: bool = False,
    role: str | None = "ICE-CONTROLLING",
    password: bytes | None = None,
    username: str | None = None,
) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = username if username is not None else f"{credentials.ufrag.decode()}:theirs"
    message.attributes["PRIORITY"] = 1
    if role is not None:
        message.attributes[role] = 1
    if nominate:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(password or credentials.password)
    return bytes(message)


def splice(message: bytes, attribute: bytes, password: bytes) -> bytes:
    """Put a raw attribute in front of the others and seal anew."""
    body = attribute + message[20:-32]
    head = message[:2] + struct.pack("!H", len(body)) + message[4:20]
    integrity = struct.pack("!HH", 8, 20) + stun.message_integrity(head + body, password)
    data = head + body + integrity
    fingerprint = struct.pack("!HHI", 0x8028, 4, stun.message_fingerprint(data))
    return stun.set_body_length(data + fingerprint, len(data) - 20 + 8)


@pytest.fixture
def ice() -> IceLite:
    return IceLite()


@pytest.fixture
def peer(ice: IceLite) -> Peer:
    peer = Peer(1, CREDENTIALS, 0)
    ice.add(peer)
    return peer


def answer(reply: bytes | None, credentials: Credentials = CREDENTIALS) -> stun.Message:
    assert reply is not None
    message = stun.parse_message(reply)  # checks FINGERPRINT
    assert "FINGERPRINT" in message.attributes
    assert message.check_message_integrity(credentials.password)
    return message


@pytest.mark.parametrize(
    ("source", "mapped"),
    [
        (HOME, ("192.0.2.1", 5000)),
        (name("::ffff:192.0.2.1", 5000), ("192.0.2.1", 5000)),
        (name("2001:db8::7", 40000), ("2001:db8::7", 40000)),
    ],
    ids=["ipv4", "ipv4-mapped", "ipv6"],
)
def test_a_good_check_is_answered_with_the_address_it_came_from(
    ice: IceLite, peer: Peer, source: bytes, mapped: tuple[str, int]
) -> None:
    request = check()
    outcome = ice.check(request, source, 1)
    message = answer(outcome.reply)
    assert outcome.verdict == "answered"
    assert outcome.peer is peer
    assert message.message_class is stun.Class.RESPONSE
    assert message.transaction_id == request[8:20]
    assert message.attributes["XOR-MAPPED-ADDRESS"] == mapped
    assert ice.paths[source].peer is peer
    assert bytes(peer.sockaddr) == source
    assert peer.sockaddr_len == len(source)


def _flipped(message: bytes) -> bytes:
    """With a FINGERPRINT that is wrong by one bit."""
    return message[:-1] + bytes([message[-1] ^ 1])


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (check(username="nobody:theirs"), "unknown"),
        (check(username=""), "unknown"),
        (check(username="nobody"), "unknown"),
        (check(password=b"guess"), "bad"),
        (check()[:-8], "bad"),  # the length field does not fit
        (_flipped(check()), "bad"),
        (b"\1\1" + check()[2:], "bad"),  # a response: we never asked
        (check()[:20], "bad"),
        (b"", "bad"),
        (b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), "bad"),  # no USERNAME at all
        (b"\0\1\0\4\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\xff", "bad"),  # an attribute runs over the end
        (b"\0\1\0\1\x21\x12\xa4\x42" + bytes(12) + b"\0", "bad"),
        (b"\0\x11\0\0\x21\x12\xa4\x42" + bytes(12), "ignored"),  # indication: a keepalive, which proves nothing
    ],
    ids=[
        "another ufrag",
        "no ufrag",
        "half a username",
        "another password",
        "cut short",
        "wrong fingerprint",
        "a response",
        "header alone",
        "empty",
        "no username",
        "attribute beyond the end",
        "odd length",
        "indication",
    ],
)
def test_strangers_and_broken_messages_get_no_answer_and_change_nothing(
    ice: IceLite, peer: Peer, data: bytes, verdict: str
) -> None:
    outcome = ice.check(data, HOME, 1)
    assert outcome.verdict == verdict
    assert outcome.reply is None
    assert not ice.paths
    assert peer.sockaddr is None
    assert peer.heard_ns == 0


def test_a_peer_that_thinks_itself_controlled_is_told_of_the_conflict(ice: IceLite, peer: Peer) -> None:
    outcome = ice.check(check(role="ICE-CONTROLLED"), HOME, 1)
    message = answer(outcome.reply)
    assert message.message_class is stun.Class.ERROR
    assert message.error_code == 487
    assert not ice.paths


def test_a_check_without_a_role_is_answered(ice: IceLite, peer: Peer) -> None:
    assert ice.check(check(role=None), HOME, 1).verdict == "answered"


def test_an_attribute_that_must_be_understood_and_is_not_gets_420(ice: IceLite, peer: Peer) -> None:
    data = splice(check(), b"\x7f\xff\0\3abc\0", CREDENTIALS.password)
    outcome = ice.check(data, HOME, 1)
    message = answer(outcome.reply)
    assert message.error_code == 420
    assert b"\0\x0a\0\2\x7f\xff" in (outcome.reply or b"")
    assert not ice.paths


def test_an_optional_attribute_that_is_not_understood_does_no_harm(ice: IceLite, peer: Peer) -> None:
    data = splice(check(), b"\xc0\x57\0\4\0\0\0\x0a", CREDENTIALS.password)  # libwebrtc's network cost
    assert ice.check(data, HOME, 1).verdict == "answered"


def test_what_follows_message_integrity_is_not_believed(ice: IceLite, peer: Peer) -> None:
    sealed = check()[:-8]  # without FINGERPRINT
    ice.check(check(nominate=True), HOME, 1)
    data = sealed[:2] + struct.pack("!H", len(sealed) - 20 + 4) + sealed[4:] + b"\0\x25\0\0"
    assert ice.check(data, ROAD, 2).verdict == "answered"
    assert bytes(peer.sockaddr) == HOME


def test_before_any_nomination_the_last_validated_path_is_used(ice: IceLite, peer: Peer) -> None:
    ice.check(check(), HOME, 1)
    ice.check(check(), ROAD, 2)
    assert bytes(peer.sockaddr) == ROAD


def test_use_candidate_nominates_and_other_checks_do_not_move_it(ice: IceLite, peer: Peer) -> None:
    ice.check(check(nominate=True), HOME, 1)
    ice.check(check(), ROAD, 2)
    assert bytes(peer.sockaddr) == HOME
    assert {HOME, ROAD} == set(ice.paths)
    ice.check(check(nominate=True), ROAD, 3)
    assert bytes(peer.sockaddr) == ROAD


def test_a_nominated_path_gone_silent_gives_way_to_a_living_one(ice: IceLite, peer: Peer) -> None:
    """A NAT gave the client a new port: it does not know, and will not nominate again."""
    ice.check(check(nominate=True), HOME, 1)
    ice.check(check(), ROAD, limits.PATH_SILENT_NS)
    assert bytes(peer.sockaddr) == HOME
    ice.check(check(), ROAD, limits.PATH_SILENT_NS + 2)
    assert bytes(peer.sockaddr) == ROAD


def test_a_peer_keeps_a_few_paths_and_the_longest_silent_goes_first(ice: IceLite, peer: Peer) -> None:
    ice.check(check(nominate=True), HOME, 0)
    for at in range(1, limits.PATHS + 3):
        ice.check(check(), name("192.0.2.1", 5000 + at), at)
    assert len(ice.paths) == len(peer.paths) == limits.PATHS
    assert HOME in ice.paths, "the selected path stays, however old"
    assert name("192.0.2.1", 5001) not in ice.paths
    assert name("192.0.2.1", 5000 + limits.PATHS + 2) in ice.paths


def test_an_address_belongs_to_whoever_proved_it_last(ice: IceLite, peer: Peer) -> None:
    other = Peer(2, Credentials(b"others", b"their password"), 0)
    ice.add(other)
    ice.check(check(nominate=True), HOME, 1)
    ice.check(check(other.credentials), HOME, 2)
    assert ice.paths[HOME].peer is other
    assert peer.sockaddr is None
    assert peer.sockaddr_len == 0
    ice.remove(peer)
    assert ice.paths[HOME].peer is other


def test_restart_old_credentials_hold_until_the_new_are_used(ice: IceLite, peer: Peer) -> None:
    ice.check(check(nominate=True), HOME, 1)
    ice.restart(peer, RENEWED)
    assert ice.check(check(), HOME, 2).verdict == "answered"
    outcome = ice.check(check(RENEWED), ROAD, 3)
    answer(outcome.reply, RENEWED)
    assert outcome.peer is peer
    assert bytes(peer.sockaddr) == ROAD, "nominations of before the restart do not bind"
    assert ice.check(check(), HOME, 4).verdict == "unknown"
    assert HOME in ice.paths, "what is under way on the old path is still heard"


def test_restart_with_a_wrong_password_changes_nothing(ice: IceLite, peer: Peer) -> None:
    ice.restart(peer, RENEWED)
    assert ice.check(check(RENEWED, password=b"guess"), ROAD, 1).verdict == "bad"
    assert ice.check(check(), HOME, 2).verdict == "answered"


def test_a_second_restart_replaces_one_that_was_never_used(ice: IceLite, peer: Peer) -> None:
    third = Credentials(b"third", b"third password")
    ice.restart(peer, RENEWED)
    ice.restart(peer, third)
    assert ice.check(check(RENEWED), HOME, 1).verdict == "unknown"
    assert ice.check(check(third), HOME, 2).verdict == "answered"


def test_a_peer_that_is_removed_is_unknown_with_all_its_credentials_and_paths(ice: IceLite, peer: Peer) -> None:
    ice.restart(peer, RENEWED)
    ice.check(check(), HOME, 1)
    ice.remove(peer)
    assert not ice.paths
    assert ice.check(check(), HOME, 2).verdict == "unknown"
    assert ice.check(check(RENEWED), HOME, 3).verdict == "unknown"


def test_everybody_who_is_sent_elsewhere_from_now_on_is_named(ice: IceLite, peer: Peer) -> None:
    """Who forwards to a peer keeps its address; an address that went over to another client must not be used again."""
    other = Peer(2, RENEWED, 0)
    ice.add(other)
    assert ice.check(check(), HOME, 1).moved == (peer,)
    assert ice.check(check(), HOME, 2).moved == ()
    assert ice.check(check(nominate=True), ROAD, 3).moved == (peer,)
    assert ice.check(check(RENEWED), ROAD, 4).moved == (other, peer)
    assert bytes(peer.sockaddr) == HOME
    assert ice.check(check(RENEWED), HOME, 5).moved == (other, peer)
    assert peer.sockaddr is None


# --- anything at all --------------------------------------------------------------------------------------------

ANYTHING = st.binary(max_size=120)
ALMOST_STUN = st.builds(
    lambda kind, body: kind + struct.pack("!H", len(body)) + b"\x21\x12\xa4\x42" + bytes(12) + body,
    st.sampled_from([b"\0\1", b"\0\x11", b"\1\1", b"\3\xff"]),
    st.lists(
        st.builds(
            lambda kind, length, value: struct.pack("!HH", kind, length) + value,
            st.sampled_from([0x0006, 0x0008, 0x0020, 0x0025, 0x8028, 0x8029, 0x802A, 0x7FFF]) | st.integers(0, 0xFFFF),
            st.integers(0, 24) | st.integers(0, 0xFFFF),
            st.binary(max_size=24),
        )
    ).map(b"".join),
)


@settings(max_examples=500, deadline=None)
@given(ANYTHING | ALMOST_STUN)
def test_no_octets_raise_are_answered_or_validate_a_path(data: bytes) -> None:
    ice = IceLite()
    ice.add(Peer(1, CREDENTIALS, 0))
    outcome = ice.check(data, HOME, 1)
    assert outcome.reply is None
    assert outcome.verdict in ("bad", "unknown", "ignored")
    assert not ice.paths


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_a_damaged_check_is_never_answered(at: int, damage: bytes) -> None:
    good = check(nominate=True)
    data = (good[:at] + damage + good[at + len(damage) :])[: len(good)]
    ice = IceLite()
    ice.add(Peer(1, CREDENTIALS, 0))
    outcome = ice.check(data, HOME, 1)
    if data[:-8] != good[:-8]:  # anything that MESSAGE-INTEGRITY covers
        assert outcome.reply is None
        assert not ice.paths


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_characters=":"), max_size=40),
    st.booleans(),
    st.sampled_from(["ICE-CONTROLLING", "ICE-CONTROLLED", None]),
    st.binary(min_size=1, max_size=30),
)
def test_our_reader_reads_what_aioice_writes(ufrag: str, nominate: bool, role: str | None, password: bytes) -> None:
    data = check(nominate=nominate, role=role, password=password, username=f"{ufrag}:theirs")
    request = read_request(data) if looks_like_stun(data) else None
    assert request is not None
    assert request.username == f"{ufrag}:theirs".encode()
    assert request.use_candidate is nominate
    assert request.role == (role.removeprefix("ICE-").lower() if role else None)
    assert request.authentic(password)
    assert not request.authentic(password + b"x")
