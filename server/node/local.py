"""LocalDirectory: ``signaling.relay.RelayDirectory`` for the small case, one relay in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.node.node import RelayNode
from signaling.relay import RecorderRef, RelayEvent


class LocalDirectory:
    """Every lesson is on the one relay and goes to the one recorder; ``recorder`` may come later or go."""

    def __init__(self, node: RelayNode, recorder: RecorderRef | None) -> None:
        self.node = node
        self.recorder_ref = recorder

    async def place(self, lesson: str) -> RelayNode:
        return self.node

    async def recorder(self, lesson: str) -> RecorderRef | None:
        return self.recorder_ref

    def all_events(self) -> AsyncIterator[RelayEvent]:
        return self.node.events()
