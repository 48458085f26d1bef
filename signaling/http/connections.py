"""What WHIP and WHEP share: an offer becomes a connection with a secret ``Location``; PATCH, DELETE, OPTIONS on it.

RFC 9725 (WHIP) and draft-ietf-wish-whep, as docs/protocol.md says it. The invariant: a secret alone opens nothing, a
token alone opens only what is its seat's; and a request that is refused changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from signaling.core.commands import Direction, Failed, Join, Leave, Opened
from signaling.core.lesson import Lesson
from signaling.http import bodies
from signaling.http.access_log import CONNECTION_KEY
from signaling.http.entity_tags import check_if_match
from signaling.http.gate import Gate
from signaling.ice import credentials, links
from signaling.problems import Problem
from signaling.registry import Handle, new_connection_id
from signaling.relay import Answer, Offer, RelayPort
from signaling.roles import ROLES, STAFF
from signaling.routes import Body, Operation, Parameter, Success
from signaling.runner import Runner
from signaling.tokens import Claims

PUBLICATIONS = ("camera", "board", "screen", "audio", "return")
CONNECTION_HEADER = "Kongzhong-Connection"
"""Carries the public id, by which a page names its connection on the WebSocket."""

PUBLICATION = Parameter(
    "publication",
    "What is published or watched.",
    {"type": "string", "enum": list(PUBLICATIONS), "default": "camera"},
)
LESSON = Parameter("lesson", "The lesson's id.", {"type": "string", "minLength": 1}, where="path", required=True)
SECRET = Parameter("secret", "The end of `Location`.", {"type": "string", "minLength": 1}, where="path", required=True)
IF_MATCH = Parameter(
    "If-Match",
    'The connection\'s `ETag`; `"*"` or `*` with new credentials restarts ICE.',
    {"type": "string"},
    where="header",
)

_WHO = ("no-token", "bad-token", "expired-token", "other-lesson", "role")
_RELAY = ("unavailable", "full", "internal")


class Opening(NamedTuple):
    """A connection that the relay has accepted, with its answer."""

    handle: Handle
    answer: Answer


class Connections:
    """One of the two protocols; ``whip.py`` and ``whep.py`` say which."""

    protocol: str
    direction: Direction
    roles: frozenset[str]

    def __init__(self, runner: Runner, gate: Gate) -> None:
        self.runner = runner
        self.gate = gate

    def offer_to(self, relay: RelayPort, offer: Offer) -> Awaitable[Answer]:
        raise NotImplementedError

    def extensions(self, location: str) -> list[str]:
        """``Link`` values for protocol extensions."""
        return []

    # --- POST -----------------------------------------------------------------------------------------------------

    async def post(self, request: web.Request) -> web.Response:
        """RFC 9725, 4.2: an offer in, 201 with the answer out."""
        role, code = "none", "ok"
        try:
            lesson_id = request.match_info["lesson"]
            claims = self.gate.need(request, lesson_id, ROLES)
            role = claims.role
            self.gate.need(request, lesson_id, self.roles)
            return await self._join(request, lesson_id, claims)
        except Problem as problem:
            code = problem.code
            raise
        except Exception:
            code = "internal"
            raise
        finally:
            self.runner.metrics.joins.labels(self.direction, role, code).inc()

    async def _join(self, request: web.Request, lesson_id: str, claims: Claims) -> web.Response:
        publication = request.query.get("publication", "camera")
        if publication not in PUBLICATIONS:
            raise Problem("bad-parameter", name="publication")
        sdp = await bodies.sdp(request)
        lesson = await self.runner.lesson(lesson_id)
        if lesson is None:
            raise Problem("unknown-lesson")
        if lesson.over:
            raise Problem("lesson-ended")
        offer = Offer(lesson.id, new_connection_id(), claims.seat, sdp, publication)
        if self.direction == "publish":
            # One at a time, so that the relay and the core agree on who came last.
            async with self.runner.lock(lesson.id, publication):
                opening = await self._open(lesson, claims, offer)
        else:
            opening = await self._open(lesson, claims, offer)
        return self._created(opening)

    async def _open(self, lesson: Lesson, claims: Claims, offer: Offer) -> Opening:
        runner = self.runner
        try:
            runner.run(Join(lesson.id, offer.connection, claims.seat, claims.role, self.direction, offer.publication))
        except Problem as problem:
            raise Problem(problem.code, publication=offer.publication) from problem
        try:
            relay, answer = await runner.at_relay(lesson, lambda relay: self.offer_to(relay, offer))
        except Problem as problem:
            runner.run(Failed(offer.connection))
            if problem.code == "unavailable":
                runner.spawn(self._close_late(lesson, offer.connection))
            raise
        except (
            asyncio.CancelledError,
            Exception,
        ):  # the client went away, or a bug: the publication must not stay asked for
            runner.run(Failed(offer.connection))
            runner.spawn(self._close_late(lesson, offer.connection))
            raise
        try:
            runner.run(Opened(offer.connection))
        except Problem as problem:
            runner.spawn(runner.quietly(relay.close(offer.connection), "close"))
            now = runner.core.lesson(lesson.id)
            raise Problem("lesson-ended" if now is None or now.over else "unavailable") from problem
        handle = Handle(
            offer.connection,
            lesson.id,
            (claims.role, claims.seat),
            self.direction,
            relay,
            answer.etag,
            credentials(offer.sdp),
        )
        return Opening(handle, answer)

    async def _close_late(self, lesson: Lesson, connection: str) -> None:
        """The relay may have accepted it after all, only too late for us."""
        relay = self.runner.opened(lesson.id)
        if relay is not None:
            await self.runner.quietly(relay.close(connection), "close")

    def _created(self, opening: Opening) -> web.Response:
        handle, answer = opening
        location = f"/{self.protocol}/{handle.lesson}/{self.runner.registry.add(handle)}"
        response = web.Response(
            status=201,
            body=answer.sdp.encode(),
            content_type=bodies.SDP,
            headers={
                "Location": location,
                "ETag": f'"{answer.etag}"',
                "Accept-Patch": bodies.FRAGMENT,
                CONNECTION_HEADER: handle.id,
                "Cache-Control": "no-store",
            },
        )
        for value in [*links(self.runner.settings, handle.id, self.runner.clock()), *self.extensions(location)]:
            response.headers.add("Link", value)
        return response

    # --- on the connection ----------------------------------------------------------------------------------------

    def find(self, request: web.Request) -> Handle:
        """The connection that the path's secret names, if the token may act on it.

        :raises Problem: 401, 403, 404.
        """
        lesson = request.match_info["lesson"]
        claims = self.gate.need(request, lesson, self.roles)
        handle = self.runner.registry.find(request.match_info["secret"])
        if handle is None or handle.lesson != lesson or handle.direction != self.direction:
            raise Problem("unknown-connection")
        request[CONNECTION_KEY] = handle.id
        if handle.seat != (claims.role, claims.seat) and claims.role not in STAFF:
            raise Problem("not-yours")
        return handle

    async def patch(self, request: web.Request) -> web.Response:
        """Trickle ICE and ICE restart (RFC 9725, 4.3)."""
        handle = self.find(request)
        fragment = await bodies.fragment(request)
        async with handle.lock:
            if not self.runner.core.knows(handle.id):
                raise Problem("unknown-connection")
            check_if_match(request, handle.etag)
            fresh = credentials(fragment)
            if fresh is None and ("a=ice-ufrag:" in fragment or "a=ice-pwd:" in fragment):
                raise Problem("bad-fragment")  # RFC 8839, 4.4.1.1.1: a restart changes both
            if fresh is None or fresh == handle.remote:
                await self.runner.ask(handle.relay.trickle(handle.id, fragment))
                return web.Response(status=204, headers={"Cache-Control": "no-store"})
            # New credentials under the current tag instead of the wildcard mean the same: it cannot be a late request.
            answer = await self.runner.ask(handle.relay.restart(handle.id, fragment))
            handle.etag, handle.remote = answer.etag, fresh
        return web.Response(
            status=200,
            body=answer.sdp.encode(),
            content_type=bodies.FRAGMENT,
            headers={"ETag": f'"{answer.etag}"', "Cache-Control": "no-store"},
        )

    async def delete(self, request: web.Request) -> web.Response:
        """RFC 9725, 4.2: the end. ``If-Match`` is not looked at (4.3)."""
        handle = self.find(request)
        for task in self.runner.run(Leave(handle.id)):
            await task
        return web.Response(status=200, headers={"Cache-Control": "no-store"})

    # --- OPTIONS --------------------------------------------------------------------------------------------------

    def options(
        self, allow: str, accept: dict[str, str], *, with_links: bool = False
    ) -> Callable[..., Awaitable[web.Response]]:
        """CORS preflight and discovery (RFC 9725, 4.2 and 4.6); needs no token, TURN credentials do."""

        async def handler(request: web.Request) -> web.Response:
            response = web.Response(status=204, headers={"Allow": allow, **accept})
            if with_links and "Authorization" in request.headers:
                claims = self.gate.need(request, request.match_info["lesson"], self.roles)
                for value in links(self.runner.settings, claims.jti, self.runner.clock()):
                    response.headers.add("Link", value)
            return response

        return handler

    # --- the table ------------------------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        name, title = self.protocol, self.protocol.upper()
        collection, resource = f"/{name}/{{lesson}}", f"/{name}/{{lesson}}/{{secret}}"
        verb = "Publish" if self.direction == "publish" else "Watch"
        on_resource = ("not-yours", "unknown-connection", *_RELAY)
        joining: tuple[str, ...] = (
            *_WHO, "bad-parameter", "not-sdp", "too-many-sections", "bad-request", "unknown-lesson",
            "unknown-connection", "not-live", "lesson-ended", "slow-body", "too-large", "not-sdp-type",
            "no-common-codec", "unsupported-sdp", "bad-fragment", "refused", *_RELAY,
        )  # fmt: skip
        if self.direction == "publish":
            joining += ("publisher-taken",)
        headers = ("Location", "ETag", "Link", "Accept-Patch", CONNECTION_HEADER)
        return [
            Operation(
                "POST", collection, f"{name}_post", f"{verb} ({title})", self.post, self.roles,
                Success(201, "The SDP answer.", bodies.SDP, headers=headers),
                joining, (LESSON, PUBLICATION), Body(bodies.SDP, example="v=0\r\n"), tag=name,
                slash=True,
            ),
            Operation(
                "OPTIONS", collection, f"{name}_options", f"What {title} accepts here",
                self.options("OPTIONS, POST", {"Accept-Post": bodies.SDP}, with_links=True), None,
                Success(204, "Accept-Post, CORS.", headers=("Accept-Post", "Allow")), hidden=True, tag=name,
                parameters=(LESSON,), slash=True,
            ),
            Operation(
                "PATCH", resource, f"{name}_patch", "Trickle ICE, or restart ICE", self.patch, self.roles,
                Success(200, "ICE restarted: our credentials.", bodies.FRAGMENT, headers=("ETag",)),
                (*_WHO, *on_resource, "bad-fragment", "bad-request", "slow-body", "too-large", "not-fragment-type",
                 "stale", "precondition-required", "not-live", "unsupported-sdp", "refused", "unknown-lesson"),
                (LESSON, SECRET, IF_MATCH), Body(bodies.FRAGMENT, example="a=end-of-candidates\r\n"), tag=name,
                also=(Success(204, "Candidates taken."),),
            ),
            Operation(
                "DELETE", resource, f"{name}_delete", "Leave", self.delete, self.roles,
                Success(200, "Gone."), (*_WHO, *on_resource), (LESSON, SECRET), tag=name,
            ),
            Operation(
                "OPTIONS", resource, f"{name}_resource_options", "What the connection accepts",
                self.options("DELETE, OPTIONS, PATCH", {"Accept-Patch": bodies.FRAGMENT}), None,
                Success(204, "Accept-Patch, CORS.", headers=("Accept-Patch", "Allow")), hidden=True, tag=name,
                parameters=(LESSON, SECRET),
            ),
        ]  # fmt: skip
