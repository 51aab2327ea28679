"""A chart of ratios as SVG: a bar for each workload, from 1 on a logarithmic scale, with the spread and the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from bench.results import Ratio
from bench.tables import short

_LEFT, _RIGHT, _WIDTH, _ROW, _TOP = 110, 70, 760, 24, 44
_COLOURS = {"better": "#2a7f62", "worse": "#b5482f"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio with its name and its target; `good` tells whether it is on the better side of 1."""

    name: str
    ratio: Ratio
    target: float | None
    good: bool


def chart(title: str, bars: Sequence[Bar]) -> str:
    """The chart as a whole file."""
    values = [value for bar in bars for value in (bar.ratio.least, bar.ratio.most, bar.target or 1, 1.0)]
    scale = _Scale(floor(log10(min(values))), ceil(log10(max(values))))
    height = _TOP + _ROW * len(bars) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        *_grid(scale, height - 30),
    ]
    for number, bar in enumerate(bars):
        parts += _row(scale, bar, _TOP + _ROW * number)
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    """Whole decades, from one power of ten to another."""

    low: int
    high: int

    def __call__(self, value: float) -> float:
        """Where a value lies, in pixels."""
        decades = max(self.high - self.low, 1)
        return round(_LEFT + (log10(value) - self.low) / decades * (_WIDTH - _LEFT - _RIGHT), 1)


def _grid(scale: _Scale, bottom: int) -> list[str]:
    lines = []
    for power in range(scale.low, scale.high + 1):
        x = scale(10.0**power)
        colour = "#555555" if power == 0 else "#dddddd"
        lines += [
            f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{bottom}" stroke="{colour}"/>',
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{10.0**power:g}×</text>',
        ]
    return lines


def _row(scale: _Scale, bar: Bar, y: int) -> list[str]:
    start, end = sorted((scale(1), scale(bar.ratio.value)))
    middle, colour = y + _ROW / 2 - 3, _COLOURS["better" if bar.good else "worse"]
    most = scale(bar.ratio.most)
    parts = [
        f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect x="{start}" y="{y}" width="{round(end - start, 1)}" height="{_ROW - 6}" fill="{colour}"/>',
        f'<line x1="{scale(bar.ratio.least)}" y1="{middle}" x2="{most}" y2="{middle}" stroke="#000000"/>',
        f'<text x="{max(end, most) + 6}" y="{middle + 4}">{short(bar.ratio.value)}×</text>',
    ]
    if bar.target is not None:
        x = scale(bar.target)
        parts.append(f'<line x1="{x}" y1="{y - 2}" x2="{x}" y2="{y + _ROW - 4}" stroke="#1f4fd8" stroke-width="2"/>')
    return parts
