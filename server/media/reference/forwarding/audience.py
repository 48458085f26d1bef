"""Those who take one stream: live sinks by shape, taps, and those who wait for its next keyframe."""

from __future__ import annotations

from .fanout import Group
from .rtp import Shape
from .sink import Sink
from .taps import Tap


class Audience:
    """Kept by ``Layers`` for each stream that somebody takes or awaits."""

    __slots__ = ("groups", "taps", "waiting")

    def __init__(self) -> None:
        self.groups: dict[Shape, Group] = {}
        self.taps: dict[Tap, None] = {}
        self.waiting: dict[Sink | Tap, None] = {}
        """They go over to this stream at its next keyframe, first come first."""

    @property
    def present(self) -> bool:
        """Whether anybody takes or awaits the stream. Who is still in its backlog is a sink of no group, and counts
        when it has caught up."""
        return bool(self.waiting or self.taps or any(group.sinks for group in self.groups.values()))

    def join(self, sink: Sink, shape: Shape) -> None:
        """From now on the sink gets what comes live."""
        group = self.groups.get(shape)
        if group is None:
            group = self.groups[shape] = Group(shape)
        group.add(sink)

    def leave(self, follower: Sink | Tap, codec: str) -> None:
        """Take no more; whoever is not here does not mind."""
        if isinstance(follower, Tap):
            self.taps.pop(follower, None)
        elif follower.live:
            self.groups[follower.shapes[codec]].remove(follower)

    def touch(self, sink: Sink, codec: str) -> None:
        """The sink's address or key has changed."""
        if sink.live:
            self.groups[sink.shapes[codec]].touch()
