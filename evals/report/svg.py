"""Plots as inline SVG: numbers in, text out. Colours come from the page's style (`.c0` to `.c9`), to fit both themes.

Every mark differs by more than its colour (its place and name, a marker, dashes), and every plot's numbers stand in a
table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from langgraph_memory_r1.evals.report.means import Mean

__all__ = ["Series", "bars", "legend", "lines", "scatter"]

COLOURS = 10
LEFT, RIGHT, TOP, BOTTOM = 46, 360, 26, 232
"""The frame of curves and points."""

_MARKERS = (
    "M-4-4H4V4H-4Z",
    "M0-5.5L5.5 4H-5.5Z",
    "M0-5.5L5.5 0L0 5.5L-5.5 0Z",
    "M-4.5 0A4.5 4.5 0 1 0 4.5 0A4.5 4.5 0 1 0-4.5 0Z",
    "M0 5.5L5.5-4H-5.5Z",
    "M-5-1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5Z",
    "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
)
_LONGEST = 24
"""Characters of a name beside a bar."""

_DASHES = ("", "7 3", "2 3", "10 3 2 3")


@dataclass(frozen=True, slots=True)
class Series:
    """A named series of points; `colour` is the number of its system."""

    name: str
    colour: int
    points: tuple[tuple[float, float], ...]


def bars(title: str, rows: Sequence[tuple[str, int, Mean | None]]) -> str:
    """Draw horizontal bars with intervals, from 0 to 100 per cent."""
    room = 20 + 6.8 * max((len(_cut(name)) for name, *_ in rows), default=0)  # for the names beside the bars
    left, right, step = room, 310.0, 22
    parts = []
    for number, (name, colour, estimate) in enumerate(rows):
        y = 10 + number * step
        parts.append(_text(left - 8, y + 8, _cut(name), "end", "name"))
        if estimate is None:
            parts.append(_text(left + 4, y + 8, "not measured", "start", "faint"))
            continue
        x, low, high = (left + (right - left) * _clip(value) for value in (estimate.mean, estimate.low, estimate.high))
        parts.append(
            f'<g class="c{colour % COLOURS}"><title>{escape(f"{name}: {estimate}")}</title>'
            f'<rect class="bar" x="{left}" y="{y - 3}" width="{max(x - left, 1):.1f}" height="14" rx="2"/></g>'
            f'<path class="whisker" d="M{low:.1f} {y + 4}H{high:.1f}M{low:.1f} {y}v8M{high:.1f} {y}v8"/>'
        )
        parts.append(_text(356, y + 8, f"{100 * estimate.mean:.1f}", "end", "value"))
    height = 10 + len(rows) * step
    grid = "".join(f'<path class="grid" d="M{left + (right - left) * at / 4:.1f} 0V{height}"/>' for at in range(5))
    return _svg(360, height + 4, title, grid + "".join(parts))


def lines(title: str, series: Sequence[Series], *, x_name: str, y_name: str, percent: bool = True) -> str:
    """Draw curves over a few points, which are evenly spaced; the axes begin at zero."""
    places = sorted({x for line in series for x, _ in line.points})
    top = _round_up(max((y for line in series for _, y in line.points), default=1.0))
    at = {x: _across(index / (len(places) - 1) if len(places) > 1 else 0.5) for index, x in enumerate(places)}
    # At most ten names under the axis.
    ticks = [(at[x], f"{x:g}") for x in places[:: max(1, math.ceil(len(places) / 10))]]
    frame = _frame(ticks, _y_ticks(top, percent), x_name, y_name)
    return _svg(380, 280, title, frame + "".join(_curve(line, lambda x: at[x], _scale(top)) for line in series))


def scatter(title: str, points: Sequence[tuple[str, int, float, Mean]], *, x_name: str, y_name: str) -> str:
    """Draw points with vertical intervals over a logarithmic axis; their names belong in a legend."""
    values = [x for _, _, x, _ in points]
    low = math.floor(math.log10(max(min(values, default=1), 1)))
    high = max(math.ceil(math.log10(max(*values, 10, 1))), low + 1)
    top = _round_up(max((estimate.high for *_, estimate in points), default=1.0))

    def across(x: float) -> float:
        return _across((math.log10(max(x, 1)) - low) / (high - low))

    ticks = []
    for power in range(low, high + 1):
        unit, letter = next(each for each in ((10**6, "M"), (10**3, "k"), (1, "")) if 10**power >= each[0])
        ticks.append((across(10.0**power), f"{10**power // unit}{letter}"))
    parts, up = [_frame(ticks, _y_ticks(top, True), x_name, y_name)], _scale(top)
    for name, colour, x, estimate in points:
        here = across(x)
        parts.append(f'<path class="whisker" d="M{here:.1f} {up(estimate.low):.1f}V{up(estimate.high):.1f}"/>')
        parts.append(_marker(here, up(estimate.mean), colour, f"{name}: {estimate}, {x:,.0f} {x_name}"))
    return _svg(380, 280, title, "".join(parts))


def legend(names: Sequence[tuple[str, int]], *, dashes: bool = True) -> str:
    """Draw the markers with their names, as a list."""
    line = '<path class="curve" stroke-dasharray="{}" d="M-13 0H13"/>' if dashes else ""
    items = "".join(
        f'<li><svg width="26" height="14" viewBox="-13 -7 26 14" aria-hidden="true" class="c{colour % COLOURS}">'
        f"{line.format(_dash(colour))}{_shape(colour)}</svg>"
        f"{escape(name)}</li>"
        for name, colour in names
    )
    return f'<ul class="legend">{items}</ul>'


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _curve(line: Series, across: Callable[[float], float], up: Callable[[float], float]) -> str:
    if not line.points:
        return ""
    spots = [(across(x), up(y)) for x, y in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    marks = "".join(
        _marker(x, y, line.colour, f"{line.name}: {value:,.3g} at {at:g}")
        for (x, y), (at, value) in zip(spots, line.points, strict=True)
    )
    dash = _dash(line.colour)
    return f'<path class="curve c{line.colour % COLOURS}" stroke-dasharray="{dash}" d="M{path}"/>{marks}'


def _frame(x_ticks: Iterable[tuple[float, str]], y_ticks: Iterable[tuple[float, str]], x_name: str, y_name: str) -> str:
    grid = '<path class="grid" d="M{} {:.1f}H{}"/>'
    parts = [grid.format(LEFT, y, RIGHT) + _text(LEFT - 6, y + 4, name, "end", "tick") for y, name in y_ticks]
    parts += [_text(x, BOTTOM + 18, name, "middle", "tick") for x, name in x_ticks]
    parts.append(f'<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>')
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 40, x_name, "middle", "tick"))
    return "".join(parts) + _text(2, 12, y_name, "start", "tick")


def _scale(top: float) -> Callable[[float], float]:
    return lambda y: BOTTOM - (BOTTOM - TOP) * _clip(y / top)


def _across(share: float) -> float:
    return LEFT + (RIGHT - LEFT) * share


def _round_up(top: float) -> float:
    """Return the next end of an axis whose four steps are round numbers."""
    power = 10.0 ** math.floor(math.log10(top / 4)) if top > 0 else 0.25
    return 4 * power * next(step for step in (1, 2, 2.5, 5, 10) if 4 * power * step >= top * (1 - 1e-9))


def _y_ticks(top: float, percent: bool) -> list[tuple[float, str]]:
    values = [top * step / 4 for step in range(5)]
    return [(_scale(top)(value), f"{100 * value:.0f}" if percent else f"{value:,.0f}") for value in values]


def _marker(x: float, y: float, colour: int, title: str) -> str:
    attributes = f'class="c{colour % COLOURS}" transform="translate({x:.1f} {y:.1f})"'
    return f"<g {attributes}><title>{escape(title)}</title>{_shape(colour)}</g>"


def _shape(colour: int) -> str:
    return f'<path class="mark" d="{_MARKERS[colour % len(_MARKERS)]}"/>'


def _dash(colour: int) -> str:
    return _DASHES[colour % len(_DASHES)]


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _svg(width: int, height: int, title: str, inside: str) -> str:
    label = escape(title)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{inside}</svg>'
