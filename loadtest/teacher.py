"""The virtual teacher: plays a lesson in a loop through WHIP and comes back by itself when the line drops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self

from loadtest.rawclient import media
from loadtest.rawclient.publisher import Publisher, PublisherStats
from loadtest.rawclient.resource import Refusal, new_session
from loadtest.rawclient.sdp import SdpError
from loadtest.rawclient.watcher import Timeline
from loadtest.retry import Backoff, Unreachable

State = Literal["connecting", "live", "stopped"]


@dataclass(frozen=True, slots=True)
class TeacherStats:
    """A snapshot; ``sent`` counts since the last (re)connection."""

    state: State
    reconnects: int
    error: str
    sent: PublisherStats


class VirtualTeacher:
    """``async with VirtualTeacher(url, token):`` or ``start()`` and ``stop()``.

    ``clip`` is what it plays (default: the bundled lesson); ``keyframes="jump"`` obeys keyframe requests by jumping to
    the clip's next keyframe, ``"count"`` only counts them.
    """

    def __init__(
        self,
        whip: str,
        token: str = "",
        *,
        clip: media.Clip | None = None,
        keyframes: Literal["count", "jump"] = "count",
    ) -> None:
        self._whip, self._token, self._keyframes = whip, token, keyframes
        self.clip = clip or media.sample()
        self._publisher: Publisher | None = None
        self._task: asyncio.Task[None] | None = None
        self._state: State = "connecting"
        self._reconnects = 0
        self._error = ""

    async def start(self) -> None:
        """Connect once and go on in the background.

        :raises Refusal: the server said no; also ``SdpError`` and ``Unreachable``, as of ``Publisher.start``.
        """
        self._session = new_session()
        try:
            await self._connect()
        except BaseException:
            await self._session.close()
            raise
        self._task = asyncio.create_task(self._stay())

    async def stop(self) -> None:
        """DELETE and close. Idempotent."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self._publisher is not None:
            await self._publisher.stop()
        self._state = "stopped"
        await self._session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def stats(self) -> TeacherStats:
        """How it goes now."""
        sent = replace(self._publisher.stats) if self._publisher is not None else PublisherStats()
        return TeacherStats(self._state, self._reconnects, self._error, sent)

    def timeline(self) -> Timeline:
        """What lets watchers on the same clock measure latency behind a server that strips abs-capture-time. Holds as
        long as the publisher neither reconnects nor jumps."""
        assert self._publisher is not None
        return Timeline(self._publisher.epoch_ns, self.clip.duration_ns, self.clip.fingerprints())

    async def _connect(self) -> None:
        publisher = Publisher(self._session, self._whip, self._token, self.clip, self._keyframes)
        await publisher.start()
        self._publisher, self._state, self._error = publisher, "live", ""

    async def _stay(self) -> None:
        backoff = Backoff()
        while self._publisher is not None:
            self._error = await self._publisher.lost
            self._state = "connecting"
            await self._publisher.stop()
            while self._state == "connecting":
                await asyncio.sleep(backoff.next())
                try:
                    await self._connect()
                    self._reconnects += 1
                    backoff.reset()
                except (Refusal, SdpError, Unreachable, OSError) as error:
                    self._error = str(error)
