"""One process tree, put together: the parts of a role in the order in which they start, and back when they stop.

Stopping goes the other way round: first nobody new comes in, then the class is told, then the relay ends its taps, and
the recorder stops last, when it has everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time

import uvloop
from aiohttp import web

from server.app import folder, heap, metrics
from server.app.config import Config
from server.app.demo.display import link_lines
from server.app.demo.links import house_links
from server.app.folder import FolderError
from server.app.limits import BODY_MAX, HTTP_SHUTDOWN, STOP_ALL, TLS_CHECK
from server.app.logs import AccessLog
from server.app.loop_lag import LoopLag
from server.app.notify import notify
from server.app.options import BAD_START
from server.app.parts import Parts
from server.app.roles import BUILDERS
from server.app.sockets import listen
from server.app.startup import StartError, port_error
from server.app.supervise import StopSignals
from server.app.texts import say
from server.app.tls import Tls, TlsError
from server.app.values import HostPort
from signaling.tokens import Tokens

log = logging.getLogger("kongzhong")


def run(config: Config, *, demo: bool = False) -> int:
    """Serve until a signal; the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_or_say(config, demo))


async def _serve_or_say(config: Config, demo: bool) -> int:
    signals = StopSignals()
    signals.listen()
    try:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(folder.held(config))
            server = await stack.enter_async_context(Server(config, demo=demo))
            notify("READY=1")
            log.info("%s at %s", config.role, server.url)
            if not demo and sys.stdout.isatty() and config.role in ("all", "signaling"):
                # To a person at a terminal only: what goes into a file or a journal holds no token.
                links = house_links(server.url, Tokens(server.parts.secret), config.token_ttl)
                print("\n".join(link_lines(links)), flush=True)
            return await _until_told(server, signals, demo)
    except (StartError, FolderError, TlsError) as error:
        print(f"kongzhong: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_START


async def _until_told(server: Server, signals: StopSignals, demo: bool) -> int:
    """Run until the first signal or until a child gives up; then arm the force."""
    waits: list[asyncio.Task[object]] = [asyncio.create_task(signals.asked.wait())]
    waits += [asyncio.create_task(_fatal(child.fatal)) for child in server.parts.children]
    if demo:
        from server.app.demo.lesson import DemoLesson  # loaded only where somebody wants to see it

        lesson = DemoLesson(server.parts, server.url)
        server.parts.stack.push_async_callback(lesson.stop)
        await lesson.start()
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    code = next((result for task in done if isinstance(result := task.result(), int) and result is not True), 0)
    notify("STOPPING=1")
    if signals.asked.is_set():
        log.info("%s", say("stopping", "en"))
    server.parts.force_when(signals.forced)
    return code


async def _fatal(future: asyncio.Future[int]) -> int:
    return await asyncio.shield(future)


class Server:
    """A role of kongzhong in this process. Entering it starts everything, leaving it stops everything.

    Raises ``StartError``, ``FolderError`` or ``TlsError`` on entering, with nothing left running.
    """

    def __init__(self, config: Config, *, demo: bool = False) -> None:
        self.config = config
        self._demo = demo
        self.parts: Parts
        self.url = ""

    async def __aenter__(self) -> Server:
        began = time.monotonic()
        config = self.config
        folder.prepare(config)
        tls = Tls(config) if config.secure else None
        sockets = _listen(config.http)
        port = sockets[0].getsockname()[1]
        self.url = config.base_url.rpartition(":")[0] + f":{port}"
        self.parts = parts = Parts(config, folder.bureau_secret(config), web.Application(client_max_size=BODY_MAX))
        if self._demo and sys.stdout.isatty():
            parts.child_stderr = config.data / "run" / "children.log"
            parts.child_stderr.unlink(missing_ok=True)  # of the last demo
        try:
            lag = LoopLag(parts.registry)
            lag.start()
            parts.stack.push_async_callback(lag.stop)
            parts.collect(metrics.DiskCollector(config.data))
            await BUILDERS[config.role](parts)
            metrics.add_route(parts.app, parts.registry)
            parts.health.routes(parts.app)
            await self._open_http(sockets, tls)
        except BaseException:
            for each in sockets:
                each.close()
            await parts.stack.aclose()
            raise
        heap.settle()
        log.debug("started in %.0f ms", (time.monotonic() - began) * 1000)
        return self

    async def __aexit__(self, *exc: object) -> None:
        stopping = asyncio.create_task(self.parts.stack.aclose())
        _, unfinished = await asyncio.wait({stopping}, timeout=STOP_ALL)
        if unfinished:
            log.error("not everything stopped within %.0f s", STOP_ALL)
            self.parts.kill_children()
            os._exit(1)
        stopping.result()

    async def _open_http(self, sockets: list[socket.socket], tls: Tls | None) -> None:
        parts = self.parts
        runner = web.AppRunner(
            parts.app,
            access_log_class=AccessLog,
            access_log=logging.getLogger("http"),
            handle_signals=False,
            shutdown_timeout=HTTP_SHUTDOWN,
        )
        await runner.setup()
        parts.stack.push_async_callback(runner.cleanup)
        for each in sockets:
            await web.SockSite(runner, each, ssl_context=tls.context if tls else None).start()
        if tls:
            care = asyncio.create_task(_care_for(tls), name="tls")
            parts.stack.callback(care.cancel)


def _listen(address: HostPort) -> list[socket.socket]:
    try:
        return listen(address)
    except OSError as error:
        raise port_error("http", address, error) from error


async def _care_for(tls: Tls) -> None:
    while True:
        await asyncio.sleep(TLS_CHECK)
        try:
            if await asyncio.to_thread(tls.refresh):
                log.info("serving a new TLS certificate")
        except TlsError as error:
            log.error("%s; still serving the one before", error)
