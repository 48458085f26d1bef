"""The queue of ended lessons: each is finished by a child process at low priority, listed, and reported as done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from recorder import limits, manifest
from recorder.finish import publish
from recorder.intake import Peer
from recorder.lease import Lease
from recorder.library.catalog import Catalog

log = logging.getLogger(__name__)

RETRY_FIRST, RETRY_MOST = 5.0, 300.0  # seconds: a full disk may take a person


@dataclass(slots=True)
class _Job:
    folder: Path
    lease: Lease
    lesson: str
    peers: set[Peer] = field(default_factory=set)


class Finisher:
    """As many at once as leaves a core to recording: lessons end together, at the bell."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._places = asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2))
        self._jobs: dict[asyncio.Task[None], _Job] = {}
        self.finished = 0
        self.failures = 0
        self.last_seconds = 0.0

    @property
    def waiting(self) -> int:
        return len(self._jobs)

    def add(self, folder: Path, lease: Lease, lesson: str = "", peers: Iterable[Peer] = ()) -> None:
        """Finish a recording; ``done`` goes to ``peers``. The lease is released when it is listed."""
        job = _Job(folder, lease, lesson, set(peers))
        task = asyncio.create_task(self._run(job))
        self._jobs[task] = job
        task.add_done_callback(self._forget)

    def notify(self, lesson: str, peer: Peer) -> bool:
        """Tell one more peer when the lesson is done; ``False``: it is not being finished."""
        for job in self._jobs.values():
            if job.lesson == lesson:
                job.peers.add(peer)
                return True
        return False

    async def stop(self) -> None:
        """Give what runs a moment, then stop it: it begins again at the next start."""
        tasks = list(self._jobs)
        if tasks:
            await asyncio.wait(tasks, timeout=limits.FINISH_STOP)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[None]) -> None:
        job = self._jobs.pop(task)
        job.lease.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("recording %s cannot be finished", job.folder.name, exc_info=error)

    async def _run(self, job: _Job) -> None:
        wait = RETRY_FIRST
        while True:
            async with self._places:  # not while it waits: one that cannot be finished holds up no other
                began = time.monotonic()
                if await self._attempt(job):
                    break
            self.failures += 1
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_MOST)
        self.finished += 1
        self.last_seconds = time.monotonic() - began
        for peer in job.peers:
            peer.send("done", job.lesson)

    async def _attempt(self, job: _Job) -> bool:
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", ""))))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "recorder.finish",
            str(job.folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            pass_fds=(job.lease.fileno(),),
        )
        try:
            _, errors = await child.communicate()
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if child.returncode != 0:
            text = errors.decode(errors="replace").strip()[-500:]
            log.error("recording %s is not finished (%d): %s", job.folder.name, child.returncode, text)
            return False
        return await asyncio.to_thread(self._list, job.folder)

    def _list(self, folder: Path) -> bool:
        done = manifest.parse((folder / manifest.NAME).read_bytes())
        if done is None or done.finished is None:
            return False
        publish(self._catalog, folder, done)
        return True
