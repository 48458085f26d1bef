"""Reading what a page says on the WebSocket, in either subprotocol, from somebody we do not trust."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType

from signaling import messages as m
from signaling.problems import Problem, where


class _Envelope(msgspec.Struct):
    type: str


_DECODE: dict[str, Callable[..., Any]] = {
    m.JSON_PROTOCOL: msgspec.json.decode,
    m.MSGPACK_PROTOCOL: msgspec.msgpack.decode,
}
_TYPES: dict[Any, type[m.ClientMessage]] = {struct.__struct_config__.tag: struct for struct in m.CLIENT_MESSAGES}


def decode(protocol: str, kind: WSMsgType, data: Any) -> m.ClientMessage:
    """One frame's message.

    :raises Problem: ``bad-message`` or ``unknown-type``.
    """
    if kind is not (WSMsgType.TEXT if protocol == m.JSON_PROTOCOL else WSMsgType.BINARY):
        raise Problem("bad-message", where="$")
    try:
        name = _DECODE[protocol](data, type=_Envelope).type
        struct = _TYPES.get(name)
        if struct is None:
            raise Problem("unknown-type")
        message: m.ClientMessage = _DECODE[protocol](data, type=struct)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Problem("bad-message", where=where(error)) from error
    for field in message.__struct_fields__:
        value = getattr(message, field)
        if isinstance(value, float) and not math.isfinite(value):  # msgpack can say NaN, and NaN passes every bound
            raise Problem("bad-message", where=f"$.{field}")
    return message
