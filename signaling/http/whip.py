"""WHIP (RFC 9725): how a teacher's page or encoder publishes."""

from __future__ import annotations

from collections.abc import Awaitable

from signaling.http.connections import Connections
from signaling.relay import Answer, Offer, RelayPort
from signaling.roles import PUBLISH


class Whip(Connections):
    protocol = "whip"
    direction = "publish"
    roles = PUBLISH

    def offer_to(self, relay: RelayPort, offer: Offer) -> Awaitable[Answer]:
        return relay.publish(offer)
