"""SteadyLayers: a source's measured layers made fit to choose among. Measured rates jump; choices must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.media.plane import Layer

FADE = 0.85
"""Of a rate, a second: a still slide sends almost nothing, and will send everything again at the next page."""

PROVEN_AFTER = 1.5
"""Seconds before a layer that starts beside others counts: its first rate is of less than a second."""


class SteadyLayers:
    """Peak rates that fade, in the order of size (or of rate while sizes are unknown), strictly rising."""

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._at = 0.0

    def update(self, layers: Sequence[Layer], now: float) -> tuple[Layer, ...]:
        """Take the newest measurement (``now`` in seconds); the layers to choose among."""
        alone = not self._rates
        fade = FADE ** max(0.0, now - self._at)
        self._at = now
        self._rates = {layer.rid: max(float(layer.bitrate), self._rates.get(layer.rid, 0.0) * fade) for layer in layers}
        self._since = {layer.rid: self._since.get(layer.rid, now - PROVEN_AFTER if alone else now) for layer in layers}
        proven = [layer for layer in layers if now - self._since[layer.rid] >= PROVEN_AFTER] or list(layers)
        sized = all(layer.width and layer.height for layer in proven)
        proven.sort(key=lambda layer: (layer.width * layer.height if sized else 0, self._rates[layer.rid]))
        steady: list[Layer] = []
        for layer in proven:
            floor = steady[-1].bitrate + 1 if steady else 0
            steady.append(replace(layer, bitrate=max(round(self._rates[layer.rid]), floor)))
        return tuple(steady)
