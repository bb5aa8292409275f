"""Scores as plain text: the scoreboard that `cxrgen evaluate` prints, and the rows of leaderboards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cxrgen.evaluate.baselines import best_baseline
from cxrgen.evaluate.intervals import ends_text
from cxrgen.evaluate.scores import ARROWS, Scores
from cxrgen.evaluate.suites import SUMS, Board
from cxrgen.evaluate.verdicts import RULE, against_baseline
from cxrgen.html import number


def scoreboard(
    scores: Scores, of_baselines: Mapping[str, Scores], limits: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """The scores as plain text: name, arrow, value, interval, best baseline, p, and upper limits where known."""
    shown = {name: score for name, score in scores.metrics.items() if not score.single_finding}
    known = {name: values for name, values in (limits or {}).items() if values.keys() & shown.keys()}
    rows = [["score", "", "value", "95 % interval", "best baseline", "", "p", "verdict", *known]]
    by_baseline = {name: of.metrics for name, of in of_baselines.items()}
    for name, score in shown.items():
        best = best_baseline(name, score.better, by_baseline)
        compared = [number(best[1].value), best[0]] if best else ["–", ""]
        against = score.against
        compared += [f"{against.p_corrected:.3f}", against_baseline(score, against)] if against else ["–", ""]
        ends = ends_text(score.interval, score.no_interval)
        reached = [number(values[name]) if name in values else "" for values in known.values()]
        rows.append([name, ARROWS[score.better], number(score.value), ends, *compared, *reached])
    lines = aligned_columns(rows, left=(0, 1, 5, 7))
    for name, total in scores.totals(of_baselines).items():
        if total.value is not None:
            beside = "".join(f", {baseline} {number(value)}" for baseline, value in total.baselines.items())
            lines.append(f"{name} {number(total.value)}{beside}: {' + '.join(SUMS[name])}")
    if of_baselines:
        lines.append("p: paired test against the best baseline, corrected for the number of scores")
        lines.append(f"verdict: {RULE[0].lower()}{RULE[1:]}")
    return "\n".join([*lines, f"{scores.n} studies, {scores.patients} patients"])


def board_lines(boards: Mapping[str, Board]) -> list[str]:
    """The rows of leaderboards, each with those of the baselines beneath it."""
    lines: list[str] = []
    for name, row in boards.items():
        named = {"reports": row.values, **row.baselines}
        rows = [[name, *row.values], *([who, *map(number, values.values())] for who, values in named.items())]
        lines += [*aligned_columns(rows, left=(0,)), ""]
    return lines


def aligned_columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """Rows of cells as lines; columns whose index is in `left` are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
