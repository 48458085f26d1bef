"""How the text of one setting becomes a value: addresses, durations, URLs. Each parser says what it wanted."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit


class HostPort(NamedTuple):
    """``host`` is an address or a name, without brackets; ``*`` means every address of both families."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def everywhere(self) -> bool:
        return self.host in ("*", "::", "0.0.0.0")


def host_port(text: str) -> HostPort:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError("wanted HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("wanted an IPv6 address in brackets: [::1]:8080")
    if not host or any(c.isspace() or c == "/" for c in host):
        raise ValueError("wanted HOST:PORT")
    return HostPort(host, int(port))


def path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("wanted a path")
    return Path(text).expanduser()


def ip_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("wanted an IP address") from None


def seconds(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 86_400:
        raise ValueError("wanted seconds, more than 0 and at most a day")
    return value


def count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise ValueError("wanted a whole number from 1 to 1000000")
    return int(text)


def redis_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("wanted redis://, rediss:// or unix:// URL")
    return text


def tap_address(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return text
    if kind == "tcp":
        host_port(rest)
        return text
    raise ValueError("wanted unix:/path or tcp:HOST:PORT")


def origin(text: str) -> str:
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/")):
        raise ValueError("wanted an origin such as https://school.example, or *")
    return text.rstrip("/")


def ice_server(text: str) -> str:
    if text.partition(":")[0] not in ("stun", "stuns", "turn", "turns") or '"' in text or ">" in text or "\n" in text:
        raise ValueError("wanted stun:HOST[:PORT] or turn:HOST[:PORT]?transport=udp")
    return text


def word(text: str) -> str:
    if not text or any(c.isspace() for c in text):
        raise ValueError("wanted one word")
    return text


def without_password(url: str) -> str:
    """The URL for a reader: its password replaced."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    netloc = f"{parts.username or ''}:***@{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("wanted a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("wanted a number")
    return value
