"""A generator in a process of its own: says it is ready by an empty line, takes the plan as one JSON line, gives ticks
as lines; the end of its input ends it."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import uvloop

from loadtest import limits
from loadtest.generator import Generator, Plan, Tick


async def main() -> None:
    """Run the plan on standard input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limits.WORKER_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    plan = msgspec.json.decode(await reader.readline(), type=Plan)
    stop = asyncio.Event()

    async def wait_for_end() -> None:
        await reader.read()
        stop.set()

    def emit(tick: Tick) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(tick) + b"\n")
        sys.stdout.buffer.flush()

    waiting = asyncio.create_task(wait_for_end())
    try:
        await Generator(plan).run(emit, stop)
    finally:
        waiting.cancel()


if __name__ == "__main__":
    uvloop.run(main())
