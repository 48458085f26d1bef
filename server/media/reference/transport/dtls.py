"""DTLS 1.2 as the server, sans-IO over pyOpenSSL (RFC 6347, RFC 5764): datagrams in, datagrams and SRTP keys out.

The peer's certificate counts only by its fingerprint (RFC 8122), which is compared while the handshake runs, so that a
wrong one ends it with an alert of OpenSSL's own. When it is done, OpenSSL's part is freed and an ``Epilogue`` is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from OpenSSL import SSL, crypto

from ..limits import DTLS_MTU, DTLS_OTHER_HELLO_NS, DTLS_RESEND_NS
from .epilogue import Epilogue
from .srtp import Profile, profile_named

DIGESTS: Final = ("sha-256", "sha-384", "sha-512")
_EXPORTER: Final = b"EXTRACTOR-dtls_srtp"
_RECORD: Final = 13  # octets of a record header
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_HELLO_RANDOM: Final = slice(_RECORD + 12 + 2, _RECORD + 12 + 2 + 32)


class State(Enum):
    HANDSHAKE = "handshake"
    DONE = "done"
    CLOSED = "closed"  # the peer sent close_notify, or gave up with an alert after the handshake
    FAILED = "failed"
    MISMATCH = "mismatch"  # of the fingerprint


def verify(connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    """The context's callback: only the fingerprint of the peer's own certificate counts, no chain and no date."""
    if depth:
        return True
    dtls: Dtls = connection.get_app_data()
    return dtls.judge(certificate)


class Dtls:
    """The server's end of one association. ``keys`` appears with ``State.DONE``.

    One handshake at a time, bound to the random of the ClientHello that began it: a hello with another random (someone
    who can forge the peer's address) is dropped, unless it comes again while the first has stood still for
    ``DTLS_OTHER_HELLO_NS``; then the first was the forgery. Nothing is allocated in OpenSSL before a ClientHello.
    """

    __slots__ = (
        "_began_ns",
        "_connection",
        "_context",
        "_epilogue",
        "_expected",
        "_flight",
        "_other",
        "_random",
        "_resent",
        "_sent_ns",
        "_stood",
        "keys",
        "state",
    )

    def __init__(self, context: SSL.Context, fingerprints: Sequence[tuple[str, str]]) -> None:
        self._context = context
        self._expected = {(name.lower(), value.upper()) for name, value in fingerprints if name.lower() in DIGESTS}
        self._connection: SSL.Connection | None = None
        self._epilogue: Epilogue | None = None
        self._random: bytes | None = None
        self._other: bytes | None = None
        self._flight: list[bytes] = []
        self._began_ns = 0
        self._sent_ns = 0
        self._stood = True  # nothing but hellos has come
        self._resent = False
        self.state = State.HANDSHAKE
        self.keys: tuple[Profile, bytes] | None = None

    def feed(self, datagram: bytes, now: int) -> list[bytes]:
        """Take one datagram (``now``: monotonic ns); what to send in answer. The outcome is in ``state``."""
        if len(datagram) <= _RECORD:
            return []
        if self._epilogue is not None:
            return self._afterwards(self._epilogue, datagram)
        if self.state is State.HANDSHAKE:
            if is_client_hello(datagram):
                if not self._admits(client_hello_random(datagram), now):
                    return []
                if self._flight:
                    return self._again(now)
            elif self._connection is None:
                return []
            else:
                self._stood = False
        connection = self._connection
        if connection is None or self.state is not State.HANDSHAKE:
            return []
        connection.bio_write(datagram)
        done = self._handshake(connection)
        flight = self._take(connection, now)
        if done:
            self._retire(connection, flight)
        return flight

    def _afterwards(self, epilogue: Epilogue, datagram: bytes) -> list[bytes]:
        if self.state is not State.DONE:
            return []
        if epilogue.ended_by(datagram):
            self.state = State.CLOSED
        return [epilogue.last_flight] if epilogue.asks_again(datagram) else []

    def handle_timeout(self, now: int) -> list[bytes]:
        """What to send again, if anything is due; call it every few tens of milliseconds during the handshake."""
        connection = self._connection
        if connection is None or self.state is not State.HANDSHAKE:
            return []
        if self._other is not None:
            return []  # two hellos contend, and the wrong one's flight would confuse the client: let it ask again
        if not self._resent and now - self._sent_ns >= DTLS_RESEND_NS:
            return self._again(now)
        try:
            if not connection.DTLSv1_handle_timeout():
                return []
        except SSL.Error:
            self.state = State.FAILED
        return self._take(connection, now)

    def close(self) -> list[bytes]:
        """close_notify if there is anything to close; frees OpenSSL's part."""
        goodbye: list[bytes] = []
        if self._epilogue is not None and self.state is State.DONE:
            goodbye = [self._epilogue.goodbye]
            self.state = State.CLOSED
        if self._connection is not None:
            self._release(self._connection)
        return goodbye

    def _retire(self, connection: SSL.Connection, flight: list[bytes]) -> None:
        secret, client, server = connection.master_key(), connection.client_random(), connection.server_random()
        assert secret and client and server
        self._epilogue = Epilogue(secret, client, server, b"".join(flight))
        self._release(connection)

    def _release(self, connection: SSL.Connection) -> None:
        connection.set_app_data(None)  # it points back at us
        self._connection = None

    def judge(self, certificate: crypto.X509) -> bool:
        """Whether one of the fingerprints that the peer's SDP gave fits its certificate."""
        for name in {name for name, _ in self._expected}:
            if (name, certificate.digest(name.replace("-", "")).decode("ascii")) in self._expected:
                return True
        self.state = State.MISMATCH
        return False

    def _admits(self, random: bytes | None, now: int) -> bool:
        """``random`` is ``None`` for the later fragments of a large hello, which may overtake the first."""
        if None not in (random, self._random) and random != self._random:
            repeated, self._other = random == self._other, random
            if not (repeated and self._stood and now - self._began_ns >= DTLS_OTHER_HELLO_NS):
                return False
            self.close()
        if self._connection is None:
            connection = SSL.Connection(self._context, None)
            connection.set_accept_state()
            connection.set_ciphertext_mtu(DTLS_MTU)
            connection.set_app_data(self)
            self._connection, self._random, self._other = connection, None, None
            self._began_ns, self._flight = now, []
        self._random = self._random or random
        return True

    def _handshake(self, connection: SSL.Connection) -> bool:
        """Let OpenSSL read; whether that was the end of the handshake."""
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error:
            if self.state is State.HANDSHAKE:  # and not MISMATCH, which is the reason then
                self.state = State.FAILED
            return False
        profile = profile_named(connection.get_selected_srtp_profile())
        if profile is None:
            self.state = State.FAILED
            return False
        self.keys = profile, connection.export_keying_material(_EXPORTER, profile.material_length)
        self.state = State.DONE
        return True

    def _take(self, connection: SSL.Connection, now: int) -> list[bytes]:
        flight = _datagrams(_drain(connection))
        if flight and self.state is State.HANDSHAKE:
            self._flight, self._sent_ns, self._resent = flight, now, False
        elif self.state is not State.HANDSHAKE:
            self._flight = []
        return flight

    def _again(self, now: int) -> list[bytes]:
        """The same records once more, which to the peer is a network's duplicate."""
        if self._resent and now - self._sent_ns < DTLS_RESEND_NS:
            return []
        self._resent, self._sent_ns = True, now
        return self._flight


def is_client_hello(datagram: bytes) -> bool:
    """Whether the first record is a ClientHello in clear (epoch 0), or a fragment of one."""
    return (
        len(datagram) > _RECORD
        and datagram[0] == _HANDSHAKE
        and datagram[3:5] == b"\0\0"
        and datagram[_RECORD] == _CLIENT_HELLO
    )


def client_hello_random(datagram: bytes) -> bytes | None:
    """The random of a datagram that ``is_client_hello``, or ``None`` where its first fragment is another."""
    fragment_offset = datagram[_RECORD + 6 : _RECORD + 9]
    return datagram[_HELLO_RANDOM] if fragment_offset == b"\0\0\0" and len(datagram) >= _HELLO_RANDOM.stop else None


def _drain(connection: SSL.Connection) -> bytes:
    try:
        return connection.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


def _datagrams(records: bytes) -> list[bytes]:
    """Pack whole records into datagrams of at most ``DTLS_MTU`` octets: a record may not be split (RFC 6347, 4.1.1),
    and OpenSSL's memory BIO has forgotten where its writes ended."""
    packed: list[bytes] = []
    begin = end = 0
    while end < len(records):
        following = end + _RECORD + int.from_bytes(records[end + 11 : end + _RECORD], "big")
        if following - begin > DTLS_MTU and end > begin:
            packed.append(records[begin:end])
            begin = end
        end = following
    if records:
        packed.append(records[begin:])
    return packed
