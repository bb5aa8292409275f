"""The table systems x scores for terminals, spreadsheets and papers; the best is marked, and all level with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from cxrgen.evaluate.defaults import TABLE_FORMATS
from cxrgen.evaluate.differences import Standing
from cxrgen.evaluate.scores import ARROWS
from cxrgen.html import number
from cxrgen.metrics.cards import plain_name

Writer = Callable[[Sequence[Standing], Sequence[str]], str]
MARKED = "* best, or not significantly different from the best"


def as_text(standing: Sequence[Standing], names: Sequence[str]) -> str:
    """Scores as rows; `*` marks the best and those level with it."""
    rows = [["score", "", *names]]
    for row in standing:
        cells = [f"{'*' if place in row.level else ''}{number(value)}" for place, value in enumerate(row.values)]
        rows.append([row.name, ARROWS[row.better], *cells])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths))
        )
        for cells in rows
    ]
    return "\n".join([*lines, MARKED])


def as_markdown(standing: Sequence[Standing], names: Sequence[str]) -> str:
    """Systems as rows, bold for the best and those level with it."""
    head = ["system", *(f"{plain_name(row.name)} {ARROWS[row.better]}" for row in standing)]
    lines = [head, ["---", *("---:" for _ in standing)]]
    lines += [[_escaped(name, "|\\"), *_cells(standing, place, "**{}**")] for place, name in enumerate(names)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def as_latex(standing: Sequence[Standing], names: Sequence[str]) -> str:
    """Systems as rows of a tabular, bold for the best and those level with it."""
    arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$", "nearer_to_1": r"$\to 1$"}
    head = ["", *(f"{_escaped(plain_name(row.name), '&%$#_{}')} {arrows[row.better]}" for row in standing)]
    body = [[_escaped(name, "&%$#_{}"), *_cells(standing, place, r"\textbf{{{}}}")] for place, name in enumerate(names)]
    lines = [f"{' & '.join(cells)} \\\\" for cells in (head, *body)]
    columns = "r" * len(standing)
    return "\n".join([rf"\begin{{tabular}}{{l{columns}}}", lines[0], r"\hline", *lines[1:], r"\end{tabular}", ""])


def as_csv(standing: Sequence[Standing], names: Sequence[str]) -> str:
    """One row a system and score: value, interval, whether it is the best or level with it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("system", "score", "value", "low", "high", "better", "best_or_level"))
    for place, name in enumerate(names):
        for row in standing:
            ends = row.intervals[place].ends or ("", "")
            numbers = [f"{value:.6g}" if value != "" else "" for value in (row.values[place], *ends)]
            writer.writerow((name, row.name, *numbers, row.better, "yes" if place in row.level else "no"))
    return out.getvalue()


FORMATS: dict[str, Writer] = dict(zip(TABLE_FORMATS, (as_text, as_markdown, as_latex, as_csv)))


def _cells(standing: Sequence[Standing], place: int, bold: str) -> list[str]:
    return [
        bold.format(number(row.values[place])) if place in row.level else number(row.values[place]) for row in standing
    ]


def _escaped(text: str, signs: str) -> str:
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text)
