"""What a connection's line reports amount to: smoothed loss, estimate, and for how long each has been good or bad."""

from __future__ import annotations

from server.media.plane import LineReport
from server.quality import limits

_FADING = 0.7  # of the busiest second, a report
_LASTING = 0.15  # of a new report's loss in the loss of some ten seconds
_SMOOTHING = 0.5  # of a new report: a burst of one second fades to a quarter within two more


class Line:
    """The newest view of one line. Reports come about once a second; time is the caller's."""

    def __init__(self) -> None:
        self.estimate: int | None = None
        self.loss = 0.0
        self.sent = 0
        self.busiest = 0.0
        """bit/s of the busiest of the last seconds: a still slide sends little until the next keyframe."""
        self._lasting_loss = 0.0
        self._rtt_ms = 0.0
        self._least_rtt_ms: float | None = None
        self._bloated = False
        self.collapsed = False
        self._suffering_since: float | None = None
        self._calm_since: float | None = None
        self._history: list[tuple[float, int]] = []  # estimates of the last seconds, for below_for

    def take(self, report: LineReport, now: float) -> None:
        """Learn from one report."""
        first = self._calm_since is None and self._suffering_since is None
        self.loss = report.loss if first else self.loss + _SMOOTHING * (report.loss - self.loss)
        self._lasting_loss += (1.0 if first else _LASTING) * (report.loss - self._lasting_loss)
        self._rtt_ms = report.rtt_ms or 0.0
        self.sent = report.sent
        self.busiest = max(float(report.sent), _FADING * self.busiest)
        self.estimate = report.remb
        if report.remb is not None:
            recent = [(at, remb) for at, remb in self._history[-20:] if now - at < 10.0]
            self._history = [*recent, (now, report.remb)]
        self._feel_queue(report.rtt_ms)
        self.collapsed = self._bloated or report.loss > limits.COLLAPSE
        suffering = self._bloated or (self.loss > limits.HEAVY_LOSS and report.loss > limits.HEAVY_LOSS / 2)
        calm = self.loss <= limits.CALM_LOSS and not self._bloated
        self._suffering_since = _since(self._suffering_since, suffering, now)
        self._calm_since = _since(self._calm_since, calm, now)

    def suffering_for(self, now: float) -> float:
        """Seconds of heavy loss or of a filling queue without a break."""
        return 0.0 if self._suffering_since is None else now - self._suffering_since

    def calm_for(self, now: float) -> float:
        """Seconds of small loss and short queues without a break."""
        return 0.0 if self._calm_since is None else now - self._calm_since

    def below_for(self, rate: float, now: float) -> float:
        """Seconds for which the estimate has been under ``rate`` (bit/s) without a break."""
        since = now
        for at, remb in reversed(self._history):
            if remb >= rate:
                break
            since = at
        return now - since

    def stalls(self, rate: float) -> float:
        """Share of the time for which a picture of ``rate`` bit/s would stand still, waiting for lost packets: each
        burst of loss costs a round trip, of which the player's buffer hides ``HIDDEN_MS``."""
        bursts = rate / limits.PACKET_BITS * self._lasting_loss / limits.LOSS_BURST
        return bursts * max(0.0, self._rtt_ms - limits.HIDDEN_MS) / 1000

    @property
    def rising(self) -> bool:
        """Whether the last estimate is well above the one before it."""
        if len(self._history) < 2:
            return False
        return self._history[-1][1] > self._history[-2][1] * limits.RISING

    def forget_estimate(self) -> None:
        """What was estimated no longer tells: the rate sent is about to change a lot."""
        self._history.clear()
        self._suffering_since = None

    def _feel_queue(self, rtt_ms: float | None) -> None:
        if rtt_ms is None:
            return
        # The least round trip rises by one per cent a report, so that a route that became longer is learnt in time.
        least = rtt_ms if self._least_rtt_ms is None else min(rtt_ms, self._least_rtt_ms * 1.01)
        self._least_rtt_ms = least
        self._bloated = rtt_ms > least + limits.BLOAT_MS


def _since(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since
