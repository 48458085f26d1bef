"""TLS: a self-signed certificate that is made once, is private, covers this machine, and is renewed in time."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from server.app import tls
from server.app.config import Config
from server.app.limits import TLS_DAYS, TLS_RENEW_DAYS


def served(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def names(file: Path) -> set[str]:
    return {str(n.value) for n in served(file).extensions.get_extension_for_class(x509.SubjectAlternativeName).value}


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tls.self_signed(tmp_path)
    first = served(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert isinstance(first.public_key(), ec.EllipticCurvePublicKey)
    assert served(tls.self_signed(tmp_path)) == first
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_it_covers_localhost_this_machine_and_announced_addresses(tmp_path: Path) -> None:
    covered = names(tls.self_signed(tmp_path, ("203.0.113.7",)))
    assert {"localhost", "127.0.0.1", "::1", "203.0.113.7"} <= covered
    assert not any(name.startswith("fe80") for name in covered)


def test_a_new_address_and_a_near_end_make_a_new_one(tmp_path: Path) -> None:
    file = tls.self_signed(tmp_path)
    first = served(file)
    tls.self_signed(tmp_path, ("203.0.113.7",))
    second = served(file)
    assert second != first
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=TLS_DAYS - TLS_RENEW_DAYS + 1)
    file.write_bytes(tls.make_certificate(tls.our_names(), made))
    old = served(file)
    tls.self_signed(tmp_path)
    assert served(file) != old


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    file = tls.self_signed(tmp_path)
    file.write_bytes(file.read_bytes()[:200])
    tls.self_signed(tmp_path)
    assert "localhost" in names(file)


def handshake(server: ssl.SSLContext, trusted: Path) -> str:
    """Without sockets: two memory ends, until both are done; the certificate's name check is the client's."""
    client = ssl.create_default_context(cafile=str(trusted))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version() or ""


def test_a_client_that_trusts_it_reaches_localhost(tmp_path: Path) -> None:
    context = tls.Tls(Config(data=tmp_path, tls="auto")).context
    assert handshake(context, tmp_path / tls.FILE) in ("TLSv1.3", "TLSv1.2")


def test_a_renewed_operator_certificate_is_picked_up_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "pair.pem"
    now = datetime.datetime.now(datetime.UTC)
    file.write_bytes(tls.make_certificate(frozenset({"localhost"}), now))
    served_by = tls.Tls(Config(data=tmp_path, tls_cert=file, tls_key=file))
    assert served_by.refresh() is False
    new = tmp_path / "new.pem"
    new.write_bytes(tls.make_certificate(frozenset({"localhost"}), now))
    new.replace(file)
    assert served_by.refresh() is True
    assert handshake(served_by.context, file)


@pytest.mark.parametrize("content", [None, b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_cannot_be_served_are_said_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "pair.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(tls.TlsError) as caught:
        tls.Tls(Config(data=tmp_path, tls_cert=file, tls_key=file))
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_bytes(tls.make_certificate(frozenset({"localhost"}), now))
    two.write_bytes(tls.make_certificate(frozenset({"localhost"}), now).split(b"-----BEGIN CERT")[0])
    with pytest.raises(tls.TlsError, match="cannot be used"):
        tls.Tls(Config(data=tmp_path, tls_cert=one, tls_key=two))
