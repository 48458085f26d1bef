"""What would stop the media for everybody is kept off its path: garbage searches, transactions, endless queues."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from server.app import heap
from server.media.plane import TapItem, TapPacket
from server.media.reference.limits import TAP_ITEMS
from server.media.reference.plane import ReferencePlane
from signaling.core.attendance import Attendance
from signaling.store import LessonStore
from signaling.writer import Writer
from tests.support.waiting import until


def test_what_the_start_has_loaded_is_never_searched_for_garbage() -> None:
    before = gc.get_threshold()
    try:
        heap.settle()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


class CountingStore(LessonStore):
    transactions = 0

    def attended(self, intervals: object) -> None:
        self.transactions += 1
        super().attended(intervals)  # type: ignore[arg-type]


async def test_arrivals_of_a_moment_are_written_together(tmp_path: Path) -> None:
    store = CountingStore(tmp_path / "lessons.db")
    writer = Writer(store, lambda: None)
    running = asyncio.create_task(writer.run())
    for number in range(50):
        writer.attended(Attendance("lesson", f"seat {number}", "classroom", float(number)))
        await asyncio.sleep(0)
    assert await writer.drained_soon()
    assert len(store.attendance("lesson")) == 50
    assert store.transactions == 1
    running.cancel()
    store.close()


async def test_taps_that_nobody_empties_are_bounded() -> None:
    plane = await ReferencePlane.open("127.0.0.1", 0)
    heard: list[TapItem] = []
    plane.on_tap = heard.extend
    for _ in range(TAP_ITEMS + 5):
        plane._tap(TapPacket(1, 0, b""))
    assert plane.stats().drops["tap"] == 5
    plane._after_burst()
    await until(lambda: len(heard) == TAP_ITEMS)
    await plane.close()
