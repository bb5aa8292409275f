"""Points of two values each on a square, with the diagonal; equal points are one larger point."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from cxrgen.html.layout import Html, number, tag

_GRID = 60  # steps of either axis to which points are rounded
_SIDE = 100
_LARGEST = 3.2  # radius


def scatter(points: Sequence[tuple[float, float]], title: str, across: str, upward: str) -> Html:
    """`points` are pairs of x and y on one scale; `across` and `upward` name the axes. Above the diagonal y is larger.

    Points that are not finite are left out.
    """
    finite = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    low, high = (end((value for point in finite for value in point), default=0.0) for end in (min, max))
    span = (high - low) or 1.0
    counts = Counter((round((x - low) / span * _GRID), round((y - low) / span * _GRID)) for x, y in finite)
    most = max(counts.values(), default=1)
    dots = [
        tag("circle", tag("title", f"{count} studies"), cx=f"{x / _GRID * _SIDE:.1f}",
            cy=f"{_SIDE - y / _GRID * _SIDE:.1f}", r=f"{max(0.7, _LARGEST * math.sqrt(count / most)):.2f}")
        for (x, y), count in sorted(counts.items())
    ]  # fmt: skip
    diagonal = tag("line", x1=0, y1=_SIDE, x2=_SIDE, y2=0, stroke="var(--soft)", stroke_width="0.4")
    frame = tag("rect", x=0, y=0, width=_SIDE, height=_SIDE, fill="none", stroke="var(--line)", stroke_width="0.5")
    points_of = tag("g", *dots, fill="var(--main)", fill_opacity="0.55")
    drawing = tag("svg", frame, diagonal, points_of, viewBox=f"-4 -4 {_SIDE + 8} {_SIDE + 8}", role="img")
    words = f"across: {across}, upward: {upward}, both from {number(low, 2)} to {number(high, 2)}; equal on the line"
    return tag("div", tag("p", title, class_="title"), drawing, tag("p", words, class_="axis"), class_="chart square")
