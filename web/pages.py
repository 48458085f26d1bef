"""The routes of the pages: HTML, static files and the 404 page. Everything is read once, at the start.

The single invariant: *a name from a user never becomes a path.* A request can only name what was read at the start.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ETag, hdrs, web

_HERE = Path(__file__).resolve().parent
_PAGES = {"/": "home", "/teach": "teach", "/classroom": "classroom", "/library": "library", "/ops": "ops"}
_WATCH = "/watch/{id:[A-Za-z0-9_-]{1,64}}"
_MACHINES = ("/api/", "/static/", "/whip/", "/whep/", "/ws/", "/metrics", "/healthz", "/readyz")
"""Where a 404 is read by a program: no page there."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".svg": "image/svg+xml",
}

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        # Nothing in the pages ever turns a string into markup or code, and nothing may begin to.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_PERMISSIONS = ", ".join(
    [f"{name}=(self)" for name in ("camera", "microphone", "display-capture", "screen-wake-lock", "fullscreen")]
    + [f"{name}=()" for name in ("geolocation", "payment", "usb", "serial", "hid", "midi")]
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CSP,
    "Permissions-Policy": _PERMISSIONS,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every page and static file, the 404 page included."""


@dataclass(frozen=True, slots=True)
class _Asset:
    """One file as it goes out: plain and gzipped (a 3G line feels the difference), with a tag for each."""

    content_type: str
    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def read(cls, path: Path) -> _Asset:
        plain = path.read_bytes()
        tag = hashlib.sha256(plain).hexdigest()[:32]
        return cls(_TYPES[path.suffix], plain, gzip.compress(plain, 9, mtime=0), tag)

    def respond(self, request: web.Request, status: int = 200) -> web.Response:
        """200 with the body, or 304 when the client holds it (RFC 9110, 13.1.2)."""
        packed = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")) and len(self.packed) < len(self.plain)
        tag = f"{self.tag}-gz" if packed else self.tag
        headers = {
            **SECURITY_HEADERS,
            "Cache-Control": "no-cache" if status == 200 else "no-store",
            "Vary": "Accept-Encoding",
        }
        if status == 200:
            headers["ETag"] = f'"{tag}"'
            held: tuple[ETag, ...] = request.if_none_match or ()
            if any(each.value in (tag, "*") for each in held):
                return web.Response(status=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        headers["Content-Type"] = self.content_type
        return web.Response(status=status, body=self.packed if packed else self.plain, headers=headers)


def _takes_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3)."""
    for item in accept.split(","):
        coding, _, weight = item.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _serve(asset: _Asset) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return asset.respond(request)

    return handler


def _missing_page(asset: _Asset) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware: a person who asks for a page that is not there gets one that says so."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            reader = request.method in ("GET", "HEAD") and "text/html" in request.headers.get(hdrs.ACCEPT, "")
            if not reader or request.path.startswith(_MACHINES):
                raise
            return asset.respond(request, status=404)

    return middleware


def add_routes(app: web.Application) -> None:
    """Serve the pages, ``/static/…`` and the 404 page from ``app``; call it before the application starts.

    :raises OSError: when a file of the pages is missing or unreadable (a broken installation).
    """
    pages = {path.stem: _Asset.read(path) for path in sorted((_HERE / "pages").glob("*.html"))}
    root = _HERE / "static"
    static = {
        path.relative_to(root).as_posix(): _Asset.read(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }

    async def serve_static(request: web.Request) -> web.StreamResponse:
        asset = static.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(headers=SECURITY_HEADERS)
        return asset.respond(request)

    for path, name in _PAGES.items():
        app.router.add_get(path, _serve(pages[name]))
    app.router.add_get(_WATCH, _serve(pages["watch"]))
    app.router.add_get("/static/{name:.+}", serve_static)
    app.middlewares.append(_missing_page(pages["missing"]))
