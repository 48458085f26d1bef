"""One peer: its keys, its validated paths, its handshake. State only; ``ice``, ``dtls`` and ``plane`` move it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .kernel import pointer_to

if TYPE_CHECKING:
    from .dtls import Dtls
    from .srtp import Inbound, Outbound


@dataclass(frozen=True, slots=True)
class Credentials:
    """Our half of ICE's short-term credentials: what the peer's checks must name and prove (RFC 8445, 5.3)."""

    ufrag: bytes
    password: bytes


class Path:
    """One 5-tuple that ICE has validated for a peer."""

    __slots__ = ("heard_ns", "name", "nominated", "peer", "sockaddr")

    def __init__(self, peer: Peer, name: bytes, now: int) -> None:
        self.peer = peer
        self.name = name
        """The raw sockaddr, which is also the 5-tuple's key: our end is the same for all."""
        self.sockaddr: Any = pointer_to(name)
        self.heard_ns = now
        self.nominated = False


class Peer:
    """The far end of one transport. ``sockaddr`` and ``outbound`` are what egress needs; both may change."""

    __slots__ = (
        "credentials",
        "dtls",
        "heard_ns",
        "id",
        "inbound",
        "opened_ns",
        "outbound",
        "path",
        "paths",
        "ready",
        "restarted",
        "sockaddr",
        "sockaddr_len",
    )

    def __init__(self, id: int, credentials: Credentials, now: int) -> None:
        self.id = id
        self.outbound: Outbound | None = None
        self.inbound: Inbound | None = None
        self.ready = False
        self.sockaddr: Any = None
        """``unsigned char *`` to the raw sockaddr of the selected path, ``None`` before ICE has validated one."""
        self.sockaddr_len = 0
        self.path: Path | None = None
        self.paths: list[Path] = []
        self.credentials = credentials
        self.restarted: Credentials | None = None
        """After RestartIce, until a check first uses them."""
        self.dtls: Dtls | None = None
        self.opened_ns = now
        self.heard_ns = now

    def select(self, path: Path) -> None:
        """Send to this path from now on."""
        self.path = path
        self.sockaddr = path.sockaddr
        self.sockaddr_len = len(path.name)

    def forget(self) -> None:
        """Let go of the keys. Who still holds the peer finds it not ready and without an address."""
        self.ready = False
        self.path, self.sockaddr, self.sockaddr_len = None, None, 0
        if self.outbound is not None:
            self.outbound.close()
        if self.inbound is not None:
            self.inbound.close()
        self.outbound = self.inbound = self.dtls = None
