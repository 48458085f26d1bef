"""The DTLS server against OpenSSL's client, datagram by datagram: loss, forgery, fingerprints, keys, goodbye."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from server.media.reference.limits import DTLS_MTU, DTLS_OTHER_HELLO_NS, DTLS_RESEND_NS
from server.media.reference.transport import srtp
from server.media.reference.transport.dtls import Dtls, State, client_hello_random
from server.media.reference.transport.identity import Identity
from tests.support.raw_peer import ANY_PROFILE, SHARED, Certificate, RawPeer

MS = 1_000_000
IDENTITY = Identity()
PEER = (("sha-256", SHARED.fingerprint()),)


class Client(RawPeer):
    """A raw peer whose datagrams are taken by hand instead of by a socket."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.outbox: list[bytes] = []

    def send(self, datagram: bytes) -> None:
        self.outbox.append(datagram)

    def hear(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self._arrived(datagram)

    def say(self) -> list[bytes]:
        said, self.outbox = self.outbox, []
        return said


def server(fingerprints: Sequence[tuple[str, str]] = PEER) -> Dtls:
    return Dtls(IDENTITY.context, fingerprints)


def exchange(client: Client, dtls: Dtls, now: int = 0, rounds: int = 6) -> None:
    client.begin_handshake()
    for _ in range(rounds):
        for datagram in client.say():
            client.hear(dtls.feed(datagram, now))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (ANY_PROFILE, b"SRTP_AEAD_AES_128_GCM"),
        (b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM", b"SRTP_AEAD_AES_128_GCM"),
        (b"SRTP_AES128_CM_SHA1_80", b"SRTP_AES128_CM_SHA1_80"),
    ],
)
def test_both_sides_get_the_same_keys_and_gcm_is_preferred(offered: bytes, chosen: bytes) -> None:
    client, dtls = Client(profiles=offered), server()
    exchange(client, dtls)
    assert dtls.state is State.DONE
    assert client.profile == chosen
    assert dtls.keys is not None
    outbound, inbound = srtp.keys_from_dtls(*dtls.keys, server=True)
    report = bytes.fromhex("80c9000111223344")
    assert inbound.unprotect_rtcp(client.seal_rtcp(report)) == report
    client._media(outbound.protect_rtcp(report), rtcp=True)
    assert list(client.rtcp) == [report]


def test_a_client_without_srtp_is_refused() -> None:
    client, dtls = Client(profiles=b""), server()
    exchange(client, dtls)
    assert dtls.state is State.FAILED
    assert dtls.keys is None


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512", "SHA-256"])
def test_fingerprints_of_the_known_digests_fit(algorithm: str) -> None:
    client, dtls = Client(), server([(algorithm, SHARED.fingerprint(algorithm.lower()).lower())])
    exchange(client, dtls)
    assert dtls.state is State.DONE


def test_one_of_several_fingerprints_is_enough() -> None:
    dtls = server([("sha-256", "00:11"), ("sha-1", "22:33"), ("sha-256", SHARED.fingerprint())])
    exchange(Client(), dtls)
    assert dtls.state is State.DONE


@pytest.mark.parametrize(
    "fingerprints",
    [
        [("sha-256", "AA" + SHARED.fingerprint()[2:])],
        [("sha-512", SHARED.fingerprint("sha-256"))],
        [("md5", SHARED.fingerprint())],
        [],
    ],
)
def test_a_wrong_fingerprint_ends_the_handshake_with_an_alert_and_without_keys(
    fingerprints: list[tuple[str, str]],
) -> None:
    client, dtls = Client(), server(fingerprints)
    exchange(client, dtls)
    assert dtls.state is State.MISMATCH
    assert dtls.keys is None
    assert client.alerted
    assert not client.connected


def test_a_client_that_shows_no_certificate_is_refused() -> None:
    client = Client()
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_tlsext_use_srtp(ANY_PROFILE)
    client.ssl = SSL.Connection(context, None)
    client.ssl.set_connect_state()
    dtls = server()
    exchange(client, dtls)
    assert dtls.state is State.FAILED
    assert client.alerted


def test_no_datagram_is_longer_than_the_mtu_and_each_holds_whole_records() -> None:
    client, dtls = Client(), server()
    client.begin_handshake()
    for _ in range(4):
        for datagram in client.say():
            answers = dtls.feed(datagram, 0)
            for answer in answers:
                assert len(answer) <= DTLS_MTU
                at = 0
                while at < len(answer):
                    at += 13 + int.from_bytes(answer[at + 11 : at + 13], "big")
                assert at == len(answer)
            client.hear(answers)
    assert dtls.state is State.DONE


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "last fragment first"])
def test_a_hello_in_fragments_is_put_together(order: int) -> None:
    """Hellos with a post-quantum key share are longer than a datagram."""
    client, dtls = Client(), server()
    client.ssl.set_alpn_protos([b"padding" * 30])
    client.ssl.set_ciphertext_mtu(256)
    client.begin_handshake()
    fragments = client.say()
    assert len(fragments) > 1
    for fragment in fragments[::order]:
        client.hear(dtls.feed(fragment, 0))
    for datagram in client.say():
        client.hear(dtls.feed(datagram, 0))
    assert dtls.state is State.DONE
    assert client.connected


# --- loss ---


def lossy_handshake(lose: Callable[[int], bool]) -> tuple[Client, Dtls, int]:
    """Run with a network that loses the datagrams whose numbers ``lose`` names. The server's early repetition follows
    ``now``; OpenSSL's own timers on both sides follow the clock, and are not waited for."""
    client, dtls = Client(), server()
    number = 0

    def kept(datagrams: list[bytes]) -> list[bytes]:
        nonlocal number
        passed = []
        for datagram in datagrams:
            if not lose(number):
                passed.append(datagram)
            number += 1
        return passed

    client.begin_handshake()
    first = client.outbox[0]
    now = 0
    for _ in range(8):
        for datagram in kept(client.say()):
            client.hear(kept(dtls.feed(datagram, now)))
        now += DTLS_RESEND_NS
        client.hear(kept(dtls.handle_timeout(now)))
        if dtls.state is State.HANDSHAKE and not dtls._flight:
            client.outbox.append(first)  # what a client's own timer would do
    return client, dtls, number


def test_a_lost_server_flight_is_sent_again_after_a_quarter_of_a_second() -> None:
    client, dtls, _ = lossy_handshake(lambda number: number == 1)
    assert dtls.state is State.DONE
    assert client.connected


def test_a_lost_client_hello_costs_only_the_client_its_repetition() -> None:
    client, dtls, _ = lossy_handshake(lambda number: number == 0)
    assert dtls.state is State.DONE
    assert client.connected


def test_a_repeated_hello_is_answered_with_the_same_flight() -> None:
    client, dtls = Client(), server()
    client.begin_handshake()
    hello = client.say()[0]
    flight = dtls.feed(hello, 0)
    assert flight
    assert dtls.feed(hello, 10 * MS) == flight
    assert dtls.feed(hello, 20 * MS) == [], "a flood of hellos is not a flood of flights"
    client.hear(flight)
    for datagram in client.say():
        client.hear(dtls.feed(datagram, 0))
    assert dtls.state is State.DONE


def test_a_lost_finished_is_sent_again_when_the_client_repeats_its_own() -> None:
    client, dtls = Client(), server()
    client.begin_handshake()
    client.hear(dtls.feed(client.say()[0], 0))
    last = client.say()
    for datagram in last:
        dtls.feed(datagram, 0)  # what comes back is lost
    assert dtls.state is State.DONE
    assert not client.connected
    deadline = time.monotonic() + 20
    while not client.connected and time.monotonic() < deadline:
        client._retransmit()
        for datagram in client.say():
            client.hear(dtls.feed(datagram, 0))
        time.sleep(0.02)
    assert client.connected


def test_our_last_flight_is_not_sent_for_less_than_a_finished(established: tuple[Client, Dtls]) -> None:
    _, dtls = established
    for body in (0, 1, 47):
        assert dtls.feed(b"\x16\xfe\xfd\x00\x01" + bytes(6) + bytes((0, body)) + bytes(body), 0) == []
    (answer,) = dtls.feed(b"\x16\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x30" + bytes(48), 0)
    assert len(answer) < 80


# --- forgery ---


def hello_of(client: Client) -> bytes:
    client.begin_handshake()
    return client.say()[0]


def test_a_foreign_hello_in_mid_handshake_is_not_even_answered() -> None:
    client, dtls = Client(), server()
    hello = hello_of(client)
    flight = dtls.feed(hello, 0)
    foreign = hello_of(Client(certificate=Certificate()))
    assert client_hello_random(foreign) != client_hello_random(hello)
    assert dtls.feed(foreign, 1 * MS) == []
    assert dtls.feed(foreign, 2 * MS) == []
    client.hear(flight)
    middle = client.say()
    assert dtls.feed(foreign, 3 * MS) == []
    for datagram in middle:
        client.hear(dtls.feed(datagram, 4 * MS))
        dtls.feed(foreign, 5 * MS)
    assert dtls.state is State.DONE
    assert client.connected
    assert dtls.feed(foreign, 6 * MS) == []
    assert dtls.state is State.DONE


def test_a_foreign_hello_that_came_first_gives_way_to_the_client_that_repeats_its_own() -> None:
    client, dtls = Client(), server()
    dtls.feed(hello_of(Client(certificate=Certificate())), 0)  # the answer goes to nobody who asked
    hello = hello_of(client)
    assert dtls.feed(hello, 100 * MS) == []
    assert dtls.feed(hello, 600 * MS) == [], "it may still be a forgery"
    client.hear(dtls.feed(hello, DTLS_OTHER_HELLO_NS + 1))
    for datagram in client.say():
        client.hear(dtls.feed(datagram, DTLS_OTHER_HELLO_NS + 2))
    assert dtls.state is State.DONE
    assert client.connected


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16",
        b"\x16\xfe\xfd" + bytes(10),
        b"\x16\xfe\xfd" + bytes(8) + b"\xff\xff" + b"\x10" * 40,
        b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x20" + b"\x55" * 32,
        b"\x14\xfe\xfd" + bytes(8) + b"\x00\x01\x01",
        b"\x16\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x30" + b"\x00" * 48,
    ],
)
def test_junk_between_the_flights_does_not_break_the_handshake(junk: bytes) -> None:
    client, dtls = Client(), server()
    dtls.feed(junk, 0)
    client.begin_handshake()
    for _ in range(5):
        for datagram in client.say():
            answers = dtls.feed(datagram, 1)
            dtls.feed(junk, 2)
            client.hear(answers)
    assert dtls.state is State.DONE
    assert client.connected


def test_nothing_is_allocated_before_a_hello() -> None:
    dtls = server()
    assert dtls.feed(b"\x16\xfe\xfd" + bytes(8) + b"\x00\x10" + b"\x10" * 16, 0) == []
    assert dtls._connection is None
    assert dtls.handle_timeout(10 * DTLS_RESEND_NS) == []


RECORDS = st.builds(
    lambda kind, epoch, body, extra: (
        bytes((kind,)) + b"\xfe\xfd" + bytes((0, epoch)) + bytes(6) + (len(body) + extra).to_bytes(2, "big") + body
    ),
    st.integers(20, 63),
    st.sampled_from([0, 0, 0, 1, 255]),
    st.binary(max_size=80),
    st.sampled_from([0, 0, 0, 1, 5000]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS | st.binary(max_size=40), max_size=8), st.sampled_from(["fresh", "hello", "done"]))
def test_no_datagram_raises_at_any_stage(datagrams: list[bytes], stage: str) -> None:
    client, dtls = Client(), server()
    if stage == "hello":
        dtls.feed(hello_of(client), 0)
    elif stage != "fresh":
        exchange(client, dtls)
    for datagram in datagrams:
        for answer in dtls.feed(datagram, 1):
            assert len(answer) <= DTLS_MTU
        dtls.handle_timeout(2)
    if stage == "done":
        assert dtls.state is State.DONE, "none of these was sealed with the peer's key"


# --- goodbye ---


@pytest.fixture
def established() -> tuple[Client, Dtls]:
    client, dtls = Client(), server()
    exchange(client, dtls)
    assert dtls._connection is None, "OpenSSL's part is freed at once"
    return client, dtls


def test_the_peers_close_notify_is_heard(established: tuple[Client, Dtls]) -> None:
    client, dtls = established
    client.goodbye()
    for datagram in client.say():
        dtls.feed(datagram, 0)
    assert dtls.state is State.CLOSED


def test_our_close_notify_is_heard_by_the_peer_and_sent_once(established: tuple[Client, Dtls]) -> None:
    client, dtls = established
    goodbye = dtls.close()
    assert len(goodbye) == 1
    client.hear(goodbye)
    assert client.alerted
    assert dtls.close() == []


def test_forged_alerts_and_damaged_ones_close_nothing(established: tuple[Client, Dtls]) -> None:
    client, dtls = established
    client.goodbye()
    real = client.say()[0]
    for forged in (
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00",
        b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x02\x28",
        b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x1a" + b"\x01" * 26,
        real[:20],
        *(real[:at] + bytes((real[at] ^ 1,)) + real[at + 1 :] for at in range(3, len(real))),
    ):
        dtls.feed(forged, 0)
        assert dtls.state is State.DONE, forged.hex()
    dtls.feed(real, 0)
    assert dtls.state is State.CLOSED


def test_application_data_is_ignored(established: tuple[Client, Dtls]) -> None:
    client, dtls = established
    client.ssl.send(b"a data channel, perhaps")
    client._flush_dtls()
    for datagram in client.say():
        assert dtls.feed(datagram, 0) == []
    assert dtls.state is State.DONE


def test_closing_before_a_handshake_says_nothing() -> None:
    dtls = server()
    assert dtls.close() == []
    client = Client()
    dtls.feed(hello_of(client), 0)
    assert dtls.close() == []
