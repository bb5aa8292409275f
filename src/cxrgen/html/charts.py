"""Charts as inline SVG: bars with whiskers, histograms, line curves, heat maps.

The drawings carry no script and stretch with the page: positions are percentages, so lines keep their width and words
their size on every screen. Values that are not finite are left out of a drawing, never drawn as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cxrgen.html.layout import Html, html, number, tag

COLOURS = ("--main", "--second", "--third", "--fourth", "--fifth", "--sixth")
_ROW = 22  # pixels: height of one bar with its gap
_PLOT = 220  # pixels: height of a histogram or a line chart without its axis
_AXIS = 22


@dataclass(frozen=True)
class Bar:
    """One row of a bar chart: a value, its interval if known, and reference marks such as baselines (name to value)."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    marks: Mapping[str, float] = field(default_factory=dict)
    text: str | None = None  # shown at the right instead of the value and its interval


@dataclass(frozen=True)
class _Scale:
    """A linear axis from `low` to `high`, both finite and different."""

    low: float
    high: float

    def part(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)

    def percent(self, value: float) -> str:
        return f"{100 * self.part(value):.2f}%"

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round numbers inside the axis, about `wanted` of them."""
        raw = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def _scale(values: Iterable[float], *, zero: bool = False) -> _Scale:
    finite = [value for value in values if math.isfinite(value)] + ([0.0] if zero else [])
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    return _Scale(low, high) if low < high else _Scale(low - (0.0 if zero else 0.5), high + 1.0)


def whisker_chart(bars: Sequence[Bar], title: str = "", digits: int = 3) -> Html:
    """Horizontal bars from zero with whiskers (an interval) and a coloured tick for each mark; one scale for all rows.

    Marks of the same name have the same colour, explained in a legend under the chart.
    """
    scale = _scale(
        [value for bar in bars for value in (bar.value, *(bar.interval or ()), *bar.marks.values())], zero=True
    )
    names = list(dict.fromkeys(name for bar in bars for name in bar.marks))
    colours = {name: COLOURS[1 + i % (len(COLOURS) - 1)] for i, name in enumerate(names)}
    rows = [
        tag(
            "div",
            tag("div", bar.name, class_="name"),
            tag("div", _bar(bar, scale, colours), class_="plot"),
            tag("div", _bar_text(bar, digits), class_="value"),
        )
        for bar in bars
    ]
    return _chart(title, tag("div", *rows, class_="bars"), colours)


def _bar(bar: Bar, scale: _Scale, colours: Mapping[str, str]) -> Html:
    middle = _ROW / 2
    shapes = [_line(scale.percent(0), 0, scale.percent(0), _ROW, "var(--line)")]
    if math.isfinite(bar.value):
        left, right = sorted((scale.part(0), scale.part(bar.value)))
        shapes.append(
            tag("rect", x=f"{100 * left:.2f}%", y=middle - 6, width=f"{100 * (right - left):.2f}%", height=12, rx=2,
                fill="var(--main)", fill_opacity="0.75")
        )  # fmt: skip
    if bar.interval is not None and all(map(math.isfinite, bar.interval)):
        low, high = (scale.percent(end) for end in bar.interval)
        shapes.append(_line(low, middle, high, middle, "var(--ink)", 1.5))
        shapes.extend(_line(end, middle - 4, end, middle + 4, "var(--ink)", 1.5) for end in (low, high))
    for name, value in bar.marks.items():
        if math.isfinite(value):
            place = scale.percent(value)
            mark = _line(place, 1, place, _ROW - 1, f"var({colours[name]})", 3)
            shapes.append(tag("g", tag("title", f"{name}: {number(value)}"), mark))
    return tag("svg", *shapes, height=_ROW, aria_hidden="true")


def _bar_text(bar: Bar, digits: int) -> Html:
    if bar.text is not None:
        return html(bar.text)
    if bar.interval is None or not all(map(math.isfinite, bar.interval)):
        return html(number(bar.value, digits))
    low, high = (number(end, digits) for end in bar.interval)
    return tag("span", number(bar.value, digits), " ", tag("small", f"[{low}, {high}]"))


def histogram(values: Sequence[float], title: str = "", bins: int = 24, label: str = "") -> Html:
    """How often values fall into equal ranges; `label` names the horizontal axis with its unit."""
    finite = [float(value) for value in values if math.isfinite(value)]
    scale = _scale(finite)
    counts = [0] * bins
    for value in finite:
        counts[min(bins - 1, int(scale.part(value) * bins))] += 1
    top = _scale(counts, zero=True)
    shapes = []
    for i, count in enumerate(counts):
        height = top.part(count) * _PLOT
        first = scale.low + (scale.high - scale.low) * i / bins
        last = scale.low + (scale.high - scale.low) * (i + 1) / bins
        bar = tag("rect", x=f"{100 * i / bins:.3f}%", y=f"{_PLOT - height:.1f}", width=f"{96 / bins:.3f}%",
                  height=f"{height:.1f}", fill="var(--main)", fill_opacity="0.75")  # fmt: skip
        shapes.append(tag("g", tag("title", f"{_tick(first)} to {_tick(last)}: {count}"), bar))
    return _chart(title, _frame(shapes, scale, top, label), {})


def line_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    title: str = "",
    label: str = "",
    log: bool = False,
    points: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Html:
    """Curves of (x, y) points with x ascending, one colour a name; `label` names the horizontal axis.

    `points` are drawn as faint dots in the colour of the curve of their name. With `log` the vertical axis is
    logarithmic (base 10) and points at or below zero are left out.
    """
    kept, dots = _drawable(lines, log), _drawable(points or {}, log)
    drawn = [point for group in (kept, dots) for some in group.values() for point in some]
    across, upward = _scale(x for x, _ in drawn), _scale(y for _, y in drawn)
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(kept)}

    def place(x: float, y: float) -> str:
        return f"{1000 * across.part(x):.1f},{1000 * (1 - upward.part(y)):.1f}"

    faint = [
        tag("path", d="".join(f"M{place(*point)}h0" for point in some), fill="none", stroke=f"var({colours[name]})",
            stroke_width=3.5, stroke_linecap="round", stroke_opacity=0.3, vector_effect="non-scaling-stroke")
        for name, some in dots.items() if name in colours
    ]  # fmt: skip
    curves = [
        tag("polyline", points=" ".join(place(*point) for point in some), fill="none", stroke=f"var({colours[name]})",
            stroke_width=2, stroke_linejoin="round", vector_effect="non-scaling-stroke")
        for name, some in kept.items()
    ]  # fmt: skip
    inner = tag("svg", *faint, *curves, viewBox="0 0 1000 1000", preserveAspectRatio="none", width="100%", height=_PLOT)
    return _chart(title, _frame([inner], across, upward, label, log), colours if len(kept) > 1 else {})


def _drawable(lines: Mapping[str, Sequence[tuple[float, float]]], log: bool) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(x, math.log10(y) if log else y) for x, y in points if math.isfinite(x) and math.isfinite(y)
               and (y > 0 or not log)]
        for name, points in lines.items()
    }  # fmt: skip


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    title: str = "",
    digits: int = 0,
    shares: bool = True,
) -> Html:
    """A table with shaded cells: with `shares` counts by their part of the row, else numbers from -1 to 1 by size.

    Shading by rows keeps rare rows readable. Negative numbers have the second colour.
    """
    body = []
    for name, row in zip(rows, values):
        total = math.fsum(row) or 1.0
        parts = [value / total if shares else value for value in row]
        cells = [
            tag("td", number(value, digits), title=f"{part:.0%} of the row" if shares else None, style=_shade(part))
            for value, part in zip(row, parts)
        ]
        body.append(tag("tr", tag("td", name, class_="text"), *cells))
    head = tag("tr", tag("th", ""), *(tag("th", column) for column in columns))
    grid = tag("table", tag("thead", head), tag("tbody", *body), class_="heat")
    return _chart(title, tag("div", grid, class_="scroll"), {})


def _shade(part: float) -> str | None:
    if not math.isfinite(part):
        return None
    colour = "31,111,235" if part >= 0 else "194,65,12"
    return f"background:rgba({colour},{0.55 * min(1.0, abs(part)):.3f})"


def _frame(shapes: Sequence[Html], across: _Scale, upward: _Scale, label: str, log: bool = False) -> Html:
    """Plot area with horizontal grid lines, axis words and the drawing itself."""
    grid = []
    for value in upward.ticks(4):
        y = f"{_PLOT * (1 - upward.part(value)):.1f}"
        grid.append(_line("0%", y, "100%", y, "var(--line)"))
        grid.append(tag("text", _tick(10**value if log else value), x=-6, y=y, text_anchor="end", dy="0.35em"))
    for value in across.ticks(5):
        part = across.part(value)
        anchor = "start" if part < 0.03 else "end" if part > 0.97 else "middle"
        grid.append(tag("text", _tick(value), x=f"{100 * part:.2f}%", y=_PLOT + 16, text_anchor=anchor))
    drawing = tag("svg", *grid, *shapes, height=_PLOT + _AXIS, role="img")
    words = [tag("p", label, class_="axis")] if label else []
    return tag("div", drawing, *words, class_="frame")


def _chart(title: str, drawing: Html, colours: Mapping[str, str]) -> Html:
    heading = [tag("p", title, class_="title")] if title else []
    keys = [tag("span", tag("i", style=f"background:var({colour})"), name) for name, colour in colours.items()]
    legend = [tag("div", *keys, class_="legend")] if keys else []
    return tag("div", *heading, drawing, *legend, class_="chart")


def _line(x1: object, y1: object, x2: object, y2: object, colour: str, width: float = 1) -> Html:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width)


def _tick(value: float) -> str:
    return f"{value:,.6g}".replace("-", "−")
