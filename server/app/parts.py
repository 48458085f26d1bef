"""What the parts of one process share: settings, secret, HTTP application, health, metrics, the order of stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.registry import Collector

from server.app.config import Config
from server.app.health import Health
from server.app.supervise import Child
from signaling.relay import RelayDirectory

FORCED = 130
"""Exit code after the second signal, as a shell reports Ctrl-C."""


class Parts:
    """``stack`` unwinds in reverse: whatever is pushed last stops first."""

    def __init__(self, config: Config, secret: bytes, app: web.Application) -> None:
        self.config = config
        self.secret = secret
        self.app = app
        self.health = Health()
        disable_created_metrics()  # type: ignore[no-untyped-call] # one series of three that nobody draws
        self.registry = CollectorRegistry()
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self.registry)
        self.stack = contextlib.AsyncExitStack()
        self._force: asyncio.Task[None] | None = None
        self.children: list[Child] = []
        self.directory: RelayDirectory | None = None  # whose events the demo shows
        self.child_stderr: Path | None = None  # where children's lines go while a live display owns the terminal

    def collect(self, collector: Collector) -> None:
        """Show a collector in ``/metrics``."""
        self.registry.register(collector)

    async def supervise(self, child: Child) -> None:
        await child.start()
        self.children.append(child)
        self.stack.push_async_callback(child.stop)

    def kill_children(self) -> None:
        for child in self.children:
            child.kill()

    def force_when(self, forced: asyncio.Event, leave: Callable[[int], object] = os._exit) -> None:
        """From now on the event ends the process at once, children first. What is on disk stays recoverable.

        Not on the stack: it has to outlast the stop, which it may have to cut short.
        """

        async def wait() -> None:
            await forced.wait()
            self.kill_children()
            leave(FORCED)

        self._force = asyncio.create_task(wait(), name="force")
