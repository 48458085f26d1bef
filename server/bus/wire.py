"""What crosses between a signaling process and a relay: calls, replies and numbered events, as msgpack arrays.

The same bytes travel through Redis streams and over the direct line, so a call may take either road, or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from signaling.relay import Answer, Offer, RecorderRef, Refused, RelayEvent


class RelayStatus(msgspec.Struct, frozen=True):
    """How full a relay is and what it forwards: it alone knows."""

    load: int  # connections now
    capacity: int  # connections it takes at most
    lessons: tuple[str, ...]


class Call(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    """``id`` is unique; a relay executes it once however often it arrives. ``caller`` names the stream of replies."""

    id: str
    caller: str
    method: str
    arguments: tuple[Any, ...]
    expires_ms: int  # Unix time after which nobody waits for the reply


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    code: str
    detail: str
    extra: dict[str, list[str]]


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="reply"):
    id: str
    result: Any = None
    refused: Refusal | None = None


class Told(msgspec.Struct, frozen=True, array_like=True):
    """An event with its number: one sequence per relay process, so that a listener may come by two roads."""

    number: int
    event: RelayEvent


class Events(msgspec.Struct, frozen=True, array_like=True, tag="events"):
    told: tuple[Told, ...]


class Listen(msgspec.Struct, frozen=True, array_like=True, tag="listen"):
    """Over the direct line: send me the events after this number; what is no longer kept is skipped."""

    after: int


Frame = Call | Reply | Events | Listen

METHODS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "open_lesson": ((str, str, RecorderRef | None), None),
    "close_lesson": ((str,), None),
    "publish": ((Offer,), Answer),
    "subscribe": ((Offer,), Answer),
    "trickle": ((str, str), None),
    "restart": ((str, str), Answer),
    "choose_layer": ((str, str | None), None),
    "close": ((str,), None),
    "status": ((), RelayStatus),
}
"""Argument and result types of each call: the relay port, and ``status`` which the directory asks."""

CLOCK_TOLERANCE_MS = 5000
"""How far apart the clocks of two machines may be before a call counts as expired."""

_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_encoder = msgspec.msgpack.Encoder()


class WireError(ValueError):
    """Bytes that are not a frame, or a call that does not fit its method."""


def encode(frame: Frame) -> bytes:
    return _encoder.encode(frame)


def decode(data: bytes) -> Frame:
    """:raises WireError: not a frame"""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise WireError(str(error)) from error


def arguments_of(call: Call) -> Sequence[Any]:
    """The call's arguments in the types of its method.

    :raises WireError: an unknown method, or arguments that do not fit
    """
    if call.method not in METHODS:
        raise WireError(f"unknown method {call.method!r}")
    types, _ = METHODS[call.method]
    if len(call.arguments) != len(types):
        raise WireError(f"{call.method} takes {len(types)} arguments, not {len(call.arguments)}")
    try:
        return [msgspec.convert(value, kind) for value, kind in zip(call.arguments, types, strict=True)]
    except msgspec.MsgspecError as error:
        raise WireError(f"{call.method}: {error}") from error


def result_of(method: str, reply: Reply) -> Any:
    """What the call returns to its caller.

    :raises Refused: the relay said no
    :raises WireError: the result does not fit the method
    """
    if reply.refused is not None:
        raise Refused(reply.refused.code, reply.refused.detail, reply.refused.extra)
    _, kind = METHODS[method]
    try:
        return None if kind is None else msgspec.convert(reply.result, kind)
    except msgspec.MsgspecError as error:
        raise WireError(f"{method}: {error}") from error


def refusal_of(call_id: str, refused: Refused) -> Reply:
    return Reply(call_id, refused=Refusal(refused.code, refused.detail, refused.extra))
