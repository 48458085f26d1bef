"""Entity tags of connections: which ICE credentials a request means (RFC 9725, 4.3.1)."""

from __future__ import annotations

import re

from aiohttp import web

from signaling.problems import Problem

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def check_if_match(request: web.Request, etag: str) -> None:
    """The wildcard, or a strong comparison (RFC 9110, 13.1.1).

    RFC 9725 writes the wildcard in quotes in its prose, HTTP has it bare; clients send both.

    :raises Problem: 428 without the field, 412 when no tag matches.
    """
    fields = request.headers.getall("If-Match", [])
    if not fields:
        raise Problem("precondition-required")
    field = ", ".join(fields).strip()
    if field not in ("*", '"*"') and ("", etag) not in _ENTITY_TAG.findall(field):
        raise Problem("stale")
