"""Log lines with the standard library: text for people, JSON for machines, no secret in either.

Nothing here trusts its callers: whatever looks like a token, a bearer header or a URL's password is cut out of the
finished line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any, TextIO

from aiohttp import web

from signaling.http.access_log import AccessLogger

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRETS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?"  # a JWT: base64url of '{"', then two more parts
    r"|(?i:bearer)\s+[\w.~+/=-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)


def without_secrets(line: str) -> str:
    return _SECRETS.sub("[secret]", line)


class TextFormatter(logging.Formatter):
    """``12:34:56.789 INFO signaling.shell: message key=value``"""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        extras = "".join(f" {key}={value}" for key, value in _extras(record).items())
        clock = f"{clock}.{int(record.msecs):03d}"
        line = f"{clock} {record.levelname} {record.name}: {_one_line(record.getMessage())}{extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return without_secrets(line)


class JsonFormatter(logging.Formatter):
    """One object a line: ``time`` (RFC 3339), ``level``, ``logger``, ``message``, the extras, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return without_secrets(json.dumps(entry, ensure_ascii=False, default=str))


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is now, so that a live display may take the lines and print above itself."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


class AccessLog(AccessLogger):
    """Signaling's access log (no query, no connection secret), without the lines of those who only look."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        if response.status >= 400 or request.path not in _LOOKED_AT:
            super().log(request, response, time)


_LOOKED_AT = frozenset({"/metrics", "/healthz", "/readyz"})


def set_up(kind: str, level: str) -> None:
    """Make the root logger ours. Libraries that say too much at INFO are held to WARNING."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("aioice", "aiortc", "aiosqlite", "asyncio", "libav", "PIL"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _one_line(message: str) -> str:
    """A name from a user may hold a line break; a log line may not."""
    return message.replace("\r", "\\r").replace("\n", "\\n")
