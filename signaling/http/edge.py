"""The edge of the HTTP part: every refusal leaves as a problem document, every preflight is answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from signaling.cors import PREFIXES
from signaling.http.problems import response
from signaling.problems import Problem

_log = logging.getLogger(__name__)

_OURS = (*PREFIXES, "/ws/")
_BY_STATUS = {404: "not-found", 413: "too-large", 417: "expectation"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem_middleware() -> Middleware:
    """Turns ``Problem`` (on any path) and, on our paths, what aiohttp itself refuses into problem documents."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return response(problem, request)
        except web.HTTPMethodNotAllowed as refusal:
            if not request.path.startswith(_OURS):
                raise
            allow = ", ".join(sorted({*refusal.allowed_methods, "OPTIONS"}))
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={"Allow": allow})
            return response(Problem("method", headers={"Allow": allow}, allow=allow), request)
        except web.HTTPException as refusal:
            if not request.path.startswith(_OURS) or refusal.status < 400:
                raise
            return response(Problem(_BY_STATUS.get(refusal.status, "bad-request")), request)
        except ConnectionError:
            raise  # the peer is gone: nobody reads a document
        except Exception:
            if not request.path.startswith(_OURS):
                raise
            resource = request.match_info.route.resource
            _log.exception("a bug in %s %s", request.method, resource.canonical if resource else "?")
            return response(Problem("internal"), request)

    return middleware
