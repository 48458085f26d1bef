"""LayerChooser: one watching connection's video layer, from REMB, loss and round trip. The voice is never its business.

The single invariant: *down quickly, up carefully*. A step down needs a bad line for two reports. A step up needs a calm
line and some time since the last change, is on trial afterwards, and when it fails is tried again ever more rarely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from server.media.plane import Layer, LineReport
from server.quality import limits
from server.quality.line import Line


class LayerChooser:
    """Decides which rid a connection is sent: a rid (``""`` for a single stream), or ``None`` for voice only.

    Times are seconds of any monotonic clock. Feed ``decide`` with each line report, and with ``None`` when the layers
    change; it returns what should be sent from now on.
    """

    def __init__(self, now: float) -> None:
        self._line = Line()
        self._wish: str | None = None
        self._current: Layer | None = None
        self._voice_only = False
        self._started = now
        self._changed = now
        self._trial_until = 0.0
        self._failed_steps = 0
        self._failed_at = 0.0
        self._failed_returns = 0
        self._returned_at: float | None = None

    @property
    def chosen_by(self) -> Literal["server", "client"]:
        """Whose choice the current layer is; voice only is always the server's."""
        return "client" if self._wish is not None and not self._voice_only else "server"

    @property
    def voice_only(self) -> bool:
        """Whether the line has been found too thin for any video."""
        return self._voice_only

    def prefer(self, rid: str | None) -> None:
        """The client's wish, or ``None`` to leave it to us. Even a wish gives way to the voice."""
        self._wish = rid

    def decide(self, layers: Sequence[Layer], report: LineReport | None, now: float) -> str | None:
        """The layer to send.

        :param layers: those alive, lowest rate first. While none is known the choice stays as it was.
        :param report: the newest one, or ``None`` when there is no news of the line.
        """
        if not layers:
            return self._answer()
        first = self._current is None
        self._follow(layers, now)
        if report is not None:
            self._line.take(report, now)
        if self._voice_only:
            self._perhaps_return(layers, now)
        elif report is not None and not first:
            self._judge(layers, now)
        if self._wish is not None and not self._voice_only:
            self._move(_nearest(layers, self._wish, self._current), now)
        return self._answer()

    def _answer(self) -> str | None:
        return None if self._voice_only or self._current is None else self._current.rid

    def _follow(self, layers: Sequence[Layer], now: float) -> None:
        """Keep hold of the current layer in the newest measurements; find a place where it is gone."""
        if self._current is None:
            self._current = layers[(len(layers) - 1) // 2]
            self._started = self._changed = now
            return
        same = next((layer for layer in layers if layer.rid == self._current.rid), None)
        if same is not None:
            self._current = same
            return
        rate = self._current.bitrate
        self._move(max((layer for layer in layers if layer.bitrate <= rate), key=_rate, default=layers[0]), now)

    def _judge(self, layers: Sequence[Layer], now: float) -> None:
        assert self._current is not None
        collapsed = now < self._trial_until and self._line.collapsed
        if now - self._changed < limits.SETTLE and not collapsed:
            return
        if self._must_rest(layers[0], now):
            self._rest(now)
        elif self._wish is None:
            lower = self._step_down(layers, now, collapsed=collapsed)
            if lower is not None:
                self._note_step_down(now)
                self._move(lower, now)
            elif (higher := self._step_up(layers, now)) is not None:
                self._trial_until = now + limits.TRIAL
                self._move(higher, now)
        if self._returned_at is not None and now - self._returned_at > limits.FORGIVEN_AFTER:
            self._returned_at, self._failed_returns = None, 0

    def _must_rest(self, lowest: Layer, now: float) -> bool:
        """Whether not even the lowest layer gets through, so that video only harms the voice."""
        estimate = self._line.estimate
        cannot_carry = estimate is None or estimate < lowest.bitrate + limits.AUDIO_BPS
        at_lowest = self._current is not None and self._current.bitrate <= lowest.bitrate
        return (
            (at_lowest or self._wish is not None)
            and cannot_carry
            and self._line.suffering_for(now) >= limits.VOICE_ONLY_AFTER
        )

    def _step_down(self, layers: Sequence[Layer], now: float, *, collapsed: bool) -> Layer | None:
        """The layer to fall to, or ``None`` where the current one may stay."""
        assert self._current is not None
        lower = [layer for layer in layers if layer.bitrate < self._current.bitrate]
        if not lower:
            return None
        need = limits.TOO_MUCH * (self._current.bitrate + limits.AUDIO_BPS)
        over = self._exceeds_estimate() and self._line.below_for(need, now) >= limits.DOWN_AFTER
        stalls = self._line.stalls(self._current.bitrate) > limits.STALLS
        if not over and not collapsed and not stalls and self._line.suffering_for(now) < limits.DOWN_AFTER:
            return None
        estimate = self._line.estimate
        if estimate is None or not over:
            return lower[-1]
        room = estimate - limits.AUDIO_BPS
        return max((layer for layer in lower if layer.bitrate <= room), key=_rate, default=lower[0])

    def _exceeds_estimate(self) -> bool:
        """Whether more is sent than the estimate allows. One that is below a layer's rate while less than the estimate
        is sent tells of a still picture, by which it is bounded, and not of the line."""
        estimate = self._line.estimate
        return estimate is not None and self._line.busiest >= estimate and not self._line.rising

    def _step_up(self, layers: Sequence[Layer], now: float) -> Layer | None:
        """The next layer, when the line is calm, its time has come, and nothing speaks against it."""
        assert self._current is not None
        higher = [
            layer
            for layer in layers
            if layer.bitrate > self._current.bitrate and self._line.stalls(layer.bitrate) < limits.STALLS_UP
        ]
        if not higher or not self._may_rise(now):
            return None
        line = self._line
        calm = min(line.calm_for(now), now - self._changed)
        if line.estimate is None or (line.rising and self._is_starting(now)):
            return higher[0] if calm >= limits.UP_AFTER_BLIND else None
        if calm < limits.UP_AFTER:
            return None
        room = line.estimate - limits.AUDIO_BPS
        known = [layer for layer in higher if layer.bitrate * limits.FITS <= room]
        if known:
            return known[-1]
        bounded_by_us = line.estimate >= limits.PROBE_HEADROOM * max(line.sent, self._current.bitrate)
        return higher[0] if bounded_by_us else None

    def _may_rise(self, now: float) -> bool:
        if self._failed_steps:
            wait = limits.BACK_OFF[min(self._failed_steps, len(limits.BACK_OFF)) - 1]
            if now - self._failed_at < wait:
                return False
            if now - self._failed_at > wait + limits.FORGIVEN_AFTER:
                self._failed_steps = 0
        return self._is_starting(now) or now - self._changed >= limits.QUIET

    def _is_starting(self, now: float) -> bool:
        return now - self._started < limits.START_WINDOW and not self._failed_steps

    def _note_step_down(self, now: float) -> None:
        self._failed_steps = self._failed_steps + 1 if now < self._trial_until else max(1, self._failed_steps)
        self._failed_at = now
        self._trial_until = 0.0

    def _rest(self, now: float) -> None:
        self._voice_only = True
        self._changed = now
        if self._returned_at is not None:
            self._failed_returns += 1

    def _perhaps_return(self, layers: Sequence[Layer], now: float) -> None:
        wait = limits.VIDEO_AGAIN[min(self._failed_returns, len(limits.VIDEO_AGAIN) - 1)]
        if now - self._changed >= wait and self._line.calm_for(now) >= limits.UP_AFTER:
            self._voice_only = False
            self._returned_at = now
            self._current = layers[0]
            self._changed = now
            self._line.forget_estimate()

    def _move(self, layer: Layer, now: float) -> None:
        if self._current is None or layer.rid != self._current.rid:
            self._changed = now
        self._current = layer


def _rate(layer: Layer) -> int:
    return layer.bitrate


def _nearest(layers: Sequence[Layer], wish: str, current: Layer | None) -> Layer:
    """The wished layer, or while it is not alive the one we have."""
    wished = next((layer for layer in layers if layer.rid == wish), None)
    return wished or current or layers[0]
