"""A chart of lines as SVG, both of its scales logarithmic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_LEFT, _RIGHT, _TOP, _BOTTOM, _WIDTH, _HEIGHT = 60, 190, 40, 30, 760, 360
_COLOURS = ("#2a7f62", "#b5482f", "#1f4fd8", "#8a5a00", "#7a2f8a", "#333333")


@dataclass(frozen=True, slots=True)
class Line:
    """Points by rising x, with their name. A dashed one has the colour of the whole one of its name, which is where the name is written."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def lines(title: str, drawn: Sequence[Line]) -> str:
    """The chart as a whole file."""
    points = [point for line in drawn for point in line.points] or [(1.0, 1.0)]
    across, xs = _scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up, ys = _scale([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    parts += [f'<text x="{across(x)}" y="{_HEIGHT - 10}" text-anchor="middle">{x:,g}</text>' for x in xs]
    for y in ys:
        parts += [
            f'<line x1="{_LEFT}" y1="{up(y)}" x2="{_WIDTH - _RIGHT}" y2="{up(y)}" stroke="#dddddd"/>',
            f'<text x="{_LEFT - 6}" y="{up(y) + 4}" text-anchor="end">{y:,g}</text>',
        ]
    colours = dict(zip(dict.fromkeys(line.name for line in drawn), _COLOURS, strict=False))
    for line in drawn:
        colour, dashes = colours[line.name], ' stroke-dasharray="6 4"' if line.dashed else ""
        path = " ".join(f"{across(x)},{up(y)}" for x, y in line.points)
        last = up(line.points[-1][1])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if not line.dashed:
            name = escape(line.name)
            parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{last + 4}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _scale(values: Sequence[float], start: int, end: int) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies in pixels, over whole decades, and where those begin."""
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    decades = max(high - low, 1)

    def place(value: float) -> float:
        return round(start + (log10(value) - low) / decades * (end - start), 1)

    return place, [10.0**power for power in range(low, low + decades + 1)]
