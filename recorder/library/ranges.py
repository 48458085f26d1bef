"""Byte ranges and validators (RFC 9110, 13 and 14), sans IO."""

from __future__ import annotations

import re

_SPEC = re.compile(r"\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII)


class Unsatisfiable(ValueError):
    """No range asked for lies within the representation: 416."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and length to send; ``None``: send all (no Range, another unit, or not understood: 14.2).

    Of several ranges the first satisfiable one is served alone: a server may send a part of what was asked for
    (15.3.7), and no player asks for several.

    :raises Unsatisfiable: well-formed, and outside of the file.
    """
    if header is None:
        return None
    unit, found, specs = header.partition("=")
    if not found or unit.strip().lower() != "bytes":
        return None
    parsed = [_SPEC.fullmatch(spec) for spec in specs.split(",")[:32]]
    valid = False
    for spec in parsed:
        if spec is None or spec[1] == spec[2] == "":
            return None
        first, last = spec[1], spec[2]
        if first and last and int(last) < int(first):
            return None
        valid = True
        if not first:
            length = min(int(last), size)
            if length:
                return size - length, length
        elif int(first) < size:
            return int(first), min(int(last) if last else size - 1, size - 1) - int(first) + 1
    if valid:
        raise Unsatisfiable(header)
    return None


def etag_matches(header: str | None, etag: str) -> bool:
    """If-None-Match with weak comparison (13.1.2)."""
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def range_still_valid(if_range: str | None, etag: str) -> bool:
    """If-Range with strong comparison (13.1.5); a date never matches, since we send no Last-Modified."""
    return if_range is None or if_range.strip() == etag
