"""RTP time to wall clock, the same for all tracks: by sender reports (RFC 3550, 6.4.1) where there are any, and by
arrival where not.

A publisher's reports say at which instant of *its* clock a timestamp was. The least seen distance between arrival and
that clock (a windowed minimum: the packets that queued least) turns it into our clock. Both tracks of a publication
share that distance, so their lips stay in sync whatever the line does. Corrections are slewed, jumps are stepped.
"""

from __future__ import annotations

from recorder.limits import S
from recorder.rtp import extend

WINDOW = 10 * S  # over which the least distance is taken: twice an SR interval
SLEW = 0.005  # correction per media time: 5 ms a second, below what an eye or ear notices
STEP = 1 * S  # corrections beyond this are a new time line, not a drift
AHEAD = 1 * S  # a packet cannot arrive this long before it was made
BEHIND = 5 * S  # no queue holds packets this long; the publisher's clock has jumped


class WindowedMinimum:
    """The least value of the last one to two windows; O(1) a value."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self._since: int | None = None
        self._current = self._previous = 0

    def add(self, value: int, now: int) -> int:
        if self._since is None or now - self._since > 2 * self._window:
            self._since, self._current, self._previous = now, value, value
        elif now - self._since > self._window:
            self._since, self._previous, self._current = now, self._current, value
        else:
            self._current = min(self._current, value)
        return min(self._current, self._previous)


class PublisherClock:
    """One publication's wall clock against ours, shared by its tracks."""

    def __init__(self) -> None:
        self._distance = WindowedMinimum()

    def translate(self, ntp_ns: int, arrival_ns: int) -> int:
        """Our time of the publisher's instant ``ntp_ns``, as reported by a packet that arrived at ``arrival_ns``."""
        return ntp_ns + self._distance.add(arrival_ns - ntp_ns, arrival_ns)


class TrackClock:
    """One track's RTP time. ``place`` every access unit in order; ``report`` every sender report."""

    def __init__(self, rate: int, publisher: PublisherClock) -> None:
        self._rate = rate
        self._publisher = publisher
        self._near: int | None = None  # last extended timestamp
        self._offset = 0  # ns: wall = timestamp / rate + offset
        self._target = 0
        self._arrivals = WindowedMinimum()
        self._latest = 0  # arrival less media time of the last access unit, ns
        self._reported = False
        self._slewed_at = 0  # extended timestamp
        self.jumps = 0

    def place(self, timestamp: int, arrival_ns: int) -> int:
        """Our wall clock, in ns, at which the sampling instant ``timestamp`` happened."""
        if self._near is None:
            self._near = timestamp
            return self._anchor(timestamp, arrival_ns)
        extended = extend(timestamp, self._near, 32)
        self._near = extended
        media = self._ns(extended)
        if not -AHEAD < arrival_ns - (media + self._offset) < BEHIND:
            self.jumps += 1
            return self._anchor(extended, arrival_ns)
        self._latest = arrival_ns - media
        least = self._arrivals.add(self._latest, arrival_ns)
        if not self._reported:
            self._target = least
        self._slew(extended)
        return media + self._offset

    def report(self, timestamp: int, ntp_ns: int, arrival_ns: int) -> None:
        """Take a sender report; one that contradicts the last arrival by seconds is not believed."""
        if self._near is None:
            return
        media = self._ns(extend(timestamp, self._near, 32))
        target = self._publisher.translate(ntp_ns, arrival_ns) - media
        if abs(target - self._latest) > 3 * S:
            return
        self._reported = True
        self._target = target

    def _anchor(self, extended: int, arrival_ns: int) -> int:
        self._offset = self._target = self._latest = arrival_ns - self._ns(extended)
        self._arrivals = WindowedMinimum()
        self._arrivals.add(self._offset, arrival_ns)
        self._reported = False
        self._slewed_at = extended
        return arrival_ns

    def _slew(self, extended: int) -> None:
        allowed = int(max(0, self._ns(extended - self._slewed_at)) * SLEW)
        self._slewed_at = max(self._slewed_at, extended)
        error = self._target - self._offset
        if abs(error) > STEP:
            self._offset = self._target
        else:
            self._offset += max(-allowed, min(allowed, error))

    def _ns(self, timestamp: int) -> int:
        return timestamp * S // self._rate
