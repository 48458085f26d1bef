"""ICE-lite for all peers of one port (RFC 8445, 2.5): answers checks, makes none, knows who may be heard.

The single invariant: *``paths`` holds exactly the 5-tuples from which a check with our ufrag and a correct
MESSAGE-INTEGRITY has come.* Whoever is not in it has no parser behind this one. Sans-IO: bytes and a monotonic ``now``
in nanoseconds go in, an ``Outcome`` comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ..limits import PATH_SILENT_NS, PATHS
from . import stun
from .peer import Credentials, Path, Peer

Verdict = Literal["answered", "refused", "bad", "unknown", "ignored"]


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    reply: bytes | None = None
    """To be sent to where the check came from, and nowhere else."""
    peer: Peer | None = None
    moved: tuple[Peer, ...] = ()
    """Peers that are sent to another address from now on."""


_BAD: Final = Outcome("bad")
_UNKNOWN: Final = Outcome("unknown")
_IGNORED: Final = Outcome("ignored")


class IceLite:
    __slots__ = ("_owners", "dropped", "paths")

    def __init__(self) -> None:
        self._owners: dict[bytes, tuple[Peer, Credentials]] = {}
        self.paths: dict[bytes, Path] = {}
        self.dropped: list[Path] = []
        """Paths given up: a batch on its way out may point at their sockaddr, so the owner clears this after it."""

    def knows(self, ufrag: bytes) -> bool:
        return ufrag in self._owners

    def add(self, peer: Peer) -> None:
        self._owners[peer.credentials.ufrag] = (peer, peer.credentials)

    def restart(self, peer: Peer, credentials: Credentials) -> None:
        """Accept new credentials beside those in force, until a check first uses them. A second restart that comes
        before replaces the first."""
        if peer.restarted is not None:
            del self._owners[peer.restarted.ufrag]
        peer.restarted = credentials
        self._owners[credentials.ufrag] = (peer, credentials)

    def remove(self, peer: Peer) -> None:
        del self._owners[peer.credentials.ufrag]
        if peer.restarted is not None:
            del self._owners[peer.restarted.ufrag]
        for path in peer.paths:
            del self.paths[path.name]
        peer.paths.clear()

    def check(self, data: bytes, source: bytes, now: int) -> Outcome:
        """Take one STUN message from ``source`` (a raw sockaddr). Strangers get no answer at all, not even an error:
        RFC 8489's 400 and 401 would tell a scanner that we are here."""
        if not stun.looks_like_stun(data):
            return _BAD
        request = stun.read_request(data)
        if request is None:
            return _IGNORED if data[:2] == stun.BINDING_INDICATION else _BAD
        owner = self._owners.get(request.username.partition(b":")[0])
        if owner is None:
            return _UNKNOWN
        peer, credentials = owner
        if not request.authentic(credentials.password):
            return _BAD
        if request.not_understood:
            reply = stun.unknown_attributes(request.transaction, credentials.password, request.not_understood)
            return Outcome("refused", reply, peer)
        if request.role == "controlled":
            # A lite agent never controls a full one (RFC 8445, 6.1.1), so the peer has to change its mind.
            return Outcome("refused", stun.role_conflict(request.transaction, credentials.password), peer)
        if credentials is peer.restarted:
            self._adopt(peer, credentials)
        known = self.paths.get(source)
        touched = [peer] if known is None or known.peer is peer else [peer, known.peer]
        former = [each.path for each in touched]
        self._heard(peer, source, request.use_candidate, now)
        reply = stun.success(request.transaction, credentials.password, stun.address_of(source))
        moved = tuple(each for each, path in zip(touched, former, strict=True) if each.path is not path)
        return Outcome("answered", reply, peer, moved)

    def _adopt(self, peer: Peer, credentials: Credentials) -> None:
        """The restart is real: old credentials end, and nominations have to be made anew (RFC 8445, 9)."""
        del self._owners[peer.credentials.ufrag]
        peer.credentials = credentials
        peer.restarted = None
        for path in peer.paths:
            path.nominated = False

    def _heard(self, peer: Peer, source: bytes, nominates: bool, now: int) -> None:
        path = self.paths.get(source)
        if path is None or path.peer is not peer:
            path = self._validate(peer, source, now)
        path.heard_ns = peer.heard_ns = now
        path.nominated = path.nominated or nominates
        selected = peer.path
        # Selected is what was nominated last; before any nomination, what was validated last; and whatever is alive
        # once the nominated path has gone silent, since a NAT may give an unsuspecting client a new address.
        if (
            selected is None
            or nominates
            or not selected.nominated
            or (selected is not path and now - selected.heard_ns > PATH_SILENT_NS)
        ):
            peer.select(path)

    def _validate(self, peer: Peer, source: bytes, now: int) -> Path:
        former = self.paths.get(source)
        if former is not None:
            self._drop(former)  # the address has been given to another client, who has just proved it
        if len(peer.paths) >= PATHS:
            self._drop(min((path for path in peer.paths if path is not peer.path), key=lambda path: path.heard_ns))
        path = Path(peer, source, now)
        peer.paths.append(path)
        self.paths[source] = path
        return path

    def _drop(self, path: Path) -> None:
        self.dropped.append(path)
        del self.paths[path.name]
        peer = path.peer
        peer.paths.remove(path)
        if peer.path is path:
            if peer.paths:
                peer.select(max(peer.paths, key=lambda other: other.heard_ns))
            else:
                peer.path, peer.sockaddr, peer.sockaddr_len = None, None, 0
