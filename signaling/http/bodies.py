"""Reading a request's body from somebody we do not trust: type, encoding, size and time are bounded."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web

from signaling.limits import BODY_SECONDS, JSON_BYTES, SDP_BYTES
from signaling.problems import Problem, where

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
JSON = "application/json"

_T = TypeVar("_T")


async def sdp(request: web.Request) -> str:
    """The SDP offer (RFC 9725, 4.2)."""
    return _text(await _read(request, SDP, "not-sdp-type", SDP_BYTES), "not-sdp")


async def fragment(request: web.Request) -> str:
    """The ICE fragment (RFC 8840, 9)."""
    return _text(await _read(request, FRAGMENT, "not-fragment-type", SDP_BYTES), "bad-fragment")


async def json(request: web.Request, kind: type[_T]) -> _T:
    """A JSON body as ``kind``."""
    body = await _read(request, JSON, "not-json-type", JSON_BYTES)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("bad-json", where=where(error)) from error


def _text(body: bytes, code: str) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(code) from error


async def _read(request: web.Request, media_type: str, wrong_type: str, limit: int) -> bytes:
    """The body, counted while it comes: a Content-Length may lie, a chunked body has none.

    The loop is our own because aiohttp's ``client_max_size`` is one number for the whole application.
    """
    charset = (request.charset or "utf-8").lower().strip('"')
    if (
        request.headers.get("Content-Type") is None
        or request.content_type != media_type
        or charset not in ("utf-8", "utf8", "us-ascii")
        or request.headers.get("Content-Encoding", "identity").lower() != "identity"
    ):
        accept = {"Accept": media_type} if request.method != "PATCH" else {"Accept-Patch": media_type}
        raise _unread(request, Problem(wrong_type, headers=accept))
    if request.content_length is not None and request.content_length > limit:
        raise _unread(request, Problem("too-large", limit=limit))
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    raise _unread(request, Problem("too-large", limit=limit))
    except TimeoutError as error:
        raise _unread(request, Problem("slow-body")) from error
    except web.RequestPayloadError as error:
        raise Problem("bad-request") from error
    return bytes(body)


def _unread(request: web.Request, problem: Problem) -> Problem:
    """What is left of the body is not waited for (RFC 9110, 15.5.14: the server may close the connection)."""
    if request.can_read_body and not request.content.is_eof():
        problem.headers["Connection"] = "close"
    return problem
