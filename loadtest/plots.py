"""Line and bar charts as inline SVG: small, printable, no script. Colours are CSS classes ``c0``…``c3`` of the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 30
MAX_COLUMNS = 300  # points drawn per line; of several in one column the largest is kept, so no peak is hidden


@dataclass(frozen=True, slots=True)
class Line:
    """One series. ``colour`` is 0..3; a ``None`` value interrupts the line."""

    label: str
    colour: int
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Bars:
    """One group of bars over common labels."""

    label: str
    colour: int
    values: Sequence[int]


def ticks(maximum: float, about: int = 5) -> list[float]:
    """Round numbers from 0 to at least ``maximum``."""
    if maximum <= 0 or not math.isfinite(maximum):
        return [0.0, 1.0]
    raw = maximum / about
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= raw * 0.999)
    return [round(step * index, 10) for index in range(math.ceil(maximum / step - 1e-9) + 1)]


def number(value: float) -> str:
    """Short and exact enough for an axis."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:g}{unit}"
    return f"{value:g}"


def line_chart(lines: Sequence[Line], *, x_unit: str, nothing: str, floor: float = 0.0) -> str:
    """Lines over seconds; ``floor`` is the least the y axis reaches to, so that noise does not fill the picture."""
    lines = [line for line in lines if any(value is not None for _, value in line.points)]
    if not lines:
        return _empty(nothing)
    y_ticks = ticks(max([floor, *(v for line in lines for _, v in line.points if v is not None)]))
    last = max(x for line in lines for x, _ in line.points)
    x_ticks = [tick for tick in ticks(last, 8) if tick <= last * 1.001] or [0.0]
    top = y_ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (WIDTH - _LEFT - _RIGHT) * x / max(last, 1e-9),
            HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * y / top,
        )

    parts = [_grid(y_ticks, top)]
    for tick in x_ticks:
        unit = f" {x_unit}" if tick == x_ticks[-1] else ""
        parts.append(f'<text class="axis" x="{place(tick, 0)[0]:.1f}" y="{HEIGHT - 10}">{number(tick)}{unit}</text>')
    for line in lines:
        for piece in _pieces(_thinned(line.points, last)):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in piece))
            if len(piece) == 1:
                x, y = place(*piece[0])
                parts.append(f'<circle class="c{line.colour} dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
            else:
                parts.append(f'<polyline class="c{line.colour} line" points="{path}"/>')
    return _svg(parts, ", ".join(line.label for line in lines))


def bar_chart(groups: Sequence[Bars], labels: Sequence[str], *, nothing: str) -> str:
    """Grouped bars; empty ends are cut off."""
    used = [index for index in range(len(labels)) if any(group.values[index] for group in groups)]
    if not used:
        return _empty(nothing)
    shown = range(max(0, used[0] - 1), min(len(labels), used[-1] + 2))
    y_ticks = [tick for tick in ticks(max(max(group.values) for group in groups)) if tick == int(tick)]
    top = y_ticks[-1] if y_ticks[-1] > 0 else 1.0
    slot = (WIDTH - _LEFT - _RIGHT) / len(shown)
    width = min(26.0, slot * 0.78 / len(groups))
    parts = [_grid(y_ticks, top)]
    for column, index in enumerate(shown):
        middle = _LEFT + slot * (column + 0.5)
        parts.append(f'<text class="axis" x="{middle:.1f}" y="{HEIGHT - 10}">≤{html.escape(labels[index])}</text>')
        for place, group in enumerate(groups):
            value = group.values[index]
            size = (HEIGHT - _TOP - _BOTTOM) * value / top
            x = middle + (place - len(groups) / 2) * width
            title = html.escape(f"{group.label} ≤{labels[index]} ms: {value}")
            parts.append(
                f'<rect class="c{group.colour} bar" x="{x:.1f}" y="{HEIGHT - _BOTTOM - size:.1f}" '
                f'width="{width - 1.5:.1f}" height="{size:.1f}" rx="2"><title>{title}</title></rect>'
            )
    return _svg(parts, ", ".join(group.label for group in groups))


def legend(entries: Sequence[tuple[str, int]]) -> str:
    """What the colours mean."""
    items = "".join(f'<span><i class="c{colour}"></i>{html.escape(label)}</span>' for label, colour in entries)
    return f'<div class="legend">{items}</div>'


def _grid(y_ticks: Sequence[float], top: float) -> str:
    parts = []
    for tick in y_ticks:
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * tick / top
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis y" x="{_LEFT - 8}" y="{y + 4:.1f}">{number(tick)}</text>')
    return "".join(parts)


def _thinned(points: Sequence[tuple[float, float | None]], last: float) -> list[tuple[float, float | None]]:
    if len(points) <= MAX_COLUMNS:
        return list(points)
    columns: dict[int, tuple[float, float | None]] = {}
    for x, value in points:
        column = int(x / last * MAX_COLUMNS)
        kept = columns.get(column)
        if kept is None or kept[1] is None or (value is not None and value > kept[1]):
            columns[column] = (x, value)
    return list(columns.values())


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, value in points:
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((x, value))
    return [piece for piece in pieces if piece]


def _svg(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _empty(nothing: str) -> str:
    return _svg([f'<text class="axis" x="{WIDTH / 2}" y="{HEIGHT / 2}">{html.escape(nothing)}</text>'], nothing)
