"""A WebRTC peer without a browser: ICE controlling, DTLS client, SRTP, over one real UDP socket.

It shares no code with the plane (aioice writes and reads its STUN, pylibsrtp's own classes its SRTP), so that a
misreading of an RFC cannot hide on both sides. Usual life::

    peer = RawPeer()
    plane.submit([peer.open_transport(1)])
    await peer.connect(plane.port)
    peer.send_rtp(packet)
    await peer.until(lambda: peer.rtp)
    peer.close()
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import secrets
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from pylibsrtp import Error, Policy, Session

from server.media.plane import OpenTransport, RestartIce

GENEROUS = 20.0
"""Seconds that anything may take on a loaded machine before a test gives up."""

_PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}
ANY_PROFILE = b":".join(_PROFILES)


class Certificate:
    """A self-signed certificate; making one costs more than a handshake, so peers share it unless told otherwise."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "raw peer")])
        now = datetime.datetime.now(tz=datetime.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .sign(self.key, hashes.SHA256())
        )

    def fingerprint(self, algorithm: str = "sha-256") -> str:
        digest = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}[algorithm]
        return self.certificate.fingerprint(digest).hex(":").upper()


SHARED = Certificate()
_contexts: dict[tuple[int, bytes], SSL.Context] = {}


def _context(certificate: Certificate, profiles: bytes) -> SSL.Context:
    cached = _contexts.get((id(certificate), profiles))
    if cached is None:
        cached = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        cached.use_certificate(certificate.certificate)
        cached.use_privatekey(certificate.key)
        cached.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        cached.set_options(SSL.OP_NO_QUERY_MTU)
        if profiles:
            cached.set_tlsext_use_srtp(profiles)
        if certificate is SHARED:
            _contexts[(id(certificate), profiles)] = cached
    return cached


class RawPeer:
    def __init__(
        self, *, certificate: Certificate = SHARED, profiles: bytes = ANY_PROFILE, host: str = "127.0.0.1"
    ) -> None:
        self.certificate = certificate
        self.host = host
        self.ufrag, self.pwd = secrets.token_hex(4), secrets.token_hex(12)
        self.server_ufrag, self.server_pwd = secrets.token_hex(4), secrets.token_hex(12)
        self.ssl = SSL.Connection(_context(certificate, profiles), None)
        self.ssl.set_connect_state()
        self.ssl.set_ciphertext_mtu(1200)
        self.sock: socket.socket | None = None
        self.connected = False
        self.profile = b""
        self.alerted = False
        """The server has ended the association (close_notify or a fatal alert)."""
        self.stun: deque[stun.Message] = deque(maxlen=1000)
        self.rtp: deque[bytes] = deque(maxlen=100_000)
        self.rtcp: deque[bytes] = deque(maxlen=10_000)
        self.undecryptable = 0
        self.on_rtp: Callable[[bytes], None] | None = None
        self.lossy: Callable[[bytes], bool] = lambda _datagram: False
        """Says of an incoming datagram whether the network should have lost it."""
        self._changed = asyncio.Event()
        self._sending: Session | None = None
        self._receiving: Session | None = None
        self._address: tuple[str, int] = (host, 0)

    # --- commands for the plane -------------------------------------------------------------------------------------

    def open_transport(self, transport: int, fingerprints: tuple[tuple[str, str], ...] | None = None) -> OpenTransport:
        listed = (("sha-256", self.certificate.fingerprint()),) if fingerprints is None else fingerprints
        return OpenTransport(transport, self.server_ufrag, self.server_pwd, self.ufrag, self.pwd, listed)

    def restart_ice(self, transport: int) -> RestartIce:
        """New credentials on both sides; checks use them from now on."""
        self.ufrag, self.pwd = secrets.token_hex(4), secrets.token_hex(12)
        self.server_ufrag, self.server_pwd = secrets.token_hex(4), secrets.token_hex(12)
        return RestartIce(transport, self.server_ufrag, self.server_pwd, self.ufrag, self.pwd)

    # --- life -------------------------------------------------------------------------------------------------------

    async def connect(self, port: int, *, nominate: bool = True) -> None:
        self.bind(port)
        await self.check(nominate=nominate)
        await self.handshake()

    def bind(self, port: int) -> None:
        """Take a (new) local address; what was heard before stays."""
        self._unbind()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.setblocking(False)
        self.sock.bind((self.host, 0))
        self._address = (self.host, port)
        asyncio.get_running_loop().add_reader(self.sock.fileno(), self._readable)

    def close(self) -> None:
        """Vanish without a word, as a dropped line does."""
        self._unbind()

    def goodbye(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(SSL.Error):
            self.ssl.shutdown()
        self._flush_dtls()

    def _unbind(self) -> None:
        if self.sock is not None:
            asyncio.get_running_loop().remove_reader(self.sock.fileno())
            self.sock.close()
            self.sock = None

    async def until(self, condition: Callable[[], Any], timeout: float = GENEROUS) -> None:
        """Wait until something that arrives makes ``condition`` true."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    # --- ICE --------------------------------------------------------------------------------------------------------

    def request(self, *, nominate: bool = True, role: str = "ICE-CONTROLLING", key: str | None = None) -> stun.Message:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.server_ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 1853817087
        message.attributes[role] = secrets.randbits(64)
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity((key or self.server_pwd).encode())
        return message

    async def check(self, *, nominate: bool = True, role: str = "ICE-CONTROLLING") -> stun.Message:
        """One connectivity check with retransmissions; the answer, whose integrity was verified."""
        message = self.request(nominate=nominate, role=role)

        def answer() -> stun.Message | None:
            return next((reply for reply in self.stun if reply.transaction_id == message.transaction_id), None)

        async with asyncio.timeout(GENEROUS):
            while answer() is None:
                self.send(bytes(message))
                with contextlib.suppress(TimeoutError):
                    await self.until(answer, 0.5)
        reply = answer()
        assert reply is not None
        assert reply.check_message_integrity(self.server_pwd.encode())
        return reply

    # --- DTLS -------------------------------------------------------------------------------------------------------

    async def handshake(self) -> None:
        """Until SRTP keys are there. Raises ``ConnectionError`` when the server ends it with an alert."""
        self.begin_handshake()
        async with asyncio.timeout(GENEROUS):
            while not self.connected and not self.alerted:
                with contextlib.suppress(TimeoutError):
                    await self.until(lambda: self.connected or self.alerted, 0.25)
                self._retransmit()
        if not self.connected:
            raise ConnectionError("the server refused the handshake")

    def begin_handshake(self) -> None:
        """Send the ClientHello and return."""
        self._advance_dtls()

    def _retransmit(self) -> None:
        if not self.connected and not self.alerted:
            with contextlib.suppress(SSL.Error):
                self.ssl.DTLSv1_handle_timeout()
            self._flush_dtls()

    def _advance_dtls(self) -> None:
        try:
            if not self.connected:
                self.ssl.do_handshake()
                self._take_keys()
            self.ssl.recv(1500)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.alerted = True
        self._flush_dtls()

    def _take_keys(self) -> None:
        self.connected = True
        self.profile = self.ssl.get_selected_srtp_profile()
        if self.profile not in _PROFILES:
            return
        libsrtp, key, salt = _PROFILES[self.profile]
        material = self.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        self._sending = self._session(libsrtp, client, Policy.SSRC_ANY_OUTBOUND)
        self._receiving = self._session(libsrtp, server, Policy.SSRC_ANY_INBOUND)

    @staticmethod
    def _session(profile: int, key: bytes, ssrc_type: int) -> Session:
        policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile)
        policy.window_size = 1024
        return Session(policy)

    def _flush_dtls(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            records = self.ssl.bio_read(1 << 16)
            while records:
                length = 13 + int.from_bytes(records[11:13], "big")
                self.send(records[:length])
                records = records[length:]

    # --- media ------------------------------------------------------------------------------------------------------

    def seal_rtp(self, packet: bytes) -> bytes:
        assert self._sending is not None
        return self._sending.protect(packet)

    def send_rtp(self, packet: bytes) -> None:
        self.send(self.seal_rtp(packet))

    def seal_rtcp(self, packet: bytes) -> bytes:
        assert self._sending is not None
        return self._sending.protect_rtcp(packet)

    def send_rtcp(self, packet: bytes) -> None:
        self.send(self.seal_rtcp(packet))

    def send(self, datagram: bytes) -> None:
        if self.sock is not None:
            with contextlib.suppress(BlockingIOError):
                self.sock.sendto(datagram, self._address)

    # --- what arrives -----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        for _ in range(256):
            if self.sock is None:
                break
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                break
            if data and not self.lossy(data):
                self._arrived(data)
        self._changed.set()

    def _arrived(self, data: bytes) -> None:
        first = data[0]
        if first <= 3:
            self.stun.append(stun.parse_message(data))
        elif 20 <= first <= 63:
            self.ssl.bio_write(data)
            self._advance_dtls()
        elif 128 <= first <= 191 and self._receiving is not None:
            self._media(data, rtcp=192 <= data[1] <= 223)

    def _media(self, data: bytes, *, rtcp: bool) -> None:
        assert self._receiving is not None
        try:
            clear = (self._receiving.unprotect_rtcp if rtcp else self._receiving.unprotect)(data)
        except Error:
            self.undecryptable += 1
            return
        if rtcp:
            self.rtcp.append(clear)
            return
        self.rtp.append(clear)
        if self.on_rtp is not None:
            self.on_rtp(clear)
