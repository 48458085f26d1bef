"""Refusals over HTTP (RFC 9457): ``application/problem+json`` in the caller's language, with its headers."""

from __future__ import annotations

import msgspec
from aiohttp import web

from signaling.problems import Problem
from signaling.texts import language_of

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2  # what a page waits after 503; pages add their own jitter

_REALM = 'Bearer realm="kongzhong"'


def response(problem: Problem, request: web.BaseRequest) -> web.Response:
    """The answer to ``request``."""
    accept_language = request.headers.get("Accept-Language")
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(problem.document(accept_language)),
        content_type=MEDIA_TYPE,
        headers={
            **_of_status(problem),
            **problem.headers,
            "Content-Language": language_of(accept_language),
            "Vary": "Accept-Language",
            "Cache-Control": "no-store",
        },
    )


def _of_status(problem: Problem) -> dict[str, str]:
    if problem.status == 401:
        # RFC 6750, 3: no error code where the request carried no token at all.
        error = "" if problem.code == "no-token" else ', error="invalid_token"'
        return {"WWW-Authenticate": _REALM + error}
    if problem.status == 503:
        return {"Retry-After": str(RETRY_SECONDS)}
    return {}
