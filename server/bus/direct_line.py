"""The direct line between a signaling process and a relay (TCP): the thin shell around ``channel.py``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from server.bus import wire
from server.bus.channel import Channel, ChannelError, End
from server.bus.limits import CONTROL_CONNECTIONS, CONTROL_UNPROVED, GREETING_TIMEOUT, OUTGOING_MAX
from server.bus.wire import Frame, WireError

log = logging.getLogger(__name__)

_CHUNK = 64 * 1024


class LineBroken(Exception):
    """The direct line cannot be made, or has ended."""


class DirectLine:
    """One proved connection. ``send`` never waits: a peer that reads too slowly is cut off."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, channel: Channel) -> None:
        self._reader = reader
        self._writer = writer
        self._channel = channel

    @classmethod
    async def prove(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: End, secret: bytes
    ) -> DirectLine:
        """Run the mutual proof.

        :raises LineBroken: the peer is not one of ours, or took too long; the connection is closed
        """
        channel = Channel(end, secret)
        try:
            async with asyncio.timeout(GREETING_TIMEOUT):
                writer.write(channel.greeting())
                while not channel.ready:
                    # Neither side sends before it has the other's proof, so no frame can come with these bytes.
                    for _ in channel.receive(await _read(reader, 1024)):
                        raise ChannelError("a frame during the proof")
                    writer.write(bytes(channel.outgoing))
                    channel.outgoing.clear()
        except (ChannelError, LineBroken, OSError, TimeoutError) as error:
            writer.close()
            raise LineBroken(str(error) or "no proof in time") from error
        return cls(reader, writer, channel)

    def send(self, frame: Frame) -> None:
        """:raises LineBroken: the line has ended, or the peer does not read"""
        if self._writer.is_closing():
            raise LineBroken("closed")
        if self._writer.transport.get_write_buffer_size() > OUTGOING_MAX:
            self.close()
            raise LineBroken("the peer does not read")
        try:
            self._writer.write(self._channel.seal(wire.encode(frame)))
        except (ChannelError, OSError) as error:
            raise LineBroken(str(error)) from error

    async def frames(self) -> AsyncIterator[Frame]:
        """What the peer sends, until the line ends; that is then said by ``LineBroken``."""
        data = b""
        try:
            while True:
                for body in self._channel.receive(data):
                    yield wire.decode(body)
                data = await _read(self._reader, _CHUNK)
        except (ChannelError, WireError, OSError) as error:
            raise LineBroken(str(error)) from error
        finally:
            self.close()

    def close(self) -> None:
        self._writer.close()


async def _read(reader: asyncio.StreamReader, most: int) -> bytes:
    data = await reader.read(most)
    if not data:
        raise LineBroken("the peer hung up")
    return data


async def dial(address: str, secret: bytes) -> DirectLine:
    """Reach a relay's control port, ``HOST:PORT``.

    :raises LineBroken: nobody there, or not one of ours
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(GREETING_TIMEOUT):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError, ValueError) as error:
        raise LineBroken(f"{address}: {error or 'no answer'}") from error
    return await DirectLine.prove(reader, writer, "caller", secret)


class DirectServer:
    """A relay's control port: proves each caller, then hands the line to ``serve`` for as long as that takes."""

    def __init__(self, secret: bytes, serve: Callable[[DirectLine], Awaitable[None]]) -> None:
        self._secret = secret
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unproved = 0
        self.lines = 0
        self.refused = 0

    async def start(self, host: str | None, port: int) -> int:
        """Listen (``None``: on every address); the port. ``OSError`` when it is in use."""
        self._server = await asyncio.start_server(self._accept, host, port)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        # Strangers are counted apart: they cannot take the places of those who have proved themselves.
        if task is None or self._unproved >= CONTROL_UNPROVED or self.lines >= CONTROL_CONNECTIONS:
            self.refused += 1
            writer.close()
            return
        self._tasks.add(task)
        try:
            line = await self._proved(reader, writer)
            self.lines += 1
            try:
                await self._serve(line)
            finally:
                self.lines -= 1
        except LineBroken as error:
            log.debug("direct line: %s", error)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _proved(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> DirectLine:
        self._unproved += 1
        try:
            return await DirectLine.prove(reader, writer, "relay", self._secret)
        except LineBroken:
            self.refused += 1
            raise
        finally:
            self._unproved -= 1
