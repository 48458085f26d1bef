"""Foreign origins: CORS for HTTP (Fetch, 3.2), the origin check of a WebSocket handshake (RFC 6455, 10.2)."""

from __future__ import annotations

from aiohttp import web
from yarl import URL

PREFIXES = ("/whip/", "/whep/", "/api/")
EXPOSE = "Location, Link, ETag, Accept-Patch, Accept-Post, Kongzhong-Connection, Retry-After"
ALLOW_HEADERS = "Authorization, Content-Type, If-Match, Accept-Language, Range"
MAX_AGE = "7200"  # Chromium caps it there
EVERY_ORIGIN = "*"


class Cors:
    """No credentials mode: who asks proves it by the bearer token, so no cookie needs to cross origins."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    def allows(self, origin: str) -> bool:
        return EVERY_ORIGIN in self._origins or origin in self._origins

    def is_preflight(self, request: web.BaseRequest) -> bool:
        return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers

    async def on_prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        """A signal and not a middleware: a streamed response has sent its headers before a middleware sees it."""
        if not self._origins or not request.path.startswith(PREFIXES):
            return
        vary = response.headers.get("Vary")
        response.headers["Vary"] = f"{vary}, Origin" if vary else "Origin"
        origin = request.headers.get("Origin")
        if origin is None or not self.allows(origin):
            return
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSE
        if self.is_preflight(request):
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", request.method)
            response.headers["Access-Control-Allow-Headers"] = ALLOW_HEADERS
            response.headers["Access-Control-Max-Age"] = MAX_AGE

    def may_upgrade(self, request: web.Request) -> bool:
        """Browsers always name the origin and pages cannot forge it; other clients have none."""
        origin = request.headers.get("Origin")
        if origin is None or self.allows(origin):
            return True
        try:
            theirs, ours = URL(origin), URL(f"{request.scheme}://{request.host}")
            if theirs.host is None or theirs.host != ours.host:
                return False
            # Behind a proxy that ends TLS we see http where the page has https: the default ports count as the same.
            return theirs.port == ours.port or (theirs.is_default_port() and ours.is_default_port())
        except ValueError:
            return False
