"""Child processes of one process tree: kept running with back-off, stopped with grace, never left behind as orphans."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from server.app.limits import RESTART_FIRST, RESTART_MOST, RESTART_SETTLED, STOP_GRACE

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with(parent: int) -> None:
    """Called first thing in a child: SIGTERM when ``parent`` is gone, however it went (kill -9 included).

    The kernel tells nobody about a parent that died before the call, so that is looked at afterwards.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


class Backoff:
    """How long to wait before the next start, from how long the last one lived."""

    def __init__(self) -> None:
        self._pause = RESTART_FIRST

    def after(self, lived: float) -> float:
        if lived >= RESTART_SETTLED:
            self._pause = RESTART_FIRST
        pause = self._pause
        self._pause = min(self._pause * 2, RESTART_MOST)
        return pause


class Child:
    """One supervised process in a process group of its own, so that Ctrl-C in a terminal reaches only us: we decide
    the order in which things stop.

    ``orders`` are written to its stdin at each start (secrets do not belong on a command line), ``on_line`` gets each
    line of its stdout, ``environment`` is added to ours. ``fatal`` resolves with the exit code when the child says
    that a person must act (an exit code of ``gives_up``).
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        stderr: Path | None = None,
        gives_up: frozenset[int] = frozenset(),
        orders: bytes = b"",
        on_line: Callable[[bytes], None] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._command = tuple(command)
        self._stderr = stderr
        self._gives_up = gives_up
        self._orders = orders
        self._on_line = on_line
        self._environment = {**os.environ, **(environment or {})}
        self._reader: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False
        self.fatal: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now, if one does."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch(), name=f"watch {self.name}")

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """SIGTERM, and SIGKILL after ``grace``. Idempotent; returns when the process is gone."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), grace)
            except TimeoutError:
                log.warning("%s did not stop within %.0f s: killed", self.name, grace)
                self.kill()
                await process.wait()
        for task in (self._watcher, self._reader):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def kill(self) -> None:
        """SIGKILL, now."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _spawn(self) -> None:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            stderr = stack.enter_context(self._stderr.open("ab")) if self._stderr else None
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe if self._orders else nothing,
                stdout=pipe if self._on_line else None,
                stderr=stderr,
                env=self._environment,
                start_new_session=True,
            )
        if self._process.stdin is not None:
            self._process.stdin.write(self._orders)
            self._process.stdin.close()
        if self._process.stdout is not None and self._on_line is not None:
            self._reader = asyncio.create_task(_read_lines(self._process.stdout, self._on_line), name=self.name)
        log.debug("%s started as process %d", self.name, self._process.pid)

    async def _watch(self) -> None:
        backoff = Backoff()
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            if self._stopping:
                return
            if code in self._gives_up:
                log.error("%s cannot run (exit code %d)", self.name, code)
                if not self.fatal.done():
                    self.fatal.set_result(code)
                return
            pause = backoff.after(time.monotonic() - started)
            log.error("%s ended (%s); starting it again in %.1f s", self.name, _how(code), pause)
            await asyncio.sleep(pause)
            self.restarts += 1
            await self._spawn_again(backoff)

    async def _spawn_again(self, backoff: Backoff) -> None:
        """However often it takes: a machine that is short of memory or processes for a moment has them again later."""
        while True:
            try:
                return await self._spawn()
            except OSError as error:
                log.error("%s cannot be started: %s", self.name, error)
                await asyncio.sleep(backoff.after(0.0))


class StopSignals:
    """SIGTERM, SIGINT and a closed terminal's SIGHUP: the first asks for a graceful stop, the second for force."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup has said what it wants
                loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        (self.forced if self.asked.is_set() else self.asked).set()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def _read_lines(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than the reader's 64 KiB: dropped by the reader
        if not line:
            return
        take(line)
