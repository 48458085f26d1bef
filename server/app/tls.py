"""TLS for the HTTP side: the operator's certificate, or a self-signed one kept in the data folder.

The self-signed certificate and its key are one file, replaced as a whole: there is no moment at which they differ.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import socket
import ssl
import tempfile
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.app.config import Config
from server.app.limits import TLS_DAYS, TLS_RENEW_DAYS

log = logging.getLogger(__name__)

FILE = Path("tls") / "self-signed.pem"


class TlsError(Exception):
    """A certificate that cannot be served; one line, fit for stderr."""


class Tls:
    """The SSL context of the HTTP side, and its care: ``refresh`` picks up a renewed or newly needed certificate."""

    def __init__(self, config: Config) -> None:
        """:raises TlsError: files that are missing, are not PEM, or do not belong together."""
        self._config = config
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._served: tuple[int, ...] = ()
        self.refresh()

    def refresh(self) -> bool:
        """Load what should be served now; true if that changed. Connections that are open keep what they have."""
        if self._config.tls_cert and self._config.tls_key:
            certificate, key = self._config.tls_cert, self._config.tls_key
        else:
            certificate = key = self_signed(self._config.data, self._config.announce)
        try:
            state = (certificate.stat().st_mtime_ns, key.stat().st_mtime_ns)
            if state == self._served:
                return False
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
            self.context.load_cert_chain(certificate, key)
        except FileNotFoundError as error:
            raise TlsError(f"TLS: no such file: {error.filename}") from error
        except OSError as error:  # ssl.SSLError is one
            raise TlsError(f"TLS: {certificate} and {key} cannot be used: {_reason(error)}") from error
        self._served = state
        return True


def self_signed(data: Path, announce: tuple[str, ...] = ()) -> Path:
    """The path of a certificate (with its key) that is valid for all our names now; made where needed."""
    file = data / FILE
    names = our_names(announce)
    if not _still_good(file, names, datetime.datetime.now(datetime.UTC)):
        _write_private(file, make_certificate(names, datetime.datetime.now(datetime.UTC)))
        log.info("made a self-signed certificate for %s", ", ".join(sorted(names)))
    return file


def our_names(announce: tuple[str, ...] = ()) -> frozenset[str]:
    """Names and addresses by which a browser may call this machine. Link-local ones change too often to be served."""
    found = {"localhost", "127.0.0.1", "::1", *announce}
    host = socket.gethostname()
    if _is_dns_name(host):
        found.add(host)
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            if not ipaddress.ip_address(text).is_link_local:
                found.add(text)
    return frozenset(found)


def make_certificate(names: frozenset[str], now: datetime.datetime) -> bytes:
    """A P-256 key and a certificate for ``names`` signed by it, as one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kongzhong self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks in a school are not ours
        .not_valid_after(now + datetime.timedelta(days=TLS_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in sorted(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _still_good(file: Path, names: frozenset[str], now: datetime.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        served = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    served_names = {str(name.value) for name in served}
    return names <= served_names and certificate.not_valid_after_utc - now > datetime.timedelta(days=TLS_RENEW_DAYS)


def _write_private(file: Path, content: bytes) -> None:
    """Whole or not at all, readable by the owner alone from the first byte on."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_dns_name(name: str) -> bool:
    return name.isascii() and 0 < len(name) < 254 and all(c.isalnum() or c in "-." for c in name)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "not PEM"
    return error.strerror or str(error)
