"""The access log: one line a request, without queries, tokens or secrets of connections; for junk none."""

from __future__ import annotations

import logging
import re

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger

CONNECTION_KEY = web.RequestKey("connection", str)
"""Where a handler leaves the public id of the connection it acts on."""

_SECRET = re.compile(r"^(/+(?:whip|whep)/+[^/]+/+)(.+)$", re.IGNORECASE)
_ENCODED_SLASH = re.compile(r"%2f|%5c", re.IGNORECASE)
_LONGEST = 200


def loggable_path(raw_path: str) -> str:
    """The path as it may be logged: still percent-encoded (a name never becomes a log's control character), without
    what stands after a lesson under ``/whip`` and ``/whep``."""
    path = raw_path.partition("?")[0].partition("#")[0]
    if _ENCODED_SLASH.search(path):
        return "/…"  # no path of ours has one; it would hide a secret from the pattern
    path = path[:_LONGEST].encode("ascii", "backslashreplace").decode()
    return _SECRET.sub(lambda match: match[1] + "…" + ("/layer" if match[2].endswith("/layer") else ""), path)


class AccessLogger(AbstractAccessLogger):
    """For ``AppRunner(access_log_class=AccessLogger)``. No user agent, no referrer: both may carry what is not ours."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        connection = request.get(CONNECTION_KEY)
        self.logger.info(
            "%s %s %s %d %d bytes %.0f ms%s",
            request.remote or "-",
            request.method,
            loggable_path(request.rel_url.raw_path),
            response.status,
            response.body_length,
            time * 1000,
            f" {connection}" if connection else "",
        )


class JunkFilter(logging.Filter):
    """What is not HTTP/1 (TLS, HTTP/2's preface, a scanner) is one short line for those who debug.

    aiohttp logs it as an error with a trace and the bytes that came, with which anybody could fill the disk.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        record.msg, record.args = "not HTTP: %s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
        return server_logger.isEnabledFor(logging.DEBUG)


_JUNK = JunkFilter()


def hold_back_junk() -> None:
    """For the whole process; again changes nothing."""
    server_logger.addFilter(_JUNK)
