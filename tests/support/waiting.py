"""Waiting for a condition, generously: the tests assert what happens, never how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LIMIT = 30.0


async def until(condition: Callable[[], object], what: str = "", limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"never: {what or condition}"
        await asyncio.sleep(0.01)
