"""Waiting for a condition, generously: the tests assert what happens, never how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT = 30.0


async def until(condition: Callable[[], object], what: str = "", limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"never: {what or condition}"
        await asyncio.sleep(0.01)


async def eventually(condition: Callable[[], Awaitable[object]], what: str = "", limit: float = 2 * LIMIT) -> None:
    """The same for a condition that has to ask somebody."""
    deadline = time.monotonic() + limit
    while not await condition():
        assert time.monotonic() < deadline, f"never: {what or condition}"
        await asyncio.sleep(0.1)
