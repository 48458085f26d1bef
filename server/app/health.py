"""``/healthz`` and ``/readyz``: does this process live, and is it any use to a newcomer?

Liveness looks at the process alone: that it answers is the answer. A database or a Redis that is down must not get a
relay killed that still forwards a lesson. Readiness may look outside: each check is named, with what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

Standing = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class Check:
    """``degraded`` still serves (a lesson runs on without a recorder); ``down`` does not."""

    standing: Standing
    detail: str = ""


CheckFunction = Callable[[], Check]


class Health:
    def __init__(self) -> None:
        self._checks: dict[str, CheckFunction] = {}

    def add(self, name: str, check: CheckFunction) -> None:
        """``check`` is called per request and must not block; it may not raise."""
        self._checks[name] = check

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)

    async def _alive(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, headers=_FRESH)

    async def _ready(self, request: web.Request) -> web.Response:
        found = {name: check() for name, check in self._checks.items()}
        status = worst(found)
        body = {"status": status, "checks": {n: {"status": c.standing, "detail": c.detail} for n, c in found.items()}}
        return web.json_response(body, status=503 if status == "down" else 200, headers=_FRESH)


_FRESH = {"Cache-Control": "no-store"}


def worst(found: Mapping[str, Check]) -> Standing:
    standings = {check.standing for check in found.values()}
    for standing in ("down", "degraded"):
        if standing in standings:
            return standing
    return "ok"
