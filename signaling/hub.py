"""Who listens to which lesson: delivers the core's messages to sockets, each message encoded once per subprotocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from signaling.core.commands import HangUp, Tell
from signaling.core.seats import SeatKey
from signaling.messages import JSON_PROTOCOL, MSGPACK_PROTOCOL, ServerMessage

ENCODE: dict[str, Callable[[ServerMessage], bytes]] = {
    JSON_PROTOCOL: msgspec.json.Encoder().encode,
    MSGPACK_PROTOCOL: msgspec.msgpack.Encoder().encode,
}


class Listener(Protocol):
    """A greeted socket. Neither call blocks."""

    id: str
    protocol: str
    seat: SeatKey

    def send(self, data: bytes) -> None: ...

    def hang_up(self, code: int, reason: str) -> None: ...


class Hub:
    def __init__(self) -> None:
        self._lessons: dict[str, dict[str, Listener]] = {}

    def __len__(self) -> int:
        return sum(len(sockets) for sockets in self._lessons.values())

    def add(self, lesson: str, listener: Listener) -> None:
        self._lessons.setdefault(lesson, {})[listener.id] = listener

    def remove(self, lesson: str, listener: Listener) -> None:
        sockets = self._lessons.get(lesson, {})
        sockets.pop(listener.id, None)
        if not sockets:
            self._lessons.pop(lesson, None)

    def tell(self, effect: Tell) -> None:
        encoded: dict[str, bytes] = {}
        for listener in list(self._addressed(effect)):
            data = encoded.get(listener.protocol)
            if data is None:
                data = encoded[listener.protocol] = ENCODE[listener.protocol](effect.message)
            listener.send(data)

    def _addressed(self, effect: Tell) -> Iterator[Listener]:
        sockets = self._lessons.get(effect.lesson, {})
        if effect.socket is not None:
            one = sockets.get(effect.socket)
            return iter(() if one is None else (one,))
        if effect.seat is not None:
            return (listener for listener in sockets.values() if listener.seat == effect.seat)
        if effect.roles is not None:
            roles = effect.roles
            return (listener for listener in sockets.values() if listener.seat[0] in roles)
        return iter(sockets.values())

    def hang_up(self, effect: HangUp) -> None:
        for listener in list(self._lessons.get(effect.lesson, {}).values()):
            if effect.socket in (None, listener.id):
                listener.hang_up(effect.code, effect.reason)

    def everybody(self) -> list[Listener]:
        return [listener for sockets in self._lessons.values() for listener in sockets.values()]
