"""The signaling service: everything of this room put together, and what the composer and other rooms call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from signaling.archive import Archive
from signaling.cors import Cors
from signaling.http import openapi
from signaling.http.access_log import hold_back_junk
from signaling.http.edge import problem_middleware
from signaling.http.gate import Gate
from signaling.http.rest import OpsSummary, Rest
from signaling.http.whep import Whep
from signaling.http.whip import Whip
from signaling.ice import check_servers
from signaling.metrics import Metrics
from signaling.relay import RelayDirectory
from signaling.routes import Operation
from signaling.runner import Runner
from signaling.settings import SignalingSettings
from signaling.store import LessonStore
from signaling.tokens import Claims, Tokens
from signaling.websocket.sending import GOING_AWAY
from signaling.websocket.socket import ClassSocket


class Signaling:
    """One signaling process.

    ``registry`` receives the metrics (one of its own when not given); ``figures`` are further numbers for ``/api/ops``.

    :raises ValueError: a setting that cannot be meant.
    """

    def __init__(
        self,
        *,
        directory: RelayDirectory,
        lessons: LessonStore,
        tokens: Tokens,
        archive: Archive | None,
        settings: SignalingSettings,
        registry: CollectorRegistry | None = None,
        figures: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        check_servers(settings)
        self.settings = settings
        self.metrics = Metrics(registry if registry is not None else CollectorRegistry())
        self._runner = Runner(settings, directory, lessons, archive, self.metrics)
        self._gate = Gate(tokens)
        self._cors = Cors(settings.cors)
        self._rest = Rest(self._runner, self._gate, figures, self.document)
        self._extra: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
        self.operations: tuple[Operation, ...] = (
            *Whip(self._runner, self._gate).operations(),
            *Whep(self._runner, self._gate).operations(),
            *ClassSocket(self._runner, tokens, self._cors).operations(),
            *self._rest.operations(),
        )
        self._tasks: list[asyncio.Task[None]] = []

    def routes(
        self,
        app: web.Application,
        *,
        extra_paths: Mapping[str, Any] | None = None,
        extra_schemas: Mapping[str, Any] | None = None,
    ) -> None:
        """Add our routes, the problem middleware and CORS to ``app``; the extras complete its OpenAPI document."""
        self._extra = (extra_paths or {}, extra_schemas or {})
        app.middlewares.append(problem_middleware())
        app.on_response_prepare.append(self._cors.on_prepare)
        hold_back_junk()
        for operation in self.operations:
            operation.register(app)

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return openapi.document(self.operations, *self._extra)

    async def start(self) -> None:
        """Take up the lessons of the store, listen to the relays. Lessons that were live are live again, waiting for
        their teacher."""
        await self._runner.take_up()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._runner.writer.run(), name="signaling: write to the store"),
            loop.create_task(self._runner.listen(), name="signaling: events of relays"),
            loop.create_task(self._runner.tick(), name="signaling: timers"),
            loop.create_task(self._runner.resync(), name="signaling: store and archive"),
        ]

    async def stop(self) -> None:
        """Say good-bye to the sockets (1001: come back), write what is not written. Media goes on."""
        for listener in self._runner.hub.everybody():
            listener.hang_up(GOING_AWAY, "restart")
        await self._runner.finish_tasks()
        await self._runner.writer.drained_soon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def authorize(self, request: web.Request) -> Claims | None:
        """The verified claims of a request, ``None`` when it carries no token.

        :raises signaling.problems.Problem: 401, when it carries one that is no good.
        """
        return self._gate.claims(request)

    def ready(self) -> list[str]:
        """Reasons why new lessons and joins would fail now; empty when ready."""
        reasons = []
        if not self._tasks or any(task.done() for task in self._tasks):
            reasons.append("signaling is not running")
        if not self._runner.store_read or self._runner.writer.failing:
            reasons.append("the lesson store does not answer")
        if not self._runner.listening:
            reasons.append("no events from relays")
        return reasons

    def summary(self) -> OpsSummary:
        """What ``/api/ops`` says."""
        return self._rest.summary()
