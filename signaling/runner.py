"""Runs the core: gives it the time and the events, does its effects. All that waits is here or in the shells."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from sqlalchemy.exc import SQLAlchemyError

from signaling.archive import Archive, ask_again_after
from signaling.clock import Clock
from signaling.core import commands as c
from signaling.core.handle import Core
from signaling.core.lesson import Lesson
from signaling.core.totals import Totals
from signaling.hub import Hub
from signaling.limits import OVERLAP_SECONDS, RELAY_SECONDS, RESYNC_SECONDS, RETRY_SECONDS, TICK_SECONDS
from signaling.metrics import HouseCollector, Metrics
from signaling.problems import Problem, from_relay
from signaling.registry import Handle, Registry
from signaling.relay import RecorderRef, Refused, RelayDirectory, RelayPort
from signaling.series import PerMinute, Series, figures
from signaling.settings import SignalingSettings
from signaling.store import LessonStore
from signaling.writer import Writer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_REOPEN = frozenset({"unknown-lesson", "not-live", "unavailable"})


class Runner:
    """The core with its surroundings."""

    def __init__(
        self,
        settings: SignalingSettings,
        directory: RelayDirectory,
        store: LessonStore,
        archive: Archive | None,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = Clock()
        self.core = Core(settings)
        self.hub = Hub()
        self.registry = Registry()
        self.series = Series()
        self.joins = PerMinute()
        self.writer = Writer(store, lambda: metrics.dropped.labels("attendance").inc())
        self.store = store
        self._directory = directory
        self._archive = archive
        self._opened: dict[str, RelayPort] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asked: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._read_at: float | None = None
        self.listening = False
        self.store_read = False
        archived, sockets = (lambda: self._counts.get("archived", 0)), (lambda: len(self.hub))
        metrics.registry.register(HouseCollector(self._totals, archived, sockets))

    # --- commands and effects -------------------------------------------------------------------------------------

    def run(self, command: c.Command) -> list[asyncio.Task[Any]]:
        """Let the core handle a command and do its effects. Returns what still runs; nobody needs to wait for it.

        :raises Problem: the core refuses.
        """
        waiting: list[asyncio.Task[Any]] = []
        refusal: str | None = None
        now = self.clock()
        effects = self.core.handle(c.Jumped(jumped), now) if (jumped := self.clock.jumped()) else []
        for effect in [*effects, *self.core.handle(command, now)]:
            match effect:
                case c.Refuse():
                    refusal = effect.code
                case c.Tell():
                    self.hub.tell(effect)
                case c.HangUp():
                    self.hub.hang_up(effect)
                case c.Persist():
                    self.writer.lesson(effect.lesson)
                case c.Attended():
                    self.writer.attended(effect.interval)
                case c.Measured():
                    self.metrics.observe(effect.what, effect.value, effect.label)
                    if effect.what == "join":
                        self.joins.add(now)
                case c.Forget():
                    handle = self.registry.remove(effect.connection)
                    if handle is not None and effect.at_relay:
                        waiting.append(self.spawn(self.quietly(handle.relay.close(handle.id), "close")))
                case c.CloseLesson():
                    waiting.append(self.spawn(self._close_lesson(effect.lesson)))
        if refusal is not None:
            raise Problem(refusal)
        return waiting

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def quietly(self, work: Awaitable[object], what: str) -> None:
        """A call whose failure changes nothing for us: the relay forgets by itself what nobody feeds."""
        try:
            async with asyncio.timeout(RELAY_SECONDS):
                await work
        except (Refused, TimeoutError, OSError) as error:
            self.metrics.faults.labels("relay").inc()
            _log.warning("relay: %s: %s", what, getattr(error, "code", type(error).__name__))

    async def _close_lesson(self, lesson: str) -> None:
        """Told of the lesson once more before, a relay that was restarted passes the end on to the recorder."""
        self._opened.pop(lesson, None)
        known = self.core.lesson(lesson)
        if known is not None:
            await self.quietly(self._open(known), "open lesson")
        try:
            relay = await self._directory.place(lesson)
        except Refused:
            return  # no relay has it
        self._opened.pop(lesson, None)
        await self.quietly(relay.close_lesson(lesson), "close lesson")

    # --- what shells ask ------------------------------------------------------------------------------------------

    async def lesson(self, lesson: str) -> Lesson | None:
        """From the core, else from the store: another process may have made it a moment ago."""
        known = self.core.lesson(lesson)
        if known is not None:
            return known
        found = await asyncio.to_thread(self.store.get, lesson)
        if found is not None:
            self.run(c.Learn(found))
        return found

    def lock(self, lesson: str, what: str) -> asyncio.Lock:
        """One at a time for one thing of one lesson."""
        return self._locks.setdefault((lesson, what), asyncio.Lock())

    async def at_relay(self, lesson: Lesson, act: Callable[[RelayPort], Awaitable[_T]]) -> tuple[RelayPort, _T]:
        """``act`` on the lesson's relay, which has been told of the lesson; once more if it forgot it (restarted).

        :raises Problem: the relay refuses, or does not answer in time.
        """

        async def twice() -> tuple[RelayPort, _T]:
            try:
                relay = await self._open(lesson)
                return relay, await act(relay)
            except Refused as refused:
                if refused.code not in _REOPEN or self._opened.pop(lesson.id, None) is None:
                    raise
                relay = await self._open(lesson)
                return relay, await act(relay)

        return await self.ask(twice())

    async def ask(self, work: Awaitable[_T]) -> _T:
        """One call to a relay about a connection it has.

        :raises Problem: the relay refuses, or does not answer in time.
        """
        try:
            async with asyncio.timeout(RELAY_SECONDS):
                return await work
        except Refused as refused:
            raise from_relay(refused) from refused
        except TimeoutError as error:
            self.metrics.faults.labels("relay").inc()
            raise Problem("unavailable") from error

    async def choose_layer(self, handle: Handle, rid: str | None) -> None:
        """A client's wish for a watching connection; ``None`` leaves the choice to the server.

        :raises Problem: nobody publishes this layer, or the relay refuses.
        """
        if rid is not None and not self.core.has_layer(handle.id, rid):
            raise Problem("unknown-layer")
        await self.ask(handle.relay.choose_layer(handle.id, rid))

    def opened(self, lesson: str) -> RelayPort | None:
        """The relay that was told of the lesson."""
        return self._opened.get(lesson)

    async def _open(self, lesson: Lesson) -> RelayPort:
        relay = await self._directory.place(lesson.id)
        if self._opened.get(lesson.id) is relay:
            return relay
        async with self.lock(lesson.id, "open"):
            if self._opened.get(lesson.id) is not relay:
                recorder: RecorderRef | None = await self._directory.recorder(lesson.id)
                await relay.open_lesson(lesson.id, lesson.title, recorder)
                # Without a recorder the next join asks again: one may have come.
                if recorder is not None:
                    self._opened[lesson.id] = relay
        return relay

    # --- what goes on by itself -----------------------------------------------------------------------------------

    async def listen(self) -> None:
        """The relays' events, for ever."""
        while True:
            try:
                self.listening = True
                async for event in self._directory.all_events():
                    self._guarded(c.Heard(event))
            except (Refused, OSError) as error:
                self.metrics.faults.labels("events").inc()
                _log.warning("relay events: %s", getattr(error, "code", type(error).__name__))
            self.listening = False
            await asyncio.sleep(RETRY_SECONDS)

    async def tick(self) -> None:
        """The core's timers, and a sample of the figures each 5 s."""
        while True:
            now = self.clock()
            due = self.core.next_time(now)
            shortest, longest = TICK_SECONDS
            await asyncio.sleep(longest if due is None else min(longest, max(shortest, due - now)))
            self._guarded(c.Tick())
            self._sample()

    def _guarded(self, command: c.Command) -> None:
        """An event that hits a bug of ours must not end the listening: logged with its trace, counted."""
        try:
            self.run(command)
        except Exception:
            self.metrics.faults.labels("core").inc()
            _log.exception("the core failed at %s", type(command).__name__)

    def _totals(self) -> Totals:
        return self.core.totals(self.clock())

    def _sample(self) -> None:
        now = self.clock()
        if not self.series.due(now):
            return
        self.series.add(figures(self.core.totals(now), self.joins.count(now)), now)

    async def resync(self) -> None:
        """What other processes wrote in the store, and what the archive has found."""
        while True:
            await self.take_up()
            if self._archive is not None:
                await self._ask_archive(self._archive)
            await asyncio.sleep(RESYNC_SECONDS)

    async def take_up(self) -> None:
        since, self._read_at = self._read_at, time.time() - OVERLAP_SECONDS
        try:
            if since is None:
                lessons = await asyncio.to_thread(self.store.unfinished)
            else:
                lessons = await asyncio.to_thread(self.store.changed, since)
            self._counts = await asyncio.to_thread(self.store.counts)
        except (SQLAlchemyError, OSError) as error:
            self.store_read, self._read_at = False, since
            self.metrics.faults.labels("store").inc()
            _log.error("the lesson store cannot be read: %s", type(error).__name__)
            return
        self.store_read = True
        for lesson in lessons:
            self._guarded(c.Learn(lesson))

    async def _ask_archive(self, archive: Archive) -> None:
        now, steady = self.clock(), time.monotonic()
        for lesson in self.core.lessons():
            after = ask_again_after(lesson, now)
            if after is None or steady - self._asked.get(lesson.id, float("-inf")) < after:
                continue
            self._asked[lesson.id] = steady
            try:
                async with asyncio.timeout(RELAY_SECONDS):
                    resource = await archive.find(lesson.id)
            except Exception as error:  # the library is another room: whatever it raises, other lessons go on
                self.metrics.faults.labels("archive").inc()
                _log.warning("archive: %s", type(error).__name__)
                continue
            if resource is not None:
                del self._asked[lesson.id]
                self._guarded(c.Found(lesson.id, resource))

    async def finish_tasks(self) -> None:
        """Wait for what is under way, at most as long as a relay may take."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=RELAY_SECONDS)
