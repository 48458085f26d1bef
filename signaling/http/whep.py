"""WHEP (draft-ietf-wish-whep): how a classroom or a player watches, and its layer extension."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec
from aiohttp import web

from signaling.http import bodies
from signaling.http.connections import LESSON, SECRET, Connections
from signaling.messages import Rid
from signaling.relay import Answer, Offer, RelayPort
from signaling.roles import WATCH
from signaling.routes import Body, Operation, Success

LAYER_EXTENSION = "urn:ietf:params:whep:ext:core:layer"


class LayerChoice(msgspec.Struct, frozen=True):
    """``rid`` names a layer, ``null`` leaves the choice to the server. ``encodingId`` is the extension's own word."""

    rid: Rid | None = None
    encodingId: Rid | None = None


class Whep(Connections):
    protocol = "whep"
    direction = "watch"
    roles = WATCH

    def offer_to(self, relay: RelayPort, offer: Offer) -> Awaitable[Answer]:
        return relay.subscribe(offer)

    def extensions(self, location: str) -> list[str]:
        return [f'<{location}/layer>; rel="{LAYER_EXTENSION}"']

    async def layer(self, request: web.Request) -> web.Response:
        handle = self.find(request)
        choice = await bodies.json(request, LayerChoice)
        await self.runner.choose_layer(handle, choice.rid if choice.rid is not None else choice.encodingId)
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    def operations(self) -> list[Operation]:
        path = "/whep/{lesson}/{secret}/layer"
        problems = (
            "no-token", "bad-token", "expired-token", "other-lesson", "role", "not-yours", "unknown-connection",
            "bad-json", "bad-request", "slow-body", "too-large", "not-json-type", "unknown-layer", "refused",
            "not-live", "unsupported-sdp", "unknown-lesson", "unavailable", "full", "internal",
        )  # fmt: skip
        return [
            *super().operations(),
            Operation(
                "POST", path, "whep_layer", "Choose a layer", self.layer, self.roles, Success(204, "Asked for."),
                problems, (LESSON, SECRET), Body(bodies.JSON, LayerChoice), tag="whep",
            ),
            Operation(
                "OPTIONS", path, "whep_layer_options", "What the layer extension accepts",
                self.options("OPTIONS, POST", {"Accept-Post": bodies.JSON}), None,
                Success(204, "Accept-Post, CORS.", headers=("Accept-Post", "Allow")), hidden=True, tag="whep",
                parameters=(LESSON, SECRET),
            ),
        ]  # fmt: skip
