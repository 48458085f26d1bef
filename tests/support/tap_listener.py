"""A recorder's end of the tap on a real socket: answers as a recorder does, keeps what it hears, dies on request."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from recorder import tap

GENEROUS = 20.0


class TapListener:
    """``frames`` are all frames heard over all connections; ``per_connection`` the same, one list each.

    With ``stalls`` it reads nothing any more once a relay has been let in."""

    def __init__(self, *, secret: bytes = b"", nonce: bytes = b"", stalls: bool = False) -> None:
        self.frames: list[list[Any]] = []
        self.per_connection: list[list[list[Any]]] = []
        self.refused = 0
        self.address = ""
        self._secret, self._nonce = secret, nonce
        self._stalls = stalls
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen_unix(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path)
        self.address = f"unix:{path}"

    async def listen_tcp(self) -> None:
        self._nonce = self._nonce or os.urandom(16)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"tcp:127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def die(self) -> None:
        """As a killed process: the socket is gone, and so is every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def say(self, *frame: Any) -> None:
        self._writers[-1].write(tap.encode(*frame))
        await self._writers[-1].drain()

    def named(self, name: str) -> list[list[Any]]:
        return [frame for frame in self.frames if frame[0] == name]

    async def hears(self, name: str, count: int = 1) -> list[list[Any]]:
        """Wait until as many frames of a name have come."""
        async with asyncio.timeout(GENEROUS), self._changed:
            await self._changed.wait_for(lambda: len(self.named(name)) >= count)
        return self.named(name)

    async def hears_packets(self, count: int) -> list[bytes]:
        async with asyncio.timeout(GENEROUS), self._changed:
            await self._changed.wait_for(lambda: len(self.packets) >= count)
        return self.packets

    @property
    def packets(self) -> list[bytes]:
        return [packet for frame in self.named("rtp") for _, packet in frame[2]]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        heard: list[list[Any]] = []
        self.per_connection.append(heard)
        decoder = tap.Decoder()
        writer.write(tap.encode("challenge", self._nonce))
        try:
            while data := await reader.read(65536):
                for frame in decoder.feed(data):
                    if frame[0] == "hello":
                        proof = tap.answer(self._secret, self._nonce) if self._nonce else b""
                        if frame[2] != proof:
                            self.refused += 1
                            return
                        writer.write(tap.encode("ready"))
                        if self._stalls:
                            await asyncio.Event().wait()
                    async with self._changed:
                        self.frames.append(frame)
                        heard.append(frame)
                        self._changed.notify_all()
        except ConnectionError:
            return
        finally:
            self._tasks.discard(task)
            writer.close()
