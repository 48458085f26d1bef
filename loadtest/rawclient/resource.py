"""The HTTP of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one POST opens a resource, one DELETE ends it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from loadtest import limits


class Refusal(Exception):
    """The server said no. ``status`` is 0 when it could not be reached; ``retry_after`` is in seconds."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {detail}" if status else detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def permanent(self) -> bool:
        """Whether to ask again with the same offer is useless."""
        return self.status in (400, 401, 403, 405, 410, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class Resource:
    """An open WHIP or WHEP resource."""

    url: str
    answer: str
    etag: str


def new_session() -> aiohttp.ClientSession:
    """A session for many clients: no cookies, connections kept, bounded."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limits.MAX_OPENING),
        timeout=aiohttp.ClientTimeout(total=limits.HTTP_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


async def open_resource(session: aiohttp.ClientSession, endpoint: str, offer: str, token: str) -> Resource:
    """POST the offer; follows redirects (307, 308) and reads a relative or absolute ``Location``.

    :raises Refusal: any answer but an SDP one, or none.
    """
    headers = {**_headers(token), "Content-Type": "application/sdp", "Accept": "application/sdp"}
    try:
        async with session.post(endpoint, data=offer.encode(), headers=headers) as response:
            body = (await response.content.read(limits.MAX_SDP + 1)).decode("utf-8", "replace")
            if response.status not in (200, 201):
                raise Refusal(response.status, _detail(body, response.reason or ""), _retry_after(response))
            if len(body) > limits.MAX_SDP:
                raise Refusal(0, "the answer is larger than 64 KiB")
            location = response.headers.get("Location", "")
            url = urljoin(str(response.url), location) if location else ""
            return Resource(url, body, response.headers.get("ETag", ""))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Refusal(0, f"{type(error).__name__}: {error}") from error


async def close_resource(session: aiohttp.ClientSession, resource: Resource, token: str) -> bool:
    """DELETE it; ``True`` if the server agreed. A server that is gone is no error: so is the resource."""
    if not resource.url:
        return False
    try:
        async with session.delete(resource.url, headers=_headers(token)) as response:
            return response.status < 300
    except (TimeoutError, aiohttp.ClientError, OSError):
        return False


def _detail(body: str, reason: str) -> str:
    """The text of a problem document (RFC 9457), else the beginning of the body, else the reason phrase."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return str(problem.get("detail") or problem.get("title") or problem.get("error") or reason)[:200]
    return " ".join(body.split())[:120] or reason


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 5 else None
