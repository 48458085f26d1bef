"""The route table's row: one operation with its handler, who may do it, and everything OpenAPI says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    description: str
    schema: Mapping[str, Any]
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """``schema`` is a msgspec struct, or ``None`` for text whose grammar JSON Schema cannot say."""

    media_type: str
    schema: type[Any] | None = None
    example: str = ""


@dataclass(frozen=True, slots=True)
class Success:
    status: int
    description: str
    media_type: str | None = None
    schema: type[Any] | None = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """``roles`` is ``None`` where no token is needed. ``problems`` are codes of the catalogue."""

    method: str
    path: str
    id: str
    summary: str
    handler: Handler
    roles: frozenset[str] | None
    success: Success
    problems: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = field(default=())
    body: Body | None = None
    also: tuple[Success, ...] = ()
    tag: str = "class"
    hidden: bool = False
    """Not in OpenAPI: CORS preflights."""
    slash: bool = False
    """The same with a slash at the end, which encoders like to add."""

    def register(self, app: web.Application) -> None:
        if self.method == "GET" and not self.path.startswith("/ws/"):
            app.router.add_get(self.path, self.handler)  # with HEAD
        else:
            app.router.add_route(self.method, self.path, self.handler)
            if self.slash:
                app.router.add_route(self.method, f"{self.path}/", self.handler)
