"""What an operator may set about the class, with the promise behind each default."""

from __future__ import annotations

import msgspec


class SignalingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All times in seconds."""

    away: float = 600.0
    """A live lesson ends when no teacher has been present for so long: a power cut at school is survived, a forgotten
    lesson is not recorded all night."""
    linger: float = 900.0
    """After the end, WebSockets stay open so long for the news that the recording is in the library."""
    cors: tuple[str, ...] = ()
    """Origins of foreign pages and players that may use WHIP, WHEP, the API and the WebSocket; ``"*"`` is every one."""
    ice_servers: tuple[str, ...] = ()
    """URLs for the ``Link`` header: ``stun:host:port`` (RFC 7064), ``turn:host:port?transport=udp``, ``turns:…`` (RFC
    7065)."""
    turn_secret: str = ""
    """Shared with the TURN server (coturn: ``static-auth-secret``); credentials are then made for each request."""
    turn_ttl: int = 12 * 3600
    """How long such credentials hold."""
    token_ttl: int = 12 * 3600
    """How long a token holds: a school day."""
    hello: float = 5.0
    """A WebSocket without a hello is closed after this."""
    heartbeat: float = 20.0
    """Ping interval of a WebSocket; one that does not answer within half of it is closed. Below the 60 s after which
    common proxies drop a silent connection."""
