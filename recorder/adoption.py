"""What an earlier recorder left in the archive: a lesson that may go on waits for its relay, the rest is finished."""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from recorder import limits
from recorder.disk import Disk
from recorder.finish import publish
from recorder.finishing import Finisher
from recorder.lease import Busy, Lease
from recorder.library.catalog import Catalog
from recorder.manifest import Manifest
from recorder.repair import repair

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """A recording whose lesson had not ended; its lease is ours."""

    folder: Path
    known: Manifest
    lease: Lease
    until: int  # ns of the monotonic clock: then nobody comes back to it


class Adoption:
    """``claim`` what a relay opens again within GRACE; ``poll`` once a second hands the rest to the finisher."""

    def __init__(self, archive: Path, disk: Disk, catalog: Catalog, finisher: Finisher) -> None:
        self._archive = archive
        self._disk = disk
        self._catalog = catalog
        self._finisher = finisher
        self._left: dict[str, Left] = {}  # by lesson
        self._busy: list[Path] = []
        self.failures = 0

    async def take_over(self, now: int) -> None:
        """Look at every folder there is."""
        for folder in sorted(each for each in self._archive.iterdir() if each.is_dir()):
            await self._adopt(folder, now)

    async def poll(self, now: int) -> None:
        """Lessons that nobody opened again are over; folders that were another's may be free now."""
        for lesson, left in list(self._left.items()):
            if now > left.until:
                del self._left[lesson]
                self._finisher.add(left.folder, left.lease, lesson)
        busy, self._busy = self._busy, []
        for folder in busy:
            if folder.is_dir():
                await self._adopt(folder, now)

    def claim(self, lesson: str) -> Left | None:
        """The recording that goes on with the lesson, if one does; the caller has its lease from now on."""
        return self._left.pop(lesson, None)

    def release(self) -> None:
        """Leave all to the next process."""
        for left in self._left.values():
            left.lease.release()
        self._left.clear()

    async def _adopt(self, folder: Path, now: int) -> None:
        try:
            lease = Lease(folder)
        except Busy:
            self._busy.append(folder)
            return
        try:
            known = await asyncio.to_thread(repair, folder, self._disk, False)
            if known is None:
                await asyncio.to_thread(shutil.rmtree, folder)
                lease.release()
            elif known.state == "finished":
                await asyncio.to_thread(publish, self._catalog, folder, known)
                lease.release()
            elif known.state == "ended":
                self._finisher.add(folder, lease, known.head.lesson)
            else:
                self._wait(Left(folder, known, lease, now + limits.GRACE))
        except (OSError, ValueError) as error:
            log.error("recording %s cannot be recovered: %s", folder.name, error)
            self.failures += 1
            lease.release()

    def _wait(self, left: Left) -> None:
        lesson = left.known.head.lesson
        other = self._left.get(lesson)
        if other is not None:  # two recordings of one lesson: the older one has been left for good
            older, left = sorted((other, left), key=lambda each: each.known.head.epoch_ns)
            self._finisher.add(older.folder, older.lease, lesson)
        self._left[lesson] = left
