"""DTLS-SRTP (RFC 5764) over pyOpenSSL, sans IO: datagrams in, datagrams out, keys at the end."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from loadtest import limits

Profile = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"]
_KEYS: dict[str, tuple[int, int]] = {"SRTP_AEAD_AES_128_GCM": (16, 12), "SRTP_AES128_CM_SHA1_80": (16, 14)}
_RECORD_HEADER = 13  # RFC 6347, 4.1: type, version, epoch, sequence, length


class DtlsError(Exception):
    """The handshake cannot succeed: wrong fingerprint, no common SRTP profile, an alert."""


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master key and salt, concatenated, of both directions."""

    profile: Profile
    sending: bytes
    receiving: bytes


@cache
def _identity() -> tuple[SSL.Context, str]:
    """One certificate and context for the process: a load test gains nothing from one key pair per client."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kongzhong-loadtest")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.set_tlsext_use_srtp(b"SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80")
    context.set_options(SSL.OP_NO_QUERY_MTU)
    return context, _digest(certificate.public_bytes(serialization.Encoding.DER), "sha-256")


def fingerprint() -> str:
    """SHA-256 of our certificate, ``AB:CD:...``."""
    return _identity()[1]


def _digest(der: bytes, algorithm: str) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), der).hexdigest().upper()
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))


class Dtls:
    """One handshake. ``keys`` is set once it is done and the peer's certificate has one of ``fingerprints``."""

    def __init__(self, client: bool, fingerprints: tuple[tuple[str, str], ...]) -> None:
        self.keys: SrtpKeys | None = None
        self.closed = False
        self._client = client
        self._fingerprints = fingerprints
        self._connection = SSL.Connection(_identity()[0], None)
        self._connection.set_ciphertext_mtu(limits.MTU)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def start(self) -> list[bytes]:
        """The first flight of a client, nothing for a server."""
        return self._step()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take one datagram; gives what to send.

        :raises DtlsError: the connection is dead.
        """
        self._connection.bio_write(datagram)
        return self._step()

    def timeout(self) -> float | None:
        """Seconds until ``retransmit`` should be called, ``None`` when no flight is outstanding."""
        return None if self.keys else self._connection.DTLSv1_get_timeout()

    def retransmit(self) -> list[bytes]:
        """Send the last flight again if its timer has run out."""
        self._connection.DTLSv1_handle_timeout()
        return self._datagrams()

    def close(self) -> list[bytes]:
        """A close_notify."""
        if not self.closed and self.keys is not None:
            self.closed = True
            try:
                self._connection.shutdown()
            except SSL.Error:
                return []
            return self._datagrams()
        return []

    def _step(self) -> list[bytes]:
        try:
            if self.keys is None:
                self._connection.do_handshake()
                self.keys = self._finish()
            else:
                self._connection.recv(limits.MTU)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            # OpenSSL keeps a DTLS handshake alive over garbage; what reaches us here is an alert or worse.
            raise DtlsError(f"DTLS failed: {error}") from error
        return self._datagrams()

    def _finish(self) -> SrtpKeys:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        der = b"" if certificate is None else certificate.public_bytes(serialization.Encoding.DER)
        known = {"sha-1", "sha-224", "sha-256", "sha-384", "sha-512"}
        if not any(_digest(der, name) == digest for name, digest in self._fingerprints if name in known):
            raise DtlsError("the server's certificate has another fingerprint than its answer")
        profile = self._connection.get_selected_srtp_profile().decode()
        if profile not in _KEYS:
            raise DtlsError("no common SRTP profile")
        key, salt = _KEYS[profile]
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        ours = material[:key] + material[2 * key : 2 * key + salt]
        theirs = material[key : 2 * key] + material[2 * key + salt :]
        sending, receiving = (ours, theirs) if self._client else (theirs, ours)
        return SrtpKeys("SRTP_AEAD_AES_128_GCM" if salt == 12 else "SRTP_AES128_CM_SHA1_80", sending, receiving)

    def _datagrams(self) -> list[bytes]:
        """What OpenSSL wants to send, packed by record boundaries into datagrams of at most ``MTU`` bytes."""
        try:
            pending = self._connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return []
        datagrams: list[bytes] = []
        start = end = 0
        while end < len(pending):
            size = _RECORD_HEADER + int.from_bytes(pending[end + 11 : end + 13], "big")
            if end > start and end + size - start > limits.MTU:
                datagrams.append(pending[start:end])
                start = end
            end += size
        datagrams.append(pending[start:end])
        return datagrams
