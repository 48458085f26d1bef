"""ICE as signaling sees it: STUN and TURN servers for the ``Link`` header, and credentials in SDP and fragments."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import NamedTuple

from signaling.settings import SignalingSettings

_SCHEMES = ("stun", "stuns", "turn", "turns")


class Credentials(NamedTuple):
    ufrag: str
    pwd: str


def credentials(sdp: str) -> Credentials | None:
    """The first ICE user fragment and password of an offer or fragment (RFC 8839, 5.4); ``None`` when either lacks."""
    found: dict[str, str] = {}
    for line in sdp.splitlines():
        for name in ("ice-ufrag", "ice-pwd"):
            if name not in found and line.startswith(f"a={name}:"):
                found[name] = line.partition(":")[2].strip()
    if len(found) < 2:
        return None
    return Credentials(found["ice-ufrag"], found["ice-pwd"])


def check_servers(settings: SignalingSettings) -> None:
    """
    :raises ValueError: an entry that would break the ``Link`` header or no client would understand.
    """
    for url in settings.ice_servers:
        scheme, _, rest = url.partition(":")
        if scheme not in _SCHEMES or not rest or not url.isascii() or not url.isprintable() or set(url) & set('<>"; ,'):
            raise ValueError(f"ice_servers: {url!r} is not a stun: or turn: URL")


def links(settings: SignalingSettings, user: str, now: float) -> list[str]:
    """The values of ``Link`` with ``rel="ice-server"`` (RFC 9725, 4.6).

    With a shared secret, TURN credentials are made for this request and expire (draft-uberti-behave-turn-rest).
    """
    values = []
    for url in settings.ice_servers:
        value = f'<{url}>; rel="ice-server"'
        if url.startswith("turn") and settings.turn_secret:
            username = f"{int(now) + settings.turn_ttl}:{user}"
            mac = hmac.new(settings.turn_secret.encode(), username.encode(), hashlib.sha1).digest()
            credential = base64.b64encode(mac).decode()
            value += f'; username="{username}"; credential="{credential}"; credential-type="password"'
        values.append(value)
    return values
