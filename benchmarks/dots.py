"""Shares with their intervals as an SVG picture: a dot, and a line as long as what is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _ROW, _NAMES, _RIGHT = 760, 20, 210, 110
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.h{font-weight:600}.s{fill:#666;font-size:11px}"
    ".g{stroke:#ddd}.i{stroke:#4a6fa5;stroke-width:2}.d{fill:#1f4e8c}"
    ".c{fill:#fff;stroke:#1f4e8c;stroke-width:1.5}"
)


@dataclass(frozen=True, slots=True)
class Dot:
    """A share (0..1) with its interval, and a smaller one within it."""

    share: float
    low: float
    high: float
    within: float
    count: int


def svg(title: str, groups: Mapping[str, Mapping[str, Dot]]) -> str:
    """A drawing of all groups, one row per share; readable without colours."""
    rows: list[str] = []
    y = 58
    for group, dots in groups.items():
        rows.append(f'<text class="h" x="10" y="{y + 4}">{escape(group)}</text>')
        y += _ROW
        for name, dot in dots.items():
            rows += _row(name, dot, y)
            y += _ROW
        y += _ROW // 2
    grid = [
        line
        for tenths in range(0, 11, 2)
        for line in (
            f'<line class="g" x1="{_x(tenths / 10):.1f}" x2="{_x(tenths / 10):.1f}" '
            f'y1="44" y2="{y - _ROW}"/>',
            f'<text class="s" x="{_x(tenths / 10):.1f}" y="40" text-anchor="middle">'
            f"{tenths / 10:.1f}</text>",
        )
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" '
        f'viewBox="0 0 {_WIDTH} {y}" role="img"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{y}" fill="#fff"/>'
        f'<text class="h" x="10" y="20">{escape(title)}</text>'
    )
    return "\n".join([head, *grid, *rows, "</svg>\n"])


def _row(name: str, dot: Dot, y: int) -> Sequence[str]:
    return (
        f'<text x="{_NAMES - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
        f'<line class="i" x1="{_x(dot.low):.1f}" x2="{_x(dot.high):.1f}" y1="{y}" y2="{y}"/>',
        f'<circle class="c" cx="{_x(dot.within):.1f}" cy="{y}" r="3.5"/>',
        f'<circle class="d" cx="{_x(dot.share):.1f}" cy="{y}" r="4"/>',
        f'<text class="s" x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{dot.share:.3f} of '
        f"{dot.count}</text>",
    )


def _x(share: float) -> float:
    return _NAMES + share * (_WIDTH - _RIGHT - _NAMES)
