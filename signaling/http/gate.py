"""Who is asking: the bearer token of a request (RFC 6750), and whether it is good for this lesson and this act."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from signaling.problems import Problem
from signaling.tokens import Claims, TokenError, Tokens


class Gate:
    """Reads ``Authorization`` and nothing else: a token in a query, a cookie or a body is not looked at."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def claims(self, request: web.Request) -> Claims | None:
        """The verified claims, or ``None`` when the request carries no token.

        :raises Problem: 401 when it carries one that is no good.
        """
        fields = request.headers.getall("Authorization", [])
        if not fields:
            return None
        scheme, _, token = fields[0].strip().partition(" ")
        if len(fields) > 1 or scheme.lower() != "bearer":
            raise Problem("bad-token")
        try:
            return self._tokens.verify(token.strip())
        except TokenError as error:
            raise Problem(error.code) from error

    def need(self, request: web.Request, lesson: str | None, roles: Collection[str]) -> Claims:
        """The claims of one who may act on ``lesson`` (``None``: on the whole house) in one of ``roles``.

        :raises Problem: 401 or 403.
        """
        claims = self.claims(request)
        if claims is None:
            raise Problem("no-token")
        if lesson is not None and not claims.covers(lesson):
            raise Problem("other-lesson")
        if claims.role not in roles:
            raise Problem("role", role=claims.role)
        return claims
