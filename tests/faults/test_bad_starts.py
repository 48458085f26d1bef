"""A start that cannot be says why in one line and ends with exit code 2, with nothing left running or lying about."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.processes import environment, free_tcp_port, free_udp_port, kongzhong


def serve(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    free = {"--http": f"127.0.0.1:{free_tcp_port()}", "--media": f"127.0.0.1:{free_udp_port()}"}
    given = {name: value for name, value in free.items() if name not in arguments}
    return kongzhong("serve", "--data", str(data), *[word for pair in given.items() for word in pair], *arguments)


def one_line(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    # A host that cuts the socket's buffers is warned of them before the start fails.
    said = [line for line in done.stderr.splitlines() if "UDP socket buffers" not in line]
    assert len(said) == 1 and said[0].startswith("kongzhong: "), done.stderr
    for word in says:
        assert word in done.stderr


@pytest.fixture
def taken() -> Iterator[Callable[[socket.SocketKind], str]]:
    sockets = []

    def take(kind: socket.SocketKind) -> str:
        sock = socket.socket(socket.AF_INET, kind)
        sockets.append(sock)
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return f"127.0.0.1:{sock.getsockname()[1]}"

    yield take
    for sock in sockets:
        sock.close()


def test_http_port_in_use(tmp_path: Path, taken: Callable[[socket.SocketKind], str]) -> None:
    address = taken(socket.SOCK_STREAM)
    one_line(serve(tmp_path / "data", "--http", address), f"http {address}", "in use")


def test_media_port_in_use(tmp_path: Path, taken: Callable[[socket.SocketKind], str]) -> None:
    address = taken(socket.SOCK_DGRAM)
    one_line(serve(tmp_path / "data", "--media", address), f"media {address}", "in use")


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    one_line(serve(tmp_path / "data", "--http", "203.0.113.1:8080"), "http 203.0.113.1:8080", "does not have")
    one_line(serve(tmp_path / "data", "--media", "203.0.113.1:8189"), "media 203.0.113.1:8189", "does not have")


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("")
    one_line(serve(file), f"data folder {file}")


def test_a_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if os.geteuid() == 0:
        one_line(serve(Path("/proc/kongzhong")), "data folder /proc/kongzhong")  # nobody writes there, root included
    else:
        folder.chmod(0o500)
        one_line(serve(folder), f"data folder {folder}", "denied")


def test_a_secret_that_is_too_short(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"short")
    one_line(serve(tmp_path / "data", "--secret-file", str(file)), str(file), "needs 32")


def test_a_lesson_store_that_is_no_database(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "lessons.db").write_bytes(b"this is not a database, and long enough to be read as one" * 20)
    one_line(serve(data), "lessons.db")


@pytest.mark.parametrize("content", [None, b"", b"not PEM"])
def test_tls_files_that_cannot_be_served(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_bytes(content)
    one_line(serve(tmp_path / "data", "--tls-cert", str(file), "--tls-key", str(file)), "TLS", str(file))


def test_a_certificate_without_its_key(tmp_path: Path) -> None:
    one_line(serve(tmp_path / "data", "--tls-cert", "cert.pem"), "given together")


def test_an_unknown_key_in_the_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "kongzhong.toml").write_text('# my settings\nhtpp = "127.0.0.1:80"\n')
    one_line(serve(tmp_path), f"{tmp_path}/kongzhong.toml:2", "htpp", "did you mean http")


def test_a_role_without_redis(tmp_path: Path) -> None:
    one_line(serve(tmp_path / "data", "--role", "relay"), "role relay needs redis")


def test_an_ice_server_that_cannot_be_meant(tmp_path: Path) -> None:
    one_line(serve(tmp_path / "data", "--ice-server", "http://stun.example"), "ice-server", "stun:")


def test_a_second_server_on_the_same_ports_leaves_the_first_alone(tmp_path: Path) -> None:
    """Its recorder too: nothing of the second may have been started before the ports were had."""
    http, media = f"127.0.0.1:{free_tcp_port()}", f"127.0.0.1:{free_udp_port()}"
    data = tmp_path / "data"
    arguments = ["serve", "--data", str(data), "--http", http, "--media", media]
    first = subprocess.Popen(
        [sys.executable, "-m", "server", *arguments], env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        assert first.stderr is not None
        assert any("recorder listens" in line for line in first.stderr)
        one_line(kongzhong(*arguments), "in use")
        assert first.poll() is None
        host, _, port = http.partition(":")
        with closing(socket.create_connection((host, int(port)), timeout=10)):
            pass
        assert (data / "run" / "tap.sock").is_socket()
    finally:
        first.terminate()
        assert first.wait(30) == 0
        if first.stderr:
            first.stderr.close()


def test_a_second_server_on_the_same_folder_with_other_ports_leaves_the_tap_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ports = ["--http", f"127.0.0.1:{free_tcp_port()}", "--media", f"127.0.0.1:{free_udp_port()}"]
    first = subprocess.Popen(
        [sys.executable, "-m", "server", "serve", "--data", str(data), *ports],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stderr is not None
        assert any("recorder listens" in line for line in first.stderr)
        tap = data / "run" / "tap.sock"
        before = tap.stat().st_ino
        one_line(serve(data), f"the data folder is in use by process {first.pid}")
        assert tap.stat().st_ino == before
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(tap))
        assert kongzhong("lesson", "create", "--data", str(data), "--title", "T").returncode == 0
        assert kongzhong("token", "--data", str(data), "--lesson", "x", "--role", "ops").returncode == 0
        assert kongzhong("recover", "--data", str(data)).returncode == 0
    finally:
        first.terminate()
        assert first.wait(30) == 0
        if first.stderr:
            first.stderr.close()
