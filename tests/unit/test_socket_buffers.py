"""The UDP socket's buffers: what the kernel granted is read back, and a host that grants too little is told once."""

from __future__ import annotations

import logging
import socket

import pytest

from server.media.reference.limits import SOCKET_BUFFER
from server.media.reference.transport.sockets import bind, granted, warn_if_cut


def test_what_is_granted_is_read_back_from_the_kernel() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        assert granted(sock) == {"in": 65536, "out": 32768}


def test_the_warning_names_what_must_be_raised_and_only_that(caplog: pytest.LogCaptureFixture) -> None:
    warn_if_cut({"in": 212992, "out": SOCKET_BUFFER})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"net.core.rmem_max={SOCKET_BUFFER}" in record.getMessage() and "212992" in record.getMessage()
    assert "wmem_max" not in record.getMessage()


def test_enough_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    warn_if_cut({"in": SOCKET_BUFFER, "out": 2 * SOCKET_BUFFER})
    assert caplog.records == []


def test_a_socket_that_is_cut_warns_when_it_is_bound(caplog: pytest.LogCaptureFixture) -> None:
    sock, _families = bind("127.0.0.1", 0)
    with sock:
        cut = min(granted(sock).values()) < SOCKET_BUFFER
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * cut
