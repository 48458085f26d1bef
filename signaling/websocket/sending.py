"""What a socket has still to send: a bounded queue with one writer.

The invariant: nobody waits for a reader. The queue is bounded by number and bytes; a reader that lets it fill up is cut
off and comes back with a fresh welcome.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

from aiohttp import WSMsgType, web

from signaling import limits
from signaling import messages as m
from signaling.core.seats import SeatKey
from signaling.hub import ENCODE

NORMAL, GOING_AWAY, POLICY = 1000, 1001, 1008


class Socket:
    """One WebSocket after its hello; what the hub sees. Sending never blocks and never raises."""

    def __init__(self, peer: web.WebSocketResponse, abort: Callable[[], None], on_slow: Callable[[], None]) -> None:
        self.id = secrets.token_hex(8)
        self.protocol = peer.ws_protocol or m.JSON_PROTOCOL
        self.seat: SeatKey = ("", "")
        self._peer = peer
        self._abort = abort
        self._on_slow = on_slow
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closing: int | None = None
        self.cut = False
        """Not closed but cut off: no good-bye would get through."""

    def send(self, data: bytes) -> None:
        if self._closing is not None:
            return
        if len(self._queue) >= limits.SOCKET_QUEUE_MESSAGES or self._bytes + len(data) > limits.SOCKET_QUEUE_BYTES:
            self._cut()
            return
        self._queue.append(data)
        self._bytes += len(data)
        self._wake.set()

    def say(self, message: m.ServerMessage) -> None:
        self.send(ENCODE[self.protocol](message))

    def hang_up(self, code: int, reason: str) -> None:
        self.say(m.Bye(reason))
        if self._closing is None:
            self._closing = code
            self._wake.set()

    def _cut(self) -> None:
        """A close frame would only queue behind what the peer does not read."""
        self._closing = POLICY
        self.cut = True
        self._queue.clear()
        self._on_slow()
        self._wake.set()
        self._abort()

    async def write(self) -> None:
        """Sends until hung up and everything is sent, or the peer is gone; the only task that writes."""
        kind = WSMsgType.TEXT if self.protocol == m.JSON_PROTOCOL else WSMsgType.BINARY
        try:
            while True:
                while self._queue:
                    data = self._queue.popleft()
                    async with asyncio.timeout(limits.SEND_SECONDS):
                        await self._peer.send_frame(data, kind)
                    self._bytes -= len(data)
                if self._closing is not None:
                    return
                self._wake.clear()
                await self._wake.wait()
        except TimeoutError:
            self._cut()
        except (ConnectionError, RuntimeError):  # aiohttp: the transport closed under us
            self._abort()

    @property
    def close_code(self) -> int | None:
        return self._closing
