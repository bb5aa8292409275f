"""A dot with whiskers on a line of its own, to the right of the middle where it is better than a reference.

Every line has its own scale, so that what the eye sees is how far the dot and its interval are from the reference:
values of different scores share no unit, and on one common scale the small ones could not be seen. The shape
of the dot says the verdict as well as its colour does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cxrgen.html.layout import Html, number, tag

_HEIGHT = 24
_MARGIN = 1.15  # of the farther end of the interval
_SHAPES = {  # verdict: outline of the dot around 0, 0
    "better": "M 0 -6 L 6.5 5 L -6.5 5 Z",
    "worse": "M 0 6 L 6.5 -5 L -6.5 -5 Z",
    "": "M -5 0 A 5 5 0 1 0 5 0 A 5 5 0 1 0 -5 0 Z",
}


@dataclass(frozen=True)
class Dot:
    """Distances from the reference in the score's unit, above 0 better; `marks` are other references by name."""

    distance: float
    ends: tuple[float, float] | None
    verdict: str = ""
    marks: Mapping[str, float] = field(default_factory=dict)


def dot_line(dot: Dot, colours: Mapping[str, str]) -> Html:
    """The drawing: a line in the middle for the reference, ticks for marks that are within reach, whiskers, the dot."""
    far = [abs(value) for value in (dot.distance, *(dot.ends or ())) if math.isfinite(value)]
    reach = _MARGIN * (max(far, default=0.0) or 1.0)
    middle = _HEIGHT / 2
    shapes = [_line("50%", 0, "50%", _HEIGHT, "middle")]
    for name, value in dot.marks.items():
        if math.isfinite(value) and abs(value) <= reach:
            place = _place(value, reach)
            mark = _line(place, 3, place, _HEIGHT - 3, "mark", f"stroke:var({colours[name]})")
            shapes.append(tag("g", tag("title", f"{name}: {number(value)} from the best baseline"), mark))
    if dot.ends is not None and all(map(math.isfinite, dot.ends)):
        low, high = (_place(end, reach) for end in dot.ends)
        shapes.append(_line(low, middle, high, middle, "whisker"))
        shapes += [_line(end, middle - 4, end, middle + 4, "whisker") for end in (low, high)]
    if math.isfinite(dot.distance):
        outline = tag("path", d=_SHAPES.get(dot.verdict, _SHAPES[""]), transform=f"translate(0 {middle:g})")
        shapes.append(tag("svg", outline, x=_place(dot.distance, reach), class_="dot", overflow="visible"))
    return tag("svg", *shapes, height=_HEIGHT, class_="dots", aria_hidden="true")


def _place(value: float, reach: float) -> str:
    return f"{50 + 48 * value / reach:.2f}%"


def _line(x1: object, y1: object, x2: object, y2: object, kind: str, style: str | None = None) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind, style=style)
