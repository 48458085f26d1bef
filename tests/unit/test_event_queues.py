"""Relay events on the bus: numbered, bounded, and full queues lose line reports before they lose a fact."""

from __future__ import annotations

import asyncio

from server.bus.events import EventHub, EventLog, EventQueue
from server.bus.limits import FACTS_KEPT, LINES_KEPT
from signaling.relay import ConnectionUp, Line


def up(name: object) -> ConnectionUp:
    return ConnectionUp("lesson", str(name))


def line(name: object) -> Line:
    return Line("lesson", str(name), None, 0.0, None, 0)


def test_a_listener_that_comes_back_gets_what_it_missed_in_order_and_once() -> None:
    log = EventLog()
    for number in range(10):
        log.append(up(number) if number % 2 else line(number))
    assert [told.number for told in log.after(0, 100)] == list(range(1, 11))
    assert [told.number for told in log.after(7, 100)] == [8, 9, 10]
    assert [told.number for told in log.after(0, 3)] == [1, 2, 3]
    assert log.after(10, 100) == ()


def test_batches_leave_nothing_out() -> None:
    log = EventLog()
    for number in range(1000):
        log.append(up(number) if number % 3 else line(number))
    seen: list[int] = []
    while batch := log.after(seen[-1] if seen else 0, 7):
        seen += [told.number for told in batch]
    assert seen == list(range(1, 1001))


def test_a_storm_of_line_reports_pushes_out_no_fact() -> None:
    log = EventLog()
    log.append(up("first"))
    for number in range(LINES_KEPT * 2):
        log.append(line(number))
    kept = log.after(0, 10**6)
    assert kept[0].event == up("first")
    assert len(kept) == LINES_KEPT + 1
    for number in range(FACTS_KEPT * 2):
        log.append(up(number))
    assert len(log.after(0, 10**6)) == LINES_KEPT + FACTS_KEPT


async def test_a_full_queue_loses_the_oldest_line_report_first_then_the_oldest() -> None:
    queue = EventQueue(limit=3)
    for event in (up(1), line(2), line(3), up(4)):
        queue.put(event)
    assert queue.dropped == 1
    assert [await queue.get() for _ in range(3)] == [up(1), line(3), up(4)]
    for event in (up(1), up(2), up(3), up(4)):
        queue.put(event)
    assert [await queue.get() for _ in range(3)] == [up(2), up(3), up(4)]
    assert queue.dropped == 2


async def test_every_reader_gets_everything_from_its_own_beginning() -> None:
    hub = EventHub()
    first = hub.read()
    hub.put(up(1))
    second = hub.read()
    hub.put(up(2))
    async with asyncio.timeout(30):
        assert [await anext(first), await anext(first)] == [up(1), up(2)]
        assert await anext(second) == up(2)
